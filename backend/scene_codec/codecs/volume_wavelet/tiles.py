"""A grid cut into tiles that are coded apart, and what a tile's values are when nobody cares for some."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from scene_codec.volumes.lifting_wavelet import FloatArray, Shape

Box = tuple[slice, slice, slice]

_SMOOTHINGS = 2


@dataclass(frozen=True)
class Tiling:
    """Boxes that cover a grid, all of about the same shape.

    A side is between two thirds and one and a half times `tile` where the grid is long enough.
    """

    shape: Shape
    tile: int

    def cuts(self, axis: int) -> list[int]:
        """Return where tiles begin along an axis, and where the last one ends."""
        length = self.shape[axis]
        count = max(1, (2 * length + self.tile) // (2 * self.tile))
        return [index * length // count for index in range(count + 1)]

    def boxes(self) -> list[Box]:
        """Return all tiles in coding order, the last axis fastest; none for a grid without voxels."""
        if 0 in self.shape:
            return []
        ranges = [[slice(start, stop) for start, stop in pairwise(cuts)] for cuts in map(self.cuts, range(3))]
        return [(x, y, z) for x, y, z in product(*ranges)]

    @property
    def count(self) -> int:
        """Number of tiles."""
        x, y, z = (len(self.cuts(axis)) - 1 for axis in range(3))
        return 0 if 0 in self.shape else x * y * z


def box_shape(box: Box) -> Shape:
    """Return the voxels of a box along each axis."""
    x, y, z = (side.stop - side.start for side in box)
    return x, y, z


def lattice_corner(corner: Shape, box: Box) -> Shape:
    """Return the lattice index of a box's first voxel, in a grid whose first voxel is at `corner`."""
    x, y, z = (own + side.start for own, side in zip(corner, box, strict=True))
    return x, y, z


def filled_smoothly(values: FloatArray, known: NDArray[np.bool_]) -> FloatArray:
    """Return values of which the unknown ones are replaced by something smooth that goes on from the others.

    From coarse to fine: means of what is known, then each gap filled from the level above and softened.
    """
    if known.all() or not known.any():
        return values if known.all() else np.zeros_like(values)
    if max(values.shape) == 1:
        return values
    sums, counts = _halved(np.where(known, values, np.float32(0.0))), _halved(known.astype(np.float32))
    means: FloatArray = (sums / np.maximum(counts, 1.0)).astype(np.float32)
    spread = filled_smoothly(means, counts > 0.0)
    for axis in range(3):
        spread = np.repeat(spread, 2, axis=axis)
    spread = spread[tuple(slice(0, length) for length in values.shape)]
    result = np.where(known, values, spread)
    for _ in range(_SMOOTHINGS):
        result = np.where(known, values, _neighbourhood_means(result))
    return result


def _halved(values: FloatArray) -> FloatArray:
    """Return sums over boxes of two voxels a side."""
    for axis in range(3):
        if values.shape[axis] % 2:
            widths = [(0, int(other == axis)) for other in range(3)]
            values = np.pad(values, widths)
        first, second = (values[(slice(None),) * axis + (slice(start, None, 2),)] for start in (0, 1))
        values = first + second
    return values


def _neighbourhood_means(values: FloatArray) -> FloatArray:
    """Return the mean of each voxel and its two neighbours, axis by axis."""
    for axis in range(3):
        padded = np.pad(values, [(int(other == axis),) * 2 for other in range(3)], mode="edge")
        length = values.shape[axis]
        before, after = (padded[(slice(None),) * axis + (slice(start, start + length),)] for start in (0, 2))
        values = np.float32(0.25) * (before + after) + np.float32(0.5) * values
    return values
