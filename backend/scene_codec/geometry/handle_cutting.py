"""Cuts handles of surfaces that are to have fewer triangles than all their handles need.

No edge collapse takes a handle away. Where collapses come to their end, handles show as rings: three or four
edges around a tunnel, or around a strut, that are not the border of a triangle, or of two. The surface is cut
along such a ring, and both sides are closed. A tunnel that is closed at both ends is a void that nobody sees:
it goes. What else is left over, pockets and stumps, goes away by more collapses.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from scene_codec.geometry.face_normals import face_areas, face_normals, signed_volume
from scene_codec.geometry.scene_object import TriangleMesh

_MOVED_APART = 0.05
"""How far both sides of a cut are drawn to their neighbours: at the same place they would count as one."""

_STRUT = 10.0
"""A strut is cut in place of a tunnel that is so many times wider."""

_ALIKE = 2.0
"""Rings of more than so many times the first one's price wait: better ones may show after more collapses."""

Ring = tuple[int, ...]


def rings_of(mesh: TriangleMesh) -> list[tuple[float, Ring]]:
    """Return all rings of three or four edges, away from borders, with their prices, the cheapest first.

    mesh : an oriented manifold
    A price is a ring's length, but more around struts: tunnels are closed rather.
    """
    after = {(a, b): c for face in mesh.faces.tolist() for a, b, c in _rotations(face)}
    beside: list[set[int]] = [set() for _ in mesh.vertices]
    for a, b in after:
        beside[a].add(b)
        beside[b].add(a)
    borders = {vertex for a, b in after if (b, a) not in after for vertex in (a, b)}
    threes: list[Ring] = [
        (a, b, c)
        for a, b in after
        if a < b
        for c in beside[a] & beside[b]
        if b < c and c not in (after[a, b], after.get((b, a))) and borders.isdisjoint((a, b, c))
    ]
    fours: list[Ring] = [
        (a, b, c, d)
        for a, around in enumerate(beside)
        for c in sorted({far for near in around for far in beside[near] if far > a} - around)
        for b, d in itertools.combinations(sorted(around & beside[c]), 2)
        if a < b and d not in beside[b] and borders.isdisjoint((a, b, c, d))
    ]
    return sorted((price, ring) for rings in (threes, fours) for price, ring in _priced(mesh, rings))


def with_handles_cut(mesh: TriangleMesh, count: int) -> TriangleMesh:
    """Return an oriented manifold with at most `count` handles less, cut along its shortest rings.

    Rings that meet each other are not both cut, and none that are much longer than the shortest. Where a cut
    would part the surface it is not made, but for voids. The mesh itself comes back when nothing can be cut.
    """
    cutter = _Cutter(mesh)
    left, dearest = count, math.inf
    touched: set[int] = set()
    for price, ring in rings_of(mesh):
        if price > dearest:
            break
        if not touched.isdisjoint(ring):
            continue
        parted = cutter.parted_by(ring)
        if (left > 0) if parted is None else cutter.is_void(parted, ring):
            left -= parted is None
            touched.update(cutter.cut(ring, parted))
            dearest = min(dearest, _ALIKE * price)
    return cutter.mesh() if touched else mesh


def _priced(mesh: TriangleMesh, rings: list[Ring]) -> Iterator[tuple[float, Ring]]:
    """Return rings of equally many edges with their lengths, greater for one around a strut, not a tunnel."""
    if not rings:
        return iter(())
    corners = mesh.vertices[np.array(rings)]
    lengths = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2).sum(axis=1)
    normals = np.zeros_like(mesh.vertices)
    np.add.at(normals, mesh.faces.T, face_normals(mesh) * face_areas(mesh)[:, None])
    inwards = corners.mean(axis=1, keepdims=True) - corners
    looks_in = (normals[np.array(rings)] * inwards).sum(axis=(1, 2)) > 0.0
    return zip(np.where(looks_in, lengths, _STRUT * lengths).tolist(), rings, strict=True)


class _Cutter:
    """A mesh while it is cut: faces by number, and for each directed edge the face that runs along it."""

    def __init__(self, mesh: TriangleMesh) -> None:
        self._places = list(mesh.vertices)
        self._faces: dict[int, tuple[int, ...]] = {}
        self._face_along: dict[tuple[int, int], int] = {}
        self._numbers = itertools.count()
        self._caps: set[int] = set()
        for face in mesh.faces.tolist():
            self._add(tuple(face))
        self._sign = -1.0 if self._volume(self._faces.values()) < 0.0 else 1.0

    def mesh(self) -> TriangleMesh:
        """Return the mesh as it is now."""
        used, numbers = np.unique(list(self._faces.values()), return_inverse=True)
        return TriangleMesh(np.array(self._places)[used], numbers.reshape(-1, 3).astype(np.int64))

    def parted_by(self, ring: Ring) -> set[int] | None:
        """Return the faces of the smaller part into which a ring parts the surface, None if it does not."""
        walls = {edge for a, b in zip(ring, ring[1:] + ring[:1], strict=True) for edge in ((a, b), (b, a))}
        sides = [{self._face_along[ring[0], ring[1]]}, {self._face_along[ring[1], ring[0]]}]
        fronts = [deque(side) for side in sides]
        turn = 0
        while fronts[turn]:
            for a, b, _ in _rotations(self._faces[fronts[turn].popleft()]):
                beyond = self._face_along.get((b, a))
                if beyond is None or (a, b) in walls or beyond in sides[turn]:
                    continue
                if beyond in sides[1 - turn]:
                    return None
                sides[turn].add(beyond)
                fronts[turn].append(beyond)
            turn = 1 - turn
        return sides[turn]

    def is_void(self, part: set[int], ring: Ring) -> bool:
        """Return whether a part beside a ring encloses nothing of the solid, but is a closed hollow in it."""
        if self._caps.isdisjoint(part):
            return False
        faces = [*(self._faces[face] for face in sorted(part)), *self._cap(part, ring)]
        edges = {(a, b) for face in faces for a, b, _ in _rotations(face)}
        return all((b, a) in edges for a, b in edges) and self._sign * self._volume(faces) < 0.0

    def cut(self, ring: Ring, void: set[int] | None) -> set[int]:
        """Cut along a ring, or take a void beside it away; return vertices that no other cut may use."""
        if void is None:
            self._cut_open(ring)
            return set(ring)
        touched = {vertex for face in void for vertex in self._faces[face]}
        cap = self._cap(void, ring)
        for face in void:
            self._remove(face)
        for corners in cap:
            self._add(corners[::-1])
        return touched

    def _cut_open(self, ring: Ring) -> None:
        """Give the left side of a ring vertices of its own, and both sides a triangle."""
        copies = range(len(self._places), len(self._places) + len(ring))
        turned: dict[int, list[int]] = {}
        drawn: list[NDArray[np.float64]] = []
        for number, vertex in enumerate(ring):
            previous, following = ring[number - 1], ring[(number + 1) % len(ring)]
            left, right = (
                list(self._arc(vertex, following, previous)),
                list(self._arc(vertex, previous, following)),
            )
            for face, _ in left:
                own = turned.setdefault(face, list(self._faces[face]))
                own[own.index(vertex)] = copies[number]
            drawn += [self._drawn(vertex, left), self._drawn(vertex, right)]
        self._places += drawn[::2]
        for vertex, place in zip(ring, drawn[1::2], strict=True):
            self._places[vertex] = place
        for face in turned:
            self._remove(face)
        for own in turned.values():
            self._add(tuple(own))
        for corners in (*_triangles(tuple(copies)[::-1]), *_triangles(ring)):
            self._caps.add(self._add(corners))

    def _cap(self, part: set[int], ring: Ring) -> list[Ring]:
        """Return the triangles that close a part at a ring."""
        return _triangles(ring[::-1] if self._face_along[ring[0], ring[1]] in part else ring)

    def _arc(self, vertex: int, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Return faces around a vertex, counterclockwise between two neighbours, and where each starts."""
        other = first
        while other != last:
            face = self._face_along[vertex, other]
            yield face, other
            corners = self._faces[face]
            other = corners[corners.index(other) - 2]

    def _drawn(self, vertex: int, arc: list[tuple[int, int]]) -> NDArray[np.float64]:
        """Return the place of a vertex, a little nearer to its neighbours within an arc."""
        place = self._places[vertex]
        within = np.mean([self._places[other] for _, other in arc[1:]], axis=0)
        drawn: NDArray[np.float64] = place + _MOVED_APART * (within - place)
        return drawn

    def _add(self, corners: tuple[int, ...]) -> int:
        face = next(self._numbers)
        self._faces[face] = corners
        for a, b, _ in _rotations(corners):
            self._face_along[a, b] = face
        return face

    def _remove(self, face: int) -> None:
        for a, b, _ in _rotations(self._faces.pop(face)):
            del self._face_along[a, b]

    def _volume(self, faces: Iterable[tuple[int, ...]]) -> float:
        """Return the volume between triangles and the origin."""
        return signed_volume(np.array([[self._places[vertex] for vertex in face] for face in faces]))


def _triangles(ring: Ring) -> list[Ring]:
    """Return the triangles within a ring of three or four edges."""
    return [(ring[0], *rest) for rest in itertools.pairwise(ring[1:])]


def _rotations(face: Ring | list[int]) -> tuple[tuple[int, int, int], ...]:
    """Return a triangle as it starts at each of its corners."""
    a, b, c = face
    return (a, b, c), (b, c, a), (c, a, b)
