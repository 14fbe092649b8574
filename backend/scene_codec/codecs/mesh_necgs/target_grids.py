"""The first stage: one target grid per mesh, fitted in parallel, kept on disk while the set is trained."""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import SceneCodecError
from scene_codec.geometry.inflation import inflated_grid, needs_inflation
from scene_codec.geometry.mesh_checks import prepare_mesh
from scene_codec.geometry.normalisation import Frame
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh
from scene_codec.geometry.tsdf_fitting import FIT_VERSION, fit_tsdf_grid
from scene_codec.geometry.tsdf_grid import tsdf_grid
from scene_codec.progress import Progress
from scene_codec.reports import ObjectFailure
from scene_codec.scaling.cache import ResultCache, result_key
from scene_codec.scaling.pool import Needs, open_pool

PROCESSES_FROM = 4
"""Fewer meshes are fitted in the caller's process: starting others takes longer than the work."""

FIT_TIMEOUT_S = 3600.0


@dataclass(frozen=True)
class FitJob:
    """One mesh to fit; pure and picklable. The mesh is given in frame coordinates."""

    index: int
    name: str
    mesh: TriangleMesh
    resolution: int
    deformation: bool

    @property
    def key(self) -> str:
        """Content address of the result."""
        recipe = f"target-grid with inflation {self.resolution} {self.deformation}"
        return result_key(FIT_VERSION, recipe, [self.mesh.vertices.tobytes(), self.mesh.faces.tobytes()])


@dataclass(frozen=True)
class PreparedObject:
    """An object that passed the checks, and the frame it is coded in."""

    source: SceneObject
    frame: Frame


class TargetGrids:
    """Target grids on disk, read a page at a time; see `supervision.GridSource`.

    inflated : of each grid, whether it is that of a solid around the mesh
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: list[NDArray[np.float16]] = []
        self.inflated: list[bool] = []

    def append(self, grid: NDArray[np.float16], *, inflated: bool) -> None:
        """Keep one more grid, (K, K, K, channels) float16."""
        self.inflated.append(inflated)
        path = self._folder / f"grid-{len(self._open):06d}.npy"
        np.save(path, grid)
        self._open.append(np.load(path, mmap_mode="r"))

    def close(self) -> None:
        """Let go of the files, so that their folder can be removed."""
        self._open.clear()

    def __len__(self) -> int:
        return len(self._open)

    def __getitem__(self, index: int) -> NDArray[np.float16]:
        return self._open[index]


def fit_target(job: FitJob) -> bytes:
    """Return one byte, 1 when inflated, and the deflated float16 grid (K, K, K, 1 or 4)."""
    inflated = needs_inflation(job.mesh, job.resolution)
    if inflated:
        grid = inflated_grid(job.mesh, job.resolution)
    elif job.deformation:
        grid = fit_tsdf_grid(job.mesh, job.resolution)
    else:
        grid = tsdf_grid(job.mesh, job.resolution)
    channels = grid.values[..., None]
    if job.deformation:
        still = np.zeros((*grid.values.shape, 3), np.float32)
        deformation = still if grid.deformation is None else grid.deformation
        channels = np.concatenate([channels, deformation], axis=-1)
    return bytes([inflated]) + zlib.compress(channels.astype(np.float16).tobytes(), level=1)


def prepare_objects(objects: Sequence[SceneObject]) -> tuple[list[PreparedObject], list[ObjectFailure]]:
    """Check all meshes; return those that can be coded and the reasons against the others."""
    prepared, failures = [], []
    for item in objects:
        try:
            mesh = prepare_mesh(item.mesh, item.name)
            frame = Frame.around(mesh)
        except SceneCodecError as problem:
            failures.append(ObjectFailure(name=item.name, reason=str(problem)))
            continue
        source = SceneObject(item.name, mesh, item.transform, item.host, item.source_bytes)
        prepared.append(PreparedObject(source, frame))
    return prepared, failures


def fit_targets(
    prepared: Sequence[PreparedObject],
    resolution: int,
    deformation: bool,
    folder: Path,
    progress: Progress,
) -> tuple[list[PreparedObject], TargetGrids, list[ObjectFailure]]:
    """Fit all objects; return those that worked, their grids in the same order, and the failures by name.

    Raises `Cancelled`.
    """
    cache = ResultCache()
    jobs = [
        FitJob(index, item.source.name, item.frame.into(item.source.mesh), resolution, deformation)
        for index, item in enumerate(prepared)
    ]
    results: dict[int, bytes] = {
        job.index: found for job in jobs if (found := cache.get(job.key)) is not None
    }
    waiting = [job for job in jobs if job.index not in results]
    failures = []
    where = (
        f"processes:{min(len(waiting), os.cpu_count() or 1)}" if len(waiting) >= PROCESSES_FROM else "inline"
    )
    with open_pool(where) as pool:
        outcomes = pool.map_unordered(
            fit_target, waiting, Needs(timeout_s=FIT_TIMEOUT_S), check=progress.check_cancelled
        )
        for outcome in outcomes:
            job = outcome.job
            if outcome.result is None:
                failures.append(ObjectFailure(name=job.name, reason=f"no distance grid: {outcome.failure}"))
            else:
                results[job.index] = outcome.result
                with contextlib.suppress(OSError):  # without a cache the next run fits once more
                    cache.put(job.key, outcome.result)
            progress.update((len(results) + len(failures)) / len(jobs), job.name)
    grids = TargetGrids(folder)
    shape = (resolution, resolution, resolution, 4 if deformation else 1)
    for index in sorted(results):
        flat = np.frombuffer(zlib.decompress(results[index][1:]), dtype=np.float16)
        grids.append(flat.reshape(shape), inflated=bool(results[index][0]))
    return [prepared[index] for index in sorted(results)], grids, failures
