"""Truncated signed distances of a mesh on a regular grid, exact in a band of two cells around the surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scene_codec.geometry.closing_surfaces import trusted_sides
from scene_codec.geometry.deformable_grid import (
    DEFORMATION_CELLS,
    TRUNCATION_CELLS,
    TsdfGrid,
    cell_width,
    check_resolution,
)
from scene_codec.geometry.marching_cubes import extract
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.signed_distance import NarrowBand, SurfaceDistance, narrow_band
from scene_codec.geometry.thin_parts import add_shells, missed_by

__all__ = [
    "DEFORMATION_CELLS",
    "TRUNCATION_CELLS",
    "TsdfGrid",
    "cell_width",
    "truncated_distances",
    "tsdf_grid",
]

_LARGEST_INVENTED_CELLS = 0.7
"""A shell around a sheet is 0.5 to 0.87 cells off on either side; invented surface may cost as much."""


def tsdf_grid(mesh: TriangleMesh, resolution: int, *, shells: bool = True) -> TsdfGrid:
    """Return the truncated signed distance of a mesh in frame coordinates, without displacements.

    shells : wrap parts that the signed distance loses in thin shells (see `thin_parts`); without them the
    grid is
        the paper's plain TSDF, in which open and thin sheets vanish
    Raises `InvalidRequestError` for a resolution outside 8 to 512.
    """
    check_resolution(resolution)
    surface = SurfaceDistance(mesh)
    band = narrow_band(surface, resolution, TRUNCATION_CELLS)
    if not shells:
        return TsdfGrid(truncated_distances(band, band.inside))
    values = truncated_distances(band, trusted_sides(surface, band, _LARGEST_INVENTED_CELLS).inside)
    missed = missed_by(extract(TsdfGrid(values)), band.closest.points, cell_width(resolution))
    return TsdfGrid(add_shells(values, band, missed))


def truncated_distances(band: NarrowBand, inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the (K, K, K) truncated distances of a band, negative where `inside`."""
    resolution = len(inside)
    values = np.where(inside, np.float32(-1.0), np.float32(1.0))
    scaled = band.closest.distances / (TRUNCATION_CELLS * cell_width(resolution))
    at = tuple(band.nodes.T)
    values[at] *= np.minimum(scaled, 1.0).astype(np.float32)
    return values
