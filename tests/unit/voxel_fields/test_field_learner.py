import dataclasses

import msgspec
import pytest
import torch

from scene_codec.radiance.field_space import FieldRays
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.field_learner import FieldLearner, FieldLoss, RayBatch
from scene_codec.voxel_fields.field_schedule import FieldSchedule
from scene_codec.voxel_fields.field_stages import Box, found_box, fresh_network, going_on, refined
from scene_codec.voxel_fields.field_training_config import FieldTrainingSettings, preset_settings
from scene_codec.voxel_fields.held_cells import HeldCells
from scene_codec.voxel_fields.shading import PlainShader
from scene_codec.voxel_fields.table_training import TrainedTable, used_rows
from scene_codec.voxel_fields.voxel_model import Limits
from scene_codec.voxel_fields.voxel_rendering import trace

SETTINGS = FieldTrainingSettings(features=5, width=8, direction_octaves=1, nodes=10, growth=(0.5,))
BOX = Box.of_nodes((-1.0, -0.8, -1.2), (1.0, 1.1, 0.9), 10**3)
DOMAIN = SceneDomain(near=0.5, far=6.0, white_background=True)
LOSS = FieldLoss(entropy=0.05, points=0.03)


def rays_around(count, seed=0):
    """Return rays from a sphere of radius 3 towards points near the middle."""
    generator = torch.Generator().manual_seed(seed)
    origins = torch.randn((count, 3), generator=generator)
    origins = 3.0 * origins / origins.norm(dim=1, keepdim=True)
    targets = 0.6 * torch.randn((count, 3), generator=generator)
    directions = (targets - origins) / 2.5
    lengths = directions.norm(dim=1)
    return FieldRays(origins, directions, lengths, directions / lengths[:, None])


def learner(shader=None, limits=None, opaque=None, seed=0):
    """Return a learner with random tables."""
    generator = torch.Generator().manual_seed(seed)
    shader = shader or fresh_network(SETTINGS, generator, torch.device("cpu"))
    lattice = BOX.lattice(1.0)
    if opaque is None:
        # Rounding decides whether a sample on a face lies in the box: nothing is there.
        inner = torch.zeros(lattice.shape, dtype=torch.bool)
        inner[2:-2, 2:-2, 2:-2] = True
        opaque = (torch.rand(lattice.nodes, generator=generator) < 0.1) & inner.flatten()
    cells = HeldCells.of_nodes(lattice, opaque)
    rows = len(cells.index.held)
    density = TrainedTable(2.0 + 3.0 * torch.randn((rows, 1), generator=generator))
    features = TrainedTable(torch.randn((rows, shader.features), generator=generator))
    limits = limits or Limits(alpha=1e-5, weight=1e-5)
    return FieldLearner(cells, (density, features), shader, BOX.rule(0.01), limits, BOX.voxel)


def batch(count=60, seed=1):
    colours = torch.rand((count, 3), generator=torch.Generator().manual_seed(seed))
    return RayBatch(rays_around(count, seed), colours, torch.zeros(count))


def loss_of(model, chosen, domain):
    """Return the loss of a model as its equation says it."""
    seen = trace(model, chosen.rays, domain)
    pixels = seen.pixels()
    error = (pixels.over(domain.white_background) - chosen.colours).square().mean()
    clear = seen.clear.clamp(1e-6, 1.0 - 1e-6)
    entropy = -(clear * clear.log() + (1.0 - clear) * (1.0 - clear).log()).mean()
    own = seen.colours - chosen.colours[seen.samples.ray[seen.coloured]]
    points = (seen.weights[seen.coloured].detach() * own.square().sum(dim=1)).sum() / len(chosen.rays)
    return error + LOSS.entropy * entropy + LOSS.points * points, error


@pytest.mark.parametrize("white", [True, False])
@pytest.mark.parametrize("plain", [True, False])
def test_the_gradient_by_hand_is_that_of_the_loss(plain, white, monkeypatch):
    domain = dataclasses.replace(DOMAIN, white_background=white)
    chosen, learnt = batch(), learner(PlainShader() if plain else None)
    model = learnt.model()
    parameters = {name: value.detach().clone().requires_grad_() for name, value in model.parameters().items()}
    expected, error = loss_of(model.with_parameters(parameters), chosen, domain)
    expected.backward()
    gradients = []
    monkeypatch.setattr(TrainedTable, "step", lambda _, rows, slope, rate: gradients.append((rows, slope)))
    outcome = learnt.step(chosen, domain, LOSS, 0.1)
    assert outcome.loss == pytest.approx(float(expected.detach()), rel=1e-5)
    assert outcome.squared_error == pytest.approx(float(error.detach()), rel=1e-5)
    assert outcome.samples > 0
    for name, (rows, slope) in zip(("raw_density", "features"), gradients, strict=True):
        dense = torch.zeros_like(parameters[name]).index_add(0, rows, slope)
        torch.testing.assert_close(dense, parameters[name].grad, atol=2e-7, rtol=1e-4)
    for name, value in learnt.shader.parameters().items():
        torch.testing.assert_close(value.grad, parameters[name].grad, atol=2e-7, rtol=1e-4)


def test_samples_for_training_are_those_of_the_renderer():
    learnt = learner()
    rays = rays_around(200)
    found = learnt.cells.march(rays, learnt.step_size, DOMAIN.near, torch.zeros(200))
    model = dataclasses.replace(learnt.model(), limits=Limits())
    expected = trace(model, rays, DOMAIN)
    assert len(found) == len(expected.samples) > 200
    assert torch.equal(found.ray, expected.samples.ray)
    corners = expected.probe.corners
    assert torch.equal(found.rows, corners.rows)
    torch.testing.assert_close(found.weights, corners.weights, atol=1e-4, rtol=0.0)


def test_rays_that_meet_nothing_teach_the_background():
    learnt = learner(opaque=torch.zeros(BOX.lattice(1.0).nodes, dtype=torch.bool))
    outcome = learnt.step(batch(), DOMAIN, LOSS, 0.1)
    assert outcome.samples == 0
    expected = (1.0 - batch().colours).square().mean()
    assert outcome.squared_error == pytest.approx(float(expected), rel=1e-5)


def test_the_gradients_of_rows_are_summed_over_all_that_used_them():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(0, 20, (50, 8), generator=generator)
    weights, gradient = torch.rand((50, 8), generator=generator), torch.randn((50, 3), generator=generator)
    found, sums = used_rows(rows, weights, gradient)
    expected = torch.zeros((20, 3)).index_add(
        0, rows.flatten(), (weights[:, :, None] * gradient[:, None]).flatten(0, 1)
    )
    assert torch.equal(found, torch.unique(rows))
    torch.testing.assert_close(sums, expected[found])


def test_rows_move_as_adam_moves_them_and_others_stay():
    table = TrainedTable(torch.zeros((3, 2)))
    reference = torch.nn.Parameter(torch.zeros((2, 2)))
    optimiser = torch.optim.Adam([reference], lr=0.1, betas=(0.9, 0.99))
    for step in range(5):
        gradient = torch.randn((2, 2), generator=torch.Generator().manual_seed(step))
        reference.grad = gradient
        optimiser.step()
        table.step(torch.tensor([0, 2]), gradient.clone(), 0.1)
    torch.testing.assert_close(table.values[[0, 2]], reference.detach())
    assert not table.values[1].any()


def test_more_nodes_show_the_same_field():
    every = torch.ones(BOX.lattice(1.0).nodes, dtype=torch.bool)
    coarse = learner(opaque=every)
    larger = Box(BOX.low, BOX.high, BOX.voxel / 2.0)
    finer = refined(coarse, larger, 1.0, 0.0)
    assert len(finer.density.values) > 4 * len(coarse.density.values)
    places = 0.7 * (2.0 * torch.rand((500, 3), generator=torch.Generator().manual_seed(0)) - 1.0)
    shown, expected = finer.model().probe(places), coarse.model().probe(places)
    # Values between nodes that do not coincide are interpolated twice.
    assert (shown.density - expected.density).abs().median() < 0.2 * expected.density.median()
    same = refined(coarse, BOX, 1.0, 0.0)
    opaque = (coarse.opacity() > 1e-2).view(1, 1, *BOX.lattice(1.0).shape)
    assert torch.equal(same.opacity().view_as(opaque)[opaque], coarse.opacity().view_as(opaque)[opaque])


def test_a_network_begins_with_the_colours_that_were_learnt_without_it():
    coarse = learner(PlainShader())
    shader = fresh_network(SETTINGS, torch.Generator().manual_seed(0), torch.device("cpu"))
    shader = shader.with_parameters({name: value.detach() for name, value in shader.parameters().items()})
    fine = going_on(coarse, BOX, 1.0, shader, SETTINGS)
    rays = rays_around(100)
    before = trace(coarse.model(), rays, DOMAIN).pixels()
    after = trace(fine.model(), rays, DOMAIN).pixels()
    # The last layer's small weights on what is left of the first layer's random ones.
    assert (before.colour - after.colour).abs().mean() < 0.05
    assert before.opacity.std() > 0.05


def test_the_box_is_around_what_is_opaque():
    lattice = BOX.lattice(1.0)
    learnt = learner(PlainShader(), opaque=torch.ones(lattice.nodes, dtype=torch.bool))
    learnt.density.values.fill_(-20.0)
    _, y, z = lattice.shape
    first = (3 * y + 4) * z + 5
    chosen = torch.tensor([first, first + 1, first + 2])
    speck = torch.tensor([(6 * y + 7) * z + 2])
    for nodes in (chosen, speck):
        learnt.density.values[learnt.cells.index.row[nodes].long()] = 10.0
    box = found_box(learnt, 1000)
    ends = lattice.positions(chosen[[0, -1]])
    voxel = torch.tensor(lattice.voxel)
    torch.testing.assert_close(torch.tensor(box.low), ends[0] - voxel, atol=1e-5, rtol=0.0)
    torch.testing.assert_close(torch.tensor(box.high), ends[1] + voxel, atol=1e-5, rtol=0.0)
    learnt.density.values.fill_(-200.0)
    assert found_box(learnt, 1000) is None


@pytest.mark.parametrize("steps", [4, 5, 24, 3000])
@pytest.mark.parametrize("name", ["fast", "large", "paper"])
def test_every_schedule_finds_the_box_and_ends_with_all_nodes(name, steps):
    settings = msgspec.structs.replace(preset_settings(name), steps=steps)
    schedule = FieldSchedule(settings)
    changes = [change for step in range(steps) if (change := schedule.change(step)) is not None]
    assert [change.finds_box for change in changes] == [change.colours != "same" for change in changes]
    assert [change.colours for change in changes].count("network") == 1
    if steps > 10:
        assert changes[-1].fewer == 1.0
        assert sum(change.grown for change in changes) == len(settings.growth)
    rates = [schedule.rate(step) for step in range(steps)]
    assert max(rates) == 1.0
    assert min(rates) > 0.05
