"""Fewer triangles for the same surface, by quadric error metrics (M. Garland, P. Heckbert, 1997)."""

from __future__ import annotations

import math
from functools import cached_property

import fast_simplification
import igl
import numpy as np

from scene_codec.geometry.crease_detection import Shape
from scene_codec.geometry.edge_collapse import CollapsedMeshes
from scene_codec.geometry.face_normals import signed_volume
from scene_codec.geometry.handle_cutting import with_handles_cut
from scene_codec.geometry.hole_closing import holes_of, with_holes_closed
from scene_codec.geometry.manifold_surface import is_closed, manifold, parts_of, welded
from scene_codec.geometry.mesh_edges import MeshEdges
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

_SPOILED = 2.0
"""How much further off a surface counts that is torn open, or turned inside out."""

_ALL_BUT_EXACT = 1e-5
_MOST_UNFOLDED = 40_000
"""Faces with which collapses that fold nothing begin: they take four seconds."""

_COMPARED_POINTS = 4_000

_ENOUGH = 1.15
"""A simplifier that stops at more than so many times the faces asked for has failed."""

_FACES_OF_HOLE, _FACES_OF_HANDLE = 5, 14
"""How many faces fewer there can be without one: about the least that it has."""

_MOST_COLLAPSED = 250_000
"""Faces with which libigl's collapses begin: each takes 25 seconds for a million."""

_BEFORE_CLOSING = 4
_BEFORE_CUTTING = (1.6, 1.9, 2.2)
"""With so many times the faces where collapses end, holes still have their shape. Handles are cut in surfaces
of fewer: their rings have three or four edges there. Which number is best is tried."""

_MANY_AT_LEAST = 600
"""Faces at which collapses end, of shapes with so many handles that one number has to do."""


class SurfaceSimplifier:
    """One surface, simplified to any number of faces.

    libigl's edge collapses with optimal placement are tried first; they keep manifolds and borders, but stop
    where a part cannot be collapsed further, and fold flat parts. The second way, fast-simplification, lets
    parts vanish; the third, our own collapses, is for what would be folded. Where all stop above the number,
    the smallest holes are closed, as many as needed: the surface would be torn to loose triangles else.
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
            decimated = _decimated(self._base, count)
            return decimated if len(decimated.faces) else self.source
        unfolder = Unfolder(self.shape)
        collapsed = unfolder.unfolded(collapsed)
        if len(collapsed.faces) > _ENOUGH * count:
            return self._with_fewer_holes(count) or self._torn(count, collapsed)
        if unfolder.backward_share(collapsed) <= _HARDLY_FOLDED:
            return collapsed
        unfolding = unfolder.unfolded(self._unfolding.to_faces(count))
        candidates = [collapsed, unfolding, _decimated(self._base, count)]
        if len(unfolding.faces) > _ENOUGH * count and (closed := self._with_fewer_holes(count)) is not None:
            candidates = [collapsed, closed]
        few_enough = [mesh for mesh in candidates if 0 < len(mesh.faces) <= _ENOUGH * count]
        return min(few_enough, key=lambda mesh: self._badness(mesh, unfolder))

    def _torn(self, count: int, collapsed: TriangleMesh) -> TriangleMesh:
        """Return the surface without parts that there are too few faces for."""
        decimated = _decimated(self._base, count)
        return decimated if 0 < len(decimated.faces) < len(collapsed.faces) else collapsed

    def _with_fewer_holes(self, count: int) -> TriangleMesh | None:
        """Return about `count` faces of the surface without its smallest holes, None if that is not enough.

        Handles count as holes; they are cut where there is no other hole.
        """
        if not self._has_holes:
            return None
        unfolder = Unfolder(self.shape)
        unfolding = self._unfolding.to_faces(count)
        least = len(unfolding.faces)
        if least <= _ENOUGH * count:
            return unfolder.unfolded(unfolding)
        near = self._unfolding.to_faces(_BEFORE_CLOSING * least)
        if holes_of(near):
            closed = with_holes_closed(near, math.ceil((least - count) / _FACES_OF_HOLE))
            return SurfaceSimplifier(closed).to_faces(count)
        before = _BEFORE_CUTTING if least <= _MANY_AT_LEAST else _BEFORE_CUTTING[1:2]
        starts = [_without_handles(self._unfolding.to_faces(round(more * least)), count) for more in before]
        tried = [
            unfolder.unfolded(mesh)
            for start in starts
            for mesh in (CollapsedMeshes(start).to_faces(count), _by_quadrics(start, count))
        ]
        few_enough = [mesh for mesh in tried if 0 < len(mesh.faces) <= _ENOUGH * count]
        return min(few_enough, key=lambda mesh: self._badness(mesh, unfolder), default=None)

    @cached_property
    def _has_holes(self) -> bool:
        """Whether the surface has handles, or a part with more than one border."""
        faces = self.source.faces
        edges, part = MeshEdges.of(faces), parts_of(faces)
        parts, opened = len(np.unique(part)), len(np.unique(part[edges.sides[edges.borders, 0]]))
        # Euler's formula: each sphere makes two, each disc one.
        return len(self.source.vertices) - len(edges) + len(faces) < 2 * parts - opened

    @cached_property
    def _unfolding(self) -> CollapsedMeshes:
        """The collapses that fold nothing."""
        if len(self.source.faces) <= _MOST_UNFOLDED:
            return CollapsedMeshes(self.source)
        return CollapsedMeshes(Unfolder(self.shape).unfolded(_by_quadrics(self._base, _MOST_UNFOLDED)))

    def _badness(self, mesh: TriangleMesh, unfolder: Unfolder) -> float:
        """Return how far off a mesh is; one that is folded or spoiled counts as if it were further off."""
        target = FittingTarget(self.source, _COMPARED_POINTS, shape=self.shape)
        distance = target.deviation_of(mesh, _COMPARED_POINTS).counted + _ALL_BUT_EXACT
        folded = 1.0 + _FOLDED_COUNTS * unfolder.backward_share(mesh)
        return distance * folded * (_SPOILED if self._is_spoiled(mesh) else 1.0)

    def _is_spoiled(self, mesh: TriangleMesh) -> bool:
        """Return whether the surface is closed, and a mesh has borders or holds what is outside."""
        if self._volume is None:
            return False
        return not is_closed(mesh.faces) or self._volume * signed_volume(mesh.vertices[mesh.faces]) < 0.0

    @cached_property
    def _volume(self) -> float | None:
        """What the surface encloses, None if it is open."""
        source = self.source
        return signed_volume(source.vertices[source.faces]) if is_closed(source.faces) else None

    def _collapsed(self, count: int) -> TriangleMesh:
        """Return what libigl makes of the surface, or of one on the way to so few faces.

        The way is much longer than its last part, and the first part the same for all.
        """
        start = next(
            (mesh for mesh in self._halfway if _NEAR * count <= len(mesh.faces) <= _FAR * count), None
        )
        if start is None and len(self._base.faces) > _FAR * count:
            start = _by_quadrics(self._base, _MIDDLE * count)
            self._halfway.append(start)
        return _by_quadrics(start or self._base, count)

    @cached_property
    def _base(self) -> TriangleMesh:
        """The surface, or what has so many triangles that one can hardly tell the difference."""
        if len(self.source.faces) <= _MOST_COLLAPSED:
            return self.source
        decimated = _decimated(self.source, _MOST_COLLAPSED)
        return decimated if len(decimated.faces) >= _MOST_COLLAPSED >> 1 else self.source


def _without_handles(mesh: TriangleMesh, count: int) -> TriangleMesh:
    """Return a mesh without so many handles that collapses come to `count` faces, or without most of them."""
    least, before = len(mesh.faces), len(mesh.faces) + 1
    while count < least < before:
        before = least
        mesh = with_handles_cut(mesh, math.ceil((least - count) / _FACES_OF_HANDLE))
        collapsed = CollapsedMeshes(mesh).to_faces(count)
        least = len(collapsed.faces)
        if least > count:
            mesh = collapsed
    return mesh


def _by_quadrics(mesh: TriangleMesh, count: int) -> TriangleMesh:
    """Return what libigl makes of a mesh."""
    faces = np.asfortranarray(mesh.faces, dtype=np.int32)
    vertices, simplified, *_ = igl.qslim(np.asfortranarray(mesh.vertices), faces, count)
    return _sound(np.asarray(vertices, np.float64), np.asarray(simplified, np.int64))


def _decimated(mesh: TriangleMesh, count: int) -> TriangleMesh:
    """Return what fast-simplification makes of a mesh."""
    vertices, faces = fast_simplification.simplify(
        mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32), target_count=count
    )
    return _sound(np.asarray(vertices, np.float64), np.asarray(faces, np.int64))


def _sound(vertices: np.ndarray, faces: np.ndarray) -> TriangleMesh:
    """Return a simplifier's result as a manifold, without what is not a number."""
    finite = np.isfinite(vertices).all(axis=1)
    kept = faces[finite[faces].all(axis=1)] if len(faces) else faces.reshape(0, 3)
    return manifold(welded(TriangleMesh(np.where(finite[:, None], vertices, 0.0), kept)))
