"""What training of the rate-optimised network makes small: errors, and the bits that latents will take.

A latent's bits are those of a Laplace distribution whose width depends on the class of its block and on its
channel, as they do in files. The widths are learned along with the network. Widths that follow from each
batch would not do: in a class of which a batch has three blocks, three values can always be made to look
cheap, and the network learns that in place of anything useful.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from scene_codec.codecs.volume_vae.block_maps import CLASS_COUNT
from scene_codec.codecs.volume_vae.rate_coding import mean_magnitudes
from scene_codec.entropy.rate import laplace_bits_of
from scene_codec.entropy.straight_through import round_straight_through
from scene_codec.networks.block_vae import CORE_SIDE, CORE_VOXELS, RateBlockCoder
from scene_codec.volumes.blocks import blending_ramp

_NARROWEST = -5.0
"""Binary logarithm of the smallest width, in steps."""


class LatentWidths(nn.Module):
    """The width of each latent's distribution in blocks of each class, learned; training alone needs it."""

    def __init__(self, latents: NDArray[np.int32]) -> None:
        """Begin with what suits the quantised latents of some blocks, (n, latents)."""
        super().__init__()
        # The mean magnitude of a rounded Laplace variable of width b is 1 / (2 sinh(1 / 2b)).
        widths = 0.5 / np.arcsinh(0.5 / np.maximum(mean_magnitudes(latents), 1e-4))
        self.log2_width = nn.Parameter(torch.from_numpy(np.log2(widths).astype(np.float32)))

    def bits(self, noisy: Tensor, classes: Tensor) -> Tensor:
        """Return the bits, one number, of latents with noise (n, latents) in blocks of classes (n,).

        Blocks of class 0 have no latents.
        """
        occupied = classes > 0
        widths = self.log2_width[classes[occupied]].clamp_min(_NARROWEST).exp2()
        return laplace_bits_of(noisy[occupied], widths)


class RateLoss(nn.Module):
    """Error and weighted bits per voxel, both in the unit in which they have one price at every quality."""

    window: Tensor

    def __init__(self, widths: LatentWidths, margin: int, rate_weight: float) -> None:
        super().__init__()
        self.widths = widths
        self.rate_weight = rate_weight
        self.register_buffer("window", torch.from_numpy(window_of(margin)))

    def forward(self, network: RateBlockCoder, blocks: Tensor, generator: torch.Generator) -> Tensor:
        """Return the mean over blocks (n, voxels), less their mean and in steps."""
        latents = network.analyse(blocks)
        rounded = round_straight_through(latents)
        error = ((network.synthesise(rounded) - blocks).square() * self.window).sum()
        noise = torch.rand(latents.shape, generator=generator).to(latents.device) - 0.5
        classes = torch.frexp(rounded.detach().abs().sum(dim=1))[1].clamp_max(CLASS_COUNT - 1)
        bits = self.widths.bits(latents + noise, classes.to(torch.int64))
        return (error + self.rate_weight * bits) / (CORE_VOXELS * len(blocks))


def scaled(blocks: Tensor, steps: Tensor) -> Tensor:
    """Return blocks (n, s, s, s) as the network sees them, (n, voxels): less their mean, in steps (n, 1)."""
    margin = (blocks.shape[1] - CORE_SIDE) // 2
    core = slice(margin, margin + CORE_SIDE)
    means = blocks[:, core, core, core].mean(dim=(1, 2, 3))[:, None]
    return (blocks.flatten(1) - means) / steps


def window_of(margin: int) -> NDArray[np.float32]:
    """Return how much of each of a block's voxels (voxels,) is in the volume after blending; sums to 512."""
    axis = np.ones(CORE_SIDE + 2 * margin, np.float32)
    if margin:
        rising = blending_ramp(margin, "smooth")
        axis[: 2 * margin] = rising
        axis[-2 * margin :] = 1.0 - rising
    weights: NDArray[np.float32] = np.einsum("x,y,z->xyz", axis, axis, axis).reshape(-1)
    return weights
