"""Sheets: what encloses nothing is coded as a solid around it, and shrunk back when it is decoded.

The grid of a cloth is a layer a fraction of a cell deep. A network that is off by as much tears it. A solid
that reaches a whole cell to either side survives the same error, and moving its surface back by that cell
gives the sheet, with two layers close to each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scene_codec.geometry.closing_surfaces import trusted_sides
from scene_codec.geometry.deformable_grid import TRUNCATION_CELLS, TsdfGrid, cell_width
from scene_codec.geometry.marching_cubes import extract
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.signed_distance import SurfaceDistance, narrow_band
from scene_codec.geometry.thin_parts import MISSED_FULLY_CELLS, missed_by
from scene_codec.geometry.tsdf_grid import truncated_distances

INFLATION_CELLS = 1.0
"""Half the thickness of the coded solid around a sheet."""

REMAINING_CELLS = 0.1
"""Distance of either layer from the sheet afterwards: enough that the two do not pass through each other."""

_LARGEST_INVENTED_CELLS = 0.25
_SHEET_SHARE = 0.2
"""Part of the surface that may be lost before the whole mesh counts as a sheet."""

_MARGIN_CELLS = 0.5


def is_sheet(mesh: TriangleMesh, resolution: int) -> bool:
    """Tell whether a grid of signed distances would lose much of a mesh in frame coordinates.

    Closed meshes never count: their sides are certain, and thin ones are caught by other means.
    """
    surface = SurfaceDistance(mesh)
    if surface.is_closed:
        return False
    band = narrow_band(surface, resolution, TRUNCATION_CELLS)
    sides = trusted_sides(surface, band, _LARGEST_INVENTED_CELLS)
    extracted = extract(TsdfGrid(truncated_distances(band, sides.inside)))
    missed = missed_by(extracted, band.closest.points, cell_width(resolution))
    return float(np.mean(missed > MISSED_FULLY_CELLS)) > _SHEET_SHARE


def inflated_grid(mesh: TriangleMesh, resolution: int) -> TsdfGrid:
    """Return the distances to the solid around a mesh, which is made smaller so that the solid fits the cube.

    mesh : in frame coordinates, inside [-1, 1]; `deflated` of the extracted surface leads back
    """
    cell = cell_width(resolution)
    surface = SurfaceDistance(TriangleMesh(mesh.vertices * _shrinkage(resolution), mesh.faces))
    band = narrow_band(surface, resolution, TRUNCATION_CELLS + INFLATION_CELLS)
    inside = trusted_sides(surface, band, _LARGEST_INVENTED_CELLS).inside
    values = np.where(inside, np.float32(-1.0), np.float32(1.0))
    at = tuple(band.nodes.T)
    signed = np.where(inside[at], -1.0, 1.0) * band.closest.distances / cell
    values[at] = ((signed - INFLATION_CELLS) / TRUNCATION_CELLS).clip(-1.0, 1.0)
    return TsdfGrid(values)


def deflated(solid: TriangleMesh, resolution: int) -> TriangleMesh:
    """Return the sheet, in frame coordinates, whose inflated surface is given."""
    back = (INFLATION_CELLS - REMAINING_CELLS) * cell_width(resolution)
    vertices = (solid.vertices - back * _vertex_normals(solid)) / _shrinkage(resolution)
    return TriangleMesh(vertices, solid.faces)


def _shrinkage(resolution: int) -> float:
    """Return the factor that makes room for the solid's surface inside [-1, 1]."""
    return 1.0 - (INFLATION_CELLS + _MARGIN_CELLS) * cell_width(resolution)


def _vertex_normals(mesh: TriangleMesh) -> NDArray[np.float64]:
    """Return the outward unit normals (v, 3), weighted by area; zero where faces cancel out."""
    corners = mesh.vertices[mesh.faces]
    areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(mesh.vertices)
    for corner in range(3):
        np.add.at(normals, mesh.faces[:, corner], areas)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    unit: NDArray[np.float64] = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0.0)
    return unit
