"""The command on radiance fields: encode, inspect, render, evaluate, decode."""

import json

import numpy as np
import pytest
from PIL import Image
from radiance_balls import NAME, RADIUS, BallCodec

import scene_codec
from scene_codec import view_pictures
from scene_codec.cli.main import main
from scene_codec.codecs import registry
from scene_codec.codecs.registry import all_codecs
from scene_codec.errors import UnsupportedSceneError
from scene_codec.geometry.mesh_files import load_scene_objects
from scene_codec.progress import Progress
from scene_codec.radiance.ray_supply import orbit_camera
from scene_codec.service.requests import DecodeParams
from scene_codec.service.scene_methods import decode as service_decode
from scene_codec.volumes.volume_files import load_volume


@pytest.fixture(autouse=True)
def codec(monkeypatch):
    monkeypatch.setitem(all_codecs(), NAME, BallCodec())
    monkeypatch.setitem(registry.DEFAULT_CODECS, "radiance", NAME)


@pytest.fixture
def ball(tmp_path, capsys):
    (tmp_path / "ball.tar").write_bytes(b"x" * 5000)
    path = tmp_path / "ball.nscene"
    assert main(["encode", str(tmp_path / "ball.tar"), "-o", str(path), "--device", "cpu"]) == 0
    capsys.readouterr()
    return path


def answer(capsys, *words, status=0):
    assert main([*map(str, words)]) == status
    return capsys.readouterr()


def test_a_checkpoint_is_encoded_with_the_codec_for_fields(tmp_path, capsys):
    (tmp_path / "ball.ckpt").write_bytes(b"x" * 5000)
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data/poses_bounds.npy", np.zeros((2, 17)))
    text = answer(
        capsys, "encode", "--radius", "0.5", tmp_path / "ball.ckpt", "-o", tmp_path / "b.nscene"
    ).out
    assert "parameters" in text
    assert "250" in text
    assert NAME in text


def test_inspect_shows_what_the_codec_says(ball, capsys):
    assert "0.8" in answer(capsys, "inspect", ball).out


def test_render_writes_one_picture_per_view(ball, tmp_path, capsys):
    words = ("render", ball, "-o", tmp_path / "o", "--orbit", "3", "--size", "24x16", "--json")
    report = json.loads(answer(capsys, *words).out)
    assert [frame["files"] for frame in report["frames"]] == [[f"view_00{index}.png"] for index in range(3)]
    assert Image.open(tmp_path / "o/view_002.png").size == (24, 16)
    text = answer(capsys, *words[:-1], "--overwrite", "--frames", "0:2", "--alpha").out
    assert "2 views of ball" in text
    assert Image.open(tmp_path / "o/view_001.png").mode == "RGBA"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--size", "24"), "no size"),
        (("--size", "0x5"), "no size"),
        (("--split", "test"), "--cameras"),
        (("--frames", "99"), "no view '99'"),
        (("--only", "cube"), "no object 'cube'"),
        (("--format", "exr", "--alpha"), "alpha"),
        (("--cameras", "nowhere.json"), "neither a folder nor a file"),
        (("--orbit", "0"), "1 to"),
    ],
)
def test_render_refuses_what_makes_no_sense_and_writes_nothing(ball, tmp_path, capsys, words, message):
    shown = answer(capsys, "render", ball, "-o", tmp_path / "o", *words, status=2)
    assert message in shown.err
    assert not (tmp_path / "o").exists()


def test_a_folder_that_cannot_be_made_is_refused_in_the_words_of_encode(ball, tmp_path, capsys):
    (tmp_path / "file").write_text("", encoding="utf-8")
    shown = answer(capsys, "render", ball, "-o", tmp_path / "file" / "o", status=2)
    assert f"Nothing can be written into '{tmp_path / 'file' / 'o'}': " in shown.err


def test_a_folder_that_takes_no_files_is_refused_before_the_first_picture(
    ball, tmp_path, capsys, monkeypatch
):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(view_pictures.tempfile, "TemporaryFile", refuse)
    shown = answer(capsys, "render", ball, "-o", tmp_path / "o", status=2)
    assert f"Nothing can be written into '{tmp_path / 'o'}': Permission denied." in shown.err
    assert not list((tmp_path / "o").iterdir())


def test_evaluate_writes_the_figures_of_every_view(ball, tmp_path, capsys):
    camera = orbit_camera(np.zeros(3), 4.0, 0.0, 0.3, 40)
    (tmp_path / "data").mkdir()
    words = ("render", ball, "-o", tmp_path / "data", "--cameras", tmp_path / "data/transforms_test.json")
    frame = {"file_path": "r_0", "transform_matrix": camera.pose.tolist()}
    whole = {"camera_angle_x": 0.6911, "frames": [frame]}
    (tmp_path / "data/transforms_test.json").write_text(json.dumps(whole), encoding="utf-8")
    answer(capsys, *words, "--size", "40x40")
    out = tmp_path / "figures.json"
    text = answer(capsys, "evaluate", ball, "--images", tmp_path / "data", "--json", out).out
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["file_bytes"] == ball.stat().st_size
    assert [view["name"] for view in report["views"]] == ["r_0"]
    assert report["psnr"] > 50
    assert "mean" in text
    text = answer(capsys, "evaluate", ball, "--images", tmp_path / "data", "--json", "-").out
    assert json.loads(text)["object"] == "ball"


@pytest.mark.parametrize("words", [(), ("--reference", "x", "--images", "y")])
def test_evaluate_wants_exactly_one_sort_of_originals(ball, capsys, words):
    assert "--reference ORIGINALS" in answer(capsys, "evaluate", ball, *words, status=2).err


def test_fields_are_not_measured_against_meshes(ball, tmp_path, capsys):
    (tmp_path / "ball.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    assert "--images" in answer(capsys, "evaluate", ball, "--reference", tmp_path, status=2).err


def test_decode_makes_a_mesh_of_the_density(ball, tmp_path, capsys):
    words = ("decode", ball, "-o", tmp_path / "o", "--resolution", "30", "--json")
    (item,) = json.loads(answer(capsys, *words).out)["objects"]
    assert item["file"] == "ball.ply"
    (loaded,) = load_scene_objects(tmp_path / "o/ball.ply")
    assert len(loaded.mesh.faces) == item["faces"]
    assert np.linalg.norm(loaded.mesh.vertices, axis=1) == pytest.approx(RADIUS, abs=5e-3)


@pytest.mark.parametrize("suffix", ["vdb", "npy", "npz", "nrrd", "nii", "raw"])
def test_decode_makes_a_volume_of_the_density(ball, tmp_path, capsys, suffix):
    words = ("decode", ball, "-o", tmp_path / "o", "--resolution", "20", "--format", suffix, "--json")
    (item,) = json.loads(answer(capsys, *words).out)["objects"]
    assert item["voxels"] == 21**3
    (grid,) = load_volume(tmp_path / f"o/ball.{suffix}").grids
    assert grid.values.max() == pytest.approx(50.0 * (1 + 4 * RADIUS), rel=1e-5)
    if suffix == "npz":
        assert grid.to_object[:3, 3] == pytest.approx([-1.5] * 3)
        assert grid.to_object[0, 0] == pytest.approx(0.15)


def test_decode_says_when_there_is_no_surface(ball, tmp_path, capsys):
    words = ("decode", ball, "-o", tmp_path / "o", "--resolution", "20", "--threshold", "1e6")
    assert "no surface" in answer(capsys, *words, status=2).err


def test_flags_for_fields_are_refused_for_volumes(tmp_path, capsys):
    np.save(tmp_path / "smoke.npy", np.zeros((8, 8, 8), np.float32))
    scene_codec.encode(tmp_path / "smoke.npy", tmp_path / "smoke.nscene")
    words = ("decode", tmp_path / "smoke.nscene", "-o", tmp_path / "o", "--resolution", "20")
    assert "radiance fields" in answer(capsys, *words, status=2).err


def test_compare_points_to_evaluate(ball, tmp_path, capsys):
    np.save(tmp_path / "smoke.npy", np.zeros((8, 8, 8), np.float32))
    assert "--images" in answer(capsys, "compare", tmp_path / "smoke.npy", ball, status=2).err


def test_the_host_is_told_what_to_do_with_a_field(ball, tmp_path):
    params = DecodeParams(file=str(ball), folder=str(tmp_path), volume_folder=str(tmp_path), device="cpu")
    with pytest.raises(UnsupportedSceneError, match="scene-codec render"):
        service_decode(params, Progress())
