"""Both renderers against a field whose pictures can be worked out: a solid octahedron."""

import dataclasses

import numpy as np
import pytest
import torch
from octahedron_field import COLOUR, RADIUS, octahedron_density, octahedron_network
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from scene_codec.errors import Cancelled, UnsupportedSceneError
from scene_codec.progress import CancelToken, Progress
from scene_codec.radiance.cameras import Rays
from scene_codec.radiance.density_surface import density_mesh
from scene_codec.radiance.exact_rendering import SamplingPlan, render_exactly
from scene_codec.radiance.fast_rendering import MarchingPlan, render_fast
from scene_codec.radiance.field import render_view
from scene_codec.radiance.field_space import to_field_space
from scene_codec.radiance.nerf_field import NerfPairField, OccupiedNerfField
from scene_codec.radiance.occupancy import OccupancyGrid
from scene_codec.radiance.packed_rendering import render_packed
from scene_codec.radiance.ray_marching import march
from scene_codec.radiance.ray_supply import CameraSet, made_cameras, orbit_camera
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.radiance.visibility import VisibilityPlan, find_visible_cells, refined

DOMAIN = SceneDomain(near=2.0, far=6.0, white_background=True, low=(-1.5,) * 3, high=(1.5,) * 3)
PLAN = VisibilityPlan(cells=24, rays=4000)


def full_grid():
    return OccupancyGrid(torch.ones((16, 16, 16), dtype=torch.bool), DOMAIN.low, DOMAIN.high)


def straight_rays(offsets):
    origins = torch.tensor([[x, y, 4.0] for x, y in offsets])
    return Rays(origins, torch.tensor([[0.0, 0.0, -1.0]]).expand(len(origins), 3).contiguous())


def visible_cells(network, progress=None):
    cameras = CameraSet(made_cameras(DOMAIN, 30))
    generator = torch.Generator().manual_seed(0)
    return find_visible_cells(network, DOMAIN, cameras.draw, PLAN, generator, progress or Progress())


def test_a_ray_sees_the_surface_where_it_is():
    rays = to_field_space(straight_rays([(0.0, 0.0), (0.2, 0.1), (0.9, 0.9)]), DOMAIN)
    network = octahedron_network(steepness=4000.0)
    for pixels in (
        render_exactly((None, network), rays, DOMAIN, SamplingPlan()).fine,
        render_fast(network, full_grid(), rays, DOMAIN, MarchingPlan(samples=1000)),
    ):
        torch.testing.assert_close(pixels.opacity, torch.tensor([1.0, 1.0, 0.0]), atol=2e-3, rtol=0)
        surface = torch.tensor([4.0 - RADIUS, 4.0 - RADIUS + 0.3])
        torch.testing.assert_close(pixels.mean_distance[:2], surface, atol=0.04, rtol=0)
        seen = pixels.over(white=True)
        torch.testing.assert_close(seen[:2], torch.tensor([COLOUR] * 2), atol=3e-3, rtol=0)
        torch.testing.assert_close(seen[2], torch.ones(3), atol=1e-4, rtol=0)


def test_the_fast_renderer_sums_what_a_plain_loop_sums():
    network = octahedron_network(steepness=15.0)  # translucent: every sample counts
    rays = to_field_space(
        CameraSet(made_cameras(DOMAIN, 5)).draw(60, torch.Generator().manual_seed(1)), DOMAIN
    )
    plan = MarchingPlan(samples=200)
    fast = render_fast(network, full_grid(), rays, DOMAIN, plan)
    step = plan.step(DOMAIN)
    distances = DOMAIN.near + (torch.arange(200) + 0.5) * step
    for index in range(len(rays)):
        positions = rays.origins[index] + distances[:, None] * rays.directions[index]
        alpha = 1.0 - torch.exp(-octahedron_density(positions, steepness=15.0) * step * rays.lengths[index])
        weights = alpha * torch.cat([torch.ones(1), torch.cumprod(1.0 - alpha, 0)[:-1]])
        assert float(fast.opacity[index]) == pytest.approx(float(weights.sum()), abs=4e-3)
        assert float(fast.distance[index]) == pytest.approx(float((weights * distances).sum()), abs=2e-2)
        expected = weights.sum() * torch.tensor(COLOUR)
        torch.testing.assert_close(fast.colour[index], expected, atol=2e-2, rtol=0)


def test_training_and_fast_rendering_agree():
    network = octahedron_network(steepness=40.0)
    rays = to_field_space(
        CameraSet(made_cameras(DOMAIN, 5)).draw(80, torch.Generator().manual_seed(2)), DOMAIN
    )
    plan = MarchingPlan(samples=300)
    step = plan.step(DOMAIN)
    samples = march(rays, DOMAIN, full_grid(), step)
    density, colour = network(samples.positions(rays), rays.views, samples.ray)
    pixels, weights = render_packed(density, colour, samples, rays, step)
    fast = render_fast(network, full_grid(), rays, DOMAIN, plan)
    torch.testing.assert_close(pixels.opacity, fast.opacity, atol=4e-3, rtol=0)
    torch.testing.assert_close(pixels.colour, fast.colour, atol=2e-2, rtol=0)
    assert float(weights.sum()) == pytest.approx(float(pixels.opacity.sum()), rel=1e-4)


def test_samples_lie_as_close_in_normalised_device_coordinates_as_in_the_world():
    forward = SceneDomain(near=0.0, far=1.0, ndc=(1.6, 2.1), low=(-1.6, -1.6, -1.0), high=(1.6, 1.6, 1.0))
    ahead = straight_rays([(0.0, 0.0)])
    spacings = [
        MarchingPlan().step(domain) * float(to_field_space(ahead, domain).lengths[0])
        for domain in (DOMAIN, forward)
    ]
    # The near plane of the captures is at z = -1, and rays are moved there first.
    assert spacings[1] == pytest.approx(spacings[0], rel=1e-4)
    assert MarchingPlan(samples=50).step(forward) == pytest.approx(0.02)


def test_rays_that_meet_nothing_see_the_background():
    rays = to_field_space(straight_rays([(5.0, 5.0)]), DOMAIN)
    pixels = render_fast(octahedron_network(), full_grid(), rays, DOMAIN, MarchingPlan())
    assert pixels.over(white=True).tolist() == [[1.0, 1.0, 1.0]]
    assert pixels.over(white=False).tolist() == [[0.0, 0.0, 0.0]]
    assert pixels.mean_distance.tolist() == [0.0]


def test_visible_cells_are_around_the_surface_and_not_inside():
    grid = visible_cells(octahedron_network(steepness=4000.0))
    index = grid.occupied.reshape(-1).nonzero().squeeze(1)
    depth = grid.centres(index).abs().sum(dim=1) - RADIUS
    reach = 4.0 * max(grid.cell) * 3.0**0.5
    assert float(depth.abs().max()) < reach
    middle = grid.flat_index(torch.zeros(1, 3))
    assert not bool(grid.occupied.reshape(-1)[middle.long()])
    assert all(abs(value) < 0.9 for value in (*grid.low, *grid.high))


def test_a_field_with_its_visible_cells_looks_the_same():
    network = octahedron_network()
    camera = orbit_camera(np.zeros(3), 4.0, 0.7, 0.4, side=24)
    exact = render_view(NerfPairField(None, network, DOMAIN), camera)
    grid = visible_cells(network)
    domain = dataclasses.replace(DOMAIN, low=grid.low, high=grid.high)
    for refine in (True, False):
        fast = render_view(OccupiedNerfField(network, grid, domain, refine=refine), camera)
        assert float(np.abs(fast.colour - exact.colour).mean()) < 4e-3
        seen = (fast.opacity > 0.9) & (exact.opacity > 0.9)
        assert seen.sum() > 20
        assert float(np.abs(fast.depth - exact.depth)[seen].max()) < 0.06


def test_refined_cells_are_a_part_of_the_coarse_ones():
    network = octahedron_network()
    grid = visible_cells(network)
    fine = refined(network, grid)
    assert fine.resolution == tuple(2 * count for count in grid.resolution)
    parents = fine.occupied.view(grid.resolution[0], 2, grid.resolution[1], 2, grid.resolution[2], 2).amax(
        dim=(1, 3, 5)
    )
    assert not bool((parents & ~grid.occupied).any())
    assert fine.share < grid.share


def test_a_network_without_density_is_refused():
    with pytest.raises(UnsupportedSceneError, match="no density"):
        visible_cells(octahedron_network(radius=-1.0))


def test_looking_for_cells_and_rendering_can_be_cancelled():
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        visible_cells(octahedron_network(), Progress(cancel=token))
    camera = orbit_camera(np.zeros(3), 4.0, 0.7, 0.4, side=8)
    with pytest.raises(Cancelled):
        render_view(NerfPairField(None, octahedron_network(), DOMAIN), camera, Progress(cancel=token))


def test_stratified_sampling_is_repeatable_and_agrees_in_the_mean():
    network = octahedron_network(steepness=100.0)
    rays = to_field_space(straight_rays([(0.1, 0.1)] * 200), DOMAIN)

    def seen(seed):
        generator = torch.Generator().manual_seed(seed)
        return render_exactly((None, network), rays, DOMAIN, SamplingPlan(), generator).fine.opacity

    assert torch.equal(seen(4), seen(4))
    plain = render_exactly((None, network), rays, DOMAIN, SamplingPlan()).fine.opacity
    assert float(seen(5).mean()) == pytest.approx(float(plain.mean()), abs=5e-3)


def test_density_is_zero_outside_of_the_cells():
    network = octahedron_network()
    grid = visible_cells(network)
    field = OccupiedNerfField(network, grid, DOMAIN)
    positions = torch.tensor([[5.0, 0.0, 0.0], [0.0, 0.0, 0.59]])
    density = field.density(positions)
    assert float(density[0]) == 0.0
    assert float(density[1]) == pytest.approx(float(octahedron_density(positions)[1]), rel=1e-4)


def test_a_solid_body_has_no_inner_wall():
    network = octahedron_network(steepness=4000.0)
    grid = visible_cells(network)
    mesh = density_mesh(
        OccupiedNerfField(network, grid, dataclasses.replace(DOMAIN, low=grid.low, high=grid.high)), 40
    )
    assert len(connected_parts(mesh)) == 1


def connected_parts(mesh):
    """Return the connected parts of a mesh as sets of vertices."""
    links = csr_matrix(
        (np.ones(len(mesh.faces) * 2), (mesh.faces[:, [0, 1]].ravel(), mesh.faces[:, [1, 2]].ravel())),
        shape=(len(mesh.vertices),) * 2,
    )
    count, labels = connected_components(links, directed=False)
    return [np.flatnonzero(labels == part) for part in range(count)]
