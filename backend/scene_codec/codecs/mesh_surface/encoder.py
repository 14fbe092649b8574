"""From named meshes to the sections of a file: several at a time, each for itself."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from scene_codec.bitstream import Section
from scene_codec.codecs.contract import CodedObject, CodedSet, ContentSize, JobContext
from scene_codec.codecs.mesh_surface.config import MeshSurfaceSettings
from scene_codec.codecs.mesh_surface.decoder import SurfaceDecoder
from scene_codec.codecs.mesh_surface.prior import NEWEST_PRIOR
from scene_codec.codecs.mesh_surface.quality_search import reach_error
from scene_codec.codecs.mesh_surface.size_search import reach_size
from scene_codec.codecs.mesh_surface.surface_coding import CodedCandidate, SurfaceCoder
from scene_codec.codecs.mesh_surface.syntax import SURFACE, write_surface
from scene_codec.errors import UnsupportedSceneError
from scene_codec.geometry.face_normals import face_areas
from scene_codec.geometry.manifold_surface import welded
from scene_codec.geometry.mesh_checks import prepare_mesh
from scene_codec.geometry.normalisation import Frame
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh
from scene_codec.progress import Progress
from scene_codec.reports import ObjectFailure
from scene_codec.scaling.cache import ResultCache, result_key
from scene_codec.scaling.pool import open_pool

ENCODER_VERSION = "mesh-surface encoder 18"
"""Changed whenever the same mesh and settings would give other bytes, so that no old result is found."""

PROCESSES_FROM = 2
"""A single mesh is coded in the caller's process: starting another takes as long as a small one."""


@dataclass(frozen=True)
class SurfaceJob:
    """One mesh to code, which has passed the checks; pure and picklable."""

    index: int
    name: str
    mesh: TriangleMesh
    settings: MeshSurfaceSettings

    @property
    def key(self) -> str:
        """Content address of the result."""
        recipe = msgspec.json.encode([NEWEST_PRIOR, self.settings])
        arrays = [self.mesh.vertices.tobytes(), self.mesh.faces.tobytes()]
        return result_key(ENCODER_VERSION, recipe, arrays)


@dataclass
class _Results:
    """What has become of jobs so far, by their index."""

    payloads: dict[int, bytes] = field(default_factory=dict)
    failures: list[ObjectFailure] = field(default_factory=list)


def encode_surfaces(
    objects: Sequence[SceneObject], settings: MeshSurfaceSettings, context: JobContext
) -> CodedSet:
    """Code meshes, each for itself. Raises `UnsupportedSceneError` if none can be coded, `Cancelled`."""
    results, jobs = _Results(), []
    for index, item in enumerate(objects):
        try:
            jobs.append(SurfaceJob(index, item.name, prepare_mesh(item.mesh, item.name), settings))
        except UnsupportedSceneError as error:
            results.failures.append(ObjectFailure(name=item.name, reason=str(error)))
    _run(jobs, results, context.progress)
    if not results.payloads:
        reasons = "; ".join(failure.reason for failure in results.failures[:5])
        raise UnsupportedSceneError(f"None of the objects can be coded. {reasons}".strip())
    coded = tuple(
        _coded_object(objects[job.index], job, results.payloads[job.index])
        for job in jobs
        if job.index in results.payloads
    )
    return CodedSet(shared=(), objects=coded, failures=tuple(results.failures))


def encode_mesh(mesh: TriangleMesh, settings: MeshSurfaceSettings, progress: Progress) -> CodedCandidate:
    """Return the candidate that serves the settings best, for a mesh that has passed the checks."""
    frame = Frame.around(mesh)
    placed = frame.into(mesh)
    coder = SurfaceCoder(placed, frame, settings, progress)
    if settings.target_size is not None:
        return reach_size(coder, settings.target_size)
    return reach_error(coder, settings.target_error / 100.0 * coder.diagonal)


def code_surface(job: SurfaceJob) -> bytes:
    """Return the payload of a mesh; run in processes of their own."""
    return _payload(job, Progress())


def _payload(job: SurfaceJob, progress: Progress) -> bytes:
    return write_surface(encode_mesh(job.mesh, job.settings, progress).surface)[0].payload


def _coded_object(item: SceneObject, job: SurfaceJob, payload: bytes) -> CodedObject:
    """Return a mesh with its bytes; with a number of triangles, the share of its area that they keep, too."""
    size = ContentSize.of(item)
    if job.settings.faces is not None:
        decoded = SurfaceDecoder().decode({SURFACE: payload}, Progress())
        before = float(face_areas(welded(job.mesh)).sum())
        size = replace(size, area_left=float(face_areas(decoded).sum()) / before)
    return CodedObject(item, (Section(SURFACE, payload),), size)


def _run(jobs: Sequence[SurfaceJob], results: _Results, progress: Progress) -> None:
    """Code all meshes of which no result is kept from an earlier run."""
    cache = ResultCache()
    results.payloads.update({job.index: found for job in jobs if (found := cache.get(job.key)) is not None})
    waiting = [job for job in jobs if job.index not in results.payloads]

    def keep(job: SurfaceJob, payload: bytes) -> None:
        results.payloads[job.index] = payload
        with contextlib.suppress(OSError):  # without a cache an interrupted run begins anew
            cache.put(job.key, payload)

    if len(waiting) < PROCESSES_FROM:
        for job in waiting:
            progress.update(0.0, job.name)
            try:
                keep(job, _payload(job, progress))
            except UnsupportedSceneError as error:
                results.failures.append(ObjectFailure(name=job.name, reason=str(error)))
    else:
        _run_in_processes(waiting, keep, results, progress)
    progress.update(1.0)


def _run_in_processes(
    jobs: Sequence[SurfaceJob],
    keep: Callable[[SurfaceJob, bytes], None],
    results: _Results,
    progress: Progress,
) -> None:
    """Code meshes side by side; one that fails or crashes costs itself alone."""
    with open_pool(f"processes:{min(len(jobs), os.cpu_count() or 1)}") as pool:
        for done, outcome in enumerate(
            pool.map_unordered(code_surface, jobs, check=progress.check_cancelled)
        ):
            if outcome.result is None:
                reason = f"it could not be coded: {outcome.failure}"
                results.failures.append(ObjectFailure(name=outcome.job.name, reason=reason))
            else:
                keep(outcome.job, outcome.result)
            progress.update((done + 1) / len(jobs), outcome.job.name)
