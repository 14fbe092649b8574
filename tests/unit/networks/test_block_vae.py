"""The published network in its sizes, and the laws that ours rests on."""

import numpy as np
import pytest
import torch

from scene_codec.networks.block_vae import (
    CORE_SIDE,
    BlockNetworkShape,
    DenseBlockVae,
    RateBlockCoder,
    cosine_bases,
)
from scene_codec.volumes.blocks import BLOCK_SIDE


def rate_network(margin=0, latents=511, trained=True):
    generator = torch.Generator().manual_seed(0)
    network = RateBlockCoder(BlockNetworkShape("rate", margin, latents, 8), generator)
    if trained:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return network


def test_blocks_and_networks_agree_on_the_side():
    assert CORE_SIDE == BLOCK_SIDE


@pytest.mark.parametrize("margin", [0, 2])
def test_our_network_is_homogeneous(margin):
    network = rate_network(margin)
    blocks = torch.randn(5, network.shape.voxels, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(
            network.analyse(3.0 * blocks), 3.0 * network.analyse(blocks), rtol=1e-4, atol=1e-4
        )
        latents = network.analyse(blocks)
        torch.testing.assert_close(
            network.synthesise(7.0 * latents), 7.0 * network.synthesise(latents), rtol=1e-4, atol=1e-3
        )
        assert torch.equal(network.synthesise(torch.zeros(1, 511)), torch.zeros(1, network.shape.voxels))


@pytest.mark.parametrize("margin", [0, 1, 2])
def test_our_network_starts_as_an_orthonormal_cosine_transform(margin):
    network = rate_network(margin, trained=False)
    side = CORE_SIDE + 2 * margin
    core = slice(margin, margin + CORE_SIDE)
    blocks = torch.randn(3, side, side, side, generator=torch.Generator().manual_seed(1))
    blocks -= blocks[:, core, core, core].mean(dim=(1, 2, 3), keepdim=True)
    with torch.no_grad():
        latents = network.analyse(blocks.flatten(1))
        restored = network.synthesise(latents).view(-1, side, side, side)
    inside = blocks[:, core, core, core]
    torch.testing.assert_close(restored[:, core, core, core], inside, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        latents.square().sum(dim=1), inside.square().sum(dim=(1, 2, 3)), rtol=1e-4, atol=0
    )


def test_few_latents_are_the_lowest_cosines():
    inner, extended = cosine_bases(BlockNetworkShape("rate", 0, 26, 1))
    np.testing.assert_allclose(inner @ inner.T, np.eye(26), atol=1e-6)
    np.testing.assert_array_equal(inner, extended)
    assert np.abs(np.diff(np.sign(inner[0].reshape(8, 8, 8)), axis=0)).sum() in (0, 2 * 64)


@pytest.mark.parametrize("latents", [0, 512])
def test_a_number_of_latents_that_is_impossible_is_refused(latents):
    with pytest.raises(ValueError, match="between 1 and 511"):
        rate_network(latents=latents)


def test_the_same_generator_gives_the_same_network():
    states = [
        DenseBlockVae(BlockNetworkShape("dense", 1, 4, 8), torch.Generator().manual_seed(3)).state_dict()
        for _ in range(2)
    ]
    for name, values in states[0].items():
        assert torch.equal(values, states[1][name])


def test_noise_on_the_latents_has_the_learned_width():
    network = DenseBlockVae(BlockNetworkShape("dense", 0, 4, 8), torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.log_variance.weight.zero_()
        network.log_variance.bias.fill_(-80.0)
        blocks = torch.rand(2, 512, generator=torch.Generator().manual_seed(1))
        noiseless = network.synthesise(network.analyse(blocks))
        torch.testing.assert_close(network(blocks, torch.Generator().manual_seed(2)), noiseless)
        network.log_variance.bias.zero_()
        assert not torch.allclose(network(blocks, torch.Generator().manual_seed(2)), noiseless)
