"""Our own runs of the paper's comparisons, each a table of docs/RESULTS.md.

    python scripts/paper_tables.py resolution --data FOLDER --set makehuman --limit 12
    python scripts/paper_tables.py ssim --data FOLDER --set makehuman --limit 12
    python scripts/paper_tables.py architecture --data FOLDER --set makehuman --limit 12
    python scripts/paper_tables.py adding --data FOLDER --set makehuman --limit 12

resolution: the grid at 32, 64 and 128 vertices per axis.
ssim: the preset `paper` with and without its SSIM term.
architecture: latents as free parameters (auto-decoder), and as a network's output (auto-encoder).
adding: a set coded as a whole, against most of it coded first and the rest added.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from measurement.mesh_sets import add_set_options, set_files
from measurement.pipeline import RoundTrip, StepFailedError, measure, run_command
from measurement.results import RESULTS, Table, error_fields, row_of, write_results
from measurement.set_run import SetRun, describe, run_set, set_details
from scene_codec.evaluation import ErrorSummary

Finding = tuple[list[dict[str, Any]], list[str], dict[str, Any]]
"""Rows, notes, and details of a table."""


def main() -> int:
    """Make one table; returns the exit status."""
    options = parse()
    files = set_files(options.data, options.set, options.limit)
    try:
        rows, notes, details = TABLES[options.table](files, options)
    except StepFailedError as problem:
        print(problem, file=sys.stderr)
        return 2
    out = options.out or RESULTS / f"table_{options.table}_{options.set}.json"
    write_results(out, Table(options.table, rows, notes), details, (options.data,))
    print(out)
    return 0


def parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=TABLES)
    add_set_options(parser)
    parser.add_argument("--preset", help="preset of the codec; the table's own choice when left out")
    parser.add_argument("--settings", nargs="*", default=[], metavar="KEY=VALUE", help="further settings")
    parser.add_argument("--resolutions", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--added", type=int, default=3, help="adding: how many meshes are added at the end")
    parser.add_argument("--out", type=Path, metavar="FILE", help="result file; else in docs/results/")
    return parser.parse_args()


def resolution_table(files: Sequence[Path], options: argparse.Namespace) -> Finding:
    """Measure the set at each resolution."""
    variants = [(options.preset, f"resolution={count}") for count in options.resolutions]
    return compare_variants(files, options, variants)


def ssim_table(files: Sequence[Path], options: argparse.Namespace) -> Finding:
    """Measure the set with the paper's weight of the SSIM term and without the term."""
    preset = options.preset or "paper"
    return compare_variants(files, options, [(preset, "ssim_weight=10"), (preset, "ssim_weight=0")])


def architecture_table(files: Sequence[Path], options: argparse.Namespace) -> Finding:
    """Measure the set with free latents and with those that an encoder network gives."""
    return compare_variants(
        files, options, [(options.preset, "latents=free"), (options.preset, "latents=encoded")]
    )


def compare_variants(
    files: Sequence[Path], options: argparse.Namespace, variants: Sequence[tuple[str | None, str]]
) -> Finding:
    """Measure the set once for each pair of preset and setting."""
    rows, details = [], {}
    for preset, setting in variants:
        run = SetRun(tuple(files), preset, (*options.settings, setting), options.device)
        trip = run_set(run)
        rows.append(row_of(f"{options.set}, {len(files)} meshes: {describe(run)}", trip))
        details[setting] = set_details(trip)
    return rows, [], {"runs": details}


def adding_table(files: Sequence[Path], options: argparse.Namespace) -> Finding:
    """Measure the last meshes of the set when they were there from the start, and when they were added."""
    first, later = list(files[: -options.added]), list(files[-options.added :])
    whole = run_set(SetRun(tuple(files), options.preset, tuple(options.settings), options.device))
    with tempfile.TemporaryDirectory() as scratch:
        start = run_set(
            SetRun(tuple(first), options.preset, tuple(options.settings), options.device, Path(scratch))
        )
        file = Path(scratch) / "set.nscene"
        before = file.read_bytes()
        grown = Path(scratch) / "grown.nscene"
        added = run_command("add", file, *later, "-o", grown, "--json", "--device", options.device)
        trip = measure(added, files, grown, Path(scratch) / "all", options.device)
        kept = file.read_bytes() == before
    names = {path.stem for path in later}
    rows = [
        subset_row("trained with all others", whole, names),
        subset_row(f"added to a set of {len(first)}", trip, names),
        subset_row(f"the {len(first)} that were there, before", start, {path.stem for path in first}),
        subset_row(f"the {len(first)} that were there, after", trip, {path.stem for path in first}),
    ]
    notes = [
        f"Bytes / mesh in this table are a mesh's own, without its share of the decoder. Adding {len(later)} "
        f"meshes took {added.seconds / len(later):.0f} s each; the old file was "
        + ("left as it was." if kept else "CHANGED."),
    ]
    return rows, notes, {"runs": {"whole": set_details(whole), "grown": set_details(trip)}}


def subset_row(label: str, trip: RoundTrip, names: set[str]) -> dict[str, Any]:
    """Return the means over the objects of these names, with their own bytes."""
    objects = [item for item in trip.evaluate.report["objects"] if item["name"] in names]
    errors = {
        field: statistics.fmean(item["error"][field] for item in objects)
        for field in ErrorSummary.__struct_fields__
    }
    own = statistics.fmean(item["bytes"] for item in objects)
    return {"label": label, "objects": len(objects), "bytes_per_object": own, **error_fields(errors)}


TABLES: dict[str, Callable[[Sequence[Path], argparse.Namespace], Finding]] = {
    "resolution": resolution_table,
    "ssim": ssim_table,
    "architecture": architecture_table,
    "adding": adding_table,
}


if __name__ == "__main__":
    sys.exit(main())
