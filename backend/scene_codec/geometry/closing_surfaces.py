"""Undoes an inside that the winding number invents: the hollow of a bowl, the space under a draped cloth.

The winding number calls a point inside when the surface surrounds it by more than half, and so closes every
opening with a surface that the input does not have. A small one (the neck of a bust) is harmless and keeps
the rest of the mesh a solid. Where the invented surface is large, the region is better called outside and its
walls kept as sheets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scene_codec.geometry.deformable_grid import cell_width, grid_positions
from scene_codec.geometry.signed_distance import NarrowBand, SurfaceDistance


@dataclass(frozen=True)
class Sides:
    """Which places of a grid are inside.

    inside : (K, K, K) bool
    given_up : (K, K, K) bool, vertices that the winding number would call inside; None when there are none
    """

    inside: NDArray[np.bool_]
    given_up: NDArray[np.bool_] | None = None

    def signed_distance(self, surface: SurfaceDistance, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return signed distances of points (n, 3), negative inside; regions given up count as outside."""
        signed = surface.signed(points)
        if self.given_up is None:
            return signed
        last = len(self.inside) - 1
        place = (points + 1.0) * (last / 2.0)
        low = np.clip(np.floor(place).astype(np.int64), 0, last - 1)
        beside = np.zeros(len(points), dtype=bool)
        for corner in range(8):
            step = np.array([corner & 1, corner >> 1 & 1, corner >> 2])
            beside |= self.given_up[tuple((low + step).T)]
        return np.where(beside, np.abs(signed), signed)


def trusted_sides(surface: SurfaceDistance, band: NarrowBand, largest_error_cells: float) -> Sides:
    """Return the inside of a band without regions whose boundary lies mostly where the input has none.

    A region is given up when the mean distance of its boundary from the input exceeds
    `largest_error_cells`; the measure for that is what its walls cost as sheets, in two layers each.
    """
    if surface.is_closed or not band.inside.any():
        return Sides(band.inside)
    labels, count = ndimage.label(band.inside)
    error = np.zeros(count + 1)
    edges = np.zeros(count + 1)
    resolution = len(band.inside)
    for axis in range(3):
        low = tuple(slice(None, -1) if other == axis else slice(None) for other in range(3))
        high = tuple(slice(1, None) if other == axis else slice(None) for other in range(3))
        crossed = np.argwhere(band.inside[low] != band.inside[high])
        region = np.maximum(labels[low], labels[high])[tuple(crossed.T)]
        middle = crossed.astype(np.float64)
        middle[:, axis] += 0.5
        distance = surface.closest(grid_positions(middle, resolution)).distances / cell_width(resolution)
        # Half a cell from the surface is where the middle of a truly crossed edge may lie.
        error += np.bincount(region, weights=np.maximum(distance - 0.5, 0.0), minlength=count + 1)
        edges += np.bincount(region, minlength=count + 1)
    given_up = (error > largest_error_cells * np.maximum(edges, 1.0))[labels]
    if not given_up.any():
        return Sides(band.inside)
    return Sides(band.inside & ~given_up, given_up)
