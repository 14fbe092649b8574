"""Cameras, rays, samples and their sum along a ray, against what can be worked out by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scene_codec.radiance.cameras import Camera, Rays, camera_rays
from scene_codec.radiance.compositing import dense_weights, depth_before, packed_sum, packed_weights
from scene_codec.radiance.field_space import depth_of_distance, to_field_space
from scene_codec.radiance.occupancy import OccupancyGrid, dilated
from scene_codec.radiance.ray_marching import march
from scene_codec.radiance.ray_supply import CameraSet, made_cameras
from scene_codec.radiance.scene_domain import SceneDomain

OBJECT = SceneDomain(near=2.0, far=6.0, white_background=True)
FORWARD = SceneDomain(near=0.0, far=1.0, ndc=(1.6, 2.1))


def some_rays(count=50, seed=0):
    cameras = made_cameras(OBJECT, 7)
    return to_field_space(CameraSet(cameras).draw(count, torch.Generator().manual_seed(seed)), OBJECT)


def some_grid(seed=0, share=0.3):
    occupied = torch.rand((9, 12, 7), generator=torch.Generator().manual_seed(seed)) < share
    return OccupancyGrid(occupied, (-1.0, -0.8, -0.5), (0.8, 1.0, 0.9))


def test_the_ray_through_the_principal_point_looks_straight_ahead():
    camera = Camera(width=8, height=6, focal_x=10, focal_y=10, centre_x=4.5, centre_y=2.5, pose=np.eye(4))
    rays = camera_rays(camera, pixels=torch.tensor([2 * 8 + 4]))
    torch.testing.assert_close(rays.directions, torch.tensor([[0.0, 0.0, -1.0]]))


def test_corner_width_at_the_trained_width_goes_through_the_corner():
    camera = Camera(width=8, height=6, focal_x=10, focal_y=10, centre_x=4, centre_y=3, pose=np.eye(4))
    corner = camera_rays(camera, corner_width=8).directions
    centre = camera_rays(camera).directions
    torch.testing.assert_close(centre - corner, torch.tensor([0.05, -0.05, 0.0]).expand(48, 3))


def test_half_the_trained_width_is_the_mean_of_four_corners():
    camera = Camera(width=8, height=8, focal_x=10, focal_y=10, centre_x=4, centre_y=4, pose=np.eye(4))
    fine = camera_rays(camera, corner_width=8).directions.view(4, 2, 4, 2, 3).mean(dim=(1, 3))
    coarse = camera_rays(camera.resized(4, 4), corner_width=8).directions
    torch.testing.assert_close(coarse.view(4, 4, 3), fine)


@pytest.mark.parametrize("corner_width", [0, 400])
def test_rays_of_a_set_are_those_of_its_cameras(corner_width):
    cameras = made_cameras(OBJECT, 3)
    every = CameraSet(cameras, corner_width)
    own = camera_rays(cameras[1], corner_width=corner_width)
    pixel = torch.arange(1000, 1100)
    found = every.rays(pixel + cameras[0].width * cameras[0].height)
    torch.testing.assert_close(found.directions, own.directions[pixel], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.origins, own.origins[pixel])


def test_made_cameras_look_at_the_middle_of_the_box_from_between_near_and_far():
    for camera in made_cameras(OBJECT, 20):
        position = camera.pose[:3, 3]
        assert np.linalg.norm(position) == pytest.approx(4.0)
        np.testing.assert_allclose(-camera.pose[:3, 2] * 4.0, -position, atol=1e-9)
        np.testing.assert_allclose(camera.pose[:3, :3].T @ camera.pose[:3, :3], np.eye(3), atol=1e-9)
        assert np.linalg.det(camera.pose[:3, :3]) == pytest.approx(1.0)


@settings(max_examples=30, deadline=None)
@given(st.floats(-0.4, 0.4), st.floats(-0.4, 0.4), st.floats(1.05, 50.0))
def test_device_coordinates_put_points_where_the_projection_does(across, up, depth):
    origin = torch.tensor([[0.1, -0.2, 0.3]])
    direction = torch.tensor([[across, up, -1.0]])
    point = origin + (depth + 0.3) * direction  # depth beyond the plane z = 0
    inside = to_field_space(Rays(origin, direction), FORWARD)
    distance = 1.0 - 1.0 / -point[0, 2]
    found = inside.origins + distance * inside.directions
    x, y, z = point[0].tolist()
    expected = torch.tensor([[-1.6 * x / z, -2.1 * y / z, 1.0 + 2.0 / z]])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert float(depth_of_distance(distance[None], FORWARD)) == pytest.approx(-z, rel=1e-3)


def test_depth_before_is_the_sum_of_earlier_samples_of_the_ray():
    ray = torch.tensor([0, 0, 0, 2, 5, 5])
    depth = torch.tensor([1.0, 2.0, 3.0, 4.0, 0.5, 7.0])
    torch.testing.assert_close(depth_before(depth, ray), torch.tensor([0.0, 1.0, 3.0, 0.0, 0.0, 0.5]))


def test_packed_and_dense_weights_agree():
    generator = torch.Generator().manual_seed(3)
    density = torch.randn((20, 15), generator=generator) * 3
    lengths = torch.rand((20, 15), generator=generator)
    ray = torch.arange(20).repeat_interleave(15)
    packed = packed_weights(density.reshape(-1), lengths.reshape(-1), ray, torch.ones(20))
    torch.testing.assert_close(packed.view(20, 15), dense_weights(density, lengths), atol=1e-5, rtol=1e-4)


def test_no_samples_make_an_empty_sum():
    none = torch.zeros(0)
    ray = torch.zeros(0, dtype=torch.int64)
    assert packed_weights(none, none, ray, torch.ones(4)).shape == (0,)
    assert packed_sum(none, ray, 4).tolist() == [0.0] * 4


def test_cells_and_their_centres_are_inverse():
    grid = some_grid()
    index = torch.arange(grid.occupied.numel())
    assert torch.equal(grid.flat_index(grid.centres(index)).to(torch.int64), index)


def test_samples_lie_at_even_distances_in_exactly_the_occupied_cells():
    rays, grid = some_rays(), some_grid()
    step = 0.013
    samples = march(rays, OBJECT, grid, step)
    every = OBJECT.near + (torch.arange(math.ceil(4.0 / step)) + 0.5) * step
    low, high = torch.tensor(grid.low), torch.tensor(grid.high)
    expected = 0
    for index in range(len(rays)):
        positions = rays.origins[index] + every[:, None] * rays.directions[index]
        inside = ((positions > low + 1e-4) & (positions < high - 1e-4)).all(dim=1)
        cells = ((positions - low) / torch.tensor(grid.cell)).floor().long()
        x, y, z = grid.resolution
        cells = cells.clamp(min=torch.zeros(3, dtype=torch.long), max=torch.tensor([x - 1, y - 1, z - 1]))
        hit = inside & grid.occupied[cells[:, 0], cells[:, 1], cells[:, 2]]
        own = set(((samples.distance[samples.ray == index] - OBJECT.near) / step).floor().int().tolist())
        wanted = set(hit.nonzero().squeeze(1).tolist())
        # Samples within rounding of a cell's border may fall to either side.
        assert len(own ^ wanted) <= 2
        expected += len(wanted)
    assert expected > 500
    assert torch.equal(samples.ray, samples.ray.sort().values)


def test_ranks_count_from_the_front():
    samples = march(some_rays(), OBJECT, some_grid(), 0.05)
    ranks = samples.rank()
    for index in samples.ray.unique():
        own = samples.ray == index
        assert ranks[own].tolist() == list(range(int(own.sum())))
        assert (samples.distance[own].diff() > 0).all()


def test_dilation_reaches_corners():
    occupied = torch.zeros((5, 5, 5), dtype=torch.bool)
    occupied[2, 2, 2] = True
    assert int(dilated(occupied).sum()) == 27
    assert int(dilated(occupied, 2).sum()) == 125
