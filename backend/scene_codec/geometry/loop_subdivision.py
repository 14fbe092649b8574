"""Smooth surfaces over coarse triangles, with creases and corners where they are wanted.

Each level splits triangles in four and smooths them (C. Loop, 1987). Borders and creases are smoothed along
themselves alone, and corners stay (H. Hoppe et al., "Piecewise smooth surface reconstruction", 1994).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from scene_codec.geometry.mesh_edges import MeshEdges
from scene_codec.geometry.scene_object import TriangleMesh


@dataclass(frozen=True, eq=False)
class SurfaceFeatures:
    """Where a smooth surface is not smooth.

    creases : (e,) edges, in the order of `MeshEdges`, across which nothing is smoothed; borders always are
    corners : (v,) vertices that stay, beside those at which three or more creases meet, which always do
    """

    creases: NDArray[np.bool_]
    corners: NDArray[np.bool_]

    @classmethod
    def none(cls, edges: MeshEdges, vertices: int) -> SurfaceFeatures:
        """Return that a surface is smooth but for its borders."""
        return cls(edges.borders, np.zeros(vertices, bool))


@dataclass(frozen=True, eq=False)
class SubdividedSurface:
    """A surface whose vertices are weighted means of those of its control mesh.

    weights : (v, c); rows sum to 1
    faces : (f, 3), four for each control face and level
    """

    weights: csr_matrix
    faces: NDArray[np.int64]

    def over(self, control: NDArray[np.float64]) -> TriangleMesh:
        """Return the surface over control vertices (c, 3)."""
        return TriangleMesh(np.asarray(self.weights @ control, np.float64), self.faces)


def subdivided(
    faces: NDArray[np.int64], vertices: int, levels: int, features: SurfaceFeatures | None = None
) -> SubdividedSurface:
    """Return the surface over an oriented manifold: all of its faces themselves if there are no levels."""
    every = np.arange(vertices)
    weights = csr_matrix((np.ones(vertices), (every, every)), shape=(vertices, vertices))
    for level, split in _split_levels(faces, vertices, levels, features):
        weights, faces = level @ weights, split
    return SubdividedSurface(weights, faces)


def smoothed(control: TriangleMesh, levels: int, features: SurfaceFeatures | None = None) -> TriangleMesh:
    """Return the surface over an oriented manifold, without keeping how it hangs on it."""
    vertices, faces = control.vertices, control.faces
    for level, split in _split_levels(faces, len(vertices), levels, features):
        vertices, faces = level @ vertices, split
    return TriangleMesh(np.asarray(vertices, np.float64), faces)


def _split_levels(
    faces: NDArray[np.int64], vertices: int, levels: int, features: SurfaceFeatures | None
) -> Iterator[tuple[csr_matrix, NDArray[np.int64]]]:
    """Yield for each level the weights of its vertices in those before, and its faces."""
    if levels == 0:
        return
    edges = MeshEdges.of(faces)
    known = SurfaceFeatures.none(edges, vertices) if features is None else features
    creases = known.creases | edges.borders
    meeting = np.bincount(edges.ends[creases].reshape(-1), minlength=vertices)
    corners = known.corners | (meeting > 2)
    for level in range(levels):
        count = len(corners)
        faces, halves = _split(faces, edges, count), _halves(edges, creases, count)
        yield _level(edges, creases, corners), faces
        if level + 1 < levels:
            corners = np.concatenate([corners, np.zeros(len(edges), bool)])
            edges = MeshEdges.of(faces)
            creases = edges.among(halves, len(corners))


def _level(edges: MeshEdges, creases: NDArray[np.bool_], corners: NDArray[np.bool_]) -> csr_matrix:
    """Return the weights of one level: the old vertices first, then one on each edge."""
    count, (first, second) = len(corners), edges.ends.T
    meeting = np.bincount(edges.ends[creases].reshape(-1), minlength=count)
    along = (meeting == 2) & ~corners
    free = (meeting < 2) & ~corners
    valence = np.bincount(edges.ends.reshape(-1), minlength=count)
    around = _ring_weights(valence)
    vertex, edge = np.arange(count), count + np.arange(len(edges))
    entries = [(vertex, vertex, np.where(free, 1.0 - valence * around, np.where(along, 0.75, 1.0)))]
    for here, there in ((first, second), (second, first)):
        weight = np.where(free[here], around[here], np.where(along[here] & creases, 0.125, 0.0))
        used = weight > 0.0
        entries.append((here[used], there[used], weight[used]))
        entries.append((edge, here, np.where(creases, 0.5, 0.375)))
    for side in range(2):
        opposite = edges.apexes[~creases, side]
        entries.append((edge[~creases], opposite, np.full(len(opposite), 0.125)))
    rows, columns, values = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    return csr_matrix((values, (rows, columns)), shape=(count + len(edge), count))


def _ring_weights(valence: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the weight of each neighbour of a smooth vertex."""
    many = np.maximum(valence, 1)
    weights: NDArray[np.float64] = (0.625 - (0.375 + 0.25 * np.cos(2.0 * np.pi / many)) ** 2) / many
    return weights


def _split(faces: NDArray[np.int64], edges: MeshEdges, vertices: int) -> NDArray[np.int64]:
    """Return four faces for each: three at its corners, then the one in the middle."""
    a, b, c = faces.T
    ab, bc, ca = (vertices + edges.of_faces).T
    parts = ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))
    return np.concatenate([np.stack(corners, axis=1) for corners in parts])


def _halves(edges: MeshEdges, creases: NDArray[np.bool_], vertices: int) -> NDArray[np.int64]:
    """Return the halves of creases: an old vertex, then the one on the edge, which has a higher number."""
    middles = vertices + np.flatnonzero(creases)
    return np.concatenate([np.stack([edges.ends[creases, end], middles], axis=1) for end in range(2)])
