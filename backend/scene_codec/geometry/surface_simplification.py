"""Fewer triangles for the same surface, by quadric error metrics (M. Garland, P. Heckbert, 1997)."""

from __future__ import annotations

from functools import cached_property

import fast_simplification
import igl
import numpy as np

from scene_codec.geometry.crease_detection import Shape
from scene_codec.geometry.manifold_surface import manifold, welded
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.surface_fitting import FittingTarget
from scene_codec.geometry.unfolding import Unfolder

_SAME_PLACE = 1e-6
"""Vertices so near each other, in the frame, are one: files in single precision would have cracks else."""

_NEAR, _MIDDLE, _FAR = 8, 20, 50
"""A surface on the way is good for any count of faces that it has so many times of."""

_HARDLY_FOLDED = 0.005
_NOT_MUCH, _ALL_BUT_EXACT = 1.25, 1e-5
_COMPARED_POINTS = 4_000

_ENOUGH = 1.15
"""A simplifier that stops at more than so many times the faces asked for has failed."""


class SurfaceSimplifier:
    """One surface, simplified to any number of faces.

    libigl's edge collapses with optimal placement are tried first; they keep manifolds and borders, but stop
    where a part cannot be collapsed further. The second way, by fast-simplification, lets parts vanish.
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
        too_many = len(collapsed.faces) > _ENOUGH * count
        folded = unfolder.backward_share(collapsed)
        if not too_many and folded <= _HARDLY_FOLDED:
            return collapsed
        decimated = self._decimated(count)
        if len(decimated.faces) == 0:
            return collapsed
        if too_many:
            return min(decimated, collapsed, key=lambda mesh: len(mesh.faces))
        few_enough = len(decimated.faces) <= _ENOUGH * count
        better = few_enough and unfolder.backward_share(decimated) < folded
        return decimated if better and self._is_near(decimated, collapsed) else collapsed

    def _is_near(self, decimated: TriangleMesh, collapsed: TriangleMesh) -> bool:
        """Return whether what is less folded is not much further off either."""
        target = FittingTarget(self.source, _COMPARED_POINTS, shape=self.shape)
        near, far = (target.distance_of(mesh, _COMPARED_POINTS) for mesh in (decimated, collapsed))
        return near <= _NOT_MUCH * far + _ALL_BUT_EXACT

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
