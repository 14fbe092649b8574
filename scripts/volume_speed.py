"""How fast volumes are encoded and decoded, each in a new process and with its own choice of threads.

    python scripts/volume_speed.py --data FOLDER
    python scripts/volume_speed.py --data FOLDER --runs 5 --made-side 256

Every volume file of the folder, with all its grids, and a made cube, at 45 dB: seconds from the file to the
`.nscene` file, and from that to values in memory; medians of several runs. Imports are counted apart. To be
run on a machine without other work; the load is in the result.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from measurement.made_volume import write_made_volume
from measurement.measured_process import run_measured
from measurement.results import RESULTS, Table, write_results

SCRIPTS = Path(__file__).resolve().parent
SUFFIXES = {".npz", ".npy", ".vdb", ".nrrd"}
ENCODE_TARGET, DECODE_TARGET = 1e6, 5e6
"""Voxels a second that are aimed at on two cores."""

LARGE = 1_000_000

FIELDS = {
    "encode": ("encode_seconds", "encode_cpu_seconds", "encoded_per_second"),
    "decode": ("decode_seconds", "decode_cpu_seconds", "restored_per_second"),
}


def main() -> None:
    """Make the table."""
    options = parse()
    load_before = os.getloadavg()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = sorted(path for path in options.data.iterdir() if path.suffix in SUFFIXES)
        if options.made_side:
            sources.append(write_made_volume(folder, options.made_side))
        measured = {}
        for source in sources:
            measured[source.stem] = measured_volume(source, folder / "volume.nscene", options.runs)
            print(row_of(source.stem, [measured[source.stem]]), flush=True)
    rows = rows_of(measured)
    load = {"before": load_before, "after": os.getloadavg()}
    table = Table("volume-speed", rows, notes(options.runs, load))
    out = options.out or RESULTS / "volume_speed.json"
    write_results(out, table, {"load_average": load, "runs": measured}, (options.data,))
    print(out)


def parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="volumes to measure")
    parser.add_argument("--runs", type=int, default=3, help="runs of each, of which the median counts")
    parser.add_argument("--made-side", type=int, default=512, help="voxels of the made cube; 0: none")
    parser.add_argument("--out", type=Path, metavar="FILE", help="result file; else in docs/results/")
    return parser.parse_args()


def notes(runs: int, load: dict[str, tuple[float, ...]]) -> tuple[str, ...]:
    """Return what is said below the table."""
    return (
        f"Medians of {runs} runs in a new process. Seconds from the volume's file to the .nscene file, "
        "and from that to values in memory, without imports. Of several volumes: sums of the medians. Voxels "
        "of all grids count once, whatever their channels.",
        f"Aimed at: {ENCODE_TARGET:,.0f} voxels a second encoding, {DECODE_TARGET:,.0f} decoding.",
        "Processes waiting for a processor, mean of a minute: "
        f"{load['before'][0]:.1f} before, {load['after'][0]:.1f} after.",
    )


def measured_volume(source: Path, file: Path, runs: int) -> dict[str, dict[str, Any]]:
    """Return the medians of both directions of one volume, and all runs."""
    return {
        "encode": median_of(["encode", str(source), str(file)], runs),
        "decode": median_of(["decode", str(file)], runs),
    }


def median_of(words: list[str], runs: int) -> dict[str, Any]:
    """Return medians of what `volume_timing` says."""
    command = [sys.executable, "-m", "measurement.volume_timing", str(runs), *words]
    path = os.pathsep.join([str(SCRIPTS), os.environ.get("PYTHONPATH", "")])
    found: dict[str, Any] = json.loads(run_measured(command, {"PYTHONPATH": path}).output)
    medians = {
        field: statistics.median(run[field] for run in found["runs"])
        for field in ("voxels", "seconds", "cpu_seconds")
    }
    return medians | found


def rows_of(measured: dict[str, dict[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the rows of all volumes together, of large and of small ones, and of each."""
    voxels = {name: own["encode"]["voxels"] for name, own in measured.items()}
    groups = {
        "all {} volumes": list(measured),
        "the {} of a million voxels and more": [name for name in measured if voxels[name] >= LARGE],
        "the {} smaller ones": [name for name in measured if voxels[name] < LARGE],
    }
    rows = [
        row_of(label.format(len(names)), [measured[name] for name in names])
        for label, names in groups.items()
        if names
    ]
    return rows + [row_of(name, [own]) for name, own in measured.items()]


def row_of(label: str, volumes: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Return the row of one volume, or of several together."""
    row: dict[str, Any] = {"label": label}
    for step, (wall, cpu, rate) in FIELDS.items():
        voxels, row[wall], row[cpu] = (
            sum(own[step][field] for own in volumes) for field in ("voxels", "seconds", "cpu_seconds")
        )
        row["voxels"] = int(voxels)
        row[rate] = voxels / row[wall]
    return row


if __name__ == "__main__":
    main()
