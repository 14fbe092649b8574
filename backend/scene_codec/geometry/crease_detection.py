"""Finds where a coarse mesh should have creases and corners for a smooth surface over it to fit a shape."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene_codec.geometry.face_normals import face_normals, row_products
from scene_codec.geometry.loop_subdivision import SurfaceFeatures
from scene_codec.geometry.mesh_edges import MeshEdges
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.signed_distance import SurfaceDistance

_PLACES = (0.25, 0.5, 0.75)
"""Where along an edge the shape is asked."""

_ASIDE = 0.12
"""How far beside it, of the way to the third vertex of the face."""

_CREASE = math.radians(30.0)
_SHARE = 0.5
"""A crease makes up so much of the angle between the coarse faces."""

_STRAIGHT = math.cos(math.radians(45.0))
"""Where two creases turn by more, there is a corner."""


@dataclass(frozen=True, eq=False)
class Shape:
    """What coarse meshes are compared with.

    normals : (f, 3), of its faces, which need not be oriented
    """

    surface: SurfaceDistance
    normals: NDArray[np.float64]

    @classmethod
    def of(cls, mesh: TriangleMesh) -> Shape:
        """Prepare a mesh."""
        return cls(SurfaceDistance(mesh), face_normals(mesh))

    def normals_at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the normals (n, 3) where the shape is nearest to points (n, 3)."""
        found: NDArray[np.float64] = self.normals[self.surface.closest(points).faces]
        return found


def detected_features(control: TriangleMesh, shape: Shape) -> SurfaceFeatures:
    """Return the features of an oriented manifold that lies on a shape.

    A smooth shape turns little between two places close to an edge, however much the coarse faces do.
    """
    edges = MeshEdges.of(control.faces)
    creases = edges.borders.copy()
    inner = np.flatnonzero(~creases)
    if len(inner):
        own = face_normals(control)[edges.sides[inner]]
        first, second = (
            _normals_at(shape, _places_beside(control, edges, inner, side), own[:, side]) for side in range(2)
        )
        turn = np.median([_angles(a, b) for a, b in zip(first, second, strict=True)], axis=0)
        creases[inner] = (turn > _CREASE) & (turn > _SHARE * _angles(own[:, 0], own[:, 1]))
    return SurfaceFeatures(creases, _sharp_turns(control, edges.ends[creases]))


def _places_beside(
    control: TriangleMesh, edges: MeshEdges, inner: NDArray[np.int64], side: int
) -> list[NDArray[np.float64]]:
    """Return points (n, 3) on one side of edges, close to them, for each of the places along them."""
    a, b = (control.vertices[edges.ends[inner, end]] for end in range(2))
    apex = control.vertices[edges.apexes[inner, side]]
    return [(1.0 - _ASIDE) * (a + place * (b - a)) + _ASIDE * apex for place in _PLACES]


def _normals_at(
    shape: Shape, places: list[NDArray[np.float64]], own: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    """Return the shape's normals nearest to places, on the side of the coarse mesh's own (n, 3)."""
    found = []
    for points in places:
        normals = shape.normals_at(points)
        found.append(np.where((row_products(normals, own) < 0.0)[:, None], -normals, normals))
    return found


def _sharp_turns(control: TriangleMesh, creases: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the vertices (v,) at which two creases (k, 2) meet at a sharp angle."""
    vertices = len(control.vertices)
    arriving = np.concatenate([creases[:, 0], creases[:, 1]])
    ways = control.vertices[np.concatenate([creases[:, 1], creases[:, 0]])] - control.vertices[arriving]
    lengths = np.linalg.norm(ways, axis=1, keepdims=True)
    ways = np.divide(ways, lengths, out=np.zeros_like(ways), where=lengths > 0.0)
    sums = np.zeros((vertices, 3))
    np.add.at(sums, arriving, ways)
    # Of unit vectors a and b, |a + b|^2 = 2 + 2 a.b, which is 0 where one goes on in the other's direction.
    ahead = 1.0 - 0.5 * row_products(sums, sums)
    found: NDArray[np.bool_] = (np.bincount(arriving, minlength=vertices) == 2) & (ahead < _STRAIGHT)
    return found


def _angles(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return angles between unit vectors, row by row."""
    angles: NDArray[np.float64] = np.arccos(np.clip(row_products(first, second), -1.0, 1.0))
    return angles
