"""What a decoded grid says about the voxels of another one: its values there, or where they came from.

Everything is one correctly rounded float32 operation after the other, so that it is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.volume_parts.grid_description import Triple
from scene_codec.codecs.volume_wavelet.prediction_syntax import ValueScale
from scene_codec.codecs.volume_wavelet.tiles import filled_smoothly
from scene_codec.volumes.lifting_wavelet import FloatArray
from scene_codec.volumes.volume import VolumeGrid

REACH = 16
"""Voxels do not come from farther away along any axis."""

MARGIN = REACH + 1
"""What must be known around a box, the neighbours of the farthest places included."""

_Mask = NDArray[np.bool_]


def reference_numbers(
    grid: VolumeGrid, scales: Sequence[ValueScale], corner: Triple, shape: Triple, moved: FloatArray | None
) -> list[FloatArray]:
    """Return the numbers of each channel of a grid in a box of the lattice, 0 outside the grid.

    Gaps between known values are closed smoothly, except in level sets, which are known everywhere.

    scales : how the values of each channel become numbers
    corner, shape : of the box
    moved : (x, y, z, 3) how far the voxels have come, in voxels, at most `REACH`; None when they have not
    """
    if moved is None:
        return numbers_around(grid, scales, corner, shape, 0)
    return [interpolated(own, moved) for own in numbers_around(grid, scales, corner, shape, MARGIN)]


def numbers_around(
    grid: VolumeGrid, scales: Sequence[ValueScale], corner: Triple, shape: Triple, margin: int
) -> list[FloatArray]:
    """Return what `reference_numbers` does without motion, in a box larger by a margin on every side."""
    start = (corner[0] - margin, corner[1] - margin, corner[2] - margin)
    wide = (shape[0] + 2 * margin, shape[1] + 2 * margin, shape[2] + 2 * margin)
    known, overlap = _known(grid, start, wide), _overlap(grid, start, wide)
    numbers = []
    for channel, scale in enumerate(scales):
        own = np.zeros(wide, np.float32)
        if overlap is not None:
            own[overlap[1]] = _scaled(_channel(grid, channel)[overlap[0]], scale)
        numbers.append(own if grid.kind == "level set" else filled_smoothly(own, known))
    return numbers


def displacements(velocity: VolumeGrid, scale: float, corner: Triple, shape: Triple) -> FloatArray:
    """Return how far the voxels of a box have come, (x, y, z, 3), in voxels; at most `REACH` along an axis.

    velocity : three channels; of a staggered grid, values lie on the lower faces of voxels
    """
    return ways(speeds_in(velocity, corner, shape), scale)


def ways(speeds: FloatArray, scale: float) -> FloatArray:
    """Return how far voxels of given speeds have come, in voxels."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = speeds * np.float32(scale)
    found[np.isnan(found)] = 0.0
    return np.clip(found, -REACH, REACH, out=found)


def speeds_in(velocity: VolumeGrid, corner: Triple, shape: Triple) -> FloatArray:
    """Return velocities in the middle of the voxels of a box, (x, y, z, 3), gaps closed smoothly."""
    staggered = velocity.kind == "staggered"
    wide = (shape[0] + staggered, shape[1] + staggered, shape[2] + staggered)
    known, overlap = _known(velocity, corner, wide), _overlap(velocity, corner, wide)
    result = np.zeros((*shape, 3), np.float32)
    x, y, z = shape
    for axis in range(3):
        speeds = np.zeros(wide, np.float32)
        if overlap is not None:
            with np.errstate(over="ignore"):
                speeds[overlap[1]] = _channel(velocity, axis)[overlap[0]].astype(np.float32)
        speeds[~np.isfinite(speeds)] = 0.0
        speeds = filled_smoothly(speeds, known)
        if staggered:
            low = speeds[:x, :y, :z]
            high = speeds[tuple(slice(int(other == axis), None) for other in range(3))][:x, :y, :z]
            speeds = np.float32(0.5) * low + np.float32(0.5) * high
        result[..., axis] = speeds
    return result


def _channel(grid: VolumeGrid, channel: int) -> NDArray[np.generic]:
    """Return the values of a channel, (x, y, z)."""
    own: NDArray[np.generic] = grid.values[..., channel] if grid.values.ndim == 4 else grid.values
    return own


def _scaled(values: NDArray[np.generic], scale: ValueScale) -> FloatArray:
    """Return values as numbers; what is none, or too large for a float32, as 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        numbers: FloatArray = ((values.astype(np.float64) - scale.origin) / scale.unit).astype(np.float32)
    numbers[~np.isfinite(numbers)] = 0.0
    return numbers


def _overlap(grid: VolumeGrid, start: Triple, wide: Triple) -> tuple[tuple[slice, ...], ...] | None:
    """Return where a box lies in a grid, and where that part lies in the box; None when it lies outside."""
    inner, target = [], []
    for first, length, begin, extent in zip(grid.corner, grid.shape, start, wide, strict=True):
        low, high = max(begin, first), min(begin + extent, first + length)
        if low >= high:
            return None
        inner.append(slice(low - first, high - first))
        target.append(slice(low - begin, high - begin))
    return tuple(inner), tuple(target)


def _known(grid: VolumeGrid, start: Triple, wide: Triple) -> _Mask:
    """Return which voxels of a box a grid has values for."""
    known = np.zeros(wide, np.bool_)
    overlap = _overlap(grid, start, wide)
    if overlap is not None:
        known[overlap[1]] = True if grid.active is None else grid.active[overlap[0]]
    return known


def interpolated(numbers: FloatArray, moved: FloatArray) -> FloatArray:
    """Return numbers at the places that voxels have come from, between voxels linearly.

    numbers : those of `numbers_around` with the margin `MARGIN` around the box of `moved`
    """
    lower, share = [], []
    for axis in range(3):
        length = moved.shape[axis]
        index = np.arange(MARGIN, MARGIN + length, dtype=np.float32)
        place = index.reshape([-1 if other == axis else 1 for other in range(3)]) - moved[..., axis]
        below = np.floor(place)
        lower.append(below.astype(np.intp))
        share.append(place - below)
    result = np.zeros(moved.shape[:3], np.float32)
    for offsets in product((0, 1), repeat=3):
        first, second, third = (
            part if offset else np.float32(1.0) - part for part, offset in zip(share, offsets, strict=True)
        )
        x, y, z = (own + offset for own, offset in zip(lower, offsets, strict=True))
        result += first * second * third * numbers[x, y, z]
    return result
