"""Moves the vertices of a coarse mesh to where its surface is nearest to another one.

Simplification leaves vertices where the quadrics of the faces that went are least; the surface between them
is on average a third closer when it is fitted as a whole. Each step pairs points on both surfaces with their
nearest ones on the other, and solves for the vertices that make the distances along the normals least (point
to plane, Y. Chen, G. Medioni, 1992): vertices may slide along the surface freely.
"""

from __future__ import annotations

from dataclasses import dataclass

import igl
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags, eye, kron
from scipy.sparse.linalg import LinearOperator, cg

from scene_codec.geometry.crease_detection import Shape, detected_features
from scene_codec.geometry.loop_subdivision import SubdividedSurface, SurfaceFeatures
from scene_codec.geometry.mesh_edges import MeshEdges
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.signed_distance import SurfaceDistance

_BORDER_HOLD = 0.03
"""What holds a vertex on a border, against the same."""

_HOLD = 1e-3
"""What holds a vertex in place, against the mean weight of all."""

_SOLVED_WITHIN, _MOST_ITERATIONS = 1e-2, 200
"""Of the pull on all vertices, what may be left after a step, and how long that is worked on."""


@dataclass(frozen=True, eq=False)
class SurfaceError:
    """How a mesh differs from its original, to second order in its vertices.

    distance : the larger of the two mean distances, in the units of the meshes
    curvature : (3v, 3v), half the second derivative of the mean squared distances
    pull : (3v,), what moves the vertices towards the original
    """

    distance: float
    curvature: csr_matrix
    pull: NDArray[np.float64]

    def of_control(self, weights: csr_matrix) -> SurfaceError:
        """Return the same in control vertices, of which those of the mesh are weighted means."""
        of_coordinates = kron(weights, eye(3)).tocsr()
        curvature = (of_coordinates.T @ self.curvature @ of_coordinates).tocsr()
        return SurfaceError(self.distance, curvature, of_coordinates.T @ self.pull)


class FittingTarget:
    """A surface that others are fitted to.

    points : how many on each surface are paired
    """

    def __init__(self, mesh: TriangleMesh, points: int, seed: int = 0, shape: Shape | None = None) -> None:
        """Draw points; `shape` is that of the mesh where it is known."""
        self._mesh = mesh
        self._shape = shape or Shape.of(mesh)
        self._surface, self._normals = self._shape.surface, self._shape.normals
        self._count = points
        self._seed = seed
        self._points, picked, _ = _sample(mesh, points, np.random.default_rng([seed, 0]))
        self._point_normals = self._normals[picked]

    def error_of(self, mesh: TriangleMesh) -> SurfaceError:
        """Return how a mesh differs from the target."""
        there = SurfaceDistance(mesh).closest(self._points)
        weights = _barycentric(there.points, mesh, there.faces)
        points, own_faces, own_weights = _sample(mesh, self._count, np.random.default_rng([self._seed, 1]))
        back = self._surface.closest(points)
        distance = float(max(there.distances.mean(), back.distances.mean()))
        pairs = _Pairs(
            corners=mesh.faces[np.concatenate([there.faces, own_faces])],
            weights=np.concatenate([weights, own_weights]),
            goals=np.concatenate([self._points, back.points]),
            normals=np.concatenate([self._point_normals, self._normals[back.faces]]),
        )
        curvature, pull = pairs.system(mesh.vertices)
        return SurfaceError(distance, curvature, pull)

    def distance_of(self, mesh: TriangleMesh, points: int) -> float:
        """Return the larger of the two mean distances, from other points than those of the fit."""
        generator = np.random.default_rng([self._seed, 2])
        here, _, _ = _sample(self._mesh, points, generator)
        there, _, _ = _sample(mesh, points, generator)
        forward = SurfaceDistance(mesh).closest(here).distances
        backward = self._surface.closest(there).distances
        return float(max(forward.mean(), backward.mean()))

    def features_of(self, control: TriangleMesh) -> SurfaceFeatures:
        """Return the creases and corners that a control mesh should have for a smooth surface over it."""
        return detected_features(control, self._shape)

    def fit(
        self, control: TriangleMesh, surface: SubdividedSurface, steps: int
    ) -> tuple[NDArray[np.float64], SurfaceError]:
        """Return the control vertices (c, 3) of the best of so many steps, and how their surface differs."""
        vertices, held = control.vertices, _border_vertices(control)
        best: tuple[NDArray[np.float64], SurfaceError] | None = None
        for step in range(steps + 1):
            free = self.error_of(surface.over(vertices)).of_control(surface.weights)
            error = _held(free, held, control.vertices - vertices)
            if best is None or error.distance < best[1].distance:
                best = vertices, error
            if step < steps:
                vertices = vertices + _step(error, len(vertices))
                if not np.isfinite(vertices).all():
                    break
        assert best is not None
        return best


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Points of a mesh as weighted corners, (m, 3) each, with the goal and the direction that counts."""

    corners: NDArray[np.int64]
    weights: NDArray[np.float64]
    goals: NDArray[np.float64]
    normals: NDArray[np.float64]

    def system(self, vertices: NDArray[np.float64]) -> tuple[csr_matrix, NDArray[np.float64]]:
        """Return the normal equations, divided by the number of pairs."""
        pairs = len(self.corners)
        here = np.einsum("mk,mkd->md", self.weights, vertices[self.corners])
        missing = np.einsum("md,md->m", self.goals - here, self.normals)
        rows = np.repeat(np.arange(pairs), 9)
        columns = (3 * self.corners[:, :, None] + np.arange(3)).reshape(-1)
        values = (self.weights[:, :, None] * self.normals[:, None, :]).reshape(-1)
        matrix = csr_matrix((values, (rows, columns)), shape=(pairs, vertices.size))
        return (matrix.T @ matrix).tocsr() / pairs, matrix.T @ missing / pairs


def _border_vertices(mesh: TriangleMesh) -> NDArray[np.bool_]:
    """Return which vertices lie on a border."""
    edges = MeshEdges.of(mesh.faces)
    border = np.zeros(len(mesh.vertices), bool)
    border[edges.ends[edges.borders]] = True
    return border


def _held(error: SurfaceError, held: NDArray[np.bool_], way_back: NDArray[np.float64]) -> SurfaceError:
    """Return an error that grows when vertices on borders leave their places.

    Distances between surfaces hardly feel a border, which may well run zigzag.

    way_back : (v, 3), from where vertices are to their places
    """
    hold = np.repeat(_BORDER_HOLD * float(error.curvature.diagonal().mean()) * held, 3)
    return SurfaceError(
        error.distance, (error.curvature + diags(hold)).tocsr(), error.pull + hold * way_back.reshape(-1)
    )


def _step(error: SurfaceError, vertices: int) -> NDArray[np.float64]:
    """Return the moves (v, 3) that make the quadratic least, about.

    Conjugate gradients, with each vertex solved for itself as the preconditioner, are there after 10 to 40
    iterations, as far as surfaces can tell; factors of the system take minutes where faces are many.
    """
    hold = _HOLD * float(error.curvature.diagonal().mean())
    system = (error.curvature + hold * eye(3 * vertices)).tobsr((3, 3))
    rows = np.repeat(np.arange(vertices), np.diff(system.indptr))
    alone = rows == system.indices
    inverse = np.zeros((vertices, 3, 3))
    inverse[rows[alone]] = np.linalg.inv(system.data[alone])
    of_vertices = LinearOperator(
        system.shape, matvec=lambda x: np.matmul(inverse, x.reshape(-1, 3, 1)).reshape(-1)
    )
    moves, _ = cg(system, error.pull, rtol=_SOLVED_WITHIN, maxiter=_MOST_ITERATIONS, M=of_vertices)
    return np.asarray(moves, np.float64).reshape(-1, 3)


def _sample(
    mesh: TriangleMesh, count: int, generator: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.float64]]:
    """Return points uniform by area, their faces and their weights of the corners.

    Strata of equal area, in the order of the faces, have one each: a mean then varies far less from draw to
    draw, above all where most of a surface is exact.
    """
    corners = mesh.vertices[mesh.faces]
    total = np.cumsum(
        np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    )
    strata = (np.arange(count) + generator.random(count)) / count
    picked = np.searchsorted(total, strata * total[-1], side="right")
    picked = np.minimum(picked, len(total) - 1)
    first, second = generator.random((2, count))
    root = np.sqrt(first)
    weights = np.stack([1.0 - root, root * (1.0 - second), root * second], axis=1)
    return np.einsum("mk,mkd->md", weights, corners[picked]), picked, weights


def _barycentric(
    points: NDArray[np.float64], mesh: TriangleMesh, faces: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the weights of the corners for points on faces; even ones where a face has no area."""
    a, b, c = (np.ascontiguousarray(mesh.vertices[mesh.faces[faces, corner]]) for corner in range(3))
    weights = igl.barycentric_coordinates(points, a, b, c)
    sound = np.isfinite(weights).all(axis=1, keepdims=True)
    mended: NDArray[np.float64] = np.where(sound, weights, 1.0 / 3.0)
    return mended
