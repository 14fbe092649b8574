"""Moves the vertices of a coarse mesh to where its surface is nearest to another one.

Simplification leaves vertices where the quadrics of the faces that went are least; the surface between them
is on average a third closer when it is fitted as a whole. Each step pairs points on both surfaces with their
nearest ones on the other, and solves for the vertices that make the distances along the normals least (point
to plane, Y. Chen, G. Medioni, 1992): vertices may slide along the surface freely.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

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


_FAR_OFF, _FAR_OFF_SHARE = 8.0, 0.01
"""How many times the wanted mean so much of a surface may be off."""


@dataclass(frozen=True)
class Deviation:
    """How far two surfaces are from each other, in their units.

    mean : the larger of the two mean distances
    far : the larger of the two distances that one in a hundred points exceeds
    """

    mean: float
    far: float

    @classmethod
    def of(cls, *ways: NDArray[np.float64]) -> Deviation:
        """Return that of distances of points, those of each way (n,)."""
        means, fars = zip(*((way.mean(), _exceeded(way)) for way in ways), strict=True)
        return cls(float(max(means)), float(max(fars)))

    @property
    def counted(self) -> float:
        """The mean, or what it counts as where a part is far off: a corner that is lost says little in it."""
        return max(self.mean, self.far / _FAR_OFF)


@dataclass(frozen=True, eq=False)
class SurfaceError:
    """How a surface differs from its original, to second order in its c control vertices.

    distance : what counts of its deviation
    pairs : points of the surface and their goals
    over : (v, c), the vertices of the surface as weighted means
    hold : (c,), what holds control vertices in their places, in squares of distances
    way_back : (c, 3), from where they are to these places
    """

    distance: float
    pairs: PointPairs
    over: csr_matrix
    hold: NDArray[np.float64]
    way_back: NDArray[np.float64]

    @cached_property
    def curvature(self) -> csr_matrix:
        """Half the second derivative of the mean squared distances, (3c, 3c)."""
        of_coordinates = kron(self.over, eye(3)).tocsr()
        free = of_coordinates.T @ self.pairs.curvature(self.over.shape[0]) @ of_coordinates
        curvature: csr_matrix = (free + diags(np.repeat(self.hold, 3))).tocsr()
        return curvature

    @cached_property
    def stiffness(self) -> float:
        """Mean of what a coordinate of a control vertex weighs, without what holds it."""
        points = self.pairs.points(self.over.shape[0]) @ self.over
        # Normals are of length one.
        total = float(points.power(2).sum())
        return total / (3.0 * len(self.pairs.normals) * len(self.hold))

    def held(self, more: float) -> SurfaceError:
        """Return the same where every control vertex is held more (above 0), at the place where it is."""
        hold = self.hold + more
        way_back = self.way_back * (self.hold / hold)[:, None]
        return replace(self, hold=hold, way_back=way_back)

    def best_moves(self) -> NDArray[np.float64]:
        """Return the moves of the control vertices, (c, 3), that make the error least, about.

        Conjugate gradients, with each vertex solved for itself as the preconditioner, are there after 10 to
        40 iterations, as far as surfaces can tell; factors of the system take minutes where faces are many.
        The system is never written down: many vertices of a smooth surface may depend on the same hub.
        """
        points, count = self.pairs.points(self.over.shape[0]) @ self.over, len(self.hold)
        normals, pairs, back = self.pairs.normals, len(self.pairs.normals), points.T.tocsr()

        def pulled(along: NDArray[np.float64]) -> NDArray[np.float64]:
            """Return what (m,) distances along the normals are to the control vertices."""
            pull: NDArray[np.float64] = back @ (along[:, None] * normals) / pairs
            return pull

        def system(moves: NDArray[np.float64]) -> NDArray[np.float64]:
            moves = moves.reshape(count, 3)
            along = np.einsum("md,md->m", points @ moves, normals)
            return (pulled(along) + self.hold[:, None] * moves).reshape(-1)

        outer = (normals[:, :, None] * normals[:, None, :]).reshape(-1, 9)
        own = (back.power(2) @ outer / pairs).reshape(-1, 3, 3) + self.hold[:, None, None] * np.eye(3)
        inverse = np.linalg.inv(own)

        def alone(pull: NDArray[np.float64]) -> NDArray[np.float64]:
            moves: NDArray[np.float64] = np.matmul(inverse, pull.reshape(count, 3, 1)).reshape(-1)
            return moves

        moves, _ = cg(
            LinearOperator((3 * count, 3 * count), system, dtype=np.float64),
            (pulled(self.pairs.missing) + self.hold[:, None] * self.way_back).reshape(-1),
            rtol=_SOLVED_WITHIN,
            maxiter=_MOST_ITERATIONS,
            M=LinearOperator((3 * count, 3 * count), alone, dtype=np.float64),
        )
        return np.asarray(moves, np.float64).reshape(-1, 3)


class FittingTarget:
    """A surface that others are fitted to.

    points : how many on each surface are paired
    """

    def __init__(self, mesh: TriangleMesh, points: int, seed: int = 0, shape: Shape | None = None) -> None:
        """Draw points; `shape` is that of the mesh where it is known."""
        self._mesh = mesh
        self._shape = shape or Shape.of(mesh)
        self._surface, self._normals = self._shape.surface, self._shape.normals
        self.points = points
        self._seed = seed
        self._points, picked, _ = _sample(mesh, points, np.random.default_rng([seed, 0]))
        self._point_normals = self._normals[picked]

    def error_of(self, surface: SubdividedSurface, control: NDArray[np.float64]) -> SurfaceError:
        """Return how the surface over control vertices (c, 3) differs from the target."""
        mesh = surface.over(control)
        there = SurfaceDistance(mesh).closest(self._points)
        weights = _barycentric(there.points, mesh, there.faces)
        points, own_faces, own_weights = _sample(mesh, self.points, np.random.default_rng([self._seed, 1]))
        back = self._surface.closest(points)
        corners = mesh.faces[np.concatenate([there.faces, own_faces])]
        weights = np.concatenate([weights, own_weights])
        normals = np.concatenate([self._point_normals, self._normals[back.faces]])
        here = np.einsum("mk,mkd->md", weights, mesh.vertices[corners])
        missing = np.einsum("md,md->m", np.concatenate([self._points, back.points]) - here, normals)
        return SurfaceError(
            distance=Deviation.of(there.distances, back.distances).counted,
            pairs=PointPairs(corners, weights, normals, missing),
            over=surface.weights,
            hold=np.zeros(len(control)),
            way_back=np.zeros_like(control),
        )

    def deviation_of(self, mesh: TriangleMesh, points: int) -> Deviation:
        """Return how far a mesh is off, measured at other points than those of the fit."""
        generator = np.random.default_rng([self._seed, 2])
        here, _, _ = _sample(self._mesh, points, generator)
        there, _, _ = _sample(mesh, points, generator)
        return Deviation.of(
            SurfaceDistance(mesh).closest(here).distances, self._surface.closest(there).distances
        )

    def features_of(self, control: TriangleMesh) -> SurfaceFeatures:
        """Return the creases and corners that a control mesh should have for a smooth surface over it."""
        return detected_features(control, self._shape)

    def fit(
        self, control: TriangleMesh, surface: SubdividedSurface, steps: int
    ) -> tuple[NDArray[np.float64], SurfaceError]:
        """Return the control vertices (c, 3) of the best of so many steps, and how their surface differs."""
        vertices, borders = control.vertices, _border_vertices(control)
        best: tuple[NDArray[np.float64], SurfaceError] | None = None
        for step in range(steps + 1):
            free = self.error_of(surface, vertices)
            stiffness = free.stiffness
            # Distances between surfaces hardly feel a border, which may well run zigzag.
            hold = (_BORDER_HOLD * stiffness * borders).astype(np.float64)
            error = replace(free, hold=hold, way_back=control.vertices - vertices)
            if best is None or error.distance < best[1].distance:
                best = vertices, error
            if step < steps:
                vertices = vertices + error.held(_HOLD * stiffness).best_moves()
                if not np.isfinite(vertices).all():
                    break
        assert best is not None
        return best


@dataclass(frozen=True, eq=False)
class PointPairs:
    """Points of a surface, with how far and in which direction their goals are.

    corners, weights : (m, 3) each, vertices of the surface and their weights in the points
    normals : (m, 3), the direction that counts
    missing : (m,), how far the goals are along it
    """

    corners: NDArray[np.int64]
    weights: NDArray[np.float64]
    normals: NDArray[np.float64]
    missing: NDArray[np.float64]

    def points(self, vertices: int) -> csr_matrix:
        """Return the points as weighted means of so many vertices, (m, v)."""
        starts = np.arange(0, 3 * len(self.corners) + 1, 3)
        shape = (len(self.corners), vertices)
        return csr_matrix((self.weights.reshape(-1), self.corners.reshape(-1), starts), shape=shape)

    def curvature(self, vertices: int) -> csr_matrix:
        """Return the mean of the squares along the normals as a quadratic form of the vertices, (3v, 3v)."""
        columns = (3 * self.corners[:, :, None] + np.arange(3)).reshape(-1)
        values = (self.weights[:, :, None] * self.normals[:, None, :]).reshape(-1)
        starts = np.arange(0, len(values) + 1, 9)
        matrix = csr_matrix((values, columns, starts), shape=(len(self.corners), 3 * vertices))
        return (matrix.T @ matrix).tocsr() / max(len(self.corners), 1)


def _exceeded(distances: NDArray[np.float64]) -> float:
    """Return the distance that one in a hundred exceeds."""
    place = len(distances) - 1 - int(_FAR_OFF_SHARE * len(distances))
    return float(np.partition(distances, place)[place])


def _border_vertices(mesh: TriangleMesh) -> NDArray[np.bool_]:
    """Return which vertices lie on a border."""
    edges = MeshEdges.of(mesh.faces)
    border = np.zeros(len(mesh.vertices), bool)
    border[edges.ends[edges.borders]] = True
    return border


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
