"""OpenVDB files: as they come, as OpenVDB stores them with 16-bit floats and Blosc, and encoded.

    python scripts/volume_vdb_table.py --data FOLDER [FOLDER ...] --openvdb-python PYTHON

Every .vdb file is encoded with all its grids at 45 dB over the active voxels and decoded again by the command
line, each in a process of its own; the decoded file is compared with the original voxel by voxel. PYTHON is
an interpreter with OpenVDB's module, or with the package bpy.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from measurement.measured_process import run_measured
from measurement.results import RESULTS, Table, write_results
from measurement.volume_rivals import TRAINED_ON, openvdb_copy
from scene_codec.bitstream import open_scene_file
from scene_codec.codecs.volume_wavelet.grid_tables import read_tables
from scene_codec.codecs.volume_wavelet.syntax import (
    OBJECT_LABELS,
    TABLES,
    VOLUME,
    StreamIndex,
    read_volume,
)
from scene_codec.entropy.byte_fields import ByteReader
from scene_codec.volumes.vdb_file import load_vdb
from scene_codec.volumes.vdb_header import read_descriptor, read_file_header
from scene_codec.volumes.vdb_stream import VdbReader
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

PSNR_DB = 45.0
NOTES = (
    "Encoded at 45 dB over the active voxels of each grid, against its range (the largest of its channels). "
    "PSNR over the box counts inactive voxels too, which are exact. Errors are parts of that range. Of a "
    "file: the lowest PSNR and the largest error of its grids.",
    "Half + Blosc is the same file written again by OpenVDB itself with 16-bit floats, Blosc and active "
    "masks. Bytes of grids are without those that the file says of all grids together.",
    "Topology exact: the same voxels are active in the file that was decoded. Trained on: the codec's prior "
    "was trained on that file; what it reaches there says little.",
)


def main() -> None:
    """Make the table."""
    options = parse()
    rows: list[dict[str, Any]] = []
    details: dict[str, Any] = {}
    for folder in options.data:
        for path in sorted(folder.glob("*.vdb")):
            found, details[path.name] = file_rows(path, options.openvdb_python)
            rows += found
            print("\n".join(map(str, found)), flush=True)
    out = options.out or RESULTS / "volume_vdb.json"
    private = (*options.data, options.openvdb_python)
    table = Table("volume-vdb", rows, NOTES)
    write_results(out, table, {"streams": details, "load_average": os.getloadavg()}, private)
    print(out)


def parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, nargs="+", metavar="FOLDER", help="VDB files")
    parser.add_argument(
        "--openvdb-python", type=Path, required=True, metavar="PYTHON", help="interpreter with OpenVDB"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="result file; else in docs/results/")
    return parser.parse_args()


def file_rows(path: Path, openvdb: Path) -> tuple[list[dict[str, Any]], dict[str, dict[str, int]]]:
    """Return the row of a file and those of its grids, and the bytes of each grid's streams by kind."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy, file = folder / "copy.vdb", folder / f"{path.stem}.nscene"
        openvdb_copy("file", path, copy, openvdb)
        scene_codec = [sys.executable, "-m", "scene_codec"]
        run_measured([*scene_codec, "encode", path, "-o", file, "--psnr", str(PSNR_DB), "--json"])
        decoding = run_measured([*scene_codec, "decode", file, "-o", folder / "decoded", "--json"])
        decoded = folder / "decoded" / json.loads(decoding.output)["objects"][0]["file"]
        streams = stream_bytes(file)
        sizes = (vdb_grid_bytes(path), vdb_grid_bytes(copy), streams)
        grids = list(grid_rows(path.name, load_vdb(path), load_vdb(decoded), sizes))
        whole = sizes_row(path.stat().st_size, copy.stat().st_size, file.stat().st_size)
    measured = [row for row in grids if "active_psnr" in row]
    row = {
        "label": path.name,
        **whole,
        "trained_on": path.name.startswith(TRAINED_ON),
        "topology_exact": all(row["topology_exact"] for row in grids),
    }
    for field, worst in (("active_psnr", min), ("psnr", min), ("max_error", max)):
        row[field] = worst(own[field] for own in measured)
    return [row, *grids], streams


def grid_rows(
    file: str, original: VolumeObject, decoded: VolumeObject, sizes: tuple[dict[str, Any], ...]
) -> Iterator[dict[str, Any]]:
    """Yield the row of each grid."""
    after = {grid.name: grid for grid in decoded.grids}
    source, half, streams = sizes
    for grid in original.grids:
        same = same_topology(grid, after[grid.name])
        row = {"label": f"{file}: {grid.name}", "topology_exact": same}
        if grid.values.size:
            row |= sizes_row(source[grid.name], half[grid.name], sum(streams[grid.name].values()))
            if same:
                row |= grid_errors(grid, after[grid.name])
        yield row


def sizes_row(source: int, half: int, coded: int) -> dict[str, float]:
    """Return bytes, and how they compare."""
    return {
        "source_bytes": source,
        "half_blosc_bytes": half,
        "coded_bytes": coded,
        "ratio_to_source": source / coded,
        "ratio_to_half_blosc": half / coded,
    }


def same_topology(before: VolumeGrid, after: VolumeGrid) -> bool:
    """Return whether the same voxels of the lattice are active."""
    if before.shape != after.shape or (before.corner != after.corner and before.values.size):
        return False
    masks = [
        np.ones(grid.shape, np.bool_) if grid.active is None else grid.active for grid in (before, after)
    ]
    return bool(np.array_equal(*masks))


def grid_errors(before: VolumeGrid, after: VolumeGrid) -> dict[str, float]:
    """Return PSNR over active voxels and over the box, and the largest error of an active voxel.

    Of finite values; others must have come back as they were.
    """
    pair = [grid.values.astype(np.float64).reshape(*grid.shape, -1) for grid in (before, after)]
    finite = np.isfinite(pair[0])
    if not np.array_equal(pair[0][~finite], pair[1][~finite], equal_nan=True):
        raise SystemExit(f"NaN or infinities of '{before.name}' are not what they were")
    active = np.ones(before.shape, np.bool_) if before.active is None else before.active
    ranges = [np.ptp(own[active & chosen]) for own, chosen in zip(*_by_channel(pair[0], finite), strict=True)]
    difference = np.where(finite, pair[1] - pair[0], 0.0) / (float(max(ranges)) or 1.0)
    inside = difference[active][finite[active]]
    return {
        "active_psnr": _psnr(float(np.mean(inside**2))),
        "psnr": _psnr(float(np.mean(difference[finite] ** 2))),
        "max_error": float(np.abs(inside).max()),
    }


def _by_channel(*arrays: NDArray[Any]) -> list[NDArray[Any]]:
    return [np.moveaxis(array, -1, 0) for array in arrays]


def _psnr(mean: float) -> float:
    return -10.0 * math.log10(max(mean, 1e-20))


def vdb_grid_bytes(path: Path) -> dict[str, int]:
    """Return the bytes of each grid of an OpenVDB file, without its descriptor."""
    with path.open("rb") as stream:
        reader = VdbReader(stream, path, path.stat().st_size)
        header = read_file_header(reader)
        found = {}
        for _ in range(header.grid_count):
            descriptor = read_descriptor(reader, header)
            found[descriptor.shown_name] = descriptor.end - descriptor.start
            reader.seek(descriptor.end)
        return found


def stream_bytes(path: Path) -> dict[str, dict[str, int]]:
    """Return for each grid of an encoded file the bytes of its streams and tables, by kind."""
    with open_scene_file(path) as file:
        name = file.names[0]
        sections = {
            section.kind: file.read_object(name, section.kind) for section in file.objects[0].sections
        }
    headers = read_volume(sections[VOLUME]).grids
    index = StreamIndex(headers, sections)
    tables = ByteReader(sections.get(TABLES, b""))
    found = {}
    for number, header in enumerate(headers):
        sizes = {OBJECT_LABELS[TABLES]: len(read_tables(tables, header).to_bytes())}
        for tile in range(header.tiling.count):
            for kind, stream in zip(header.streams(), index.tile(number, tile), strict=True):
                sizes[OBJECT_LABELS[kind]] = sizes.get(OBJECT_LABELS[kind], 0) + len(stream)
        found[header.name] = sizes
    return found


if __name__ == "__main__":
    main()
