"""Truncated signed distances on a regular grid whose vertices may be displaced: the paper's TSDF-Def tensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import InvalidRequestError
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.signed_distance import NarrowBand, SurfaceDistance, narrow_band

TRUNCATION_CELLS = 2.0
"""A stored value of 1 is a distance of two cells (paper's code: twice the cell width)."""

DEFORMATION_CELLS = 0.5
"""A stored displacement of 1 is half a cell along its axis, so that the grid cannot fold."""

SMALLEST_RESOLUTION = 8
LARGEST_RESOLUTION = 512


@dataclass(frozen=True)
class TsdfGrid:
    """K x K x K grid vertices uniformly over [-1, 1], each with a truncated distance and perhaps a displacement.

    values : (K, K, K) float32 in [-1, 1], positive outside; 1 is two cells. Indexed x, y, z.
    deformation : (K, K, K, 3) float32 in [-1, 1], 1 is half a cell along that axis; or None for an undisplaced grid
    """

    values: NDArray[np.float32]
    deformation: NDArray[np.float32] | None = None

    @property
    def resolution(self) -> int:
        """Number of grid vertices per axis."""
        return int(self.values.shape[0])


def cell_width(resolution: int) -> float:
    """Return the distance of neighbouring grid vertices in the frame [-1, 1]."""
    return 2.0 / (resolution - 1)


def check_resolution(resolution: int) -> None:
    """Raise `InvalidRequestError` for a resolution outside 8 to 512."""
    if not SMALLEST_RESOLUTION <= resolution <= LARGEST_RESOLUTION:
        raise InvalidRequestError(
            f"The grid resolution is {resolution}; it must lie between {SMALLEST_RESOLUTION} and {LARGEST_RESOLUTION}."
        )


def tsdf_grid(mesh: TriangleMesh, resolution: int) -> TsdfGrid:
    """Return the truncated signed distance of a mesh in frame coordinates, without displacements.

    Sheets that enclose nothing come back as thin shells; see `thin_sheets`.
    """
    check_resolution(resolution)
    surface = SurfaceDistance(mesh)
    return TsdfGrid(band_values(narrow_band(surface, resolution, TRUNCATION_CELLS)))


def band_values(band: NarrowBand) -> NDArray[np.float32]:
    """Return the (K, K, K) truncated signed distances of a band."""
    resolution = len(band.inside)
    values = np.where(band.inside, np.float32(-1.0), np.float32(1.0))
    scaled = band.closest.distances / (TRUNCATION_CELLS * cell_width(resolution))
    at = tuple(band.nodes.T)
    values[at] *= np.minimum(scaled, 1.0).astype(np.float32)
    return values
