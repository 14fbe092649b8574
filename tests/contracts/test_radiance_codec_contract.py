"""What every codec of radiance fields promises, whatever it does inside."""

import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import scene_codec
from scene_codec.errors import Cancelled, CorruptFileError, InvalidRequestError, SceneCodecError
from scene_codec.progress import CancelToken, Progress
from scene_codec.radiance.checkpoint_source import CheckpointFile
from scene_codec.radiance.field import render_view
from scene_codec.radiance.radiance_object import RadianceObject
from scene_codec.radiance.ray_supply import made_cameras

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "codecs"))
import voxel_balls
from nerf_checkpoints import DOMAIN, TINY, write_blob

TINY_SETTINGS = {"nerf-pruned": TINY, "radiance-vqrf": voxel_balls.TINY}
"""Settings with which a codec does its whole work in a second or two; every new codec adds a line."""

WRITERS = {"nerf-pruned": write_blob, "radiance-vqrf": voxel_balls.write_ball}
"""What writes a file that a codec takes; every new codec adds a line."""

CODECS = [info.name for info in scene_codec.list_codecs() if info.content == "radiance"]


@pytest.fixture(autouse=True, scope="module")
def few_rays():
    with pytest.MonkeyPatch.context() as patch:
        voxel_balls.look_at_little(patch)
        yield


@pytest.fixture(scope="module", params=CODECS)
def codec(request):
    return request.param


@pytest.fixture(scope="module")
def checkpoint(codec, tmp_path_factory):
    return WRITERS[codec](tmp_path_factory.mktemp("checkpoint") / "blob.tar")


def some_objects(checkpoint):
    placed = np.eye(4)
    placed[:3, 3] = (1.0, -2.0, 3.5)
    return [
        CheckpointFile("Körper", (checkpoint,), placed, b'{"collection": "Szene"}'),
        CheckpointFile("copy of Körper", (checkpoint,), np.diag([2.0, 2.0, 2.0, 1.0])),
    ]


@pytest.fixture(scope="module")
def encoded(codec, checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("encoded") / "set.nscene"
    settings = TINY_SETTINGS[codec]
    report = scene_codec.encode(some_objects(checkpoint), path, codec=codec, settings=settings, device="cpu")
    return path, report


def picture(item):
    return render_view(item.field, made_cameras(DOMAIN, 3)[1].resized(16, 16)).colour


def test_names_places_and_host_data_come_back(encoded, checkpoint):
    found = list(scene_codec.decode(encoded[0], device="cpu"))
    for item, given in zip(found, some_objects(checkpoint), strict=True):
        assert isinstance(item, RadianceObject)
        assert item.name == given.name
        assert item.host == given.host
        np.testing.assert_array_equal(item.transform, given.transform)


def test_the_same_files_are_stored_once(encoded):
    objects = scene_codec.inspect(encoded[0]).objects
    assert objects[1].instance_of == objects[0].name
    first, second = scene_codec.decode(encoded[0], device="cpu")
    np.testing.assert_array_equal(picture(first), picture(second))


def test_every_byte_is_accounted_for(encoded):
    path, report = encoded
    summary = scene_codec.inspect(path)
    parts = summary.header_bytes + sum(part.bytes for part in summary.shared)
    assert parts + sum(item.bytes for item in summary.objects) == path.stat().st_size
    assert report.file_bytes == path.stat().st_size
    assert all(part.label != "unknown" for item in summary.objects for part in item.sections)


def test_one_object_decodes_without_the_others(encoded):
    (item,) = scene_codec.decode(encoded[0], only="copy of Körper", device="cpu")
    assert item.name == "copy of Körper"


def test_a_truncated_file_is_refused_at_every_length(encoded, tmp_path):
    data = encoded[0].read_bytes()
    path = tmp_path / "cut.nscene"
    for length in [*range(0, len(data), max(1, len(data) // 60)), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(CorruptFileError):
            list(scene_codec.decode(path, device="cpu"))


def test_a_flipped_bit_is_noticed(encoded, tmp_path):
    data = encoded[0].read_bytes()
    path = tmp_path / "flipped.nscene"
    generator = np.random.default_rng(0)
    for position in generator.choice(len(data), 60, replace=False):
        damaged = bytearray(data)
        damaged[position] ^= 1 << int(generator.integers(8))
        path.write_bytes(bytes(damaged))
        with pytest.raises(SceneCodecError):
            list(scene_codec.decode(path, device="cpu"))


def test_cancelling_leaves_the_old_file(codec, checkpoint, tmp_path):
    path = tmp_path / "old.nscene"
    scene_codec.encode(checkpoint, path, codec=codec, settings=TINY_SETTINGS[codec], device="cpu")
    before = path.read_bytes()
    token = CancelToken()
    calls = []

    def stop(event):
        calls.append(event)
        if len(calls) == 4:
            token.cancel()

    settings = {**TINY_SETTINGS[codec], "seed": 1}
    with pytest.raises(Cancelled):
        scene_codec.encode(
            checkpoint, path, codec=codec, settings=settings, device="cpu", progress=Progress(stop, token)
        )
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["old.nscene"]


def test_progress_never_goes_back(codec, checkpoint, tmp_path):
    fractions = []
    progress = Progress(lambda event: fractions.append(event.fraction))
    settings = TINY_SETTINGS[codec]
    scene_codec.encode(
        checkpoint, tmp_path / "f.nscene", codec=codec, settings=settings, device="cpu", progress=progress
    )
    assert fractions == sorted(fractions)
    assert len(fractions) > 3


def test_files_decode_in_other_threads(encoded):
    found = []
    threads = [
        threading.Thread(
            target=lambda: found.append(picture(next(scene_codec.decode(encoded[0], device="cpu"))))
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


def test_a_setting_that_is_not_there_is_named(codec, checkpoint, tmp_path):
    with pytest.raises(InvalidRequestError, match="stepz"):
        scene_codec.encode(checkpoint, tmp_path / "f.nscene", codec=codec, settings={"stepz": 3})


def test_meshes_in_place_of_fields_are_refused(codec, tmp_path):
    (tmp_path / "cube.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", encoding="utf-8")
    with pytest.raises(SceneCodecError):
        scene_codec.encode(tmp_path / "cube.obj", tmp_path / "f.nscene", codec=codec)
