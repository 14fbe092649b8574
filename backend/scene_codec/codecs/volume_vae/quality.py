"""The quantisation step for a wanted PSNR, found on a sample of blocks before anything is coded."""

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
GENTLEST, STEEPEST = 1.0, 1.5 * DB_PER_OCTAVE
"""Slopes that are believed of two trials, in dB for half the step."""

OUT_OF_REACH_DB = 0.3
"""A PSNR missed by more than this after all trials is out of reach; as much is then given up for bytes."""

ROUGH_PART = 4
"""The first trials see one in so many sampled blocks."""


@dataclass(frozen=True)
class SampledChannel:
    """One channel as the encoder sees it.

    values, active : with the slabs' axis first; all voxels are active where `active` is None
    reverse : whether that axis is z
    """

    values: NDArray[np.generic]
    active: NDArray[np.bool_] | None
    found: ChannelRange
    reverse: bool


def sample_blocks(channel: SampledChannel, margin: int) -> Sample:
    """Return blocks of a channel, normalised.

    All of them for small volumes; for larger ones some of every few layers, so that little is read.
    """
    view, reverse = channel.values, channel.reverse
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
        inside = _inside(places, view.shape)
        if channel.active is not None:
            masks = cut_layers(channel.active, 0, layer, layer + 1)[0]
            inside &= masks[places[:, 1], places[:, 2]].astype(bool)
        insides.append(block_axes(inside[None, None], reverse=reverse)[0, 0])
    return Sample(channel.found.normalised(np.concatenate(parts)), np.concatenate(insides))


def _inside(places: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which voxels of the cores (n, 8, 8, 8) of blocks at places (n, 3) are in a volume."""
    x, y, z = (CORE_SIDE * places[:, axis, None] + np.arange(CORE_SIDE) < shape[axis] for axis in range(3))
    return x[:, :, None, None] & y[:, None, :, None] & z[:, None, None, :]


@dataclass(frozen=True)
class Sample:
    """Blocks of a channel.

    blocks : (n, voxels) float32 in [0, 1]
    inside : (n, 8, 8, 8) which voxels of the cores are in the volume and active
    """

    blocks: NDArray[np.float32]
    inside: NDArray[np.bool_]


def step_for_psnr(sample: Sample, wanted: float, settings: VolumeVaeSettings, model: BlockModel) -> float:
    """Return the step with which a channel comes to a PSNR in dB, given a sample of its blocks."""
    if not sample.inside.any():
        return COARSEST_STEP
    # The error of a uniform quantiser, step**2 / 12, is where to begin; sparse volumes have far less.
    guess = 0.5 * math.log2(12.0) - wanted / DB_PER_OCTAVE
    rough = Sample(sample.blocks[::ROUGH_PART], sample.inside[::ROUGH_PART])
    for part in (rough, sample) if rough.inside.any() else (sample,):
        guess = _searched(part, wanted, settings, model, guess)
    return float(2.0**guess)


def _searched(
    sample: Sample, wanted: float, settings: VolumeVaeSettings, model: BlockModel, guess: float
) -> float:
    """Return the binary logarithm of the step, looked for around a guess."""
    assert isinstance(model.network, RateBlockCoder)
    low, high = math.log2(FINEST_STEP), math.log2(COARSEST_STEP)
    guess = min(max(guess, low), high)
    slope = DB_PER_OCTAVE
    trials: list[tuple[float, float]] = []
    for _ in range(MOST_TRIALS):
        coding = RateCoding(model.network, model.contexts, 2.0**guess, settings.rounding)
        excess = sampled_psnr(sample, coding) - wanted
        trials.append((guess, excess))
        if abs(excess) < TOLERANCE_DB:
            return guess
        low, high = (guess, high) if excess > 0.0 else (low, guess)
        if len(trials) > 1:
            before = trials[-2]
            slope = min(max((before[1] - excess) / (guess - before[0]), GENTLEST), STEEPEST)
        along_slope = guess + excess / slope
        guess = along_slope if low < along_slope < high else 0.5 * (low + high)
        if guess == trials[-1][0]:
            break  # at an end of what steps can be
    best = max(excess for _, excess in trials)
    if best < -OUT_OF_REACH_DB:
        # A model with few latents has a best quality; steps finer than that need are bytes for nothing.
        return max(step for step, excess in trials if excess > best - OUT_OF_REACH_DB)
    return guess


def sampled_psnr(sample: Sample, coding: RateCoding) -> float:
    """Return the PSNR in dB of a sample after coding, of the voxels that count."""
    blocks = sample.blocks
    decoded = np.clip(coding.reconstructed(*coding.quantised(blocks)), 0.0, 1.0)
    side, margin = coding.side, (coding.side - CORE_SIDE) // 2
    core = slice(margin, margin + CORE_SIDE)
    error = (decoded - blocks).reshape(-1, side, side, side)[:, core, core, core]
    mean = float(np.mean(np.square(error[sample.inside], dtype=np.float64)))
    return 200.0 if mean <= 1e-20 else -10.0 * math.log10(mean)
