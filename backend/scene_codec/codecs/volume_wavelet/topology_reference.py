"""Which voxels are active in another grid of the same volume, as a clue for those of this one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.volume_parts.grid_description import Triple
from scene_codec.codecs.volume_wavelet.tiles import Box
from scene_codec.volumes.volume import VolumeGrid

UNKNOWN, INACTIVE, ACTIVE = 0, 1, 2


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
    whole: Box = (slice(0, grid.shape[0]), slice(0, grid.shape[1]), slice(0, grid.shape[2]))
    least = min(int(grid.active.sum()), int((~grid.active).sum()))
    best, chosen = least // 2, -1
    for index, other in enumerate(grids[:number]):
        if other.active is None or 0 in other.shape:
            continue
        states = reference_states(other.active, other.corner, whole, grid.corner)
        differences = int(((states == ACTIVE) != grid.active).sum())
        if differences < best:
            best, chosen = differences, index
    return chosen
