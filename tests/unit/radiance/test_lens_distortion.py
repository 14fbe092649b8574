import dataclasses
import json

import numpy as np
import pytest
import torch
from ball_pictures import write_ball

from scene_codec.errors import InvalidRequestError
from scene_codec.radiance.cameras import Camera, camera_rays
from scene_codec.radiance.lens_distortion import LensDistortion, distorted, is_invertible, straightened
from scene_codec.radiance.posed_images import load_posed_images
from scene_codec.radiance.ray_supply import CameraSet

LENS = LensDistortion(k1=-0.12, k2=0.03, k3=-0.002, p1=0.004, p2=-0.003)


def values(lens):
    return torch.tensor(lens.values(), dtype=torch.float64)


def pinhole(lens=None):
    pose = np.eye(4)
    pose[:3, 3] = 1.0, 2.0, 3.0
    return Camera(
        width=40, height=30, focal_x=36.0, focal_y=35.0, centre_x=19.0, centre_y=16.0, pose=pose, lens=lens
    )


def test_straightening_undoes_the_lens():
    places = torch.rand((500, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5
    for lens in (LENS, LensDistortion(k1=0.3), LensDistortion(p1=0.01, p2=0.02)):
        shown = distorted(places, values(lens))
        assert (shown - places).abs().max() > 1e-3
        torch.testing.assert_close(straightened(shown, values(lens)), places, atol=1e-7, rtol=0.0)


def test_the_model_is_that_of_opencv():
    x, y = 0.3, -0.2
    square = x * x + y * y
    radial = 1.0 - 0.12 * square + 0.03 * square**2 - 0.002 * square**3
    expected = [
        x * radial + 2 * 0.004 * x * y - 0.003 * (square + 2 * x * x),
        y * radial + 0.004 * (square + 2 * y * y) + 2 * -0.003 * x * y,
    ]
    shown = distorted(torch.tensor([[x, y]], dtype=torch.float64), values(LENS))
    torch.testing.assert_close(shown, torch.tensor([expected], dtype=torch.float64))


def test_a_point_is_on_the_ray_of_the_pixel_that_shows_it():
    camera = pinhole(LENS)
    rays = camera_rays(camera)
    local = rays.directions.double()
    shown = distorted(torch.stack([local[:, 0], -local[:, 1]], dim=1), values(LENS))
    pixel = torch.arange(40 * 30)
    torch.testing.assert_close(
        shown[:, 0] * 36.0 + 19.0, pixel % 40 + 0.5, atol=1e-4, rtol=0.0, check_dtype=False
    )
    torch.testing.assert_close(
        shown[:, 1] * 35.0 + 16.0, pixel // 40 + 0.5, atol=1e-4, rtol=0.0, check_dtype=False
    )


def test_random_rays_go_through_the_same_lenses():
    cameras = [pinhole(), pinhole(LENS), pinhole(LensDistortion(k1=0.1))]
    found = CameraSet(cameras).rays(torch.arange(3 * 40 * 30))
    for index, camera in enumerate(cameras):
        expected = camera_rays(camera)
        part = found.part(index * 1200, (index + 1) * 1200)
        torch.testing.assert_close(part.directions, expected.directions, atol=1e-5, rtol=0.0)


def test_a_smaller_picture_has_the_same_lens():
    camera = pinhole(LENS)
    small = camera_rays(camera.resized(20, 15))
    assert camera.resized(20, 15).lens == LENS
    whole = camera_rays(camera).directions.view(30, 40, 3)
    between = whole.view(15, 2, 20, 2, 3).mean(dim=(1, 3))
    torch.testing.assert_close(small.directions.view(15, 20, 3), between, atol=2e-4, rtol=0.0)


def test_a_lens_that_folds_the_picture_is_noticed():
    places = torch.cartesian_prod(*[torch.linspace(-0.6, 0.6, 9, dtype=torch.float64)] * 2)
    assert is_invertible(places, LENS)
    assert not is_invertible(places, LensDistortion(k1=-2.0))


def test_the_numbers_of_a_lens_are_read(tmp_path):
    folder = write_ball(tmp_path, splits=(("train", 9),))
    content = json.loads((folder / "transforms_train.json").read_text())
    content |= {"fl_x": 22.0, "k1": 0.05, "k2": -0.01, "p1": 0.001, "p2": 0.002, "camera_model": "OPENCV"}
    content["frames"][1]["k1"] = 0.1
    path = folder / "transforms.json"
    path.write_text(json.dumps(content))
    images = load_posed_images(path, "all").images
    assert images[0].camera.lens == LensDistortion(k1=0.05, k2=-0.01, p1=0.001, p2=0.002)
    assert images[1].camera.lens == dataclasses.replace(images[0].camera.lens, k1=0.1)
    for change, words in (
        ({"k4": 0.1}, "k4"),
        ({"k1": -9.0}, "shows some places twice"),
        ({"camera_model": "OPENCV_FISHEYE"}, "model that is not known"),
    ):
        path.write_text(json.dumps({**content, "frames": content["frames"][2:], **change}))
        with pytest.raises(InvalidRequestError, match=words):
            load_posed_images(path, "all")
