import math

import numpy as np
import pytest
import torch
import trimesh
from radiance_balls import DOMAIN, RADIUS, BallField

from scene_codec.errors import Cancelled, InvalidRequestError, UnsupportedSceneError
from scene_codec.networks.radiance_mlp import RadianceMlp, RadianceShape
from scene_codec.progress import CancelToken, Progress
from scene_codec.radiance import density_surface
from scene_codec.radiance.cameras import Rays
from scene_codec.radiance.density_surface import density_grid, density_mesh, surface_density
from scene_codec.radiance.field_space import to_field_space
from scene_codec.radiance.nerf_field import NerfPairField
from scene_codec.radiance.scene_domain import SceneDomain

NDC = SceneDomain(near=0.0, far=1.0, ndc=(1.6, 2.0), low=(-1.0, -1.0, -1.0), high=(1.0, 1.0, 1.0))


def checked(mesh):
    solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert solid.is_watertight
    assert solid.is_winding_consistent
    assert solid.volume > 0.0
    return solid


def test_a_ball_comes_back_as_a_closed_mesh_of_its_radius():
    mesh = density_mesh(BallField(centre=(0.2, -0.1, 0.3)), 40)
    checked(mesh)
    radius = np.linalg.norm(mesh.vertices - (0.2, -0.1, 0.3), axis=1)
    # The density is linear along the radius: crossings are wrong by the curvature within a cell alone.
    assert np.abs(radius - RADIUS).max() < 2e-3


@pytest.mark.parametrize("slab_points", [1, 4000])
def test_slabs_make_the_same_mesh_as_the_whole_grid(monkeypatch, slab_points):
    network = RadianceMlp(
        RadianceShape(position_octaves=3, direction_octaves=1, trunk=(16, 16), view=(4,)),
        torch.Generator().manual_seed(3),
    )
    with torch.no_grad():
        network.density.weight.mul_(200.0)
    field = NerfPairField(coarse=None, fine=network, domain=DOMAIN)
    whole = density_mesh(field, 24)
    checked(whole)
    monkeypatch.setattr(density_surface, "_SLAB_POINTS", slab_points)
    parts = density_mesh(field, 24)
    assert np.allclose(whole.vertices, parts.vertices, atol=1e-9)
    assert sorted(map(tuple, whole.faces)) == sorted(map(tuple, parts.faces))


def test_what_reaches_the_border_of_the_box_is_closed_there():
    mesh = density_mesh(BallField(), 20, low=(0.0, -1.0, -1.0), high=(1.0, 1.0, 0.5))
    solid = checked(mesh)
    assert solid.bounds[0, 0] == pytest.approx(0.0, abs=1e-3)
    assert solid.bounds[1, 2] == pytest.approx(0.5, abs=1e-3)


def test_the_surface_of_a_forward_facing_scene_lies_in_the_world():
    field = BallField(domain=NDC, radius=0.4, centre=(0.1, -0.2, 0.2), surface=surface_density(NDC))
    mesh = density_mesh(field, 24)
    checked(mesh)
    assert mesh.vertices[:, 2].max() < -1.0
    # A ray towards a vertex meets the ball where its depth says.
    vertices = torch.from_numpy(mesh.vertices).float()
    depth = -vertices[:, 2:]
    inside = to_field_space(Rays(torch.zeros_like(vertices), vertices / depth), NDC)
    met = inside.origins + (1.0 - 1.0 / depth) * inside.directions
    assert torch.allclose((met - torch.tensor(field.centre)).norm(dim=1), torch.tensor(0.4), atol=2e-3)


def test_the_grid_holds_the_density_at_its_points():
    field = BallField()
    grid = density_grid(field, 30, (-1.0, -0.5, 0.0), (1.0, 0.5, 1.0))
    assert grid.values.shape == (31, 16, 16)
    place = np.array(grid.low) + np.array([7, 3, 9]) * grid.spacing
    expected = field.density(torch.tensor(place[None], dtype=torch.float32))
    assert grid.values[7, 3, 9] == pytest.approx(float(expected), abs=1e-4)


def test_the_usual_surface_of_the_usual_scene_is_that_of_the_original_code():
    assert surface_density(DOMAIN) == 50.0
    assert surface_density(NDC) == 100.0


def test_a_field_that_is_nowhere_so_dense_has_its_surface_at_half_of_its_density():
    thin = BallField(surface=5.0)
    largest = float(density_grid(thin, 48).values.max())
    assert largest < 50.0
    mesh, wanted = density_mesh(thin, 24), density_mesh(thin, 24, 0.5 * largest)
    checked(mesh)
    assert len(mesh.faces) == pytest.approx(len(wanted.faces), rel=0.05)


def test_a_field_without_surface_is_refused_with_what_to_do():
    with pytest.raises(UnsupportedSceneError, match="lower"):
        density_mesh(BallField(surface=1.0), 16, 1e6)


@pytest.mark.parametrize("resolution", [1, 10**6])
def test_a_resolution_that_cannot_be_is_refused(resolution):
    with pytest.raises(InvalidRequestError, match="resolution"):
        density_mesh(BallField(), resolution)


@pytest.mark.parametrize("threshold", [0.0, -1.0, math.inf, math.nan])
def test_a_surface_needs_a_positive_density(threshold):
    with pytest.raises(InvalidRequestError, match="positive"):
        density_mesh(BallField(), 16, threshold)


def test_it_can_be_cancelled():
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        density_mesh(BallField(), 16, progress=Progress(None, token))
