"""Edge collapses that keep borders, turn no face over, and are remembered for any number of faces.

Quadric error metrics (M. Garland, P. Heckbert, 1997) with three additions. Edges of a border have planes of
their own, so that holes keep their shape. Each vertex has a weak quadric of its place, so that in flat parts
new vertices lie amid those they stand for, not anywhere. And a collapse that would turn a face over is not
made. Written in Python: thousands of collapses a second, for meshes that other simplifiers fold.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from scene_codec.geometry.face_normals import face_areas, face_normals
from scene_codec.geometry.mesh_edges import MeshEdges
from scene_codec.geometry.scene_object import TriangleMesh

Vector = tuple[float, float, float]

_BORDER_WEIGHT = 10.0
"""Of planes through borders, against those of faces."""

_PLACE_WEIGHT = 1e-5
"""Of a vertex's place, against the planes of its faces."""

_TURNED = 0.2
"""Cosine between a face before and after a collapse below which it counts as turned over."""

_MUCH_DEARER = 1.0001
"""A collapse that would cost so many times what it was queued with goes back into the queue."""

_NOTHING = 1e-15

_FLAT_AREA = 1e-14
"""Twice the area of a face, squared, below which it has no direction."""

_QUADRIC = 10
"""Numbers of a quadric: xx, xy, xz, yy, yz, zz, x, y, z, 1."""


class CollapsedMeshes:
    """A mesh with ever fewer faces; each collapse is made once."""

    def __init__(self, mesh: TriangleMesh) -> None:
        """Prepare an oriented manifold."""
        self._mesh = mesh

    def to_faces(self, count: int) -> TriangleMesh:
        """Return the mesh with at most `count` faces, or with the fewest that it can have."""
        parent = np.arange(len(self._mesh.vertices))
        vertices = self._mesh.vertices.copy()
        for kept, removed, place, faces in self._collapses:
            if faces <= count:
                break
            parent[removed] = kept
            vertices[kept] = place
        while (parent[parent] != parent).any():
            parent = parent[parent]
        faces_left = parent[self._mesh.faces]
        a, b, c = faces_left.T
        whole = faces_left[(a != b) & (b != c) & (c != a)]
        used, renumbered = np.unique(whole, return_inverse=True)
        return TriangleMesh(vertices[used], renumbered.reshape(-1, 3).astype(np.int64))

    @cached_property
    def _collapses(self) -> list[tuple[int, int, Vector, int]]:
        """Each collapse: vertex kept, vertex removed, where the kept one lies then, faces before it."""
        return list(_Collapser(self._mesh).run())


class _Collapser:
    """The state on the way: Python's own numbers and sets, which are fast one by one."""

    def __init__(self, mesh: TriangleMesh) -> None:
        self._places: list[Vector] = [(x, y, z) for x, y, z in mesh.vertices.tolist()]
        self._faces: list[list[int]] = mesh.faces.tolist()
        self._faces_at: list[set[int]] = [set() for _ in self._places]
        for face, corners in enumerate(self._faces):
            for vertex in corners:
                self._faces_at[vertex].add(face)
        edges = MeshEdges.of(mesh.faces)
        self._quadrics: list[list[float]] = _quadrics(mesh, edges).tolist()
        self._on_border = [False] * len(self._places)
        for vertex in np.unique(edges.ends[edges.borders]).tolist():
            self._on_border[vertex] = True
        self._changes = [0] * len(self._places)
        self._count = len(self._faces)
        self._queue: list[tuple[float, int, int, int, Vector]] = []
        for a, b in edges.ends.tolist():
            self._consider(a, b)

    def run(self) -> Iterator[tuple[int, int, Vector, int]]:
        """Make all collapses, the cheapest first."""
        while self._queue:
            cost, a, b, changes, place = heapq.heappop(self._queue)
            if (
                changes != self._changes[a] + self._changes[b]
                or not self._faces_at[a]
                or not self._faces_at[b]
            ):
                continue
            shared = self._faces_at[a] & self._faces_at[b]
            if not shared or not self._keeps_manifold(a, b, shared):
                continue
            chosen = self._unfolded_place(a, b, place, shared)
            if chosen is None:
                continue
            if chosen[0] > _MUCH_DEARER * cost + _NOTHING:
                # At this place it is not the cheapest any more: its turn comes later.
                heapq.heappush(self._queue, (chosen[0], a, b, changes, chosen[1]))
                continue
            yield a, b, chosen[1], self._count
            self._collapse(a, b, chosen[1], shared)

    def _consider(self, a: int, b: int) -> None:
        """Queue an edge with what its collapse costs."""
        first, second = self._quadrics[a], self._quadrics[b]
        total = [x + y for x, y in zip(first, second, strict=True)]
        place = _least(total)
        changes = self._changes[a] + self._changes[b]
        heapq.heappush(self._queue, (_value(total, place), a, b, changes, place))

    def _neighbours(self, vertex: int) -> set[int]:
        found: set[int] = set()
        for face in self._faces_at[vertex]:
            found.update(self._faces[face])
        found.discard(vertex)
        return found

    def _keeps_manifold(self, a: int, b: int, shared: set[int]) -> bool:
        """Return whether the link condition holds, and no vertex is left with two faces."""
        if self._on_border[a] and self._on_border[b] and len(shared) != 1:
            return False
        common = self._neighbours(a) & self._neighbours(b)
        if len(common) != len(shared):
            return False
        fewest = (2 if self._on_border[vertex] else 3 for vertex in common)
        return all(len(self._faces_at[vertex]) > least for vertex, least in zip(common, fewest, strict=True))

    def _unfolded_place(self, a: int, b: int, best: Vector, shared: set[int]) -> tuple[float, Vector] | None:
        """Return the cheapest of four places that turns no face over, with its cost.

        best : where it costs least; the others are both ends and the middle
        """
        start, end = self._places[a], self._places[b]
        total = [x + y for x, y in zip(self._quadrics[a], self._quadrics[b], strict=True)]
        middle = (0.5 * (start[0] + end[0]), 0.5 * (start[1] + end[1]), 0.5 * (start[2] + end[2]))
        for cost, place in sorted((_value(total, place), place) for place in {best, start, end, middle}):
            if not self._turns_over(a, place, shared) and not self._turns_over(b, place, shared):
                return cost, place
        return None

    def _turns_over(self, vertex: int, place: Vector, shared: set[int]) -> bool:
        """Return whether a face of a vertex, apart from those that go, would look elsewhere."""
        places, faces = self._places, self._faces
        for face in self._faces_at[vertex] - shared:
            i, j, k = faces[face]
            old = _normal(places[i], places[j], places[k])
            new = _normal(
                place if i == vertex else places[i],
                place if j == vertex else places[j],
                place if k == vertex else places[k],
            )
            size = new[0] * new[0] + new[1] * new[1] + new[2] * new[2]
            before = old[0] * old[0] + old[1] * old[1] + old[2] * old[2]
            if before <= _FLAT_AREA:
                continue
            along = old[0] * new[0] + old[1] * new[1] + old[2] * new[2]
            if size <= _FLAT_AREA or along < 0.0 or along * along < _TURNED * _TURNED * size * before:
                return True
        return False

    def _collapse(self, a: int, b: int, place: Vector, shared: set[int]) -> None:
        """Let `b` become `a`, at a place, and ask anew about all edges there."""
        for face in shared:
            for vertex in self._faces[face]:
                self._faces_at[vertex].discard(face)
        self._count -= len(shared)
        for face in self._faces_at[b]:
            corners = self._faces[face]
            corners[corners.index(b)] = a
        self._faces_at[a] |= self._faces_at[b]
        self._faces_at[b] = set()
        self._quadrics[a] = [x + y for x, y in zip(self._quadrics[a], self._quadrics[b], strict=True)]
        self._places[a] = place
        self._on_border[a] = self._on_border[a] or self._on_border[b]
        self._changes[a] += self._changes[b] + 1
        for vertex in sorted(self._neighbours(a)):
            self._consider(min(a, vertex), max(a, vertex))


def _quadrics(mesh: TriangleMesh, edges: MeshEdges) -> NDArray[np.float64]:
    """Return the quadric of each vertex, (v, 10)."""
    normals, areas = face_normals(mesh), face_areas(mesh)
    points = mesh.vertices[mesh.faces[:, 0]]
    found = np.zeros((len(mesh.vertices), _QUADRIC))
    of_faces = _planes(normals, points, areas / 3.0)
    for corner in range(3):
        np.add.at(found, mesh.faces[:, corner], of_faces)
    borders = np.flatnonzero(edges.borders)
    ends, sides = edges.ends[borders], edges.sides[borders, 0]
    along = mesh.vertices[ends[:, 1]] - mesh.vertices[ends[:, 0]]
    across = np.cross(along, normals[sides])
    lengths = np.linalg.norm(across, axis=1)
    across /= np.maximum(lengths, 1e-300)[:, None]
    of_borders = _planes(across, mesh.vertices[ends[:, 0]], _BORDER_WEIGHT * lengths**2)
    for end in range(2):
        np.add.at(found, ends[:, end], of_borders)
    weights = _PLACE_WEIGHT * (found[:, 0] + found[:, 3] + found[:, 5]) + 1e-12
    found[:, [0, 3, 5]] += weights[:, None]
    found[:, 6:9] -= weights[:, None] * mesh.vertices
    found[:, 9] += weights * (mesh.vertices**2).sum(axis=1)
    return found


def _planes(
    normals: NDArray[np.float64], points: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the weighted squared distances to planes as quadrics, (n, 10)."""
    x, y, z = normals.T
    d = -(normals * points).sum(axis=1)
    columns = [x * x, x * y, x * z, y * y, y * z, z * z, d * x, d * y, d * z, d * d]
    quadrics: NDArray[np.float64] = weights[:, None] * np.stack(columns, axis=1)
    return quadrics


def _least(quadric: Sequence[float]) -> Vector:
    """Return where a quadric is least; it is positive, if only by the weights of places."""
    a, b, c, d, e, f, p, q, r, _ = quadric
    first, second, third = d * f - e * e, c * e - b * f, b * e - c * d
    scale = -1.0 / (a * first + b * second + c * third)
    return (
        scale * (first * p + second * q + third * r),
        scale * (second * p + (a * f - c * c) * q + (b * c - a * e) * r),
        scale * (third * p + (b * c - a * e) * q + (a * d - b * b) * r),
    )


def _value(quadric: Sequence[float], place: Vector) -> float:
    """Return a quadric at a place."""
    a, b, c, d, e, f, p, q, r, constant = quadric
    x, y, z = place
    return (
        x * (a * x + 2.0 * (b * y + c * z + p))
        + y * (d * y + 2.0 * (e * z + q))
        + z * (f * z + 2.0 * r)
        + constant
    )


def _normal(a: Vector, b: Vector, c: Vector) -> Vector:
    """Return the normal of a triangle, as long as twice its area."""
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    return (uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx)
