"""What a process does when meshes are measured: one contender on one mesh, or on a set in one file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from measurement.kept_rows import Rows, kept_file, kept_rows
from measurement.mesh_codecs import OwnSetting, alone_points, set_points
from measurement.mesh_points import load_original
from measurement.mesh_rivals import Rival, rival_points


@dataclass(frozen=True)
class Job:
    """Meshes and one contender.

    paths : one mesh, or all that lie in one file
    folder : where points are kept
    again : forget the points that are kept
    kept_only : measure nothing
    """

    contender: Rival | OwnSetting
    paths: tuple[Path, ...]
    alone: bool
    samples: int
    folder: Path
    again: bool = False
    kept_only: bool = False

    @property
    def meshes(self) -> str:
        """The name of the mesh, or a word for all of them."""
        return self.paths[0].name if self.alone else f"whole set of {len(self.paths)}"


def measure(job: Job) -> Rows:
    """Return the points of a job, each with its mesh and its contender."""
    contender = job.contender
    if isinstance(contender, OwnSetting):
        rows = keep(job, contender.label, partial(own_rows, contender, job))
    elif job.kept_only:
        rows = keep(job, "points", list)
    else:
        original = load_original(job.paths[0])
        rows = rival_points(contender, original, job.samples, partial(keep, job))
    return [{"mesh": job.paths[0].name, "contender": contender.name, **row} for row in rows]


def own_rows(own: OwnSetting, job: Job) -> Rows:
    """Measure a codec of the project."""
    originals = [load_original(path) for path in job.paths]
    if job.alone:
        return alone_points(own, originals[0], job.samples)
    return set_points(own, originals, job.samples)


def keep(job: Job, part: str, work: Callable[[], Rows]) -> Rows:
    """Return the rows of a part of a job, from disk when an earlier call made them."""
    name = f"{job.meshes} {job.contender.name} {part}"
    recipe = json.dumps([job.contender.recipe, meshes_digest(job.paths), job.samples])
    if part == "screened":
        recipe = json.dumps([job.contender.recipe, meshes_digest(job.paths)])
    if job.again:
        kept_file(job.folder, name).unlink(missing_ok=True)
    return kept_rows(job.folder, name, recipe, list if job.kept_only else work)


def meshes_digest(paths: tuple[Path, ...]) -> str:
    """Return what tells these mesh files from others."""
    digest = hashlib.blake2b(digest_size=8)
    for path in paths:
        digest.update(hashlib.blake2b(path.read_bytes()).digest())
    return digest.hexdigest()
