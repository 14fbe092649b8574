"""From named meshes to the sections of a file, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scene_codec.codecs.contract import CodedObject, CodedSet, ContentSize, JobContext
from scene_codec.codecs.mesh_surface.config import MeshSurfaceSettings
from scene_codec.codecs.mesh_surface.quality_search import reach_error, reach_size
from scene_codec.codecs.mesh_surface.surface_coding import CodedCandidate, SurfaceCoder
from scene_codec.codecs.mesh_surface.syntax import write_surface
from scene_codec.errors import UnsupportedSceneError
from scene_codec.geometry.mesh_checks import prepare_mesh
from scene_codec.geometry.normalisation import Frame
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh
from scene_codec.progress import Progress
from scene_codec.reports import ObjectFailure


def encode_surfaces(
    objects: Sequence[SceneObject], settings: MeshSurfaceSettings, context: JobContext
) -> CodedSet:
    """Code meshes one by one. Raises `UnsupportedSceneError` if none can be coded, `Cancelled`."""
    coded: list[CodedObject] = []
    failures: list[ObjectFailure] = []
    for index, item in enumerate(objects):
        part = context.progress.part(index / len(objects), (index + 1) / len(objects), "coding")
        part.update(0.0, item.name)
        try:
            candidate = encode_mesh(prepare_mesh(item.mesh, item.name), settings, part)
        except UnsupportedSceneError as error:
            failures.append(ObjectFailure(name=item.name, reason=str(error)))
            continue
        coded.append(CodedObject(item, write_surface(candidate.surface), ContentSize.of(item)))
        part.update(1.0, item.name)
    if not coded:
        reasons = "; ".join(failure.reason for failure in failures[:5])
        raise UnsupportedSceneError(f"None of the objects can be coded. {reasons}".strip())
    return CodedSet(shared=(), objects=tuple(coded), failures=tuple(failures))


def encode_mesh(mesh: TriangleMesh, settings: MeshSurfaceSettings, progress: Progress) -> CodedCandidate:
    """Return the candidate that serves the settings best, for a mesh that has passed the checks."""
    frame = Frame.around(mesh)
    placed = frame.into(mesh)
    coder = SurfaceCoder(placed, frame, settings, progress)
    if settings.target_size is not None:
        return reach_size(coder, settings.target_size, settings.faces)
    return reach_error(coder, settings.target_error / 100.0 * diagonal(placed), settings.faces)


def diagonal(mesh: TriangleMesh) -> float:
    """Return the diagonal of a mesh's bounding box."""
    return float(np.linalg.norm(np.ptp(mesh.vertices, axis=0)))
