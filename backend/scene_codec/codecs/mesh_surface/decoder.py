"""From the section of an object back to its mesh."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.mesh_surface.feature_coding import code_features
from scene_codec.codecs.mesh_surface.prior import shipped_prior, surface_models
from scene_codec.codecs.mesh_surface.surface_walk import SurfaceWalk
from scene_codec.codecs.mesh_surface.syntax import CodedSurface, read_surface
from scene_codec.entropy.adaptive_bits import BitDecoder
from scene_codec.errors import CorruptFileError
from scene_codec.geometry.loop_subdivision import smoothed
from scene_codec.geometry.manifold_surface import is_oriented
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.progress import Progress


class SurfaceDecoder:
    """Decodes the objects of one file, any one without the others."""

    def decode(self, sections: Mapping[int, bytes], progress: Progress) -> TriangleMesh:
        """Return an object's mesh in scene units. Raises `CorruptFileError`, `Cancelled`."""
        progress.check_cancelled()
        surface = read_surface(sections)
        return surface.place.out_of(surface_mesh(surface, progress))


def surface_mesh(surface: CodedSurface, progress: Progress) -> TriangleMesh:
    """Return the mesh, in its frame, that a coded surface stands for."""
    decoder = BitDecoder(surface.stream, shipped_prior(surface.prior))
    walk = SurfaceWalk(decoder, surface_models(), surface.steps)

    def check() -> None:
        progress.check_cancelled()
        if decoder.exhausted:
            raise CorruptFileError("A surface goes on behind the end of its bytes.")

    control = TriangleMesh(*walk.run(surface.faces, check))
    features = None
    if surface.levels:
        _check_manifold(control.faces)
    if surface.creased:
        features = code_features(decoder, surface_models(), control)
    decoder.finish()
    if not surface.levels:
        return control
    return smoothed(control, surface.levels, features)


def _check_manifold(faces: NDArray[np.int64]) -> None:
    """Raise `CorruptFileError` where no encoder of a surface with levels would have led."""
    corners = np.sort(faces, axis=1)
    twice = (np.diff(corners, axis=1) == 0).any() or len(np.unique(corners, axis=0)) < len(faces)
    if twice or not is_oriented(faces):
        raise CorruptFileError("A surface is no manifold, so that it cannot be made smooth.")
