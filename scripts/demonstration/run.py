"""The demonstration itself; runs in the environment that `scripts/demo.py` makes."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from demonstration.meshes import SHAPES
from demonstration.picture import Exhibit, draw_comparison
from measurement.pipeline import RoundTrip, StepFailedError, reuse_encoding, round_trip
from measurement.provenance import CHECKOUT, provenance
from measurement.results import error_fields
from scene_codec.cli.terminal import print_table, ratio, size
from scene_codec.geometry.mesh_files import load_scene_objects, save_scene_object
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh

ENCODE_FLAGS = ("--target-error", "0.05")
"""Percent of each mesh's diagonal, on average: hardly to be seen where a mesh fills half of a screen."""

COLUMNS = (
    "mesh", "vertices", "as PLY", "plain binary", "bytes", "ratio", "vertices now",
    "error", "p99 to original", "p99 from original", "F1 0.01",
)  # fmt: skip


def main() -> int:
    """Make the meshes, send them through the codec, and write table and picture; returns the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("--fresh", action="store_true")
    options = parser.parse_args()
    output: Path = options.output
    originals = make_originals(output)
    key = work_key(originals)
    file, decoded = output / "demo.nscene", output / "decoded"
    stamp = output / "demo.key"
    unchanged = stamp.exists() and stamp.read_text(encoding="utf-8") == key and file.exists()
    shutil.rmtree(decoded, ignore_errors=True)
    try:
        if unchanged and not options.fresh:
            print("Meshes and codec are those of the last run: its file is kept (--fresh encodes again).")
            trip = reuse_encoding(originals, file, decoded)
        else:
            print(f"Encoding {len(originals)} meshes into {file.name}; this takes a few minutes.", flush=True)
            trip = round_trip(originals, file, decoded, ENCODE_FLAGS)
    except StepFailedError as problem:
        print(problem, file=sys.stderr)
        return 2
    stamp.write_text(key, encoding="utf-8")
    rows = table_rows(trip)
    write_tables(output, rows, trip)
    draw(output, originals, trip)
    show(output, rows, trip)
    return 0


def make_originals(output: Path) -> list[Path]:
    """Write the procedural meshes, and Blender's monkey if it was made, as PLY files; return them."""
    folder = output / "originals"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, shape in SHAPES.items():
        vertices, faces = shape()
        save_scene_object(SceneObject(name, TriangleMesh(vertices, faces)), folder / f"{name}.ply")
    monkey = output / "monkey.ply"
    if monkey.exists():
        (read,) = load_scene_objects(monkey)
        save_scene_object(read, folder / "Monkey.ply")
    return sorted(folder.glob("*.ply"))


def work_key(originals: list[Path]) -> str:
    """Return a digest of what decides the encoded bytes: meshes, settings, and the package's code."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr(ENCODE_FLAGS).encode())
    package = CHECKOUT / "backend" / "scene_codec"
    for path in [*originals, *sorted(package.rglob("*.py"))]:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def table_rows(trip: RoundTrip) -> list[dict[str, Any]]:
    """Return sizes and errors of every mesh that came back; what all share (names, head) is divided."""
    report = trip.evaluate.report
    own = sum(item["bytes"] for item in report["objects"])
    share = (report["file_bytes"] - own) / max(len(report["objects"]), 1)
    return [
        {
            "mesh": item["name"],
            "vertices": item["reference_vertices"],
            "ply_bytes": item["source_bytes"],
            "binary_bytes": item["binary_bytes"],
            "bytes": item["bytes"],
            "bytes_with_share": item["bytes"] + share,
            "decoded_vertices": item["decoded_vertices"],
            "decoded_faces": item["decoded_faces"],
            **error_fields(item["error"]),
        }
        for item in report["objects"]
    ]


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Return one mesh as it stands in the table; errors in thousandths of half the mesh's size."""
    return (
        row["mesh"],
        f"{row['vertices']:,}",
        size(row["ply_bytes"]),
        size(row["binary_bytes"]),
        size(row["bytes_with_share"]),
        ratio(row["binary_bytes"], row["bytes_with_share"]),
        f"{row['decoded_vertices']:,}",
        f"{row['point_to_surface'] * 1e3:.2f}",
        f"{row['decoded_to_reference_p99'] * 1e3:.1f}",
        f"{row['reference_to_decoded_p99'] * 1e3:.1f}",
        f"{row['f1_0010']:.3f}",
    )


def summary(trip: RoundTrip) -> str:
    """Return the whole file in one sentence."""
    report = trip.evaluate.report
    return (
        f"{len(report['objects'])} meshes in {size(report['file_bytes'])}: "
        f"{report['ratio_to_binary']:.0f} times smaller than plain binary meshes"
    )


def left_out(trip: RoundTrip) -> list[str]:
    """Return a line for every mesh that did not come back, with its reason."""
    failures = [*trip.encode.report["failures"], *trip.evaluate.report["failures"]]
    return [f"{failure['name']}: {failure['reason']}" for failure in failures]


def write_tables(output: Path, rows: list[dict[str, Any]], trip: RoundTrip) -> None:
    """Write the table as JSON and as Markdown."""
    document = {
        "provenance": provenance((output,)),
        "summary": summary(trip),
        "rows": rows,
        "left_out": left_out(trip),
    }
    (output / "table.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    lines = [f"{summary(trip)}.", "", "| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in rows]
    lines += ["", "Errors are exact distances between the surfaces, x 1e-3, where the original spans 2.", ""]
    lines += [f"- left out: {line}" for line in left_out(trip)]
    (output / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def draw(output: Path, originals: list[Path], trip: RoundTrip) -> None:
    """Write the picture of all meshes before and after."""
    files = {item["name"]: output / "decoded" / item["file"] for item in trip.decode.report["objects"]}
    rows = {row["mesh"]: row for row in table_rows(trip)}
    exhibits = []
    for path in originals:
        row = rows.get(path.stem)
        (before,) = load_scene_objects(path)
        after = load_scene_objects(files[path.stem])[0].mesh if row is not None else None
        exhibits.append(
            Exhibit(
                name=path.stem,
                original=(before.mesh.vertices, before.mesh.faces),
                decoded=None if after is None else (after.vertices, after.faces),
                original_caption=f"original: {size(before.mesh.binary_bytes)}",
                decoded_caption="left out" if row is None else came_back(row, before.mesh),
            )
        )
    subtitle = f"{summary(trip)}. Left: original. Right: decoded. Error: mean distance over the diagonal."
    draw_comparison(exhibits, "Neural Scene Codec", subtitle, output / "demo.png")


def came_back(row: dict[str, Any], original: TriangleMesh) -> str:
    """Return bytes and error of a mesh in words, the error in percent of the original's diagonal."""
    extent = np.ptp(original.vertices, axis=0)
    error = row["point_to_surface"] * extent.max() / 2.0 / np.linalg.norm(extent)
    return f"decoded: {size(row['bytes_with_share'])}, error {error:.3%}"


def show(output: Path, rows: list[dict[str, Any]], trip: RoundTrip) -> None:
    """Print the table and where everything lies."""
    print_table(summary(trip), COLUMNS, [cells(row) for row in rows])
    for line in left_out(trip):
        print(f"left out: {line}")
    print("Errors: exact distances between the surfaces, x 1e-3, where the original spans 2.")
    print(f"Encoded in {trip.encode.report['seconds']:.0f} s; decoded in {trip.decode.seconds:.1f} s.")
    for name in ("demo.nscene", "originals", "decoded", "table.md", "table.json", "demo.png"):
        print(f"  {output / name}")


if __name__ == "__main__":
    sys.exit(main())
