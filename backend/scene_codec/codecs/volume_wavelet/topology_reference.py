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
    own = int(np.count_nonzero(grid.active))
    least = min(own, grid.active.size - own)
    best, chosen = least // 2, -1
    for index, other in enumerate(grids[:number]):
        if other.active is None or 0 in other.shape:
            continue
        differences = sum(
            int(np.count_nonzero((_states_in(other, grid, slab) == ACTIVE) != grid.active[slab]))
            for slab in _slabs(grid)
        )
        if differences < best:
            best, chosen = differences, index
    return chosen


def _slabs(grid: VolumeGrid) -> Iterator[Box]:
    """Yield boxes of a few layers that cover a grid."""
    x, y, z = grid.shape
    for start in range(0, x, _LAYERS):
        yield slice(start, min(start + _LAYERS, x)), slice(0, y), slice(0, z)


def _states_in(other: VolumeGrid, grid: VolumeGrid, box: Box) -> NDArray[np.uint8]:
    assert other.active is not None
    return reference_states(other.active, other.corner, box, grid.corner)
