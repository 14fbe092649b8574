"""What `encode` and `add` do to files that are there already, and what stays when they are stopped."""

import subprocess
import sys

import numpy as np
import pytest

import scene_codec
from scene_codec import api
from scene_codec.bitstream import open_scene_file
from scene_codec.codecs.mesh_necgs.decoder import SetDecoder
from scene_codec.errors import CorruptFileError, InvalidRequestError, SceneCodecError
from scene_codec.geometry.mesh_files import save_scene_object
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh
from scene_codec.object_inputs import content_of
from scene_codec.scaling.cache import default_cache_folder

SETTINGS = {"resolution": 32, "widths": (4, 4, 4), "minimum_steps": 20, "epochs": 1}
CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float64)
TETRAHEDRON = TriangleMesh(CORNERS, np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], dtype=np.int64))


def encode(output, seed=0):
    return scene_codec.encode(
        [SceneObject("one", TETRAHEDRON)],
        output,
        codec="mesh-necgs",
        settings={**SETTINGS, "seed": seed},
        device="cpu",
    )


def job_folders():
    folder = default_cache_folder().parent / "jobs"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_mesh_is_never_replaced_by_its_own_encoding(tmp_path):
    mesh = tmp_path / "one.obj"
    save_scene_object(SceneObject("one", TETRAHEDRON), mesh)
    before = mesh.read_bytes()
    with pytest.raises(InvalidRequestError, match="choose another name"):
        scene_codec.encode([mesh], mesh, codec="mesh-necgs", settings=SETTINGS, device="cpu")
    assert mesh.read_bytes() == before


def test_an_older_scene_file_is_replaced(tmp_path):
    path = tmp_path / "one.nscene"
    encode(path)
    before = path.read_bytes()
    encode(path, seed=1)
    assert path.read_bytes() != before


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(api.tempfile, "TemporaryFile", refuse)
    with pytest.raises(InvalidRequestError, match="Permission denied"):
        encode(tmp_path / "one.nscene")


def test_when_the_file_cannot_be_written_the_training_is_kept_for_the_next_run(tmp_path, monkeypatch):
    def refuse(*_):
        raise SceneCodecError("disk full")

    before = job_folders()
    with monkeypatch.context() as patch:
        patch.setattr(api, "write_scene_file", refuse)
        with pytest.raises(SceneCodecError, match="disk full"):
            encode(tmp_path / "one.nscene", seed=7)
    (kept,) = set(job_folders()) - set(before)
    assert (default_cache_folder().parent / "jobs" / kept / "checkpoint.pt").exists()
    encode(tmp_path / "one.nscene", seed=7)
    assert kept not in job_folders()


def test_nothing_is_added_to_a_file_that_was_changed_in_the_meantime(tmp_path, monkeypatch):
    path = tmp_path / "one.nscene"
    encode(path)
    append = api.append_objects

    def replaced_first(*arguments, **options):
        encode(path, seed=3)
        return append(*arguments, **options)

    monkeypatch.setattr(api, "append_objects", replaced_first)
    turned = TriangleMesh(TETRAHEDRON.vertices[:, ::-1].copy(), TETRAHEDRON.faces[:, ::-1].copy())
    with pytest.raises(InvalidRequestError, match="changed"):
        scene_codec.add(path, [SceneObject("two", turned)], device="cpu")
    with open_scene_file(path) as file:
        assert file.names == ("one",)


def test_one_input_and_one_name_need_no_list(tmp_path):
    mesh, path = tmp_path / "one.ply", tmp_path / "one.nscene"
    save_scene_object(SceneObject("one", TETRAHEDRON), mesh)
    scene_codec.encode(str(mesh), path, codec="mesh-necgs", settings=SETTINGS, device="cpu")
    (item,) = scene_codec.decode(path, only="one", device="cpu")
    assert item.name == "one"


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        (SceneObject("bad", TETRAHEDRON, np.eye(3)), "shape"),
        (SceneObject("bad", TETRAHEDRON, np.full((4, 4), np.nan)), "finite"),
        (SceneObject("bad", TriangleMesh(CORNERS[:, :2], TETRAHEDRON.faces)), "vertices"),
        (SceneObject("bad", TriangleMesh(CORNERS, TETRAHEDRON.faces.astype(float))), "integers"),
        (SceneObject("bad", TETRAHEDRON, host=bytes(2**16 + 1)), "host data"),
        (SceneObject("\ud800", TETRAHEDRON), "Unicode"),
        (SceneObject("n" * 5000, TETRAHEDRON), "5000 bytes"),
    ],
)
def test_arrays_that_make_no_sense_are_refused_by_name(tmp_path, changed, word):
    good = SceneObject("good", TETRAHEDRON)
    report = scene_codec.encode(
        [good, changed], tmp_path / "x.nscene", codec="mesh-necgs", settings=SETTINGS, device="cpu"
    )
    (failure,) = report.failures
    assert failure.name == changed.name
    assert word in failure.reason


def test_instances_are_decoded_once(tmp_path, monkeypatch):
    path = tmp_path / "three.nscene"
    copies = [SceneObject(name, TETRAHEDRON) for name in "abc"]
    scene_codec.encode(copies, path, codec="mesh-necgs", settings=SETTINGS, device="cpu")
    calls = []
    decode = SetDecoder.decode
    monkeypatch.setattr(SetDecoder, "decode", lambda *args: calls.append(args) or decode(*args))
    first, second, third = scene_codec.decode(path, device="cpu")
    assert first.mesh is second.mesh is third.mesh
    assert len(calls) == 1


def test_a_damaged_object_does_not_stop_the_others_when_failures_are_asked_for(tmp_path):
    path = tmp_path / "two.nscene"
    other = TriangleMesh(CORNERS * (1.0, 2.0, 3.0), TETRAHEDRON.faces)
    scene_codec.encode(
        [SceneObject("one", TETRAHEDRON), SceneObject("two", other)],
        path,
        codec="mesh-necgs",
        settings=SETTINGS,
        device="cpu",
    )
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1  # inside the last object's section
    path.write_bytes(raw)
    failures = []
    assert [item.name for item in scene_codec.decode(path, device="cpu", failures=failures)] == ["one"]
    assert [failure.name for failure in failures] == ["two"]
    with pytest.raises(CorruptFileError, match="two"):
        list(scene_codec.decode(path, device="cpu"))


def test_a_damaged_checkpoint_is_as_good_as_none(tmp_path, monkeypatch):
    def refuse(*_):
        raise SceneCodecError("disk full")

    encode(tmp_path / "good.nscene", seed=11)
    monkeypatch.setenv("SCENE_CODEC_CACHE", str(tmp_path / "cache" / "results"))
    with monkeypatch.context() as patch:
        patch.setattr(api, "write_scene_file", refuse)
        with pytest.raises(SceneCodecError, match="disk full"):
            encode(tmp_path / "one.nscene", seed=11)
    (checkpoint,) = (default_cache_folder().parent / "jobs").glob("*/checkpoint.pt")
    whole = checkpoint.read_bytes()
    for damaged in (b"", whole[:50], whole[: len(whole) // 2], whole[:200] + b"x" + whole[201:]):
        checkpoint.parent.mkdir(exist_ok=True)
        checkpoint.write_bytes(damaged)
        encode(tmp_path / "one.nscene", seed=11)
        assert (tmp_path / "one.nscene").read_bytes() == (tmp_path / "good.nscene").read_bytes()


def test_a_cache_folder_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SCENE_CODEC_CACHE", str(tmp_path / "file" / "results"))
    with pytest.raises(SceneCodecError, match="SCENE_CODEC_CACHE"):
        encode(tmp_path / "one.nscene")


def test_volumes_need_neither_torch_nor_mesh_libraries(tmp_path):
    """The command starts in a fraction of a second only without them."""
    program = (
        "import sys, numpy, scene_codec; "
        "numpy.save('a.npy', numpy.ones((4, 5, 6), 'f4')); "
        "scene_codec.encode('a.npy', 'a.nscene'); "
        "(item,) = scene_codec.decode('a.nscene'); "
        "assert item.grids[0].values.all(); "
        "print([name for name in ('torch', 'trimesh', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_an_unknown_device_is_refused_whatever_the_codec(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((4, 5, 6), np.float32))
    with pytest.raises(InvalidRequestError, match="no device 'gpu'"):
        scene_codec.encode(tmp_path / "a.npy", tmp_path / "a.nscene", device="gpu")


def test_a_folder_of_meshes_and_volumes_is_refused_and_one_with_textures_is_not(tmp_path):
    save_scene_object(SceneObject("one", TETRAHEDRON), tmp_path / "one.ply")
    (tmp_path / "texture.tif").write_bytes(b"a picture")
    assert content_of(tmp_path) == "mesh"
    np.save(tmp_path / "a.npy", np.ones((4, 5, 6), np.float32))
    with pytest.raises(InvalidRequestError, match=r"one\.ply.*a\.npy"):
        scene_codec.encode(tmp_path, tmp_path / "a.nscene", device="cpu")
    report = scene_codec.encode(tmp_path, tmp_path / "a.nscene", codec="volume-wavelet", device="cpu")
    assert "a" in [item.name for item in report.objects]


@pytest.mark.parametrize("name", ["notes.txt", "sources.tar", ".hidden.obj"])
def test_a_folder_with_nothing_to_encode_is_refused_with_all_that_could_be(name, tmp_path):
    (tmp_path / name).write_bytes(b"no scene")
    with pytest.raises(InvalidRequestError) as refusal:
        scene_codec.encode([tmp_path], tmp_path / "x.nscene")
    for words in ("no mesh (.obj", "no volume (.npy", "no trained radiance field (.tar", str(tmp_path)):
        assert words in str(refusal.value)
    assert ".vdb" in str(refusal.value)
