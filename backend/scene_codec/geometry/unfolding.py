"""Turns triangles back that a simplifier has folded over in flat places.

Where a surface is flat, quadrics do not say where a vertex should lie, and it may end up beyond an edge of
its neighbours: triangles then face backwards and cover others twice, at no distance from the surface at all.
Part of it goes away when the edge between such a triangle and its neighbour runs the other way.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scene_codec.geometry.crease_detection import Shape
from scene_codec.geometry.face_normals import face_areas, face_normals, row_products
from scene_codec.geometry.mesh_edges import MeshEdges
from scene_codec.geometry.scene_object import TriangleMesh

_ROUNDS = 12
_FACES_ALIKE = 0.5
"""Cosine with the surface below which a turned edge is no gain."""


class Unfolder:
    """Compares simplified meshes with the shape that they come from, an oriented one."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape

    def unfolded(self, mesh: TriangleMesh) -> TriangleMesh:
        """Return an oriented manifold with fewer faces that look backwards."""
        faces = mesh.faces.copy()
        for _ in range(_ROUNDS):
            backward = np.flatnonzero(self._backward(TriangleMesh(mesh.vertices, faces)))
            if not len(backward) or not self._turn_edges(mesh.vertices, faces, backward):
                break
        return TriangleMesh(mesh.vertices, faces)

    def backward_share(self, mesh: TriangleMesh) -> float:
        """Return the share of the area that looks away from where the shape beneath it looks."""
        areas = face_areas(mesh)
        return float(areas[self._backward(mesh)].sum() / max(areas.sum(), 1e-300))

    def _backward(self, mesh: TriangleMesh) -> NDArray[np.bool_]:
        wanted = self._wanted(mesh.vertices, mesh.faces)
        looking: NDArray[np.bool_] = row_products(face_normals(mesh), wanted) < 0.0
        return looking

    def _wanted(self, vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the shape's normals beneath the middles of faces."""
        return self._shape.normals_at(vertices[faces].mean(axis=1))

    def _turn_edges(
        self, vertices: NDArray[np.float64], faces: NDArray[np.int64], backward: NDArray[np.intp]
    ) -> int:
        """Turn edges of backward faces, in place, where both new faces look the right way; count them."""
        edges = MeshEdges.of(faces)
        taken = set(map(tuple, edges.ends.tolist()))
        inner = [edge for edge in np.unique(edges.of_faces[backward]).tolist() if edges.sides[edge, 1] >= 0]
        pairs = np.array([_turned(faces, edges, edge) for edge in inner], np.int64).reshape(-1, 2, 3)
        sound = np.ones(len(pairs), bool)
        quality = np.full(len(pairs), np.inf)
        for half in range(2):
            new = pairs[:, half]
            alike = row_products(face_normals(TriangleMesh(vertices, new)), self._wanted(vertices, new))
            quality = np.minimum(quality, alike)
            sound &= alike > _FACES_ALIKE
        changed: set[int] = set()
        turned = 0
        for place in np.argsort(-quality, kind="stable").tolist():
            first, second = edges.sides[inner[place]].tolist()
            ends = tuple(sorted(edges.apexes[inner[place]].tolist()))
            if sound[place] and not {first, second} & changed and ends not in taken and ends[0] != ends[1]:
                faces[first], faces[second] = pairs[place]
                changed |= {first, second}
                taken.add(ends)
                turned += 1
        return turned


def _turned(faces: NDArray[np.int64], edges: MeshEdges, edge: int) -> list[list[int]]:
    """Return the two faces at an edge with the edge between their other vertices, turned alike."""
    face = faces[edges.sides[edge, 0]].tolist()
    c, d = edges.apexes[edge].tolist()
    place = face.index(c)
    a, b = face[place - 2], face[place - 1]
    return [[a, d, c], [d, b, c]]
