"""Sends a whole set of meshes through encode, inspect, decode and evaluate, each in a fresh process.

    python scripts/benchmark_sets.py --data FOLDER --set makehuman --preset balanced
    python scripts/benchmark_sets.py --data FOLDER --set dev --preset paper --settings resolution=64

Writes docs/results/set_<set>_<preset>.json (see --out); scripts/make_results.py makes docs/RESULTS.md of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from measurement.mesh_sets import set_files
from measurement.pipeline import RoundTrip, StepFailedError, round_trip
from measurement.results import RESULTS, Table, row_of, write_results


def main() -> int:
    """Run the set and write its result file; returns the exit status."""
    options = parse()
    files = set_files(options.data, options.set, options.limit)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = options.keep or Path(scratch)
            folder.mkdir(parents=True, exist_ok=True)
            trip = round_trip(
                files, folder / "set.nscene", folder / "decoded", encode_flags(options), device=options.device
            )
    except StepFailedError as problem:
        print(problem, file=sys.stderr)
        return 2
    name = f"set_{options.set}_{label(options)}".replace(" ", "_").replace("=", "-").replace(",", "")
    out = options.out or RESULTS / f"{name}.json"
    row = row_of(f"{options.set}: {label(options)}", trip)
    median = row_of(f"{options.set}: {label(options)}, median", trip, statistic="median")
    write_results(
        out, Table(f"set-{options.set}", [row]), details(trip) | {"median": median}, (options.data,)
    )
    print(
        f"{row['objects']} meshes, {row['bytes_per_object']:,.0f} bytes each, {len(row['left_out'])} left out: {out}"
    )
    for failure in row["left_out"]:
        print(f"  {failure['name']}: {failure['reason']}")
    return 0


def parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the sets")
    parser.add_argument(
        "--set", required=True, help="name of the set: a folder below --data, or below its sets/"
    )
    parser.add_argument("--preset", help="preset of the codec; its default when left out")
    parser.add_argument("--settings", nargs="*", default=[], metavar="KEY=VALUE", help="further settings")
    parser.add_argument("--limit", type=int, help="use this many meshes, evenly spaced in the sorted set")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep the file and the decoded meshes there"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="result file; docs/results/ when left out")
    return parser.parse_args()


def encode_flags(options: argparse.Namespace) -> list[str]:
    """Return the preset and settings as flags of `encode`."""
    flags = ["--preset", options.preset] if options.preset else []
    return [*flags, *setting_flags(options.settings)]


def setting_flags(settings: list[str]) -> list[str]:
    """Return `key=value` settings as flags; a switch takes true or false, a list takes commas."""
    flags: list[str] = []
    for setting in settings:
        key, _, value = setting.partition("=")
        name = key.replace("_", "-")
        if value.lower() in {"true", "false"}:
            flags.append(f"--{name}" if value.lower() == "true" else f"--no-{name}")
        else:
            flags += [f"--{name}", *value.split(",")]
    return flags


def label(options: argparse.Namespace) -> str:
    """Return the preset and what was changed in it, for people."""
    limit = [f"{options.limit} meshes"] if options.limit else []
    return ", ".join([options.preset or "default", *options.settings, *limit])


def details(trip: RoundTrip) -> dict[str, object]:
    """Return what is kept beside the row: every mesh, sections of the file, times of the four processes."""
    sections = trip.inspect.report
    return {
        "codec": trip.encode.report["codec"],
        "preset": trip.encode.report["preset"],
        "device": trip.encode.report["device"],
        "process_seconds": {
            "encode": trip.encode.seconds,
            "inspect": trip.inspect.seconds,
            "decode": trip.decode.seconds,
            "evaluate": trip.evaluate.seconds,
        },
        "file_bytes": sections["file_bytes"],
        "header_bytes": sections["header_bytes"],
        "shared": sections["shared"],
        "decoded_files": len(trip.decode.report["objects"]),
        "objects": trip.evaluate.report["objects"],
    }


if __name__ == "__main__":
    sys.exit(main())
