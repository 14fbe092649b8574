"""Blocks to bytes and back with the rate-optimised network.

A block is its mean, which is coded for all blocks together, plus latents in steps. Its class, the bit length
of the sum of the latents' magnitudes, says how wide their distributions are: with the channel it selects one
of a few probability tables, through a table of integers that belongs to the model. Blocks of class 0 have no
latents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scene_codec.codecs.volume_vae.block_maps import (
    CLASS_COUNT,
    decode_classes,
    decode_means,
    encode_classes,
    encode_means,
)
from scene_codec.codecs.volume_vae.tables import fitted_table
from scene_codec.entropy.byte_fields import ByteReader, varint
from scene_codec.entropy.fitting import read_table
from scene_codec.entropy.range_coding import decode_symbols, encode_symbols
from scene_codec.errors import CorruptFileError
from scene_codec.networks.block_vae import CORE_SIDE, RateBlockCoder
from scene_codec.volumes.blocks import Counts

MEANS_PER_STEP = 16
"""Means are this much finer than the step: an error of theirs is shared by all 512 voxels."""

CONTEXT_COUNT = 28
BLOCKS_AT_ONCE = 4096
REFINEMENTS = 2
"""How often what a learned analysis missed is analysed again; up to 38 % fewer bytes at 50 dB."""

Blocks = NDArray[np.float32]


@dataclass(frozen=True)
class RateCoding:
    """How blocks are coded.

    contexts : (classes, latents) uint8 below 28, the probability table of a channel in a block of a class
    step : quantisation step of orthonormal coefficients, in units of the values' range
    rounding : magnitudes are rounded up from this fraction on away from zero, at least 0.5; encoding alone
    """

    network: RateBlockCoder
    contexts: NDArray[np.uint8]
    step: float
    rounding: float = 0.5

    @property
    def side(self) -> int:
        """Voxels along a block's edge, margins included."""
        return CORE_SIDE + 2 * self.network.shape.margin

    def encode(self, blocks: Blocks) -> bytes:
        """Return the bytes of blocks (bx, by, bz, s, s, s) with values in [0, 1]."""
        counts = blocks.shape[:3]
        means, latents = self.quantised(blocks.reshape(-1, self.side**3))
        classes = classes_of(latents)
        maps = encode_classes(classes.reshape(counts))
        means_part = encode_means(means.reshape(counts), (classes > 0).reshape(counts))
        return maps + means_part + _encode_latents(latents, classes, self.contexts)

    def decode(self, data: bytes, counts: Counts) -> Blocks:
        """Return the blocks (bx, by, bz, s, s, s) of coded bytes. Raises `CorruptFileError`."""
        reader = ByteReader(data)
        classes = decode_classes(reader, counts)
        means = decode_means(reader, classes > 0).ravel()
        occupied = np.flatnonzero(classes)
        latents = _decode_latents(reader, classes.ravel(), self.contexts)
        blocks = np.zeros((means.size, self.side**3), np.float32)
        blocks += (means * (self.step / MEANS_PER_STEP)).astype(np.float32)[:, None]
        for start in range(0, len(occupied), BLOCKS_AT_ONCE):
            chosen = occupied[start : start + BLOCKS_AT_ONCE]
            blocks[chosen] += self._synthesised(latents[start : start + BLOCKS_AT_ONCE])
        return blocks.reshape(*counts, self.side, self.side, self.side)

    def quantised(self, blocks: Blocks) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return the means (n,) and latents (n, latents) of blocks (n, voxels), all in steps."""
        means = np.zeros(len(blocks), np.int64)
        latents = np.zeros((len(blocks), self.network.shape.latents), np.int32)
        for start in range(0, len(blocks), BLOCKS_AT_ONCE):
            part = blocks[start : start + BLOCKS_AT_ONCE]
            cores = core_means(part, self.side)
            means[start : start + len(part)] = np.rint(cores * (MEANS_PER_STEP / self.step))
            decoded = (means[start : start + len(part)] * (self.step / MEANS_PER_STEP)).astype(np.float32)
            scaled = (part - decoded[:, None]) / np.float32(self.step)
            exact = self._analysed(self._tensor(scaled)).cpu().numpy()
            magnitudes = np.floor(np.abs(exact) + (1.0 - self.rounding))
            latents[start : start + len(part)] = np.copysign(magnitudes, exact)
        return means, latents

    def reconstructed(self, means: NDArray[np.int64], latents: NDArray[np.int32]) -> Blocks:
        """Return the blocks (n, voxels) that quantised means and latents stand for."""
        decoded = (means * (self.step / MEANS_PER_STEP)).astype(np.float32)
        return decoded[:, None] + self._synthesised(latents)

    def _analysed(self, blocks: Tensor) -> Tensor:
        """Return the latents of blocks, in steps and not rounded.

        A learned analysis is the inverse of the learned synthesis to about a hundredth. What is missing is
        analysed once more, so that the difference never shows, however small the step.
        """
        with torch.inference_mode():
            latents = self.network.analyse(blocks)
            for _ in range(REFINEMENTS):
                latents += self.network.analyse(blocks - self.network.synthesise(latents))
        return latents

    def _synthesised(self, latents: NDArray[np.int32]) -> Blocks:
        with torch.inference_mode():
            blocks = self.network.synthesise(self._tensor(latents.astype(np.float32)))
            result: Blocks = (blocks * self.step).cpu().numpy()
        return result

    def _tensor(self, values: Blocks) -> Tensor:
        return torch.from_numpy(values).to(self.network.analysis.weight.device)


def core_means(blocks: Blocks, side: int) -> NDArray[np.float32]:
    """Return the mean of each block's 8 x 8 x 8 core, (n,); blocks are (n, side**3)."""
    margin = (side - CORE_SIDE) // 2
    core = slice(margin, margin + CORE_SIDE)
    means: NDArray[np.float32] = blocks.reshape(-1, side, side, side)[:, core, core, core].mean(
        axis=(1, 2, 3)
    )
    return means


def classes_of(latents: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the class of each block, (n,): the bit length of the sum of its latents' magnitudes."""
    sums = np.abs(latents.astype(np.int64)).sum(axis=1)
    lengths: NDArray[np.int64] = np.frexp(sums.astype(np.float64))[1].astype(np.int64)
    return np.minimum(lengths, CLASS_COUNT - 1)


def fit_contexts(latents: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return the table of contexts (classes, latents) that suits the latents of some blocks, (n, latents).

    Contexts are mean magnitudes on a logarithmic scale of one and a half steps an octave.
    """
    places = np.floor(1.5 * np.log2(np.maximum(mean_magnitudes(latents), 1e-9)) + CONTEXT_COUNT / 2 + 2)
    table = np.clip(places, 0, CONTEXT_COUNT - 1).astype(np.uint8)
    table[0] = 0
    return table


def mean_magnitudes(latents: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the mean magnitude of each latent in blocks of each class, (classes, latents)."""
    classes = classes_of(latents)
    overall = np.abs(latents).mean(axis=0) + 1e-4
    profile = overall / overall.mean()
    means = np.zeros((CLASS_COUNT, latents.shape[1]))
    for index in range(1, CLASS_COUNT):
        own = np.abs(latents[classes == index]).astype(np.float64)
        # A class seen rarely is pulled towards the profile of all blocks at the class's own level.
        level = 0.75 * 2.0**index / latents.shape[1]
        means[index] = (own.sum(axis=0) + 8 * level * profile) / (len(own) + 8)
    return means


def _encode_latents(
    latents: NDArray[np.int32], classes: NDArray[np.int64], contexts: NDArray[np.uint8]
) -> bytes:
    used = [_last_used(latents[classes == index]) for index in range(1, CLASS_COUNT)]
    symbols = [
        latents[classes == index, :count].ravel()
        for index, count in zip(range(1, CLASS_COUNT), used, strict=True)
    ]
    flat, places = (
        np.concatenate(symbols),
        _places(np.bincount(classes, minlength=CLASS_COUNT), used, contexts),
    )
    groups = _groups(flat, places)
    tables = [fitted_table(group) for group in groups]
    head = b"".join(varint(count) for count in used)
    present = [(group, table) for group, table in zip(groups, tables, strict=True) if group.size]
    mask = sum(1 << index for index, group in enumerate(groups) if group.size)
    return head + varint(mask) + b"".join(table.description for _, table in present) + encode_symbols(present)


def _decode_latents(
    reader: ByteReader, classes: NDArray[np.int64], contexts: NDArray[np.uint8]
) -> NDArray[np.int32]:
    """Return the latents of the occupied blocks, in the order of the blocks."""
    count = contexts.shape[1]
    used = [reader.varint() for _ in range(1, CLASS_COUNT)]
    if max(used) > count:
        raise CorruptFileError(f"A block has {max(used)} latents, its model {count}.")
    repeats = np.bincount(classes, minlength=CLASS_COUNT)
    places = _places(repeats, used, contexts)
    sizes = np.bincount(places, minlength=CONTEXT_COUNT)
    if reader.varint() != sum(1 << index for index in range(CONTEXT_COUNT) if sizes[index]):
        raise CorruptFileError("The probability tables of a piece of a volume do not fit its blocks.")
    present = [index for index in range(CONTEXT_COUNT) if sizes[index]]
    tables = [read_table(reader) for _ in present]
    arrays = decode_symbols(reader.rest(), [(int(sizes[i]), t) for i, t in zip(present, tables, strict=True)])
    flat = np.zeros(len(places), np.int32)
    flat[np.argsort(places, kind="stable")] = np.concatenate([np.zeros(0, np.int32), *arrays])
    own = classes[classes > 0]
    latents = np.zeros((len(own), count), np.int32)
    position = 0
    for index, width in zip(range(1, CLASS_COUNT), used, strict=True):
        size = int(repeats[index]) * width
        latents[own == index, :width] = flat[position : position + size].reshape(int(repeats[index]), width)
        position += size
    return latents


def _last_used(latents: NDArray[np.int32]) -> int:
    """Return the number of channels up to the last that is not zero in all blocks."""
    present = np.flatnonzero(latents.any(axis=0))
    return int(present[-1]) + 1 if present.size else 0


def _places(repeats: NDArray[np.int64], used: list[int], contexts: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the context of each symbol: class by class, block by block, channel by channel."""
    parts = [
        np.tile(contexts[index, :count], int(repeats[index]))
        for index, count in zip(range(1, CLASS_COUNT), used, strict=True)
    ]
    return np.concatenate(parts)


def _groups(symbols: NDArray[np.int32], places: NDArray[np.uint8]) -> list[NDArray[np.int32]]:
    ordered = symbols[np.argsort(places, kind="stable")]
    return np.split(ordered, np.cumsum(np.bincount(places, minlength=CONTEXT_COUNT))[:-1])
