"""What every codec of meshes promises, whatever it does inside."""

import threading

import numpy as np
import pytest

import scene_codec
from scene_codec.bitstream import MAGIC, open_scene_file, serialise
from scene_codec.bitstream.records import ObjectRecord, SceneContent, Section
from scene_codec.errors import (
    Cancelled,
    CorruptFileError,
    InvalidRequestError,
    SceneCodecError,
    UnsupportedSceneError,
    UnsupportedVersionError,
)
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh
from scene_codec.progress import CancelToken, Progress

TINY_SETTINGS = {
    "mesh-necgs": {"resolution": 32, "widths": [6, 5, 4], "minimum_steps": 40, "added_epochs": 20},
    "mesh-surface": {"target_error": 1.0, "fit": 1},
}
"""Settings with which a codec does its whole work in a second or two; every new codec adds a line."""

CODECS = [info.name for info in scene_codec.list_codecs() if info.content == "mesh"]


def octahedron(scale=(1.0, 1.0, 1.0), centre=(0.0, 0.0, 0.0)):
    corners = np.array(
        [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=np.float64
    )
    faces = [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
    return TriangleMesh(corners * scale + centre, np.array(faces, dtype=np.int64))


def some_objects():
    placed = np.eye(4)
    placed[:3, 3] = (1.0, -2.0, 3.5)
    shared = octahedron((1.0, 0.6, 0.8))
    return [
        SceneObject("Körper", shared, placed, b'{"collection": "Szene"}'),
        SceneObject("far away", octahedron((2.0, 1.0, 1.5), (1e6, 0.0, -3e5))),
        SceneObject("copy of Körper", shared, -placed[:, [1, 0, 2, 3]] * [1, 1, 1, -1]),
    ]


@pytest.fixture(scope="module", params=CODECS)
def codec(request):
    return request.param


@pytest.fixture(scope="module")
def encoded(codec, tmp_path_factory):
    path = tmp_path_factory.mktemp("encoded") / "set.nscene"
    report = scene_codec.encode(
        some_objects(), path, codec=codec, settings=TINY_SETTINGS[codec], device="cpu"
    )
    return path, report


def test_every_codec_has_tiny_settings():
    assert set(CODECS) == set(TINY_SETTINGS)


def test_round_trip_keeps_names_places_and_host_data(encoded):
    path, report = encoded
    assert report.failures == ()
    decoded = list(scene_codec.decode(path, device="cpu"))
    for original, item in zip(some_objects(), decoded, strict=True):
        assert item.name == original.name
        assert item.host == original.host
        np.testing.assert_allclose(item.transform, original.transform)
        size = np.ptp(original.mesh.vertices, axis=0).max()
        for side in (np.min, np.max):
            # Half the truncation of the coarsest grid: the mesh is where it was, if not yet what it was.
            np.testing.assert_allclose(
                side(item.mesh.vertices, axis=0), side(original.mesh.vertices, axis=0), atol=0.2 * size
            )


def test_the_report_is_what_inspect_says_and_what_lies_on_disk(encoded):
    path, report = encoded
    summary = scene_codec.inspect(path)
    assert summary.file_bytes == report.file_bytes == path.stat().st_size
    assert [item.bytes for item in summary.objects] == [item.bytes for item in report.objects]
    parts = summary.header_bytes + sum(section.bytes for section in summary.shared)
    assert parts + sum(item.bytes for item in summary.objects) == summary.file_bytes
    labels = {
        section.label for item in (summary, *summary.objects) for section in getattr(item, "sections", ())
    }
    assert "unknown" not in labels | {section.label for section in summary.shared}


def test_the_same_geometry_is_stored_once(encoded):
    summary = scene_codec.inspect(encoded[0])
    assert summary.objects[2].instance_of == "Körper"
    assert summary.objects[2].sections == ()


def test_the_same_input_gives_the_same_bytes(encoded, codec, tmp_path):
    again = tmp_path / "again.nscene"
    scene_codec.encode(some_objects(), again, codec=codec, settings=TINY_SETTINGS[codec], device="cpu")
    assert again.read_bytes() == encoded[0].read_bytes()


def test_one_object_is_decoded_without_the_others(encoded):
    path, _ = encoded
    everything = {item.name: item for item in scene_codec.decode(path, device="cpu")}
    for name, expected in everything.items():
        (alone,) = scene_codec.decode(path, only=[name], device="cpu")
        np.testing.assert_array_equal(alone.mesh.vertices, expected.mesh.vertices)
        np.testing.assert_array_equal(alone.mesh.faces, expected.mesh.faces)


def test_an_unknown_name_is_refused_and_a_like_one_suggested(encoded):
    with pytest.raises(InvalidRequestError, match="far away"):
        scene_codec.decode(encoded[0], only=["far awy"])


def test_adding_leaves_every_old_section_as_it_was(encoded, tmp_path):
    path, _ = encoded
    grown = tmp_path / "grown.nscene"
    more = [SceneObject("Körper", octahedron((0.5, 1.0, 1.0))), some_objects()[1]]
    report = scene_codec.add(path, more, output=grown, device="cpu")
    assert [item.name for item in report.objects] == ["Körper.001", "far away.001"]
    with open_scene_file(path) as old, open_scene_file(grown) as new:
        before, after = b"".join(old.raw_sections()), b"".join(new.raw_sections())
        assert after.startswith(before)
        assert new.names[: len(old.names)] == old.names
    old_meshes = [item.mesh for item in scene_codec.decode(path, device="cpu")]
    new_meshes = [item.mesh for item in scene_codec.decode(grown, device="cpu")]
    assert len(new_meshes) == len(old_meshes) + 2
    for old_mesh, new_mesh in zip(old_meshes, new_meshes, strict=False):
        np.testing.assert_array_equal(old_mesh.vertices, new_mesh.vertices)
    assert all(len(mesh.faces) > 0 for mesh in new_meshes)


def decode_all(data, tmp_path):
    damaged = tmp_path / "damaged.nscene"
    damaged.write_bytes(data)
    return list(scene_codec.decode(damaged, device="cpu"))


def test_truncated_files_are_refused(encoded, tmp_path):
    data = encoded[0].read_bytes()
    lengths = sorted({*range(0, 200, 7), *np.linspace(0, len(data) - 1, 40).astype(int).tolist()})
    for length in lengths:
        with pytest.raises(CorruptFileError):
            decode_all(data[:length], tmp_path)


def test_extra_bytes_are_refused(encoded, tmp_path):
    with pytest.raises(CorruptFileError):
        decode_all(encoded[0].read_bytes() + b"\0", tmp_path)


def test_damaged_payloads_with_right_checksums_end_in_one_error_or_in_a_mesh(encoded, codec, tmp_path):
    """A hostile writer computes checksums too: whatever sections hold, nothing but our error comes out."""
    generator = np.random.default_rng(5)
    with open_scene_file(encoded[0]) as file:
        shared = {section.kind: file.read_shared(section.kind) for section in file.shared}
        own = {section.kind: file.read_object(0, section.kind) for section in file.object(0).sections}
        version = file.payload_version
    for _ in range(60):
        pieces = {**shared, **{-kind: payload for kind, payload in own.items()}}
        victim = generator.choice(list(pieces))
        damaged = bytearray(pieces[victim])
        for _ in range(generator.integers(1, 4)):
            damaged[generator.integers(len(damaged))] = generator.integers(256)
        pieces[victim] = bytes(damaged[: generator.integers(1, len(damaged) + 1)])
        content = SceneContent(
            codec,
            version,
            tuple(Section(kind, pieces[kind]) for kind in shared),
            (ObjectRecord("x", tuple(Section(kind, pieces[-kind]) for kind in own)),),
        )
        try:
            decode_all(serialise(content), tmp_path)
        except SceneCodecError as error:
            assert isinstance(error, CorruptFileError)  # noqa: PT017 - no error at all is right as well


def test_missing_sections_are_refused(encoded, codec, tmp_path):
    with open_scene_file(encoded[0]) as file:
        version = file.payload_version
    content = SceneContent(codec, version, (), (ObjectRecord("x", ()),))
    with pytest.raises(CorruptFileError):
        decode_all(serialise(content), tmp_path)


def test_a_newer_payload_is_refused_with_advice(codec, tmp_path):
    data = serialise(SceneContent(codec, 60_000, (), ()))
    with pytest.raises(UnsupportedVersionError, match="Update"):
        decode_all(data, tmp_path)


def test_nothing_to_encode_is_refused(codec, tmp_path):
    target = tmp_path / "none.nscene"
    with pytest.raises(UnsupportedSceneError):
        scene_codec.encode([], target, codec=codec, settings=TINY_SETTINGS[codec])
    assert not target.exists()


def test_when_nothing_can_be_encoded_the_error_names_the_reasons(codec, tmp_path):
    nowhere = [SceneObject("nowhere", octahedron(), np.full((4, 4), np.inf))]
    with pytest.raises(UnsupportedSceneError, match="nowhere: its transform"):
        scene_codec.encode(nowhere, tmp_path / "x.nscene", codec=codec, settings=TINY_SETTINGS[codec])
    flat = [SceneObject("flat", TriangleMesh(np.zeros((3, 3)), np.array([[0, 1, 2]])))]
    with pytest.raises(UnsupportedSceneError, match="flat"):
        scene_codec.encode(flat, tmp_path / "x.nscene", codec=codec, settings=TINY_SETTINGS[codec])


def test_unusable_objects_are_named_and_the_others_encoded(codec, tmp_path):
    nowhere = np.full((3, 3), np.nan)
    bad = [
        SceneObject("not a number", TriangleMesh(nowhere, np.array([[0, 1, 2]]))),
        SceneObject("empty", TriangleMesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))),
        SceneObject("nowhere", octahedron(), np.full((4, 4), np.inf)),
    ]
    target = tmp_path / "some.nscene"
    report = scene_codec.encode(
        [*bad, some_objects()[0]], target, codec=codec, settings=TINY_SETTINGS[codec], device="cpu"
    )
    assert {failure.name for failure in report.failures} == {"not a number", "empty", "nowhere"}
    assert all(failure.reason for failure in report.failures)
    assert [item.name for item in report.objects] == ["Körper"]


def test_cancelling_writes_nothing_and_the_next_run_goes_on(codec, tmp_path, monkeypatch, encoded):
    monkeypatch.setenv("SCENE_CODEC_CACHE", str(tmp_path / "cache" / "results"))
    target = tmp_path / "cancelled.nscene"
    old = MAGIC + b"an older file"
    target.write_bytes(old)
    token = CancelToken()
    events = []

    def stop_halfway(event):
        events.append(event)
        if event.fraction > 0.5:
            token.cancel()

    with pytest.raises(Cancelled):
        scene_codec.encode(
            some_objects(),
            target,
            codec=codec,
            settings=TINY_SETTINGS[codec],
            device="cpu",
            progress=Progress(stop_halfway, token),
        )
    assert target.read_bytes() == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "cancelled.nscene"]
    resumed = []
    scene_codec.encode(
        some_objects(),
        target,
        codec=codec,
        settings=TINY_SETTINGS[codec],
        device="cpu",
        progress=Progress(resumed.append),
    )
    assert len(resumed) < 2 * len(events)
    assert target.read_bytes() == encoded[0].read_bytes()


def test_progress_rises_to_the_end_and_comes_from_the_callers_thread(codec, tmp_path):
    events, threads = [], set()

    def listen(event):
        events.append(event.fraction)
        threads.add(threading.get_ident())

    scene_codec.encode(
        some_objects()[:1],
        tmp_path / "one.nscene",
        codec=codec,
        settings=TINY_SETTINGS[codec],
        device="cpu",
        progress=Progress(listen),
    )
    assert events == sorted(events)
    assert events[-1] == pytest.approx(1.0)
    assert threads == {threading.get_ident()}


def test_wrong_settings_are_refused_by_name(codec, tmp_path):
    target = tmp_path / "x.nscene"
    with pytest.raises(InvalidRequestError, match="no setting 'colour'"):
        scene_codec.encode(some_objects(), target, codec=codec, settings={"colour": 1})
    with pytest.raises(InvalidRequestError, match="preset"):
        scene_codec.encode(some_objects(), target, codec=codec, preset="no such preset")
    with pytest.raises(InvalidRequestError, match="device"):
        scene_codec.encode(some_objects(), target, codec=codec, device="abacus")
    with pytest.raises(InvalidRequestError, match="folder"):
        scene_codec.encode(some_objects(), tmp_path / "missing" / "x.nscene", codec=codec)
