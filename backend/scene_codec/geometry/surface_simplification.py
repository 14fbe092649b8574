"""Fewer triangles for the same surface, by quadric error metrics (M. Garland, P. Heckbert, 1997)."""

from __future__ import annotations

from functools import cached_property

import fast_simplification
import igl
import numpy as np

from scene_codec.geometry.crease_detection import Shape
from scene_codec.geometry.edge_collapse import CollapsedMeshes
from scene_codec.geometry.manifold_surface import manifold, welded
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.surface_fitting import FittingTarget
from scene_codec.geometry.unfolding import Unfolder

_SAME_PLACE = 1e-6
"""Vertices so near each other, in the frame, are one: files in single precision would have cracks else."""

_NEAR, _MIDDLE, _FAR = 8, 20, 50
"""A surface on the way is good for any count of faces that it has so many times of."""

_HARDLY_FOLDED = 0.005
_FOLDED_COUNTS = 10.0
"""A surface of which a tenth is folded is as good as one that is twice as far off."""

_ALL_BUT_EXACT = 1e-5
_MOST_UNFOLDED = 40_000
"""Faces with which collapses that fold nothing begin: they take four seconds."""

_COMPARED_POINTS = 4_000

_ENOUGH = 1.15
"""A simplifier that stops at more than so many times the faces asked for has failed."""


class SurfaceSimplifier:
    """One surface, simplified to any number of faces.

    libigl's edge collapses with optimal placement are tried first; they keep manifolds and borders, but stop
    where a part cannot be collapsed further, and fold flat parts. The second way, fast-simplification, lets
    parts vanish; the third, our own collapses, is for what would be folded.
    """

    def __init__(self, mesh: TriangleMesh) -> None:
        """Prepare a mesh that has passed `mesh_checks.prepare_mesh`, in its frame."""
        self.source = manifold(welded(mesh, _SAME_PLACE))
        self._halfway: list[TriangleMesh] = []

    @cached_property
    def shape(self) -> Shape:
        """The surface, to measure others against."""
        return Shape.of(self.source)

    def to_faces(self, count: int) -> TriangleMesh:
        """Return an oriented manifold of about `count` faces, of all of them when there are not more."""
        if count >= len(self.source.faces):
            return self.source
        collapsed = self._collapsed(count)
        if len(collapsed.faces) == 0:
            decimated = self._decimated(count)
            return decimated if len(decimated.faces) else self.source
        unfolder = Unfolder(self.shape)
        collapsed = unfolder.unfolded(collapsed)
        if len(collapsed.faces) > _ENOUGH * count:
            decimated = self._decimated(count)
            return decimated if 0 < len(decimated.faces) < len(collapsed.faces) else collapsed
        if unfolder.backward_share(collapsed) <= _HARDLY_FOLDED:
            return collapsed
        unfolding = unfolder.unfolded(self._unfolding.to_faces(count))
        candidates = [collapsed, unfolding, self._decimated(count)]
        few_enough = [mesh for mesh in candidates if 0 < len(mesh.faces) <= _ENOUGH * count]
        return min(few_enough, key=lambda mesh: self._badness(mesh, unfolder))

    @cached_property
    def _unfolding(self) -> CollapsedMeshes:
        """The collapses that fold nothing."""
        if len(self.source.faces) <= _MOST_UNFOLDED:
            return CollapsedMeshes(self.source)
        return CollapsedMeshes(Unfolder(self.shape).unfolded(_by_quadrics(self.source, _MOST_UNFOLDED)))

    def _badness(self, mesh: TriangleMesh, unfolder: Unfolder) -> float:
        """Return how far off a mesh is; what is folded counts as if it were further off."""
        target = FittingTarget(self.source, _COMPARED_POINTS, shape=self.shape)
        distance = target.distance_of(mesh, _COMPARED_POINTS) + _ALL_BUT_EXACT
        return distance * (1.0 + _FOLDED_COUNTS * unfolder.backward_share(mesh))

    def _collapsed(self, count: int) -> TriangleMesh:
        """Return what libigl makes of the surface, or of one on the way to so few faces.

        The way is much longer than its last part, and the first part the same for all.
        """
        start = next(
            (mesh for mesh in self._halfway if _NEAR * count <= len(mesh.faces) <= _FAR * count), None
        )
        if start is None and len(self.source.faces) > _FAR * count:
            start = _by_quadrics(self.source, _MIDDLE * count)
            self._halfway.append(start)
        return _by_quadrics(start or self.source, count)

    def _decimated(self, count: int) -> TriangleMesh:
        """Return what fast-simplification makes of it."""
        vertices, faces = fast_simplification.simplify(
            self.source.vertices.astype(np.float32), self.source.faces.astype(np.int32), target_count=count
        )
        return _sound(np.asarray(vertices, np.float64), np.asarray(faces, np.int64))


def _by_quadrics(mesh: TriangleMesh, count: int) -> TriangleMesh:
    """Return what libigl makes of a mesh."""
    faces = np.asfortranarray(mesh.faces, dtype=np.int32)
    vertices, simplified, *_ = igl.qslim(np.asfortranarray(mesh.vertices), faces, count)
    return _sound(np.asarray(vertices, np.float64), np.asarray(simplified, np.int64))


def _sound(vertices: np.ndarray, faces: np.ndarray) -> TriangleMesh:
    """Return a simplifier's result as a manifold, without what is not a number."""
    finite = np.isfinite(vertices).all(axis=1)
    kept = faces[finite[faces].all(axis=1)] if len(faces) else faces.reshape(0, 3)
    return manifold(welded(TriangleMesh(np.where(finite[:, None], vertices, 0.0), kept)))
