"""Sends a whole set of meshes through encode, inspect, decode and evaluate, each in a fresh process.

    python scripts/benchmark_sets.py --data FOLDER --set makehuman --preset balanced
    python scripts/benchmark_sets.py --data FOLDER --set dev --preset paper --settings resolution=64

Writes docs/results/set_<set>_<preset>.json (see --out); scripts/make_results.py turns those into a document.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from measurement.mesh_sets import add_set_options, set_files
from measurement.pipeline import StepFailedError
from measurement.results import MEDIANS, RESULTS, Table, row_of, write_results
from measurement.set_run import SetRun, describe, run_set, set_details


def main() -> int:
    """Run the set and write its result file; returns the exit status."""
    options = parse()
    files = set_files(options.data, options.set, options.limit)
    run = SetRun(tuple(files), options.preset, tuple(options.settings), options.device, options.keep)
    try:
        trip = run_set(run)
    except StepFailedError as problem:
        print(problem, file=sys.stderr)
        return 2
    limit = f", {options.limit} of them" if options.limit else ""
    row = row_of(f"{options.set}{limit}: {describe(run)}", trip)
    median = row_of(f"{options.set}{limit}: {describe(run)}{MEDIANS}", trip, statistic="median")
    name = "_".join(["set", options.set, options.preset or "default", *options.settings])
    out = options.out or RESULTS / f"{name.replace('=', '-')}.json"
    write_results(out, Table(f"set-{options.set}", [row, median]), set_details(trip), (options.data,))
    print(f"{row['objects']} meshes, {row['bytes_per_object']:,.0f} bytes each; written to {out}")
    for failure in row["left_out"]:
        print(f"left out: {failure['name']}: {failure['reason']}")
    return 0


def parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_set_options(parser)
    parser.add_argument("--preset", help="preset of the codec; its default when left out")
    parser.add_argument("--settings", nargs="*", default=[], metavar="KEY=VALUE", help="further settings")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the file and decoded meshes there")
    parser.add_argument("--out", type=Path, metavar="FILE", help="result file; else in docs/results/")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
