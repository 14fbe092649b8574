"""Parts that a signed grid cannot see: plates and wires between its vertices, sheets that enclose nothing.

A part is missed where the surface extracted from the signed values stays away from the input. Around it
either grid vertices are moved into the part (`catch_thin_parts`, needs displacements), or the part is wrapped
in a shell just thick enough for the grid (`add_shells`).

Limits: a sheet comes back as two layers, one on each side of it: about a tenth of a cell apart with
displacements, a shell of one to 1.75 cells without. Two sheets closer than a cell merge. Where the winding
number closes a small opening, the closing surface stays (see `closing_surfaces`): only missing surface is
mended.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from scene_codec.geometry.closing_surfaces import Sides
from scene_codec.geometry.deformable_grid import TRUNCATION_CELLS, cell_width, grid_positions
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.signed_distance import NarrowBand, SurfaceDistance

MISSED_FROM_CELLS = 0.4
"""Marching cubes cuts a sharp edge by up to about a third of a cell; what is further away needs a shell."""

MISSED_FULLY_CELLS = 0.9
"""Further than this from the extracted surface, nothing of a part is there."""

_SHELL_MARGIN_CELLS = 0.03
_PROBE_DEPTHS_CELLS = (0.04, 0.12, 0.25, 0.4, 0.6, 0.85)


class ThinPartSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How `catch_thin_parts` treats what it finds.

    missed_from_cells : surface this far from the extracted one is worth moving a vertex for; sharp edges and
        corners gain from it as thin parts do
    sheet_half_thickness_cells : distance of the two layers of a sheet from it
    least_depth_cells : a moved vertex counts as at least this deep, so that quantisation keeps its sign
    """

    missed_from_cells: float = 0.05
    sheet_half_thickness_cells: float = 0.12
    least_depth_cells: float = 0.04


def missed_by(extracted: TriangleMesh, points: NDArray[np.float64], cell: float) -> NDArray[np.float64]:
    """Return the distances in cells of points (n, 3) from an extracted mesh, infinite when it is empty."""
    if len(extracted.faces) == 0:
        return np.full(len(points), np.inf)
    distances: NDArray[np.float64] = SurfaceDistance(extracted).closest(points).distances / cell
    return distances


def add_shells(
    values: NDArray[np.float32], band: NarrowBand, missed_cells: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return the values united with a shell around missed surface, without displacements.

    missed_cells : (n,) distance in cells of each band vertex's closest surface point from the extracted
    surface. The shell's half thickness is half the 1-norm of the surface normal, 0.5 to 0.87 cells: the least
    at which the grid vertices inside it leave no gap that marching cubes could see through. It grows in
    smoothly, from nothing at `MISSED_FROM_CELLS` to its full thickness at `MISSED_FULLY_CELLS`.
    """
    resolution = len(band.inside)
    distance = band.closest.distances / cell_width(resolution)
    grown = np.clip((missed_cells - MISSED_FROM_CELLS) / (MISSED_FULLY_CELLS - MISSED_FROM_CELLS), 0.0, 1.0)
    reach = (_gapless_reach(band, resolution) + _SHELL_MARGIN_CELLS) * grown
    shell = (distance - reach) / TRUNCATION_CELLS
    at = tuple(band.nodes.T)
    united = values.copy()
    united[at] = np.where(grown > 0.0, np.minimum(values[at], shell), values[at])
    return united.clip(-1.0, 1.0).astype(np.float32)


def _gapless_reach(band: NarrowBand, resolution: int) -> NDArray[np.float64]:
    """Return, in cells, how far from each vertex's tangent plane its own voxel reaches."""
    offsets = grid_positions(band.nodes, resolution) - band.closest.points
    lengths = np.linalg.norm(offsets, axis=1)
    unit_sum = np.abs(offsets).sum(axis=1)
    norm: NDArray[np.float64] = np.divide(unit_sum, lengths, out=np.ones_like(lengths), where=lengths > 0.0)
    return 0.5 * norm


@dataclass(frozen=True)
class MovedVertices:
    """Grid vertices moved into a thin part.

    nodes : (n, 3) int64 grid indices
    deformation : (n, 3) float64 in [-1, 1], 1 is half a cell
    values : (n,) float64 in [-1, 1], 1 is two cells
    """

    nodes: NDArray[np.int64]
    deformation: NDArray[np.float64]
    values: NDArray[np.float64]


def catch_thin_parts(
    surface: SurfaceDistance,
    band: NarrowBand,
    sides: Sides,
    missed_cells: NDArray[np.float64],
    settings: ThinPartSettings,
) -> MovedVertices:
    """Return the grid vertices whose voxel a missed part passes through, moved to the middle of that part.

    A vertex on one side of two close surfaces is moved between them and takes the exact distance there, with
    the sign of that place; together these vertices cover the part without gaps. A vertex near a sheet with
    nothing behind it is moved onto the sheet and given a small negative value.
    """
    resolution = len(band.inside)
    cell = cell_width(resolution)
    half_box = 0.5 * cell
    near = (missed_cells > settings.missed_from_cells) & (band.closest.distances < 0.9 * cell)
    nodes, contact = band.nodes[near], band.closest.points[near]
    position = grid_positions(nodes, resolution)
    inside = sides.inside[tuple(nodes.T)]
    outward = position - contact
    length = np.linalg.norm(outward, axis=1, keepdims=True)
    outward = np.divide(outward, length, out=np.zeros_like(outward), where=length > 1e-9)
    half_thickness = _half_thickness(surface, sides, contact, outward, np.where(inside, 1.0, -1.0))
    is_sheet = half_thickness <= 0.01 * cell
    half_thickness = np.where(is_sheet, 0.0, half_thickness)
    middle = contact - outward * half_thickness[:, None]
    offset = middle - position
    in_voxel = np.linalg.norm(offset, axis=1) <= half_box * np.abs(outward).sum(axis=1) + 1e-3 * cell
    target = position + np.clip(offset, -half_box, half_box)
    depth = np.where(inside, 1.0, -1.0) * sides.signed_distance(surface, target)
    fully = missed_cells[near] > MISSED_FULLY_CELLS
    flips = in_voxel & np.where(is_sheet, ~inside & fully, depth > 0.0)
    magnitude = np.where(
        is_sheet,
        settings.sheet_half_thickness_cells * cell,
        np.maximum(depth, settings.least_depth_cells * cell),
    )
    sign = np.where(inside, 1.0, -1.0)
    return MovedVertices(
        nodes[flips],
        ((target - position) / half_box)[flips],
        (sign * magnitude / (TRUNCATION_CELLS * cell))[flips],
    )


def _half_thickness(
    surface: SurfaceDistance,
    sides: Sides,
    contact: NDArray[np.float64],
    outward: NDArray[np.float64],
    side: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return how deep the far side of the surface gets along the normal: half the thickness of a plate.

    side : (n,) 1 where the vertex is inside, -1 where it is outside
    """
    cell = cell_width(len(sides.inside))
    deepest = np.zeros(len(contact))
    for depth_cells in _PROBE_DEPTHS_CELLS:
        depth = side * sides.signed_distance(surface, contact - outward * (depth_cells * cell))
        deepest = np.maximum(deepest, depth)
    return deepest
