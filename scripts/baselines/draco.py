"""The classical answer to compare with: quadric simplification, then Draco.

    python -m baselines.draco --data FOLDER --set makehuman        (in the folder scripts/)

Every mesh is scaled into [-1, 1], simplified to a number of faces (fast-simplification) and coded with
Draco at its highest compression level. Varying faces and quantisation together matters: Draco on the
full mesh with fewer and fewer bits, the usual baseline, is several times worse. Rows on the lower hull
of bytes against error are marked.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import DracoPy
import fast_simplification
import msgspec
import numpy as np
from numpy.typing import NDArray

from measurement.mesh_sets import add_set_options, set_files
from measurement.results import RESULTS, Table, error_fields, write_results
from scene_codec.evaluation import ErrorSummary
from scene_codec.geometry.mesh_files import load_scene_objects
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.metrics.mesh_distance import MeshDistance, compare_meshes
from scene_codec.scaling.pool import open_pool

FACES = (250, 500, 1000, 2000, 4000, 8000)
BITS = (8, 9, 10, 11)
PLACEMENT_BYTES = 16
"""Centre and scale as four float32: without them the mesh cannot be put back."""


@dataclass(frozen=True)
class Job:
    """One mesh at one setting."""

    path: Path
    faces: int
    bits: int
    samples: int


@dataclass(frozen=True)
class Coded:
    """What one mesh came to."""

    bytes: int
    binary_bytes: int
    source_bytes: int
    error: MeshDistance


def main() -> int:
    """Measure every setting and write the result file; returns the exit status."""
    options = parse()
    files = set_files(options.data, options.set, options.limit)
    jobs = [
        Job(path, faces, bits, options.samples)
        for (faces, bits), path in itertools.product(settings(options), files)
    ]
    results: dict[tuple[int, int], list[Coded]] = {}
    failures: dict[tuple[int, int], list[dict[str, str]]] = {}
    with open_pool(f"processes:{options.processes}") as pool:
        for outcome in pool.map_unordered(code, jobs):
            key = (outcome.job.faces, outcome.job.bits)
            if outcome.result is not None:
                results.setdefault(key, []).append(outcome.result)
            else:
                failure = {"name": outcome.job.path.name, "reason": outcome.failure or "no reason given"}
                failures.setdefault(key, []).append(failure)
    rows = [row(key, results[key], failures.get(key, [])) for key in sorted(results)]
    for on_hull in lower_hull(rows):
        on_hull["label"] += " (hull)"
    out = options.out or RESULTS / f"baseline_draco_{options.set}.json"
    notes = ["Simplification + Draco: one file per mesh, with 16 bytes for centre and scale, without names."]
    write_results(out, Table(f"set-{options.set}", rows, notes), {}, (options.data,))
    print(out)
    return 0


def parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_set_options(parser)
    parser.add_argument("--faces", type=int, nargs="+", default=FACES, help="numbers of faces to simplify to")
    parser.add_argument("--bits", type=int, nargs="+", default=BITS, help="bits per coordinate")
    parser.add_argument("--samples", type=int, default=100_000, help="points on each surface for the metrics")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, metavar="FILE", help="result file; else in docs/results/")
    return parser.parse_args()


def settings(options: argparse.Namespace) -> list[tuple[int, int]]:
    """Return the pairs worth trying: few faces do not deserve many bits, nor many faces few."""
    finest = max(options.faces)
    return [
        (faces, bits)
        for faces in options.faces
        for bits in options.bits
        if faces == finest or abs(np.log2(faces / 500) / 1.5 + 8.5 - bits) <= 1.0
    ]


def code(job: Job) -> Coded:
    """Simplify, code, decode and measure one mesh."""
    (original,) = load_scene_objects(job.path)
    mesh, centre, scale = framed(original.mesh)
    vertices, faces = mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32)
    if len(faces) > job.faces:
        vertices, faces = fast_simplification.simplify(vertices, faces, target_count=job.faces)
    data = draco_encode(vertices, faces, job.bits)
    decoded = draco_decode(data)
    copy = TriangleMesh(decoded.vertices * scale + centre, decoded.faces)
    error = compare_meshes(original.mesh, copy, samples=job.samples)
    return Coded(len(data) + PLACEMENT_BYTES, original.mesh.binary_bytes, original.source_bytes, error)


def draco_encode(vertices: NDArray[Any], faces: NDArray[Any], bits: int) -> bytes:
    """Return what Draco makes of a mesh in [-1, 1], at its highest compression level.

    Raises `ValueError` when no face is left at so few bits.
    """
    try:
        data: bytes = DracoPy.encode(
            vertices.astype(np.float32),
            faces.astype(np.uint32),
            quantization_bits=bits,
            compression_level=10,
            quantization_range=2.0,
            quantization_origin=[-1.0, -1.0, -1.0],
        )
    except DracoPy.EncodingFailedException as problem:
        raise ValueError(f"Draco: {problem}") from problem
    return data


def draco_decode(data: bytes) -> TriangleMesh:
    """Return the mesh of Draco's bytes."""
    decoded = DracoPy.decode(data)
    return TriangleMesh(
        np.asarray(decoded.points, dtype=np.float64).reshape(-1, 3),
        np.asarray(decoded.faces, dtype=np.int64).reshape(-1, 3),
    )


def framed(mesh: TriangleMesh) -> tuple[TriangleMesh, np.ndarray, float]:
    """Return the mesh scaled into [-1, 1], with the centre and scale that undo it."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    centre, scale = (low + high) / 2.0, float((high - low).max()) / 2.0
    return TriangleMesh(np.clip((mesh.vertices - centre) / scale, -1.0, 1.0), mesh.faces), centre, scale


def row(key: tuple[int, int], coded: list[Coded], failures: list[dict[str, str]]) -> dict[str, Any]:
    """Return the mean of one setting over the meshes."""
    count = sum(item.bytes for item in coded)
    errors = {
        name: statistics.fmean(getattr(item.error, name) for item in coded)
        for name in ErrorSummary.__struct_fields__
    }
    return {
        "label": f"simplified to {key[0]} faces + Draco, {key[1]} bits",
        "objects": len(coded),
        "bytes_per_object": count / len(coded),
        "ratio_to_binary": sum(item.binary_bytes for item in coded) / count,
        "ratio_to_source": sum(item.source_bytes for item in coded) / count,
        "left_out": failures,
        **error_fields(msgspec.to_builtins(errors)),
    }


def lower_hull(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows that no other row beats in both bytes and point-to-surface error."""
    return [
        one
        for one in rows
        if not any(
            other["bytes_per_object"] <= one["bytes_per_object"]
            and other["point_to_surface"] < one["point_to_surface"]
            for other in rows
        )
    ]


if __name__ == "__main__":
    # The processes that measure import this module by its name: the jobs they get must belong to it.
    from baselines.draco import main as run

    sys.exit(run())
