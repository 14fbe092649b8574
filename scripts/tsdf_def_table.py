"""Table 2 of the NeCGS paper on our own meshes: thin shapes as a plain TSDF and as TSDF-Def, uncompressed.

    python scripts/tsdf_def_table.py [FOLDER ...] [--meshes 64:24 128:12]

The shapes are those of `measurement/thin_shapes.py` and the thinnest meshes of the folders. A mesh of a
folder takes part when it is closed and at least 95 % of its surface separates inside from outside: walls
hidden inside a union of parts are in no distance field. Thin means a small 2 * volume / area.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from measurement.results import RESULTS, Table, error_fields, write_results
from measurement.thin_shapes import bounds_a_solid, mean_thickness, thin_shapes
from scene_codec.errors import SceneCodecError
from scene_codec.geometry.marching_cubes import extract
from scene_codec.geometry.mesh_checks import prepare_mesh
from scene_codec.geometry.mesh_file_search import find_mesh_files
from scene_codec.geometry.mesh_files import load_scene_objects
from scene_codec.geometry.normalisation import Frame
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.tsdf_fitting import fit_tsdf_grid
from scene_codec.geometry.tsdf_grid import TsdfGrid, tsdf_grid
from scene_codec.metrics.mesh_distance import MeshDistance, compare_meshes

METHODS: dict[str, Callable[[TriangleMesh, int], TsdfGrid]] = {
    "TSDF": lambda mesh, resolution: tsdf_grid(mesh, resolution, shells=False),
    "TSDF with shells": lambda mesh, resolution: tsdf_grid(mesh, resolution),
    "TSDF-Def": lambda mesh, resolution: fit_tsdf_grid(mesh, resolution),
}

NOTES = (
    "Grids straight to marching cubes, nothing coded. Means are over the meshes that every method brings "
    "back; a mesh whose extraction is empty is left out of all rows of its resolution and named for its "
    "method. `encode s / object` is the time to make the grid.",
    'TSDF is the paper\'s plain field; "with shells" wraps what it loses; TSDF-Def moves grid vertices (the '
    "paper fits them by rendering, we by a search for thin parts and a two-sided surface fit).",
)


def main() -> int:
    """Measure and write the table; returns the exit status."""
    options = parse()
    found = selected(options.folders)
    rows: list[dict[str, Any]] = []
    details = []
    for resolution, count in options.meshes:
        measured = measure(found[:count], resolution)
        rows += rows_of(measured, resolution)
        details += measured
    table = Table("representation", rows, NOTES)
    write_results(options.out, table, {"meshes": details}, tuple(options.folders))
    print(options.out)
    return 0


def parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--meshes", nargs="+", type=pair, default=[(64, 24), (128, 12)], metavar="K:COUNT")
    parser.add_argument("--out", type=Path, default=RESULTS / "tsdf_def.json", metavar="FILE")
    return parser.parse_args()


def pair(word: str) -> tuple[int, int]:
    """Return resolution and number of meshes from a word such as 64:24."""
    resolution, count = word.split(":")
    return int(resolution), int(count)


def selected(folders: list[Path]) -> list[tuple[str, TriangleMesh, float]]:
    """Return name, mesh in its frame and thickness: the procedural shapes, then those of the folders."""
    made = [in_frame(name, mesh) for name, mesh in thin_shapes().items()]
    found = []
    for path in find_mesh_files(folders):
        try:
            mesh = load_scene_objects(path)[0].mesh
            name = f"{path.parent.name}/{path.name}"
            item = in_frame(name, prepare_mesh(mesh, name))
        except SceneCodecError as refusal:
            print(f"left out: {refusal}", file=sys.stderr)
            continue
        if bounds_a_solid(item[1]):
            found.append(item)
    return [*made, *sorted(found, key=lambda item: item[2])]


def in_frame(name: str, mesh: TriangleMesh) -> tuple[str, TriangleMesh, float]:
    """Return a mesh as it is coded, with its thickness there."""
    placed = Frame.around(mesh).into(mesh)
    return name, placed, mean_thickness(placed)


def measure(found: list[tuple[str, TriangleMesh, float]], resolution: int) -> list[dict[str, Any]]:
    """Return what each method makes of each mesh."""
    results = []
    for name, mesh, thickness in found:
        entry: dict[str, Any] = {
            "name": name,
            "resolution": resolution,
            "thickness_cells": thickness * (resolution - 1) / 2.0,
            "methods": {},
        }
        for method, make in METHODS.items():
            started = time.perf_counter()
            grid = make(mesh, resolution)
            seconds = time.perf_counter() - started
            decoded = extract(grid)
            error = compare_meshes(mesh, decoded) if len(decoded.faces) else None
            entry["methods"][method] = {"seconds": seconds, "error": error and msgspec.to_builtins(error)}
        print(f"{resolution} {name}", file=sys.stderr)
        results.append(entry)
    return results


def rows_of(measured: list[dict[str, Any]], resolution: int) -> list[dict[str, Any]]:
    """Return one row per method, over the meshes that all methods bring back."""
    complete = [entry for entry in measured if all(item["error"] for item in entry["methods"].values())]
    rows = []
    for method in METHODS:
        items = [entry["methods"][method] for entry in complete]
        empty = [entry["name"] for entry in measured if entry["methods"][method]["error"] is None]
        means = {
            field: statistics.fmean(item["error"][field] for item in items)
            for field in MeshDistance.__struct_fields__
        }
        rows.append(
            {
                "label": f"{method}, {resolution} vertices per axis",
                "objects": len(items),
                "encode_seconds": statistics.fmean(item["seconds"] for item in items),
                "left_out": [{"name": name, "reason": "the extracted surface is empty"} for name in empty],
                **error_fields(means),
            }
        )
    return rows


if __name__ == "__main__":
    sys.exit(main())
