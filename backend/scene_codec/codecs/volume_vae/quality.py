"""The quantisation step for a wanted PSNR, found on a sample of blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.volume_parts.channel_range import ChannelRange
from scene_codec.codecs.volume_vae.config import VolumeVaeSettings
from scene_codec.codecs.volume_vae.model import BlockModel
from scene_codec.codecs.volume_vae.rate_coding import RateCoding
from scene_codec.codecs.volume_vae.slabs import block_axes
from scene_codec.networks.block_vae import CORE_SIDE, RateBlockCoder
from scene_codec.volumes.blocks import block_counts, cut_layers

SAMPLED_BLOCKS = 4096
SAMPLED_LAYERS = 32
COARSEST_STEP, FINEST_STEP = 1.0, 2.0**-16
TOLERANCE_DB = 0.02
MOST_TRIALS = 12
DB_PER_OCTAVE = 20.0 * math.log10(2.0)


def sample_blocks(view: NDArray[np.generic], found: ChannelRange, margin: int, *, reverse: bool) -> Sample:
    """Return blocks of a channel with the slabs' axis first, normalised.

    All of them for small volumes; for larger ones some of every few layers, so that little is read.
    """
    counts = block_counts((view.shape[0], view.shape[1], view.shape[2]))
    layers = np.unique(np.linspace(0, counts[0] - 1, min(counts[0], SAMPLED_LAYERS)).round().astype(int))
    generator = np.random.default_rng(0)
    parts, insides = [], []
    for layer in layers.tolist():
        blocks = block_axes(cut_layers(view, margin, layer, layer + 1), reverse=reverse)[0]
        size = min(counts[1] * counts[2], max(1, SAMPLED_BLOCKS // len(layers)))
        chosen = np.sort(generator.permutation(counts[1] * counts[2])[:size])
        places = np.stack([np.full(size, layer), chosen // counts[2], chosen % counts[2]], axis=1)
        parts.append(blocks[places[:, 1], places[:, 2]].reshape(size, -1))
        insides.append(block_axes(_inside(places, view.shape)[None, None], reverse=reverse)[0, 0])
    return Sample(found.normalised(np.concatenate(parts)), np.concatenate(insides))


def _inside(places: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which voxels of the cores (n, 8, 8, 8) of blocks at places (n, 3) are in a volume."""
    x, y, z = (CORE_SIDE * places[:, axis, None] + np.arange(CORE_SIDE) < shape[axis] for axis in range(3))
    return x[:, :, None, None] & y[:, None, :, None] & z[:, None, None, :]


@dataclass(frozen=True)
class Sample:
    """Blocks of a channel.

    blocks : (n, voxels) float32 in [0, 1]
    inside : (n, 8, 8, 8) which voxels of the cores are in the volume
    """

    blocks: NDArray[np.float32]
    inside: NDArray[np.bool_]


def step_for_psnr(sample: Sample, settings: VolumeVaeSettings, model: BlockModel) -> float:
    """Return the step with which a channel comes to `settings.psnr`, given a sample of its blocks."""
    assert isinstance(model.network, RateBlockCoder)
    low, high = math.log2(FINEST_STEP), math.log2(COARSEST_STEP)
    # The error of a uniform quantiser, step**2 / 12, is where to begin; sparse volumes have far less.
    guess = min(max(0.5 * math.log2(12.0) - settings.psnr / DB_PER_OCTAVE, low), high)
    for _ in range(MOST_TRIALS):
        coding = RateCoding(model.network, model.contexts, 2.0**guess, settings.rounding)
        reached = sampled_psnr(sample, coding)
        if abs(reached - settings.psnr) < TOLERANCE_DB:
            break
        low, high = (guess, high) if reached > settings.psnr else (low, guess)
        along_slope = guess + (reached - settings.psnr) / DB_PER_OCTAVE
        guess = along_slope if low < along_slope < high else 0.5 * (low + high)
    return float(2.0**guess)


def sampled_psnr(sample: Sample, coding: RateCoding) -> float:
    """Return the PSNR in dB of a sample after coding, of the voxels that are in the volume."""
    blocks = sample.blocks
    decoded = np.clip(coding.reconstructed(*coding.quantised(blocks)), 0.0, 1.0)
    side, margin = coding.side, (coding.side - CORE_SIDE) // 2
    core = slice(margin, margin + CORE_SIDE)
    error = (decoded - blocks).reshape(-1, side, side, side)[:, core, core, core]
    mean = float(np.mean(np.square(error[sample.inside], dtype=np.float64)))
    return 200.0 if mean <= 1e-20 else -10.0 * math.log10(mean)
