"""The container's rules one by one, and what the messages say."""

import os
import subprocess
import sys

import pytest

from scene_codec.bitstream import (
    ObjectRecord,
    SceneContent,
    Section,
    account_bytes,
    append_objects,
    open_scene_file,
    serialise,
    write_atomically,
    write_scene_file,
)
from scene_codec.errors import (
    CorruptFileError,
    InvalidRequestError,
    SceneCodecError,
    UnsupportedSceneError,
    UnsupportedVersionError,
)

IDENTITY = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
PLACED = (2.0, 0.5, 0.0, 1.5, 0.0, 1.0, 0.25, -3.0, 0.0, 0.0, 1.0, 7.0, 0.0, 0.0, 0.0, 1.0)


def content_of(*objects: ObjectRecord, shared: tuple[Section, ...] = ()) -> SceneContent:
    return SceneContent("mesh-necgs", 1, shared, objects)


def record_bytes(record: ObjectRecord) -> int:
    with open_scene_file(serialise(content_of(record))) as file:
        return account_bytes(file).record_bytes[0] - len(record.name)


def test_reading_imports_neither_torch_nor_numpy():
    program = (
        "import sys, scene_codec.bitstream\n"
        "assert not {'torch', 'numpy', 'scipy'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_object_costs_under_20_bytes_and_its_name_without_transform_and_under_65_with():
    section = Section(1, bytes(900))
    assert record_bytes(ObjectRecord("Cube", (section,))) < 20
    assert record_bytes(ObjectRecord("Cube", (section,), PLACED)) < 65
    assert record_bytes(ObjectRecord("Cube", (section,), IDENTITY)) < 20


def test_a_transform_that_float32_cannot_hold_is_kept_exactly():
    transform = (0.1, *PLACED[1:])
    with open_scene_file(serialise(content_of(ObjectRecord("a", (), transform)))) as file:
        assert file.object("a").transform == transform


def test_five_thousand_objects_are_listed_and_found_by_name():
    records = tuple(ObjectRecord(f"Part.{i:04}", (Section(1, b"%d" % i),)) for i in range(5000))
    with open_scene_file(serialise(content_of(*records))) as file:
        assert len(file.names) == 5000
        assert file.read_object("Part.4711", 1) == b"4711"
        assert file.read_object(17, 1) == b"17"


def test_an_instance_reads_the_sections_of_its_original():
    original = ObjectRecord("a", (Section(1, b"mesh"),))
    with open_scene_file(serialise(content_of(original, ObjectRecord("b", instance_of=0)))) as file:
        assert file.object("b").sections == ()
        assert file.read_object("b", 1) == b"mesh"


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ((ObjectRecord(""),), "name is empty"),
        ((ObjectRecord("\ud800"),), "no valid Unicode"),
        ((ObjectRecord("ü" * 2049),), "4098 bytes"),
        ((ObjectRecord("a"), ObjectRecord("a")), "same name"),
        ((ObjectRecord("a", host=bytes(65537)),), "65537 host bytes"),
        ((ObjectRecord("a", transform=(float("nan"), *IDENTITY[1:])),), "finite"),
        ((ObjectRecord("a", transform=IDENTITY[:12]),), "16 finite"),
        ((ObjectRecord("a", transform=(*IDENTITY[:15], 2.0)),), "last row"),
        ((ObjectRecord("a", instance_of=0),), "not an earlier one"),
        ((ObjectRecord("a"), ObjectRecord("b", instance_of=-1)), "not an earlier one"),
        (
            (ObjectRecord("a"), ObjectRecord("b", instance_of=0), ObjectRecord("c", instance_of=1)),
            "instance itself",
        ),
        ((ObjectRecord("a"), ObjectRecord("b", (Section(1, b""),), instance_of=0)), "sections of its own"),
        ((ObjectRecord("a", (Section(1, b"x"), Section(1, b"y", False))),), "a kind twice"),
        ((ObjectRecord("a", (Section(65536, b"x"),)),), "tag outside"),
        ((ObjectRecord("a", (Section(-1, b"x"),)),), "tag outside"),
        ((ObjectRecord("a", tuple(Section(kind, b"") for kind in range(65))),), "at most 64"),
    ],
)
def test_content_that_breaks_a_rule_is_refused_with_the_object_and_the_reason(objects, message):
    with pytest.raises(UnsupportedSceneError, match=message):
        serialise(content_of(*objects))


@pytest.mark.parametrize("codec", ["", "Mesh", "a--b", "a b", "x" * 65, "é"])
def test_a_strange_codec_name_is_refused(codec):
    with pytest.raises(UnsupportedSceneError, match="codec name"):
        serialise(SceneContent(codec, 1))


@pytest.mark.parametrize("version", [-1, 65536])
def test_a_payload_version_out_of_range_is_refused(version):
    with pytest.raises(UnsupportedSceneError, match="payload version"):
        serialise(SceneContent("x", version))


def test_an_unknown_optional_section_is_skipped_and_an_unknown_required_one_refused():
    optional = content_of(ObjectRecord("a", (Section(1, b""), Section(77, b"", required=False))))
    with open_scene_file(serialise(optional)) as file:
        file.require_known_kinds(shared=(), per_object={1})
    required = content_of(ObjectRecord("a", (Section(77, b""),)), shared=(Section(78, b""),))
    with (
        open_scene_file(serialise(required)) as file,
        pytest.raises(UnsupportedVersionError, match=r"kind 77, 78 .*Update"),
    ):
        file.require_known_kinds(shared={77}, per_object={78})


def test_a_misspelt_name_is_answered_with_the_nearest_ones():
    with open_scene_file(serialise(content_of(ObjectRecord("Suzanne"), ObjectRecord("Cube")))) as file:
        with pytest.raises(InvalidRequestError, match="'Suzanne'"):
            file.object("Susanne")
        with pytest.raises(InvalidRequestError, match="no number 2"):
            file.object(2)


def test_damage_names_the_section_and_the_object_and_spares_the_others():
    records = (ObjectRecord("good", (Section(1, b"aaaa"),)), ObjectRecord("bad", (Section(3, b"bbbb"),)))
    data = bytearray(serialise(content_of(*records, shared=(Section(0, b"cc"),))))
    data[-1] ^= 1
    with open_scene_file(bytes(data)) as file:
        assert file.read_object("good", 1) == b"aaaa"
        assert file.read_shared(0) == b"cc"
        for read in (lambda: file.read_object("bad", 3), file.verify):
            with pytest.raises(CorruptFileError, match=r"kind 3 of object 'bad' \(bytes \d+ to"):
                read()


def test_asking_for_an_absent_kind_says_whose_it_is():
    with open_scene_file(serialise(content_of(ObjectRecord("a")))) as file:
        with pytest.raises(CorruptFileError, match="object 'a' has no section of kind 5"):
            file.read_object("a", 5)
        with pytest.raises(CorruptFileError, match="the shared part has no section of kind 6"):
            file.read_shared(6)


def test_a_file_changed_by_a_text_mode_transfer_is_recognised():
    data = serialise(content_of(ObjectRecord("a"))).replace(b"\r\n", b"\n")
    with pytest.raises(CorruptFileError, match="text mode"):
        open_scene_file(data)


def test_append_leaves_the_bytes_of_old_sections_untouched_even_damaged_ones(tmp_path):
    path, output = tmp_path / "set.nscene", tmp_path / "more.nscene"
    old = (ObjectRecord("a", (Section(1, b"12345678"),)), ObjectRecord("again", instance_of=0))
    write_scene_file(path, content_of(*old, shared=(Section(0, b"dec"),)))
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    append_objects(path, [ObjectRecord("b", (Section(1, b"new"),)), ObjectRecord("c", instance_of=0)], output)
    assert path.read_bytes() == bytes(damaged)
    with open_scene_file(output) as file:
        assert file.names == ("a", "again", "b", "c")
        assert b"".join(file.raw_sections()) == bytes(damaged[-11:]) + b"new"
        with pytest.raises(CorruptFileError):
            file.read_object("c", 1)


def test_append_refuses_a_name_that_is_taken_and_keeps_the_file(tmp_path):
    path = tmp_path / "set.nscene"
    write_scene_file(path, content_of(ObjectRecord("a", (Section(1, b"x"),))))
    before = path.read_bytes()
    with pytest.raises(UnsupportedSceneError, match="same name"):
        append_objects(path, [ObjectRecord("a")])
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["set.nscene"]


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path, monkeypatch):
    path = tmp_path / "set.nscene"
    path.write_bytes(b"old")

    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(SceneCodecError, match="No space left"):
        write_scene_file(path, content_of(ObjectRecord("a")))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_keeps_the_old_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "set.nscene"
    path.write_bytes(b"old")

    def interrupted():
        yield b"new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, interrupted())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folders_and_files_are_named(tmp_path):
    with pytest.raises(SceneCodecError, match=r"nowhere.a\.nscene"):
        write_scene_file(tmp_path / "nowhere" / "a.nscene", content_of())
    with pytest.raises(InvalidRequestError, match=r"b\.nscene"):
        open_scene_file(tmp_path / "b.nscene")
    with pytest.raises(InvalidRequestError):
        open_scene_file(tmp_path)


def test_a_write_through_a_link_keeps_the_link_and_the_permissions(tmp_path):
    target, link = tmp_path / "real.nscene", tmp_path / "link.nscene"
    target.write_bytes(b"old")
    target.chmod(0o640)
    try:
        link.symlink_to(target)
    except OSError:
        pytest.skip("symbolic links are not allowed on this system")
    write_scene_file(link, content_of(ObjectRecord("a")))
    assert link.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o640 or os.name == "nt"
    with open_scene_file(link) as file:
        assert file.names == ("a",)
