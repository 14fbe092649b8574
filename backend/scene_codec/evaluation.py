"""Measures a file against its originals: sizes of everything, errors of every object, nothing left unnamed.

The protocol is the paper's (NeCGS, section 4: 1e5 samples a surface, unsquared Chamfer distance, normal
consistency, F1 at 0.005 and 0.01, each original scaled into [-1, 1]) with what it lacks: the sampling floor
of the Chamfer distance, exact point-to-surface distances both ways, and bytes of the whole file.
"""

from __future__ import annotations

import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from scene_codec import api
from scene_codec.errors import InvalidRequestError, UnsupportedSceneError
from scene_codec.geometry.mesh_file_search import find_mesh_files
from scene_codec.geometry.mesh_files import load_scene_objects
from scene_codec.geometry.object_names import unique_names
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh
from scene_codec.metrics.mesh_distance import DEFAULT_SAMPLES, MeshDistance, compare_meshes
from scene_codec.progress import Progress
from scene_codec.radiance.radiance_object import RadianceObject
from scene_codec.reports import FileSummary, ObjectFailure
from scene_codec.scaling.pool import Needs, open_pool

MAX_PROCESSES = 8
FEWEST_JOBS_FOR_PROCESSES = 4
"""Below, starting processes takes longer than they save."""

SCENE_SUFFIXES = (".glb", ".gltf")


class ObjectEvaluation(msgspec.Struct, frozen=True, kw_only=True):
    """One decoded object against its original.

    bytes : its own bytes in the file, without a share of what all objects have in common
    binary_bytes : 12 bytes a vertex and 12 a face of the original
    """

    name: str
    reference: str
    bytes: int
    binary_bytes: int
    source_bytes: int
    reference_vertices: int
    reference_faces: int
    decoded_vertices: int
    decoded_faces: int
    error: MeshDistance


class ErrorSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One statistic of every error over the objects."""

    chamfer: float
    chamfer_floor: float
    chamfer_excess: float
    decoded_to_reference_mean: float
    decoded_to_reference_p99: float
    reference_to_decoded_mean: float
    reference_to_decoded_p99: float
    normal_consistency: float
    f1_0005: float
    f1_0010: float


class EvaluationReport(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `evaluate`.

    bytes_per_object : file size over the number of its objects, everything included
    binary_bytes, source_bytes : of the originals that were compared
    ratio_to_binary, ratio_to_source : those over `file_bytes`
    decode_seconds : time to decode all objects, without comparing and without starting Python
    mean, median : over the compared objects; None when there is none
    not_decoded : originals without a decoded object
    without_reference : objects of the file without an original
    failures : pairs that could not be compared, with the reason
    """

    path: str
    codec: str
    file_bytes: int
    bytes_per_object: float
    binary_bytes: int
    source_bytes: int
    ratio_to_binary: float
    ratio_to_source: float
    decode_seconds: float
    samples: int
    seed: int
    objects: tuple[ObjectEvaluation, ...]
    mean: ErrorSummary | None
    median: ErrorSummary | None
    not_decoded: tuple[str, ...]
    without_reference: tuple[str, ...]
    failures: tuple[ObjectFailure, ...]


@dataclass(frozen=True)
class _Reference:
    """Where an original lies: the `position`-th object of a file."""

    path: Path
    position: int


@dataclass(frozen=True)
class _Comparison:
    """One job: a decoded object and where its original is."""

    decoded: SceneObject
    reference: _Reference
    bytes: int
    samples: int
    seed: int


def evaluate(
    file: Path | str,
    reference: Path | str | Sequence[Path | str],
    *,
    samples: int = DEFAULT_SAMPLES,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> EvaluationReport:
    """Decode `file` and measure each object against the original of its name.

    reference : a folder, a mesh file, or a list of both; originals get names as `encode` gives them
    samples : points on each surface for the sampled metrics
    seed : of the samples; same seed, same numbers

    Raises `SceneCodecError` when the file or the reference cannot be read at all.
    """
    if samples < 1:
        raise InvalidRequestError(f"{samples} samples were asked for; at least one is needed.")
    progress = progress or Progress()
    summary = api.inspect(file)
    paths = [reference] if isinstance(reference, str | Path) else list(reference)
    references, unreadable = _index(find_mesh_files(paths))
    decoding = _TimedDecoding(Path(file), summary, references, device, progress)
    evaluated, failures = _compare_all(decoding.jobs(samples, seed), len(summary.objects), progress)
    names = [item.name for item in summary.objects]
    objects = tuple(evaluated[name] for name in names if name in evaluated)
    binary = sum(item.binary_bytes for item in objects)
    source = sum(item.source_bytes for item in objects)
    return EvaluationReport(
        path=str(file),
        codec=summary.codec,
        file_bytes=summary.file_bytes,
        bytes_per_object=summary.file_bytes / max(len(names), 1),
        binary_bytes=binary,
        source_bytes=source,
        ratio_to_binary=binary / summary.file_bytes,
        ratio_to_source=source / summary.file_bytes,
        decode_seconds=decoding.seconds,
        samples=samples,
        seed=seed,
        objects=objects,
        mean=_summarise(objects, statistics.fmean),
        median=_summarise(objects, statistics.median),
        not_decoded=tuple(name for name in references if name not in set(names)),
        without_reference=tuple(name for name in names if name not in references),
        failures=(
            *unreadable,
            *sorted((*failures, *decoding.failures), key=lambda failure: names.index(failure.name)),
        ),
    )


def _compare_all(
    jobs: Iterable[_Comparison], count: int, progress: Progress
) -> tuple[dict[str, ObjectEvaluation], list[ObjectFailure]]:
    """Run the comparisons of up to `count` objects; return the results by name, and what failed."""
    evaluated: dict[str, ObjectEvaluation] = {}
    failures: list[ObjectFailure] = []
    with open_pool(_where(count)) as pool:
        for outcome in pool.map_unordered(_compare, jobs, Needs(), progress.check_cancelled):
            name = outcome.job.decoded.name
            if outcome.result is not None:
                evaluated[name] = outcome.result
            else:
                failures.append(
                    ObjectFailure(name=name, reason=outcome.failure or "it could not be compared")
                )
            progress.update((len(evaluated) + len(failures)) / max(count, 1), name)
    return evaluated, failures


class _TimedDecoding:
    """Decodes object by object as the jobs are asked for, and adds up the time that decoding alone takes."""

    def __init__(
        self,
        file: Path,
        summary: FileSummary,
        references: dict[str, _Reference],
        device: str,
        progress: Progress,
    ) -> None:
        self.seconds = 0.0
        self.failures: list[ObjectFailure] = []
        self._file = file
        self._bytes = {item.name: item.bytes for item in summary.objects}
        self._references = references
        self._device = device
        self._progress = progress

    def jobs(self, samples: int, seed: int) -> Iterator[_Comparison]:
        """Yield a comparison for each object that has an original."""
        wanted = [name for name in self._bytes if name in self._references]
        if not wanted:
            return
        # Its own reporter without a callback: the fraction done is that of the comparisons.
        objects = iter(api.decode(self._file, only=wanted, device=self._device, failures=self.failures))
        while True:
            self._progress.check_cancelled()
            started = time.perf_counter()
            item = next(objects, None)
            self.seconds += time.perf_counter() - started
            if item is None:
                return
            if isinstance(item, RadianceObject):
                raise InvalidRequestError(
                    f"'{self._file}' holds radiance fields, which are measured against pictures: give "
                    "--images DATASET in place of --reference."
                )
            if not isinstance(item, SceneObject):
                raise InvalidRequestError(
                    f"'{self._file}' holds volumes; evaluate measures meshes. For volumes there is "
                    "scene-codec compare ORIGINAL FILE."
                )
            yield _Comparison(item, self._references[item.name], self._bytes[item.name], samples, seed)


def _index(files: Sequence[Path]) -> tuple[dict[str, _Reference], list[ObjectFailure]]:
    """Return name and place of every original, named as `encode` names them, and the files it left out."""
    stems = Counter(path.stem for path in files)
    names: list[str] = []
    places: list[_Reference] = []
    unreadable: list[ObjectFailure] = []
    for path in files:
        # Most files hold one object of their own name and are read where they are compared. Scene files hold
        # several, and of files with one stem those that cannot be read take no number.
        if path.suffix.lower() not in SCENE_SUFFIXES and stems[path.stem] == 1:
            held = [path.stem]
        else:
            try:
                held = [item.name for item in load_scene_objects(path)]
            except UnsupportedSceneError as problem:
                unreadable.append(ObjectFailure(name=path.name, reason=str(problem)))
                continue
        names += held
        places += [_Reference(path, position) for position in range(len(held))]
    return dict(zip(unique_names(names), places, strict=True)), unreadable


def _where(count: int) -> str:
    """Return where to compare: in this process, or in one process per core when there is enough to do."""
    processes = min(os.cpu_count() or 1, MAX_PROCESSES)
    return f"processes:{processes}" if processes > 1 and count >= FEWEST_JOBS_FOR_PROCESSES else "inline"


def _compare(job: _Comparison) -> ObjectEvaluation:
    """Load the original and measure the decoded object against it, both where their transforms put them."""
    original = load_scene_objects(job.reference.path)[job.reference.position]
    error = compare_meshes(_in_world(original), _in_world(job.decoded), samples=job.samples, seed=job.seed)
    return ObjectEvaluation(
        name=job.decoded.name,
        reference=job.reference.path.name,
        bytes=job.bytes,
        binary_bytes=original.mesh.binary_bytes,
        source_bytes=original.source_bytes,
        reference_vertices=len(original.mesh.vertices),
        reference_faces=len(original.mesh.faces),
        decoded_vertices=len(job.decoded.mesh.vertices),
        decoded_faces=len(job.decoded.mesh.faces),
        error=error,
    )


def _in_world(item: SceneObject) -> TriangleMesh:
    """Return the mesh in world coordinates."""
    if np.array_equal(item.transform, np.eye(4)):
        return item.mesh
    return TriangleMesh(
        item.mesh.vertices @ item.transform[:3, :3].T + item.transform[:3, 3], item.mesh.faces
    )


def _summarise(
    objects: Sequence[ObjectEvaluation], statistic: Callable[[list[float]], float]
) -> ErrorSummary | None:
    """Return one statistic of each error, None when there is no object."""
    if not objects:
        return None
    fields = ErrorSummary.__struct_fields__
    return ErrorSummary(
        **{name: statistic([getattr(item.error, name) for item in objects]) for name in fields}
    )
