"""Records of volumes come back as they were; decoded files are put together as the sequences they were."""

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from scene_codec_addon.bridges import host_record, volume_record
from scene_codec_addon.bridges.host_record import IDENTITY, DataReference, HostRecord
from scene_codec_addon.bridges.volume_frames import collect_volumes, names_with_frames
from scene_codec_addon.bridges.volume_record import DEFAULTS, MAX_FRAME, VolumeRecord, sequence_settings
from scene_codec_addon.encode_report import encode_words, joined_frames, setting_words, source_sizes

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
names = text.filter(bool)


def values(default):
    """Return values of the type of a setting's default."""
    if isinstance(default, bool):
        return st.booleans()
    if isinstance(default, int):
        return st.integers(-MAX_FRAME, MAX_FRAME)
    return st.floats(-1e20, 1e20) if isinstance(default, float) else names


records = st.builds(
    VolumeRecord,
    name=text,
    settings=st.fixed_dictionaries({}, optional={path: values(value) for path, value in DEFAULTS.items()}),
    file=text,
    folder=st.lists(names, max_size=3).map(tuple),
    frame=st.none() | st.integers(0, MAX_FRAME),
    first=text,
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
fields = st.sampled_from(["name", "settings", "file", "folder", "frame", "first"])


@settings(derandomize=True, max_examples=100)
@given(records)
def test_a_record_comes_back_as_it_was(record):
    host = HostRecord(object=DataReference("Smoke"), volume=record)
    assert host_record.parse(json.loads(json.dumps(host_record.to_json(host)))) == host


@settings(derandomize=True, max_examples=200)
@given(anything | st.dictionaries(fields, anything | st.dictionaries(st.sampled_from([*DEFAULTS]), anything)))
def test_whatever_a_file_holds_becomes_a_sound_record(data):
    record = volume_record.parse(data)
    if record is not None:
        assert volume_record.parse(volume_record.to_json(record)) == record
        assert all(type(value) in (bool, int, float, str) for value in record.settings.values())


def answer(name, host=None, transform=IDENTITY):
    return {"name": name, "volume": f"/{name}", "transform": list(transform), "host": host or {}}


def collect(*answers):
    found, failures = collect_volumes(list(answers), Path)
    assert failures == []
    return {volume.name: volume for volume in found}


def recorded(name, frame, first="", **fields):
    volume = VolumeRecord(frame=frame, first=first, **fields)
    titled = DataReference("" if first else "Smoke")
    return answer(name, host_record.to_json(HostRecord(object=titled, volume=volume)))


def test_recorded_frames_become_one_sequence_with_the_names_they_had():
    smoke = collect(
        recorded("Smoke_0010", 10, "Smoke_0009"),
        recorded("Smoke_0009", 9, file="fire9.vdb", settings={"is_sequence": True, "frame_offset": 8}),
        answer("Other"),
    )["Smoke"]
    assert smoke.files == {"fire10.vdb": Path("/Smoke_0010"), "fire9.vdb": Path("/Smoke_0009")}
    assert smoke.folder == ("Smoke",)
    assert smoke.record.volume.settings["is_sequence"] is True


def test_frames_without_the_one_that_has_the_record_are_a_sequence_or_a_single_volume():
    alone = recorded("Smoke_0010", 10, "Smoke_0009")
    (single,) = collect(alone).values()
    assert list(single.files) == ["Smoke_0010.vdb"]
    smoke = collect(alone, recorded("Smoke_0012", 12, "Smoke_0009"))["Smoke"]
    assert list(smoke.files) == ["Smoke_0010.vdb", "Smoke_0012.vdb"]
    assert smoke.record.volume.settings == sequence_settings([10, 12])


def test_numbered_volumes_without_records_become_sequences_of_their_place():
    moved = (2.0, *IDENTITY[1:])
    found = collect(
        answer("fire_08"), answer("fire_09"), answer("fire_10", None, moved), answer("a 1"), answer("a 2")
    )
    assert set(found) == {"fire", "fire_10", "a 1", "a 2"}
    assert found["fire"].record.volume.settings["frame_offset"] == 7
    assert found["fire"].first == "fire_08.vdb"


def test_two_volumes_of_one_name_with_records_are_no_sequence():
    host = host_record.to_json(HostRecord(object=DataReference("a"), volume=VolumeRecord()))
    assert len(collect(answer("a_01", host), answer("a_02", host))) == 2


def test_a_file_or_a_place_that_is_refused_is_named():
    def refuse(path):
        raise ValueError(f"no {path}")

    found, failures = collect_volumes([answer("a")], refuse)
    assert (found, failures) == ([], [{"name": "a", "reason": "no /a"}])
    found, failures = collect_volumes([answer("a", None, [1.0])], Path)
    assert found == []
    assert "16 finite numbers" in failures[0]["reason"]


def test_the_name_of_a_sequence_stands_for_its_frames():
    stored = ["Smoke_0001", "Smoke_0002", "Smoke", "Fire_0001", "Fire", "Mist_1", "Mist01", "Rain_0001"]
    assert names_with_frames(("Smoke", "Rain"), stored) == ["Smoke", "Rain_0001"]
    assert names_with_frames(("Mist",), stored) == ["Mist01"]
    assert names_with_frames(("Gone", "Rain_0001"), stored) == ["Gone", "Rain_0001"]


def test_frames_are_added_up_in_the_report(tmp_path):
    sent, stored = [], []
    for item in (recorded("Smoke_0001", 1), recorded("Smoke_0002", 2, "Smoke_0001"), recorded("Ball", None)):
        item["volume"] = str(tmp_path / f"{item['name']}.vdb")
        Path(item["volume"]).write_bytes(bytes(1000))
        sent.append(item)
        stored.append({"name": item["name"], "bytes": 10, "binary_bytes": 4000, "source_bytes": 0})
    sent.append({"name": "Mesh", "vertices": "", "faces": "", "host": {}})
    stored.append({"name": "Mesh", "bytes": 5, "binary_bytes": 240, "source_bytes": 0})
    objects = joined_frames(stored, sent, source_sizes(sent))
    assert [(item["name"], item["bytes"], item["source_bytes"]) for item in objects] == [
        ("Smoke", 20, 2000),
        ("Ball", 10, 1000),
        ("Mesh", 5, 0),
    ]
    assert [item.get("frames") for item in objects] == [2, 1, None]
    words = encode_words({"objects": objects, "file_bytes": 40})
    assert words == "3 objects, 3 frames, 40 bytes, 81.0 times smaller"


def test_the_report_says_what_was_changed_of_a_preset():
    assert setting_words({"preset": "fine"}) == "preset fine"
    changed = {"max_error": 0.01, "tile": 64}
    assert setting_words({"preset": "fine", "changed": changed}) == "preset fine with max_error 0.01, tile 64"
