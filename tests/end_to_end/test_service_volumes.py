"""The add-on's client and the real service: .vdb files become one file and come back as .vdb files."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scene_codec_addon.array_files import ArrayFolder
from scene_codec_addon.backend_client import BackendClient
from scene_codec_addon.backend_process import BackendError, service_command

from scene_codec.volumes.vdb_file import load_vdb, save_vdb
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

TIMEOUT_S = 300
TRANSFORM = [float(n) for n in (2, 0, 0, -5, 0, 1, 0.5, 1000, 0, -0.5, 1, 0, 0, 0, 0, 1)]
FRAMES = 3
MAX_ERROR = 0.01


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volume service")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCENE_CODEC_CACHE", str(folder / "cache"))
        patch.setenv("OMP_NUM_THREADS", "1")
        log = folder / "backend.log"
        client = BackendClient.start(service_command(sys.executable, log), log, "0.1.0")
        client.wait_until_ready(TIMEOUT_S)
        yield client
        client.close()


def frame(number):
    """Return a ball that moves along x, as smoke and as the truth about where it is."""
    places = np.indices((20, 16, 12)).astype(np.float32)
    centre = np.array([6 + number, 8, 6], np.float32).reshape(3, 1, 1, 1)
    density = np.maximum(0, 1 - np.linalg.norm(places - centre, axis=0) / 5).astype(np.float32)
    smoke = VolumeGrid("density", density, density > 0, (3, -2, 1), kind="fog volume")
    inside = VolumeGrid("inside", density > 0.5)
    return VolumeObject(f"ball_{number:04d}", (smoke, inside))


@pytest.fixture
def objects(tmp_path):
    """The frames of a sequence as the add-on describes them."""
    described = []
    for number in range(1, FRAMES + 1):
        volume = frame(number)
        path = tmp_path / f"Größe {number:04d}.vdb"
        save_vdb(volume, path)
        host = {"frame": number}
        described.append({"name": volume.name, "volume": str(path), "transform": TRANSFORM, "host": host})
    return described


def encode(client, tmp_path, objects, **params):
    output = tmp_path / "ö.nscene"
    params = {"objects": objects, "output": str(output), "settings": {"max_error": MAX_ERROR}, **params}
    return output, client.call("encode", params, TIMEOUT_S)


def decode(client, tmp_path, file, **params):
    with ArrayFolder(tmp_path) as arrays:
        params = {"file": str(file), "folder": str(arrays.path), **params}
        return client.call("decode", params, TIMEOUT_S)


def test_a_sequence_comes_back_as_vdb_files_within_its_error(client, tmp_path, objects):
    file, report = encode(client, tmp_path, objects)
    assert report["codec"] == "volume-wavelet"
    assert [stored["name"] for stored in report["objects"]] == [item["name"] for item in objects]
    for only in (None, ["ball_0003"]):
        folder = tmp_path / "new" / f"folder {only}"
        result = decode(client, tmp_path, file, volume_folder=str(folder), only=only)
        assert result["failures"] == []
        expected = objects if only is None else objects[2:]
        assert [item["name"] for item in result["objects"]] == [item["name"] for item in expected]
        for item, original in zip(result["objects"], expected, strict=True):
            assert item["transform"] == TRANSFORM
            assert item["host"] == original["host"]
            assert Path(item["volume"]).parent == folder
            before, after = load_vdb(original["volume"]), load_vdb(item["volume"])
            for old, new in zip(before.grids, after.grids, strict=True):
                assert (old.name, old.corner, old.kind) == (new.name, new.corner, new.kind)
                assert np.array_equal(old.active, new.active)
                difference = old.values.astype(np.float64) - new.values.astype(np.float64)
                assert np.abs(difference).max() <= MAX_ERROR


def test_the_folder_for_volumes_is_made_only_when_there_are_any(client, tmp_path):
    with ArrayFolder(tmp_path) as arrays:
        triangle = {
            "name": "triangle",
            "vertices": arrays.write(np.eye(3, dtype=np.float32)),
            "faces": arrays.write(np.array([[0, 1, 2]], np.int32)),
            "transform": TRANSFORM,
            "host": {},
        }
        settings = {"resolution": 32, "widths": [6, 5, 4], "minimum_steps": 10, "epochs": 1}
        file, _ = encode(client, tmp_path, [triangle], codec="mesh-necgs", settings=settings)
        decode(client, tmp_path, file, volume_folder=str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_volumes_without_a_folder_for_them_are_refused(client, tmp_path, objects):
    file, _ = encode(client, tmp_path, objects[:1])
    with pytest.raises(BackendError, match="volume_folder"):
        decode(client, tmp_path, file)
    with pytest.raises(BackendError, match="absolute"):
        decode(client, tmp_path, file, volume_folder="relative")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"vertices": "/a.npy"}, "give either"),
        ({"volume": None}, "give either"),
        ({"volume": "relative.vdb"}, "absolute"),
        ({"transform": [1.0] * 15}, "transform"),
        ({"volume": 7}, "volume"),
    ],
)
def test_wrong_objects_are_refused_in_words(client, tmp_path, objects, fields, words):
    with pytest.raises(BackendError, match=words):
        encode(client, tmp_path, [{**objects[0], **fields}])
    assert not (tmp_path / "ö.nscene").exists()


def test_a_frame_that_is_missing_or_damaged_is_named_and_the_others_are_stored(client, tmp_path, objects):
    Path(objects[0]["volume"]).unlink()
    damaged = Path(objects[1]["volume"])
    damaged.write_bytes(damaged.read_bytes()[:-20])
    _, report = encode(client, tmp_path, objects)
    assert [stored["name"] for stored in report["objects"]] == ["ball_0003"]
    assert {failure["name"] for failure in report["failures"]} == {"ball_0001", "ball_0002"}


def test_volumes_and_meshes_do_not_go_into_one_file(client, tmp_path, objects):
    with ArrayFolder(tmp_path) as arrays:
        vertices, faces = arrays.write(np.eye(3)), arrays.write(np.array([[0, 1, 2]]))
        mesh = {"name": "m", "vertices": vertices, "faces": faces, "transform": TRANSFORM, "host": {}}
        with pytest.raises(BackendError, match="two files"):
            encode(client, tmp_path, [*objects, mesh])


def test_a_cancelled_job_leaves_no_file(client, tmp_path):
    path = tmp_path / "ball.vdb"
    save_vdb(frame(1), path)
    objects = [
        {"name": f"ball {number}.", "volume": str(path), "transform": TRANSFORM, "host": {}}
        for number in range(2000)
    ]
    output = tmp_path / "cancelled.nscene"
    job = client.submit("encode", {"objects": objects, "output": str(output)})
    answers = []
    while not answers:
        for event in client.poll():
            if event.kind == "progress":
                client.cancel(job)
            elif event.kind in ("done", "error", "cancelled"):
                answers.append(event.kind)
    assert answers == ["cancelled"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ball.vdb"]
