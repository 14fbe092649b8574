"""Which voxels are active in another grid of the same volume, as a clue for those of this one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.volume_parts.grid_description import Triple
from scene_codec.codecs.volume_wavelet.tiles import Box
from scene_codec.volumes.volume import VolumeGrid

INACTIVE, ACTIVE = 1, 2
"""States; 0 is for voxels of which nothing is known."""

_LAYERS = 32


def reference_states(
    active: NDArray[np.bool_], corner: Triple, box: Box, box_corner: Triple
) -> NDArray[np.uint8]:
    """Return for each voxel of a box whether it is active in another grid: inactive outside that one's.

    active : (x, y, z) of the other grid, whose first voxel is at `corner` of the lattice
    box : within a grid whose first voxel is at `box_corner`
    """
    states = np.full(tuple(side.stop - side.start for side in box), INACTIVE, np.uint8)
    target, inner = [], []
    for axis, side in enumerate(box):
        shift = box_corner[axis] - corner[axis]
        start = max(side.start + shift, 0)
        stop = min(side.stop + shift, active.shape[axis])
        if start >= stop:
            return states
        inner.append(slice(start, stop))
        target.append(slice(start - shift - side.start, stop - shift - side.start))
    states[tuple(target)] = np.where(active[tuple(inner)], np.uint8(ACTIVE), np.uint8(INACTIVE))
    return states


def best_reference(grids: Sequence[VolumeGrid], number: int) -> int:
    """Return the grid before a given one whose active voxels agree best with its own; -1 when none helps."""
    grid = grids[number]
    if grid.active is None or not grid.active.any():
        return -1
    best, chosen = _worthwhile(grid.active), -1
    for index, other in enumerate(grids[:number]):
        if other.active is None or 0 in other.shape:
            continue
        found = _differences(grid.active, grid.corner, other)
        if found < best:
            best, chosen = found, index
    return chosen


def agrees(grid: VolumeGrid, other: VolumeGrid) -> bool:
    """Return whether the active voxels of another grid tell much about those of a grid."""
    if grid.active is None or other.active is None or not grid.active.any() or 0 in other.shape:
        return False
    return _differences(grid.active, grid.corner, other) < _worthwhile(grid.active)


def _worthwhile(active: NDArray[np.bool_]) -> int:
    """Return how many voxels must not be different for another grid to help."""
    own = int(np.count_nonzero(active))
    return min(own, active.size - own) // 2


def _differences(active: NDArray[np.bool_], corner: Triple, other: VolumeGrid) -> int:
    """Return how many voxels are active in one grid and not in the other, within the first one's box."""
    assert other.active is not None
    return sum(
        int(
            np.count_nonzero(
                (reference_states(other.active, other.corner, slab, corner) == ACTIVE) != active[slab]
            )
        )
        for slab in _slabs(active.shape)
    )


def _slabs(shape: tuple[int, ...]) -> Iterator[Box]:
    """Yield boxes of a few layers that cover a grid."""
    x, y, z = shape
    for start in range(0, x, _LAYERS):
        yield slice(start, min(start + _LAYERS, x)), slice(0, y), slice(0, z)
