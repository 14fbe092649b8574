"""The presets `paper-*` are M. Bevec's Neural volume compression as published (2023), number by number."""

import numpy as np
import pytest
import torch

from scene_codec.codecs.volume_vae.config import settings_for, training_settings_for
from scene_codec.codecs.volume_vae.dense_coding import DenseCoding
from scene_codec.codecs.volume_vae.training import Trainer, TrainingRun
from scene_codec.codecs.volume_vae.training_blocks import TrainingBlocks, TrainingVolume
from scene_codec.networks.block_vae import BlockNetworkShape, DenseBlockVae, make_network
from scene_codec.progress import Progress

VARIANTS = {
    "paper-zero-margin": (0, 144_192, 4.0),
    "paper-two-wide": (2, 456_704, 4.0),
    "paper-more-parameters": (2, 936_256, 2.0),
}
"""Margin, parameters, and ratio of 8-bit voxels to float32 latents."""


def network_of(preset):
    training = training_settings_for(preset)
    shape = BlockNetworkShape(training.network, training.margin, training.latents, training.hidden)
    return make_network(shape, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("preset", VARIANTS)
def test_the_three_variants_have_the_published_sizes(preset):
    margin, parameters, _ = VARIANTS[preset]
    network = network_of(preset)
    assert isinstance(network, DenseBlockVae)
    assert network.shape.margin == margin
    assert sum(value.numel() for value in network.parameters()) == parameters


@pytest.mark.parametrize("preset", VARIANTS)
def test_a_block_is_stored_at_the_published_ratio(preset):
    margin, _, ratio = VARIANTS[preset]
    settings = settings_for(preset)
    assert settings.latents == "float32"
    network = network_of(preset)
    assert isinstance(network, DenseBlockVae)
    side = 8 + 2 * margin
    blocks = np.zeros((2, 1, 1, side, side, side), np.float32)
    assert 2 * 512 / len(DenseCoding(network, 0.0).encode(blocks)) == ratio


def test_training_is_adam_in_batches_of_64_for_eight_epochs_at_a_constant_rate():
    settings = training_settings_for("paper-two-wide")
    assert (settings.batch_size, settings.epochs, settings.decay, settings.augment) == (64, 8, False, False)
    assert settings.learning_rate == 2e-4
    blocks = TrainingBlocks(
        [TrainingVolume("noise", np.random.default_rng(0).random((80, 80, 80)))], 2, Progress()
    )
    trainer = Trainer(blocks, settings, TrainingRun())
    training_blocks = 1000 - round(0.3 * 1000)
    assert abs(trainer.steps - 8 * training_blocks / 64) < 8 * 3
    assert isinstance(trainer._optimiser, torch.optim.Adam)


def test_the_loss_is_the_squared_error_of_blocks_from_noisy_latents_and_nothing_else():
    network = network_of("paper-zero-margin")
    assert isinstance(network, DenseBlockVae)
    values = np.random.default_rng(0).random((32, 32, 32)).astype(np.float32)
    blocks = TrainingBlocks([TrainingVolume("noise", values)], 0, Progress())
    trainer = Trainer(blocks, training_settings_for("paper-zero-margin"), TrainingRun())
    some = torch.from_numpy(blocks.take(np.arange(8)))
    loss = trainer._loss(some, torch.Generator().manual_seed(5))
    decoded = trainer.network(some.flatten(1), torch.Generator().manual_seed(5))
    torch.testing.assert_close(loss, (decoded - some.flatten(1)).square().mean())
