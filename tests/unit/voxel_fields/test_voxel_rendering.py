"""Lattices, shaders and the renderer against plain samplings and values that can be computed by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from made_fields import DOMAIN, SHADERS, ball
from voxel_files import draw

from scene_codec.radiance.cameras import Rays
from scene_codec.radiance.ray_supply import CameraSet, made_cameras
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields import voxel_field, voxel_rendering
from scene_codec.voxel_fields.grid_model import GridModel, GridStep, visible_nodes
from scene_codec.voxel_fields.node_lattice import NodeIndex, NodeLattice
from scene_codec.voxel_fields.shading import HarmonicShader, NetworkShader, PlainShader, harmonics
from scene_codec.voxel_fields.voxel_field import VoxelField
from scene_codec.voxel_fields.voxel_model import DensityRule, Limits

LOW, HIGH = (-1.0, -0.5, 0.0), (1.0, 1.5, 3.0)


@pytest.mark.parametrize(
    ("centred", "clamped", "padding"),
    [(False, False, "zeros"), (True, False, "zeros"), (True, True, "border")],
)
def test_values_between_nodes_are_those_of_grid_sample(centred, clamped, padding):
    lattice = NodeLattice((3, 4, 5), LOW, HIGH, centred=centred, clamped=clamped)
    grid = torch.randn(2, 3, 4, 5, generator=draw(1))
    places = torch.rand(500, 3, generator=draw(2)) * 2.0 - 1.0
    low, high = torch.tensor(LOW), torch.tensor(HIGH)
    index = NodeIndex(lattice, torch.arange(lattice.nodes, dtype=torch.int32))
    mixed = index.around(low + (places + 1.0) / 2.0 * (high - low)).mix(grid.flatten(1).t().contiguous())
    wanted = F.grid_sample(
        grid[None],
        places.flip(1).view(1, 1, 1, -1, 3),
        align_corners=not centred,
        padding_mode=padding,
    )
    torch.testing.assert_close(mixed, wanted.view(2, -1).t(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("centred", [False, True])
def test_nodes_lie_where_their_value_alone_counts(centred):
    lattice = NodeLattice((3, 4, 5), LOW, HIGH, centred=centred)
    positions = lattice.positions(torch.arange(lattice.nodes))
    index = NodeIndex(lattice, torch.arange(lattice.nodes, dtype=torch.int32))
    table = torch.arange(lattice.nodes, dtype=torch.float32)[:, None]
    torch.testing.assert_close(index.around(positions).mix(table), table, atol=1e-4, rtol=1e-5)


def test_nodes_without_values_count_as_zero():
    lattice = NodeLattice((4, 4, 4), LOW, HIGH)
    held = torch.rand(64, generator=draw(3)) < 0.4
    index = NodeIndex.of_mask(lattice, held)
    table = torch.randn(int(held.sum()), 2, generator=draw(4))
    every = NodeIndex(lattice, torch.arange(64, dtype=torch.int32))
    positions = torch.tensor(LOW) + torch.rand(100, 3, generator=draw(5)) * torch.tensor([2.0, 2.0, 3.0])
    dense = index.dense(table).view(64, 2)
    torch.testing.assert_close(index.around(positions).mix(table), every.around(positions).mix(dense))


def test_harmonics_are_orthonormal_on_the_sphere():
    steps = 20000
    height = (torch.arange(steps) + 0.5) / steps * 2.0 - 1.0
    angle = torch.arange(steps) * math.pi * (3.0 - math.sqrt(5.0))
    across = (1.0 - height**2).sqrt()
    basis = harmonics(torch.stack([across * angle.cos(), across * angle.sin(), height], dim=1))
    product = basis.t() @ basis * (4.0 * math.pi / steps)
    torch.testing.assert_close(product, torch.eye(9), atol=2e-3, rtol=0.0)


def test_a_network_is_given_what_the_published_ones_are_given():
    for octaves, own in ((2, None), (0, None), (2, 3), (0, 2)):
        inputs = NetworkShader.first_inputs(5, octaves, own, residual=False)
        weight, bias = torch.randn(3, inputs, generator=draw(6)), torch.randn(3, generator=draw(7))
        shader = NetworkShader(((weight, bias),), 5, octaves, own)
        features = torch.randn(9, 5, generator=draw(8))
        views = F.normalize(torch.randn(4, 3, generator=draw(9)), dim=1)
        ray = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3, 3])
        parts = [features, views[ray]]
        for values, count in ((features, own or 0), (views[ray], octaves)):
            angles = (values[..., None] * 2.0 ** torch.arange(count)).flatten(1)
            parts += [angles.sin(), angles.cos()]
        wanted = F.linear(torch.cat(parts, dim=1), weight, bias).sigmoid()
        torch.testing.assert_close(shader.colours(features, views, ray), wanted, atol=1e-5, rtol=1e-5)


def box_of(density, step, *, in_voxels=False, shader=None, limits=None):
    """Return a box that is as dense everywhere, and its space."""
    lattice = NodeLattice((4, 4, 4), (-1.0,) * 3, (1.0,) * 3)
    shader = shader or PlainShader(squashed=False)
    features = torch.full((64, shader.features), 0.25)
    model = GridModel(
        index=NodeIndex(lattice, torch.arange(64, dtype=torch.int32)),
        raw_density=torch.full((64, 1), density),
        features=features,
        shader=shader,
        rule=DensityRule(softplus=False),
        step=GridStep(step, in_voxels),
        limits=limits or Limits(),
    )
    return model, SceneDomain(near=0.0, far=10.0, white_background=True, low=(-1.0,) * 3, high=(1.0,) * 3)


@pytest.mark.parametrize("in_voxels", [False, True])
@pytest.mark.parametrize("length", [1.0, 2.5])
def test_a_box_of_one_density_dims_as_the_law_says(in_voxels, length):
    model, domain = box_of(0.7, 0.01, in_voxels=in_voxels)
    origins = torch.tensor([[0.1, 0.2, 4.0], [5.0, 5.0, 4.0], [0.1, 0.2, 0.3]])
    directions = torch.tensor([[0.0, 0.0, -length], [0.0, 0.0, -length], [0.0, 0.0, -length]])
    seen = VoxelField(model, domain).render(Rays(origins, directions))
    clear = torch.tensor([math.exp(-0.7 * 2.0), 1.0, math.exp(-0.7 * 1.3)])
    torch.testing.assert_close(seen.opacity, 1.0 - clear, atol=8e-3, rtol=0.0)
    torch.testing.assert_close(
        seen.colour, (0.25 * (1.0 - clear) + clear)[:, None].expand(3, 3), atol=8e-3, rtol=0.0
    )
    assert seen.depth[1] == 0.0
    mean = 3.0 + 1.0 / 0.7 - 2.0 * float(clear[0] / (1.0 - clear[0]))
    assert float(seen.depth[0]) * length == pytest.approx(mean, abs=0.02)


def test_rays_end_where_little_light_is_left():
    model, domain = box_of(20.0, 0.05, limits=Limits(dark=1e-3))
    rays = Rays(torch.tensor([[0.0, 0.0, 3.0]]), torch.tensor([[0.0, 0.0, -1.0]]))
    opacity = float(VoxelField(model, domain).render(rays).opacity[0])
    # Of each sample e^-1 passes: after seven there is less than 1e-3.
    assert opacity == pytest.approx(1.0 - math.exp(-7.0), abs=1e-6)


def test_colours_and_densities_have_gradients():
    model, domain = box_of(0.7, 0.1, shader=HarmonicShader())
    values = {name: value.clone().requires_grad_() for name, value in model.parameters().items()}
    rays = Rays(torch.tensor([[0.1, 0.2, 3.0]]), torch.tensor([[0.0, 0.0, -1.0]]))
    VoxelField(model.with_parameters(values), domain).render(rays).colour.sum().backward()
    assert all(value.grad is not None and bool((value.grad != 0).any()) for value in values.values())


def test_places_that_are_not_looked_at_change_no_picture():
    model, domain = box_of(0.0, 0.1, limits=Limits(alpha=1e-3))
    raw = torch.zeros(64, 1)
    raw[torch.tensor([21, 22, 42])] = 5.0
    model = model.with_parameters(model.parameters() | {"raw_density": raw})
    masked = GridModel(**{**vars(model), "mask": visible_nodes(model)})
    assert 0 < int(masked.mask.held.sum()) < 64
    origins = torch.randn(300, 3, generator=draw(10)) * 0.4 + torch.tensor([0.0, 0.0, 4.0])
    rays = Rays(origins, torch.randn(300, 3, generator=draw(11)) * 0.1 - torch.tensor([0.0, 0.0, 1.0]))
    one, other = (VoxelField(own, domain).render(rays) for own in (model, masked))
    torch.testing.assert_close(one.colour, other.colour)
    assert float(one.opacity.max()) > 0.1


@pytest.mark.parametrize("shader", SHADERS)
def test_many_samples_are_looked_up_in_parts_that_show_the_same(monkeypatch, shader):
    field = VoxelField(ball(SHADERS[shader]), DOMAIN)
    rays = CameraSet(made_cameras(DOMAIN, 3)).draw(200, draw(12))
    whole = field.render(rays)
    calls = []
    trace = voxel_field.trace
    monkeypatch.setattr(voxel_field, "trace", lambda *values: calls.append(1) or trace(*values))
    monkeypatch.setattr(voxel_field, "_SAMPLES", 500)
    monkeypatch.setattr(voxel_rendering, "_COLOURED", 100)
    parts = field.render(rays)
    assert len(calls) > 8
    assert float(whole.opacity.max()) > 0.5
    for name in ("colour", "depth", "opacity"):
        # Sums of other numbers of samples round differently in float32.
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), atol=1e-5, rtol=1e-5)


def test_rays_with_too_many_samples_are_looked_along_one_by_one(monkeypatch):
    monkeypatch.setattr(voxel_field, "_SAMPLES", 1)
    model, domain = box_of(0.7, 0.1)
    rays = Rays(torch.tensor([[0.0, 0.0, 3.0]] * 3), torch.tensor([[0.0, 0.0, -1.0]] * 3))
    assert VoxelField(model, domain).render(rays).opacity.shape == (3,)
