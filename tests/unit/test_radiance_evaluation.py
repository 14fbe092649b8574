import json
import math

import numpy as np
import pytest
from PIL import Image
from radiance_balls import NAME, BallCodec, BallField

import scene_codec
from scene_codec.codecs.registry import all_codecs
from scene_codec.errors import InvalidRequestError
from scene_codec.progress import Progress
from scene_codec.radiance.radiance_object import RadianceObject
from scene_codec.radiance.ray_supply import orbit_camera
from scene_codec.radiance_evaluation import evaluate_views
from scene_codec.view_rendering import views_of


@pytest.fixture(autouse=True)
def codec(monkeypatch):
    monkeypatch.setitem(all_codecs(), NAME, BallCodec())


def ball_file(folder, radius):
    (folder / "ball.tar").write_bytes(b"x")
    path = folder / f"ball-{radius}.nscene"
    settings = {"radius": radius}
    scene_codec.encode(folder / "ball.tar", path, codec=NAME, settings=settings, device="cpu")
    return path


@pytest.fixture
def scene(tmp_path):
    """A data set of three views of a ball, which has a radius of 0.8."""
    folder = tmp_path / "data"
    (folder / "test").mkdir(parents=True)
    cameras = [orbit_camera(np.zeros(3), 4.0, index, 0.3, 40) for index in range(3)]
    frames = []
    for index, (camera, view) in enumerate(views_of(RadianceObject("b", BallField()), cameras, Progress())):
        Image.fromarray(np.rint(view.colour * 255).astype(np.uint8)).save(folder / f"test/r_{index}.png")
        frames.append({"file_path": f"./test/r_{index}", "transform_matrix": camera.pose.tolist()})
    angle = 2 * math.atan(0.5 * 40 / cameras[0].focal_x)
    whole = {"camera_angle_x": angle, "frames": frames}
    (folder / "transforms_test.json").write_text(json.dumps(whole), encoding="utf-8")
    return folder


def test_the_same_ball_is_as_near_as_eight_bits_and_the_rim_allow(scene, tmp_path):
    file = ball_file(tmp_path, 0.8)
    report = evaluate_views(file, scene, device="cpu")
    assert [view.name for view in report.views] == ["r_0", "r_1", "r_2"]
    assert report.psnr > 50.0
    assert report.ssim > 0.999
    assert report.file_bytes == file.stat().st_size > report.object_bytes > 0
    assert (report.width, report.height, report.split) == (40, 40, "test")


def test_means_are_those_of_the_views(scene, tmp_path):
    report = evaluate_views(ball_file(tmp_path, 0.7), scene, device="cpu")
    assert report.psnr == pytest.approx(np.mean([view.psnr for view in report.views]))
    assert report.mse == pytest.approx(np.mean([view.mse for view in report.views]))
    assert report.psnr < 30.0
    for view in report.views:
        assert view.psnr == pytest.approx(-10 * math.log10(view.mse))


def test_each_nth_view_in_another_size(scene, tmp_path):
    report = evaluate_views(ball_file(tmp_path, 0.8), scene, every=2, size=(10, 10), device="cpu")
    assert [view.name for view in report.views] == ["r_0", "r_2"]
    assert report.width == 10
    assert report.ssim is None
    assert all(view.ssim is None for view in report.views)


def test_numbers_and_splits_that_cannot_be_are_refused(scene, tmp_path):
    file = ball_file(tmp_path, 0.8)
    with pytest.raises(InvalidRequestError, match="1 means all"):
        evaluate_views(file, scene, every=0)
    with pytest.raises(InvalidRequestError, match="transforms_train"):
        evaluate_views(file, scene, "train")
