"""The preset `paper` is NeCGS as published (arXiv 2405.15034 and its released code), number by number."""

import numpy as np
import torch

from scene_codec.codecs.mesh_necgs.config import settings_for
from scene_codec.codecs.mesh_necgs.model import INITIAL_LATENT_DEVIATION, SetModel, decoder_shape
from scene_codec.codecs.mesh_necgs.supervision import SATURATED, DenseSupervision
from scene_codec.codecs.mesh_necgs.syntax import parameter_sizes
from scene_codec.codecs.mesh_necgs.training import Schedule
from scene_codec.geometry.deformable_grid import DEFORMATION_CELLS, TRUNCATION_CELLS
from scene_codec.metrics.grid_similarity import structural_similarity

PAPER = settings_for("paper")


def small_model():
    settings = settings_for("paper")
    shape = decoder_shape(settings, 2)
    grids = [np.zeros((8, 8, 8, 4), dtype=np.float16)] * 2
    return SetModel(shape, settings, grids, torch.Generator().manual_seed(0))


def test_the_largest_decoder_at_128_has_1468548_weights_and_32_gmac():
    shape = decoder_shape(PAPER, 500)
    sizes = parameter_sizes(shape)
    assert sum(sizes) == 1_468_548
    kernels = sizes[0::2]
    sides = [4 << level for level in range(len(shape.widths))] + [shape.resolution]
    operations = sum(size * side**3 for size, side in zip(kernels, sides, strict=True))
    assert round(operations / 1e9, 1) == 32.5


def test_a_mesh_is_1024_scalars_on_257_levels():
    model = small_model()
    assert model.latents[0].numel() == 1024
    assert abs(float(model.latents.detach().std()) - INITIAL_LATENT_DEVIATION) < 0.02
    rounded = model.rounded_latents([0, 1])
    levels = torch.unique(rounded.in_steps.round())
    assert levels.min() >= -128
    assert levels.max() <= 128
    weights, _ = model.rounded_weights()
    for value in weights.values():
        assert torch.equal(value * 128, (value * 128).round())


def test_truncation_is_two_cells_and_a_vertex_moves_by_half_a_cell_at_most():
    assert (TRUNCATION_CELLS, DEFORMATION_CELLS) == (2.0, 0.5)


def test_the_schedule_is_400_epochs_in_batches_of_four_with_a_fifth_of_warm_up():
    schedule = Schedule.of_set(PAPER, 500)
    assert schedule.batch_size == 4
    assert schedule.steps * schedule.batch_size == 400 * 500
    assert schedule.rate_at(schedule.steps // 5, PAPER.warmup) > 0.99
    assert schedule.rate_at(schedule.steps - 1, PAPER.warmup) < 1e-3


def test_the_loss_is_mae_plus_five_masked_plus_ten_times_the_two_dissimilarities():
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(1, 4, 8, 8, 8, generator=generator) * 2 - 1
    target[:, 0, :4] = 1.0
    output = torch.rand(1, 4, 8, 8, 8, generator=generator) * 2 - 1
    grid = target[0].permute(1, 2, 3, 0).numpy().astype(np.float16)
    exact = torch.from_numpy(grid.astype(np.float32)).permute(3, 0, 1, 2)[None]
    supervision = DenseSupervision([grid], torch.device("cpu"), PAPER)
    latents = torch.full((1, 16, 4, 4, 4), 0.5)
    loss = supervision.distortion(lambda *_: output, latents, [0])
    error = (output - exact).abs()
    mask = exact[:, :1].abs() < SATURATED
    similarity = [
        structural_similarity((output[:, part] + 1) / 2, (exact[:, part] + 1) / 2)
        for part in (slice(0, 1), slice(1, 4))
    ]
    expected = (
        error.mean()
        + 5.0 * (error * mask).sum() / mask.sum()
        + 10.0 * sum(1.0 - value for value in similarity)
        + 0.1 * 0.5
    )
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0.0)
