import numpy as np
import pytest
from radiance_balls import DOMAIN, BallField

from scene_codec.errors import InvalidRequestError
from scene_codec.radiance.camera_paths import camera_path
from scene_codec.radiance.field import render_view
from scene_codec.radiance.ray_supply import made_cameras
from scene_codec.radiance.scene_domain import SceneDomain

NDC = SceneDomain(near=0.0, far=1.0, ndc=(1.6, 2.0))


@pytest.mark.parametrize("domain", [DOMAIN, NDC])
def test_cameras_on_a_path_are_rigid_distinct_and_named(domain):
    cameras = camera_path(domain, 7, size=(60, 40))
    assert [camera.name for camera in cameras][:2] == ["view_000", "view_001"]
    assert len({tuple(np.round(camera.pose[:3, 3], 6)) for camera in cameras}) == 7
    for camera in cameras:
        assert (camera.width, camera.height) == (60, 40)
        turn = camera.pose[:3, :3]
        assert np.allclose(turn.T @ turn, np.eye(3))
        assert np.linalg.det(turn) == pytest.approx(1.0)


def test_an_orbit_sees_the_whole_ball_in_the_middle_of_every_picture():
    for camera in camera_path(DOMAIN, 3, 50.0, (50, 40)):
        rows, columns = np.nonzero(render_view(BallField(), camera).opacity)
        assert rows.mean() == pytest.approx(19.5, abs=0.5)
        assert columns.mean() == pytest.approx(24.5, abs=0.5)
        assert rows.min() > 0


def test_straight_above_is_a_view_too():
    (camera,) = camera_path(DOMAIN, 1, 90.0)
    assert camera.pose[:3, 3] == pytest.approx([0.0, 0.0, 4.0])


def test_cameras_in_front_of_a_scene_look_ahead_with_its_lens():
    for camera in camera_path(NDC, 5):
        assert camera.pose[2, 2] > 0.99
        assert camera.focal_x == pytest.approx(0.5 * 1.6 * camera.width, rel=0.01)
        assert camera.height == 320


@pytest.mark.parametrize("size", [(60, 20), (20, 60)])
def test_pictures_of_another_shape_cut_nothing_off(size):
    (camera,) = camera_path(NDC, 1, size=size)
    lens = (2 * camera.focal_x / camera.width, 2 * camera.focal_y / camera.height)
    assert lens[0] == pytest.approx(NDC.ndc[0]) or lens[1] == pytest.approx(NDC.ndc[1])
    assert lens[0] <= NDC.ndc[0] + 1e-9
    assert lens[1] <= NDC.ndc[1] + 1e-9


def test_an_orbit_and_made_cameras_look_from_the_same_distance_at_the_same_place():
    for camera in (*camera_path(DOMAIN, 3, 10.0), *made_cameras(DOMAIN, 3)):
        assert np.linalg.norm(camera.pose[:3, 3]) == pytest.approx(4.0)
        assert camera.pose[:3, 2] * 4.0 == pytest.approx(camera.pose[:3, 3])


@pytest.mark.parametrize(("count", "elevation", "size"), [(0, 0.0, None), (1, 91.0, None), (1, 0.0, (0, 5))])
def test_numbers_that_cannot_be_are_refused(count, elevation, size):
    with pytest.raises(InvalidRequestError):
        camera_path(DOMAIN, count, elevation, size)
