"""One mesh, and what a codec makes of it at one setting: the points of rate-distortion curves."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import igl
import msgspec
import numpy as np
from numpy.typing import NDArray

from measurement.results import error_fields
from scene_codec.geometry.mesh_files import load_scene_objects
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.metrics.mesh_distance import DEFAULT_SAMPLES, Surface, compare_meshes

Point = dict[str, Any]
Points = NDArray[np.float64]

EXACT = ("point_to_surface", "decoded_to_reference_p99", "reference_to_decoded_p99")
"""Measures of exact distances, which are quick."""

_FEW_SAMPLES = 100
"""Exact distances take more all the same."""


@dataclass(frozen=True)
class Original:
    """A mesh to code: all that its file shows, without unused vertices.

    framed : the same scaled into [-1, 1], the frame in which errors are told
    """

    name: str
    mesh: TriangleMesh
    framed: TriangleMesh
    centre: NDArray[np.float64]
    scale: float

    def into_frame(self, mesh: TriangleMesh) -> TriangleMesh:
        """Return a mesh beside the original as it is in the frame."""
        return TriangleMesh((mesh.vertices - self.centre) / self.scale, mesh.faces)

    def put_back(self, framed: TriangleMesh) -> TriangleMesh:
        """Return a mesh of the frame where the original is."""
        return TriangleMesh(framed.vertices * self.scale + self.centre, framed.faces)


def load_original(path: Path) -> Original:
    """Return the mesh of a file; several objects are joined as they stand."""
    return original_of(path.name, joined((item.mesh, item.transform) for item in load_scene_objects(path)))


def original_of(name: str, mesh: TriangleMesh) -> Original:
    """Return a mesh as one to code."""
    mesh = used_part(mesh)
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    centre, scale = (low + high) / 2.0, float((high - low).max()) / 2.0
    framed = TriangleMesh(np.clip((mesh.vertices - centre) / scale, -1.0, 1.0), mesh.faces)
    return Original(name, mesh, framed, centre, scale)


def joined(parts: Iterable[tuple[TriangleMesh, NDArray[np.float64]]]) -> TriangleMesh:
    """Return placed meshes as a single one."""
    vertices: list[NDArray[np.float64]] = []
    faces: list[NDArray[np.int64]] = []
    count = 0
    for mesh, transform in parts:
        vertices.append(mesh.vertices @ transform[:3, :3].T + transform[:3, 3])
        faces.append(mesh.faces + count)
        count += len(mesh.vertices)
    return TriangleMesh(np.concatenate(vertices), np.concatenate(faces))


def used_part(mesh: TriangleMesh) -> TriangleMesh:
    """Return the mesh without vertices that no face has."""
    used, faces = np.unique(mesh.faces, return_inverse=True)
    return TriangleMesh(
        np.ascontiguousarray(mesh.vertices[used]), np.ascontiguousarray(faces.reshape(-1, 3), dtype=np.int64)
    )


class QuickDistance:
    """Estimates point-to-surface errors in the frame of an original, for the choice among many settings."""

    def __init__(self, original: Original, samples: int) -> None:
        self._mesh = original.framed
        self._tree = igl.AABB()
        self._tree.init(self._mesh.vertices, self._mesh.faces)
        self._points = surface_points(self._mesh, samples, seed=0)

    def __call__(self, framed: TriangleMesh) -> float:
        """Return the mean of both mean distances."""
        points = surface_points(framed, len(self._points), seed=1)
        there = self._tree.squared_distance(self._mesh.vertices, self._mesh.faces, points)[0]
        back = igl.point_mesh_squared_distance(self._points, framed.vertices, framed.faces)[0]
        return 0.5 * sum(float(np.sqrt(np.maximum(squared, 0.0)).mean()) for squared in (there, back))


def surface_points(mesh: TriangleMesh, count: int, seed: int) -> Points:
    """Return random points of a surface, (count, 3), uniform by area; ValueError when it has no area."""
    corners = mesh.vertices[mesh.faces]
    first, second, third = corners[:, 0], corners[:, 1], corners[:, 2]
    total = np.cumsum(np.linalg.norm(np.cross(second - first, third - first), axis=1))
    if len(total) == 0 or not total[-1] > 0.0:
        raise ValueError("The mesh has no face with an area.")
    generator = np.random.default_rng(seed)
    chosen = np.minimum(
        np.searchsorted(total, generator.random(count) * total[-1], side="right"), len(total) - 1
    )
    along, across = generator.random((2, count, 1))
    root = np.sqrt(along)
    points: Points = (
        (1.0 - root) * first[chosen] + root * (1.0 - across) * second[chosen] + root * across * third[chosen]
    )
    return points


@dataclass(frozen=True)
class Coded:
    """The bytes of a mesh as a user would keep them, and what decodes them: a mesh where the original is.

    timed : decoding does what a user's decoder would, so that its seconds mean something
    """

    bytes: float
    decode: Callable[[], TriangleMesh]
    timed: bool = True


def nothing_before() -> float:
    """Take no seconds: a setting that shares no work with others."""
    return 0.0


@dataclass(frozen=True)
class Attempt:
    """One setting of a contender on one mesh.

    prepare : does what the setting shares with others, at most once, and returns the seconds it took
    """

    setting: str
    encode: Callable[[], Coded]
    prepare: Callable[[], float] = nothing_before


def measured_point(original: Original, attempt: Attempt, samples: int | None = DEFAULT_SAMPLES) -> Point:
    """Return what one setting comes to: bytes, errors, processor seconds, faces, memory.

    samples : points on each surface; None leaves out what is measured between them (CD, NC, F1)

    Processor seconds are those of this process and of those it started. The memory is what this process had
    at most while it coded, less what it had before.
    """
    resident = forget_peak()
    before = attempt.prepare()
    start = cpu_seconds()
    coded = attempt.encode()
    encoded = cpu_seconds()
    decoded = coded.decode()
    end = cpu_seconds()
    memory = added_gb(resident)
    return {
        "setting": attempt.setting,
        "bytes": coded.bytes,
        **surface_errors(original.mesh, decoded, samples),
        "encode_cpu_seconds": before + encoded - start,
        "decode_cpu_seconds": end - encoded if coded.timed else None,
        "added_gb": memory,
    }


def cpu_seconds() -> float:
    """Return the processor seconds of this process and of those that it started and that ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def surface_errors(original: Surface, decoded: Surface, samples: int | None) -> Point:
    """Return all measures of a decoded mesh, and how many faces it has; see `measured_point`."""
    distance = compare_meshes(original, decoded, samples=samples or _FEW_SAMPLES)
    errors = error_fields(msgspec.to_builtins(distance))
    if samples is None:
        errors = {name: errors[name] for name in EXACT}
    return {"faces": len(decoded.faces), **errors}


def forget_peak() -> int:
    """Let the peak of this process's memory begin anew, where the system can; returns its resident bytes."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _memory("VmRSS")


def added_gb(before: int) -> float:
    """Return how many gigabytes the process had at most, less those of before `forget_peak`."""
    return max(_memory("VmHWM") - before, 0) / 1e9


def _memory(field: str) -> int:
    """Return a number of bytes that the kernel tells of this process; 0 where it does not."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return 0
