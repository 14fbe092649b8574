"""Sheets and thin walls: coded as a thicker solid around them, which is shrunk back when it is decoded.

The grid of a cloth is a layer a fraction of a cell deep, that of a vase's wall hardly more. A network that is
off by as much tears it. A solid that reaches a whole cell further survives the same error, and moving its
surface back by that cell gives the wall again, or a sheet as two layers close to each other.
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
"""Distance of the coded solid's surface from that of the mesh."""

REMAINING_CELLS = 0.1
"""Distance of either layer from the sheet afterwards: enough that the two do not pass through each other."""

_LARGEST_INVENTED_CELLS = 0.25
_MARGIN_CELLS = 0.5

_LOST_SHARE = 0.2
"""Part of an open surface that a signed grid may lose before the mesh is inflated."""

_THIN_SHARE = 0.3
"""Part of a closed surface that may belong to walls of less than about 1.4 cells."""

_GAP_PRICE = 3.0
"""Inflation fills gaps of less than two cells; surface there weighs more than surface of thin walls."""

_SAMPLES = 2000
_WALL_PROBE_CELLS, _WALL_DEPTH_CELLS = 0.9, 0.45
_GAP_PROBE_CELLS, _GAP_DISTANCE_CELLS = 1.3, 0.9


def needs_inflation(mesh: TriangleMesh, resolution: int) -> bool:
    """Tell whether coding errors would tear a mesh in frame coordinates apart: a sheet, or all thin walls."""
    surface = SurfaceDistance(mesh)
    if surface.is_closed:
        return _is_thin_walled(surface, resolution)
    band = narrow_band(surface, resolution, TRUNCATION_CELLS)
    sides = trusted_sides(surface, band, _LARGEST_INVENTED_CELLS)
    extracted = extract(TsdfGrid(truncated_distances(band, sides.inside)))
    missed = missed_by(extracted, band.closest.points, cell_width(resolution))
    return float(np.mean(missed > MISSED_FULLY_CELLS)) > _LOST_SHARE


def _is_thin_walled(surface: SurfaceDistance, resolution: int) -> bool:
    """Tell whether much of a closed surface has another side close behind it, and little one in front."""
    points, normals = _surface_samples(surface.mesh)
    cell = cell_width(resolution)

    def either_side(probe_cells: float) -> NDArray[np.float64]:
        sides = [surface.signed(points + sign * probe_cells * cell * normals) for sign in (-1.0, 1.0)]
        return np.stack(sides) / cell

    thin = float(np.mean(either_side(_WALL_PROBE_CELLS).min(axis=0) > -_WALL_DEPTH_CELLS))
    gaps = float(np.mean(either_side(_GAP_PROBE_CELLS).max(axis=0) < _GAP_DISTANCE_CELLS))
    return thin > _THIN_SHARE and thin > _GAP_PRICE * gaps


def _surface_samples(mesh: TriangleMesh) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points spread evenly by area, always the same ones, and their unit normals, (n, 3) each."""
    corners = mesh.vertices[mesh.faces]
    products = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.linalg.norm(products, axis=1)
    generator = np.random.default_rng(0)
    places = (np.arange(_SAMPLES) + 0.5) / _SAMPLES * areas.sum()
    chosen = np.minimum(np.searchsorted(np.cumsum(areas), places), len(areas) - 1)
    weights = generator.dirichlet(np.ones(3), _SAMPLES)
    points = np.einsum("ij,ijk->ik", weights, corners[chosen])
    return points, products[chosen] / areas[chosen, None]


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
    """Return the mesh, in frame coordinates, whose inflated surface is given."""
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
