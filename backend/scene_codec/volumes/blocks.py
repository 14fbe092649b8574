"""Volumes cut into blocks of 8 x 8 x 8 voxels with margins, and joined again by crop or by blending.

A block reaches `margin` voxels beyond its 8 x 8 x 8 core on all sides, so that neighbours overlap by twice
the margin. Outside the volume its outermost voxels are repeated. Blending weighs every block with a window
that is a product of one window per axis; across an overlap the two windows add up to one, and where a block
has no neighbour its window stays one, so that the weights of every voxel sum to one up to the outermost
shell.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

BLOCK_SIDE = 8
MAX_MARGIN = 2

Blend = Literal["crop", "box", "smooth"]
"""How overlapping blocks become one volume: cores alone, mean of all blocks at a voxel (M. Bevec, Neural
volume compression, 2023), or a smooth transition from block to block."""

Counts = tuple[int, int, int]


def block_counts(shape: tuple[int, int, int]) -> Counts:
    """Return how many blocks cover a volume along each axis."""
    x, y, z = (-(-size // BLOCK_SIDE) for size in shape)
    return x, y, z


def layer_ranges(shape: tuple[int, int, int], layers_at_once: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of block layers along x that cover the volume, each of at most `layers_at_once`."""
    layers = block_counts(shape)[0]
    for start in range(0, layers, layers_at_once):
        yield start, min(start + layers_at_once, layers)


def cut_layers(volume: NDArray[np.generic], margin: int, start: int, stop: int) -> NDArray[np.generic]:
    """Return the blocks of the layers from `start` to `stop` along x; reads their voxels alone.

    volume : (x, y, z) of any type, each at least 1; may be a memory map
    margin : voxels beyond the core, 0 to 2
    Returns (stop - start, by, bz, s, s, s) with s = 8 + 2 * margin, a read-only view that repeats overlaps.
    """
    _check_margin(margin)
    size = volume.shape[0]
    first, last = BLOCK_SIDE * start - margin, BLOCK_SIDE * stop + margin
    slab = np.asarray(volume[max(first, 0) : min(last, size)])
    widths = [(max(-first, 0), max(last - size, 0))]
    widths += [(margin, -extent % BLOCK_SIDE + margin) for extent in volume.shape[1:]]
    padded = np.pad(slab, widths, mode="edge")
    side = BLOCK_SIDE + 2 * margin
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side, side))
    return windows[::BLOCK_SIDE, ::BLOCK_SIDE, ::BLOCK_SIDE]


def cut_blocks(volume: NDArray[np.generic], margin: int) -> NDArray[np.generic]:
    """Return all blocks of a volume, (bx, by, bz, s, s, s); see `cut_layers`."""
    return cut_layers(volume, margin, 0, -(-volume.shape[0] // BLOCK_SIDE))


def join_blocks(
    blocks: NDArray[np.float32], shape: tuple[int, int, int], margin: int, blend: Blend = "smooth"
) -> NDArray[np.float32]:
    """Return the volume of a shape that blocks (bx, by, bz, s, s, s) make up.

    The inverse of `cut_blocks`: exact for "crop", to float32 rounding for the blends.
    """
    if blocks.shape[:3] != block_counts(shape):
        raise ValueError(f"blocks of shape {blocks.shape} do not fit a volume of {shape}")
    return LayerJoiner(shape, margin, blend).push(blocks)


class LayerJoiner:
    """Joins blocks layer by layer, so that the blocks of a whole volume never lie in memory together.

    Layers are pushed in order along x; each push returns the voxels that no later block can change.
    """

    def __init__(self, shape: tuple[int, int, int], margin: int, blend: Blend = "smooth") -> None:
        _check_margin(margin)
        self._shape = shape
        self._counts = block_counts(shape)
        self._margin = margin
        self._overlap = 0 if blend == "crop" else margin
        self._blend = blend
        self._layers = 0
        self._unfinished: NDArray[np.float32] | None = None

    def push(self, blocks: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the next finished voxels (n, y, z), n possibly 0, after some more layers of blocks."""
        start, stop = self._layers, self._layers + blocks.shape[0]
        side = BLOCK_SIDE + 2 * self._margin
        if stop > self._counts[0] or blocks.shape[1:] != (*self._counts[1:], side, side, side):
            raise ValueError(f"blocks of shape {blocks.shape} do not fit a volume of {self._shape}")
        self._layers = stop
        joined = self._joined(self._without_margins(blocks), start, stop)
        if self._unfinished is not None:
            joined[: len(self._unfinished)] += self._unfinished
        return self._finished(joined, start, stop)

    def _without_margins(self, blocks: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._blend != "crop" or self._margin == 0:
            return blocks
        core = slice(self._margin, self._margin + BLOCK_SIDE)
        return blocks[..., core, core, core]

    def _joined(self, blocks: NDArray[np.float32], start: int, stop: int) -> NDArray[np.float32]:
        """Return the weighted sum of blocks, (8 n + 2 o, y, z), o voxels of overlap beyond both ends in x."""
        _, count_y, count_z = self._counts
        _, size_y, size_z = self._shape
        kept_y, kept_z = (slice(self._overlap, self._overlap + size) for size in (size_y, size_z))
        along_z = _overlap_add(blocks.transpose(0, 1, 3, 4, 2, 5), self._weights(0, count_z, count_z))[
            ..., kept_z
        ]
        along_y = _overlap_add(along_z.transpose(0, 2, 4, 1, 3), self._weights(0, count_y, count_y))[
            ..., kept_y
        ]
        along_x = _overlap_add(along_y.transpose(3, 2, 0, 1), self._weights(start, stop, self._counts[0]))
        return along_x.transpose(2, 0, 1)

    def _finished(self, joined: NDArray[np.float32], start: int, stop: int) -> NDArray[np.float32]:
        """Return what is complete of a slab and keep the rest for the next."""
        first = self._overlap if start == 0 else 0
        if stop == self._counts[0]:
            rows = self._shape[0] - (BLOCK_SIDE * start - self._overlap)
            self._unfinished = None
            return np.ascontiguousarray(joined[first:rows])
        end = BLOCK_SIDE * (stop - start)
        self._unfinished = joined[end:].copy()
        return np.ascontiguousarray(joined[first:end])

    def _weights(self, start: int, stop: int, count: int) -> NDArray[np.float32] | None:
        """Return the windows of blocks along an axis of `count` blocks, (n, s); None when all are one."""
        if self._overlap == 0:
            return None
        width = 2 * self._overlap
        rising = blending_ramp(self._overlap, self._blend)
        weights = np.ones((stop - start, BLOCK_SIDE + width), np.float32)
        index = np.arange(start, stop)
        weights[index > 0, :width] = rising
        weights[index < count - 1, -width:] = 1.0 - rising
        return weights


def blending_ramp(margin: int, blend: Blend) -> NDArray[np.float32]:
    """Return the (2 * margin,) weights of a block where it overlaps the block before it along an axis."""
    if blend == "box":
        return np.full(2 * margin, 0.5, np.float32)
    position = (np.arange(2 * margin, dtype=np.float32) + 0.5) / np.float32(2 * margin)
    ramp: NDArray[np.float32] = position * position * (3.0 - 2.0 * position)
    return ramp


def _overlap_add(parts: NDArray[np.float32], weights: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Return (..., 8 n + overlap): windows (..., n, 8 + overlap) that lie 8 apart, weighted and added up."""
    *rest, count, side = parts.shape
    overlap = side - BLOCK_SIDE
    if weights is None:
        return parts.reshape(*rest, count * BLOCK_SIDE)
    weighted = parts * weights
    total = np.zeros((*rest, count + 1, BLOCK_SIDE), np.float32)
    total[..., :count, :] = weighted[..., :BLOCK_SIDE]
    total[..., 1:, :overlap] += weighted[..., BLOCK_SIDE:]
    return total.reshape(*rest, -1)[..., : count * BLOCK_SIDE + overlap]


def _check_margin(margin: int) -> None:
    if not 0 <= margin <= MAX_MARGIN:
        raise ValueError(f"a margin of {margin} voxels is not between 0 and {MAX_MARGIN}")
