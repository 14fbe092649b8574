"""Two grids on one lattice, read box by box: what is compared need not fit into memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import UnsupportedSceneError
from scene_codec.volumes.array_storage import LARGEST_IN_MEMORY, release
from scene_codec.volumes.volume import VolumeGrid

Values = NDArray[np.generic]
Mask = NDArray[np.bool_]
Triple = tuple[int, int, int]
Box = tuple[slice, slice, slice]

MAX_VOXELS = 2**31
VOXELS_AT_ONCE = 2**20
MAPPED_AT_ONCE = 64 * 1024 * 1024
"""How many bytes of a mapped file a slice across them may touch before their memory is given back."""


@dataclass(frozen=True)
class Region:
    """The voxels of one grid in a box.

    values : (x, y, z, channels)
    active : (x, y, z), None when all voxels are
    """

    values: Values
    active: Mask | None


@dataclass(frozen=True)
class GridPair:
    """A grid and its copy, and the box on their lattice that holds both.

    low : lattice index of the box's first voxel
    shape : its voxels along each axis; zeros when both grids are empty
    """

    original: VolumeGrid
    decoded: VolumeGrid
    low: Triple
    shape: Triple

    @property
    def voxels(self) -> int:
        """Voxels of the box."""
        return math.prod(self.shape)

    def regions(self, box: Box) -> tuple[Region, Region]:
        """Return what both grids have in a part of the box; background where a grid does not reach."""
        return _region(self.original, self.low, box), _region(self.decoded, self.low, box)

    def plane(self, axis: int, index: int, most: int) -> tuple[Region, Region]:
        """Return copies of one slice of both grids, one voxel thick.

        most : of sides with more voxels than that only every second, third ... is taken
        """
        strides = self.original.values.strides
        steps = [-(-size // most) for size in self.shape]
        along = max((other for other in range(3) if other != axis), key=lambda other: abs(strides[other]))
        count = max(1, MAPPED_AT_ONCE // max(abs(strides[along]), 1) // steps[along]) * steps[along]
        box = [slice(0, size) for size in self.shape]
        box[axis] = slice(index, index + 1)
        parts = []
        for start in range(0, self.shape[along], count):
            box[along] = slice(start, min(start + count, self.shape[along]))
            both = self.regions((box[0], box[1], box[2]))
            parts.append([_thinned(region, steps) for region in both])
            release(self.original.values)
            release(self.decoded.values)
        return _joined([one for one, _ in parts], along), _joined([other for _, other in parts], along)

    def boxes(self) -> Iterator[Box]:
        """Yield parts that cover the box once, in about the order in which the original lies in memory.

        Memory of mapped files is given back on the way.
        """
        visited = 0
        for box in _parts(self.shape, self.original.values.strides[:3]):
            yield box
            visited += math.prod(part.stop - part.start for part in box) * self.original.channels * 8
            if visited > LARGEST_IN_MEMORY:
                release(self.original.values)
                release(self.decoded.values)
                visited = 0


def grid_pair(original: VolumeGrid, decoded: VolumeGrid) -> GridPair:
    """Bring two grids together.

    Grids of dense files have no place on a lattice: the same number of voxels along each axis will do.
    Sparse ones may have different boxes.

    Raises `UnsupportedSceneError` when the grids cannot be laid over each other.
    """
    if original.channels != decoded.channels:
        raise UnsupportedSceneError(
            f"Grid '{original.name}' has {original.channels} numbers per voxel, and {decoded.channels} in "
            "the other file: these are not the same volume."
        )
    if _placeless(original) or _placeless(decoded):
        if original.shape != decoded.shape:
            raise UnsupportedSceneError(
                f"Grid '{original.name}' has {_times(original.shape)} voxels, and {_times(decoded.shape)} in "
                "the other file: they cannot be laid over each other."
            )
        decoded = replace(decoded, corner=original.corner)
    corners = [grid.corner for grid in (original, decoded) if 0 not in grid.shape]
    ends = [
        tuple(start + size for start, size in zip(grid.corner, grid.shape, strict=True))
        for grid in (original, decoded)
        if 0 not in grid.shape
    ]
    if not corners:
        return GridPair(original, decoded, (0, 0, 0), (0, 0, 0))
    low = (min(c[0] for c in corners), min(c[1] for c in corners), min(c[2] for c in corners))
    high = (max(e[0] for e in ends), max(e[1] for e in ends), max(e[2] for e in ends))
    shape = (high[0] - low[0], high[1] - low[1], high[2] - low[2])
    largest = max(math.prod(original.shape), math.prod(decoded.shape))
    if math.prod(shape) > max(MAX_VOXELS, largest):
        raise UnsupportedSceneError(
            f"The two grids '{original.name}' are so far apart that {_times(shape)} voxels lie around both."
        )
    return GridPair(original, decoded, low, shape)


def _placeless(grid: VolumeGrid) -> bool:
    """Tell whether a grid comes from a format that keeps no lattice index."""
    return grid.active is None and grid.kind == "unknown" and grid.corner == (0, 0, 0)


def _times(shape: Triple) -> str:
    return " x ".join(map(str, shape))


def _region(grid: VolumeGrid, low: Triple, box: Box) -> Region:
    """Return what a grid has in a box that is counted from the lattice index `low`."""
    shape = tuple(part.stop - part.start for part in box)
    starts = [first + part.start - own for first, part, own in zip(low, box, grid.corner, strict=True)]
    own = tuple(
        slice(min(max(start, 0), extent), max(min(start + size, extent), 0))
        for start, size, extent in zip(starts, shape, grid.shape, strict=True)
    )
    values = grid.values if grid.values.ndim == 4 else grid.values[..., None]
    inside = tuple(max(part.stop - part.start, 0) for part in own)
    if inside == shape:
        return Region(values[own], None if grid.active is None else grid.active[own])
    filled = np.zeros((*shape, grid.channels), values.dtype)
    filled[...] = np.asarray(grid.background, np.float64).astype(values.dtype)
    active = np.zeros(shape, bool)
    if 0 not in inside:
        target = tuple(
            slice(part.start - start, part.stop - start) for part, start in zip(own, starts, strict=True)
        )
        filled[target] = values[own]
        active[target] = True if grid.active is None else grid.active[own]
    return Region(filled, active)


def _thinned(region: Region, steps: list[int]) -> Region:
    """Return a copy of every so-many-th voxel."""
    chosen = tuple(slice(None, None, step) for step in steps)
    active = None if region.active is None else region.active[chosen].copy()
    return Region(region.values[chosen].copy(), active)


def _joined(parts: list[Region], axis: int) -> Region:
    """Return regions that lie one behind the other as one."""
    values = np.concatenate([part.values for part in parts], axis=axis)
    if all(part.active is None for part in parts):
        return Region(values, None)
    masks = [np.ones(part.values.shape[:3], bool) if part.active is None else part.active for part in parts]
    return Region(values, np.concatenate(masks, axis=axis))


def _parts(shape: Triple, strides: tuple[int, ...]) -> Iterator[Box]:
    """Yield boxes of at most `VOXELS_AT_ONCE`, whole along the axes whose steps in memory are shortest."""
    if 0 in shape:
        return
    order = sorted(range(3), key=lambda axis: abs(strides[axis]), reverse=True)
    sizes, left = [1, 1, 1], VOXELS_AT_ONCE
    for axis in reversed(order):
        sizes[axis] = max(1, min(shape[axis], left))
        left //= sizes[axis]
    ranges = [
        [slice(start, min(start + sizes[axis], shape[axis])) for start in range(0, shape[axis], sizes[axis])]
        for axis in order
    ]
    for first in ranges[0]:
        for second in ranges[1]:
            for third in ranges[2]:
                of = dict(zip(order, (first, second, third), strict=True))
                yield of[0], of[1], of[2]
