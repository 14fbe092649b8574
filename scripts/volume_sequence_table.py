"""Sequences of OpenVDB files: every frame by itself, and with the help of the frame before.

    python scripts/volume_sequence_table.py --data FOLDER [FOLDER ...] --openvdb-python PYTHON

A folder holds the numbered frames of one sequence; scripts/baselines/bake_smoke.py bakes some. The command
line encodes them at 45 dB over the active voxels of each grid, into one file for each setting of `keyframes`;
each is decoded as a whole, and the frame that needs most others also alone. PYTHON is an interpreter with
OpenVDB's module, or with the package bpy.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measurement.measured_process import run_measured
from measurement.results import RESULTS, Table, write_results
from measurement.volume_rivals import openvdb_copy
from scene_codec.volumes.vdb_file import load_vdb
from volume_vdb_table import grid_errors, same_topology

PSNR_DB = 45.0
KEYFRAMES = (1, 4, 8, 16)
NOTES = (
    "Encoded at 45 dB over the active voxels of each grid. The number is that of frames from one that stands "
    "alone to the next; 1: all stand alone. PSNR: the lowest of all grids and frames.",
    "Decode alone: the whole command for the frame that needs most others; the seconds of the other columns "
    "are those of whole commands divided by the frames; processor seconds all.",
    "Half + Blosc are the same frames written by OpenVDB itself with 16-bit floats and Blosc.",
)


def main() -> None:
    """Make the table."""
    options = parse()
    rows = [row for folder in options.data for row in folder_rows(folder, options)]
    out = options.out or RESULTS / "volume_sequences.json"
    private = (*options.data, options.openvdb_python)
    write_results(out, Table("volume-sequences", rows, NOTES), {"load_average": os.getloadavg()}, private)
    print(out)


def parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, nargs="+", metavar="FOLDER", help="sequences")
    parser.add_argument(
        "--openvdb-python", type=Path, required=True, metavar="PYTHON", help="interpreter with OpenVDB"
    )
    parser.add_argument("--first", type=int, default=0, help="leave out frames with smaller numbers")
    parser.add_argument("--frames", type=int, default=16, help="measure so many frames of each sequence")
    parser.add_argument("--out", type=Path, metavar="FILE", help="result file; else in docs/results/")
    return parser.parse_args()


def folder_rows(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the rows of a sequence, one for each setting of keyframes."""
    files = sorted(folder.glob("*.vdb"))
    frames = [file for file in files if int(file.stem[-4:]) >= options.first][: options.frames]
    if not frames:
        sys.exit(f"There are no numbered .vdb files in {folder}.")
    with tempfile.TemporaryDirectory() as name:
        half = 0
        for file in frames:
            openvdb_copy("file", file, Path(name) / "copy.vdb", options.openvdb_python)
            half += (Path(name) / "copy.vdb").stat().st_size
    rows = []
    for keyframes in KEYFRAMES:
        rows.append({"label": f"{folder.parent.name}, {keyframes}", **measured(frames, keyframes, half)})
        print(rows[-1], flush=True)
    return rows


def measured(frames: Sequence[Path], keyframes: int, half: int) -> dict[str, Any]:
    """Return what one setting makes of a sequence; `half` is the bytes of the rival's files."""
    command = [sys.executable, "-m", "scene_codec"]
    count = len(frames)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "sequence.nscene"
        settings = ["--psnr", str(PSNR_DB), "--keyframes", str(keyframes)]
        encoding = run_measured([*command, "encode", *frames, "-o", file, *settings, "--json"])
        decoding = run_measured([*command, "decode", file, "-o", folder / "all", "--json"])
        last = frames[min(keyframes, count) - 1]
        alone = run_measured([*command, "decode", file, "-o", folder / "one", "--only", last.stem])
        lowest, same = compared(frames, folder / "all")
        if (folder / "all" / last.name).read_bytes() != (folder / "one" / last.name).read_bytes():
            sys.exit(f"{last.name} is not the same decoded alone.")
        size = file.stat().st_size
    source = sum(path.stat().st_size for path in frames)
    return {
        "frames": count,
        "bytes_per_frame": size / count,
        "ratio_to_source": source / size,
        "ratio_to_half_blosc": half / size,
        "active_psnr": lowest,
        "topology_exact": same,
        "encode_cpu_seconds": encoding.cpu_seconds / count,
        "decode_cpu_seconds": decoding.cpu_seconds / count,
        "alone_cpu_seconds": alone.cpu_seconds,
    }


def compared(frames: Sequence[Path], decoded: Path) -> tuple[float, bool]:
    """Return the lowest PSNR over active voxels of all grids, and whether all topologies are the same."""
    lowest, same = float("inf"), True
    for path in frames:
        after = {grid.name: grid for grid in load_vdb(decoded / path.name).grids}
        for grid in load_vdb(path).grids:
            same &= same_topology(grid, after[grid.name])
            if grid.values.size and (grid.active is None or grid.active.any()):
                lowest = min(lowest, grid_errors(grid, after[grid.name])["active_psnr"])
    return lowest, same


if __name__ == "__main__":
    main()
