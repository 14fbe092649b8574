"""Distances to a triangle mesh and its inside, exact near the surface and cheap elsewhere.

Sign and distance are composed here: libigl's own signed distance with the fast winding number multiplies the
distance by about (1 - 2w), which shrinks it wherever the mesh is not watertight. `igl.copyleft` is never
imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import igl
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from scene_codec.geometry.deformable_grid import cell_width, grid_positions
from scene_codec.geometry.scene_object import TriangleMesh

_BLOCK_SIDES = (16, 4)
_UNSURE_WINDING = (0.2, 0.8)
_ASKED_STRIDE = 16


@dataclass(frozen=True)
class ClosestPoints:
    """Nearest surface points of some query points.

    distances : (n,) float64, never negative
    faces : (n,) int64, the face each point lies on
    points : (n, 3) float64
    """

    distances: NDArray[np.float64]
    faces: NDArray[np.int64]
    points: NDArray[np.float64]


@dataclass(frozen=True)
class NarrowBand:
    """Distances on a grid of K vertices per axis over [-1, 1], exact in a band around the surface.

    nodes : (n, 3) int64, grid indices of the vertices in the band
    closest : their nearest surface points
    inside : (K, K, K) bool, for every vertex of the grid
    """

    nodes: NDArray[np.int64]
    closest: ClosestPoints
    inside: NDArray[np.bool_]


class SurfaceDistance:
    """Answers distance and inside queries about one mesh; builds its search tree once."""

    def __init__(self, mesh: TriangleMesh) -> None:
        self.mesh = mesh
        self._tree = igl.AABB()
        self._tree.init(mesh.vertices, mesh.faces)

    @cached_property
    def is_closed(self) -> bool:
        """Whether the winding number is an integer everywhere off the surface."""
        return is_closed(self.mesh)

    def closest(self, points: NDArray[np.float64]) -> ClosestPoints:
        """Return the exact nearest surface point of each of `points` (n, 3)."""
        if len(points) == 0:
            return ClosestPoints(np.zeros(0), np.zeros(0, dtype=np.int64), np.zeros((0, 3)))
        squared, faces, nearest = self._tree.squared_distance(
            self.mesh.vertices, self.mesh.faces, np.ascontiguousarray(points, dtype=np.float64)
        )
        return ClosestPoints(
            np.sqrt(np.maximum(squared, 0.0)).reshape(-1), faces.reshape(-1), nearest.reshape(-1, 3)
        )

    def winding(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how often the surface winds around each of `points` (n, 3), whatever its orientation."""
        if len(points) == 0:
            return np.zeros(0)
        queries = np.ascontiguousarray(points, dtype=np.float64)
        winding: NDArray[np.float64] = igl.fast_winding_number(self.mesh.vertices, self.mesh.faces, queries)
        # Turned inside out, a mesh winds -1 times around its inside.
        return np.abs(winding.reshape(-1))

    def inside(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which of `points` (n, 3) the surface encloses; an open one counts when by more than half."""
        return self.winding(points) > 0.5

    def signed(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return signed distances of `points` (n, 3), negative inside."""
        distances = self.closest(points).distances
        return np.where(self.inside(points), -distances, distances)


def is_closed(mesh: TriangleMesh) -> bool:
    """Tell whether every edge is passed as often forwards as backwards: the winding number is an integer.

    Vertices at the same place count as one, as in files that repeat the corners of every triangle.
    """
    _, place = np.unique(mesh.vertices, axis=0, return_inverse=True)
    faces = place.reshape(-1)[mesh.faces]
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    key = np.minimum(start, end) * np.int64(len(mesh.vertices)) + np.maximum(start, end)
    _, edge = np.unique(key, return_inverse=True)
    balance = np.bincount(edge.reshape(-1), weights=np.sign(end - start))
    return not balance.any()


def narrow_band(surface: SurfaceDistance, resolution: int, reach_cells: float) -> NarrowBand:
    """Return exact distances for all grid vertices within `reach_cells` of the surface, and the sign of all.

    Blocks of the grid that lie further away are found from the distance of their centres, coarse to fine;
    only the vertices of the others are evaluated.
    """
    inside = np.zeros((resolution,) * 3, dtype=bool)
    origins = np.zeros((1, 3), dtype=np.int64)
    parent_side = -(-resolution // _BLOCK_SIDES[0]) * _BLOCK_SIDES[0]
    for side in _BLOCK_SIDES:
        origins = _split(origins, parent_side, side, resolution)
        centres = grid_positions(origins.astype(np.float64) + (side - 1) / 2.0, resolution)
        radius = (side - 1) / 2.0 * np.sqrt(3.0) + reach_cells
        far = surface.closest(centres).distances > radius * cell_width(resolution)
        if not surface.is_closed:
            _mark_far_blocks(surface, inside, origins[far], centres[far], side)
        origins, parent_side = origins[~far], side
    nodes = _split(origins, parent_side, 1, resolution)
    closest = surface.closest(grid_positions(nodes, resolution))
    if surface.is_closed:
        _mark_far_regions(surface, inside, nodes)
    inside[tuple(nodes.T)] = _near_sides(surface, nodes, closest.distances, resolution)
    return NarrowBand(nodes, closest, inside)


def _split(origins: NDArray[np.int64], parent_side: int, side: int, resolution: int) -> NDArray[np.int64]:
    """Return the origins of the blocks of `side` vertices inside blocks of `parent_side`, within the grid."""
    steps = np.arange(0, parent_side, side, dtype=np.int64)
    offsets = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    children = (origins[:, None, :] + offsets[None, :, :]).reshape(-1, 3)
    return children[(children < resolution).all(axis=1)]


def _mark_far_blocks(
    surface: SurfaceDistance,
    inside: NDArray[np.bool_],
    origins: NDArray[np.int64],
    centres: NDArray[np.float64],
    side: int,
) -> None:
    """Set the sign of blocks without surface, vertex by vertex where an open mesh leaves it in doubt."""
    winding = surface.winding(centres)
    for x, y, z in origins[winding > _UNSURE_WINDING[1]]:
        inside[x : x + side, y : y + side, z : z + side] = True
    unsure = (winding >= _UNSURE_WINDING[0]) & (winding <= _UNSURE_WINDING[1])
    resolution = len(inside)
    nodes = _split(origins[unsure], side, 1, resolution)
    inside[tuple(nodes.T)] = surface.inside(grid_positions(nodes, resolution))


def _near_sides(
    surface: SurfaceDistance, nodes: NDArray[np.int64], distances: NDArray[np.float64], resolution: int
) -> NDArray[np.bool_]:
    """Return which of the vertices of the band are inside, with few winding numbers: they are the slow part.

    Within a region that the surface does not cut, a closed mesh has one winding number. For an open one a
    sixteenth of the region is asked; only when these disagree or are in doubt is every vertex.
    """
    region = _uncut_regions(nodes, distances, resolution)
    count = int(region.max(initial=-1)) + 1
    # The vertex furthest from the surface speaks for its region: the winding number is most certain there.
    order = np.lexsort((-distances, region))
    starts = np.searchsorted(region[order], np.arange(count))
    positions = grid_positions(nodes, resolution)
    if surface.is_closed:
        return surface.inside(positions[order[starts]])[region]
    rank = np.arange(len(order)) - starts[region[order]]
    asked = order[rank % _ASKED_STRIDE == 0]
    winding = surface.winding(positions[asked])
    lowest, highest = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(lowest, region[asked], winding)
    np.maximum.at(highest, region[asked], winding)
    inside = (lowest > _UNSURE_WINDING[1])[region]
    doubtful = ~(inside | (highest < _UNSURE_WINDING[0])[region])
    inside[doubtful] = surface.inside(positions[doubtful])
    return inside


def _uncut_regions(
    nodes: NDArray[np.int64], distances: NDArray[np.float64], resolution: int
) -> NDArray[np.int64]:
    """Return a region number for each vertex of the band, equal for neighbours with no surface between.

    Two neighbours a cell apart lie on the same side when their distances add up to more than a cell: a
    surface point between them would be nearer to one of them.
    """
    index = np.full((resolution,) * 3, -1, dtype=np.int32)
    index[tuple(nodes.T)] = np.arange(len(nodes), dtype=np.int32)
    rows, columns = [], []
    for axis in range(3):
        along = np.moveaxis(index, axis, 0)
        first, second = along[:-1].ravel(), along[1:].ravel()
        both = (first >= 0) & (second >= 0)
        first, second = first[both], second[both]
        linked = distances[first] + distances[second] > cell_width(resolution) * (1.0 + 1e-9)
        rows.append(first[linked])
        columns.append(second[linked])
    row, column = np.concatenate(rows), np.concatenate(columns)
    graph = coo_array((np.ones(len(row), dtype=bool), (row, column)), shape=(len(nodes), len(nodes)))
    _, region = connected_components(graph, directed=False)
    regions: NDArray[np.int64] = region.astype(np.int64)
    return regions


def _mark_far_regions(surface: SurfaceDistance, inside: NDArray[np.bool_], nodes: NDArray[np.int64]) -> None:
    """Set the sign of everything outside the band of a closed mesh with one query per connected region."""
    far = np.ones(inside.shape, dtype=bool)
    far[tuple(nodes.T)] = False
    labels, count = ndimage.label(far)
    if count == 0:
        return
    _, first = np.unique(labels.ravel(), return_index=True)
    places = np.stack(np.unravel_index(first[-count:], inside.shape), axis=-1)
    sides = np.concatenate([[False], surface.inside(grid_positions(places, len(inside)))])
    np.copyto(inside, sides[labels], where=far)
