"""The data type of the method: a grid of truncated distances whose vertices may be displaced (TSDF-Def)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import InvalidRequestError

TRUNCATION_CELLS = 2.0
"""A stored value of 1 is a distance of two cells (paper's code: twice the cell width)."""

DEFORMATION_CELLS = 0.5
"""A stored displacement of 1 is half a cell along its axis, so that the grid cannot fold."""

SMALLEST_RESOLUTION = 8
LARGEST_RESOLUTION = 512


@dataclass(frozen=True)
class TsdfGrid:
    """K x K x K grid vertices over [-1, 1], each with a truncated distance and perhaps a displacement.

    values : (K, K, K) float32 in [-1, 1], positive outside; 1 is two cells. Indexed x, y, z.
    deformation : (K, K, K, 3) float32 in [-1, 1], 1 is half a cell along that axis; None leaves all in place
    """

    values: NDArray[np.float32]
    deformation: NDArray[np.float32] | None = None

    @property
    def resolution(self) -> int:
        """Number of grid vertices per axis."""
        return int(self.values.shape[0])


def check_resolution(resolution: int) -> None:
    """Raise `InvalidRequestError` for a resolution outside 8 to 512."""
    if not SMALLEST_RESOLUTION <= resolution <= LARGEST_RESOLUTION:
        raise InvalidRequestError(
            f"The grid resolution is {resolution}; "
            f"it must lie between {SMALLEST_RESOLUTION} and {LARGEST_RESOLUTION}."
        )


def cell_width(resolution: int) -> float:
    """Return the distance of neighbouring grid vertices in the frame [-1, 1]."""
    return 2.0 / (resolution - 1)


def grid_positions(nodes: NDArray[np.int64] | NDArray[np.float64], resolution: int) -> NDArray[np.float64]:
    """Return the places in [-1, 1] of grid indices, which may be fractional."""
    return np.asarray(nodes, dtype=np.float64) * cell_width(resolution) - 1.0
