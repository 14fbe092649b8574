"""Rows of a set's run over fewer of its meshes, to stand beside a baseline that was run on those alone.

    python scripts/same_meshes.py --data FOLDER --set dev --limit 12 --run docs/results/set_dev_balanced.json

Nothing is measured again: the errors are the run's own, and each mesh has its own bytes and an equal share of
what the whole run's file holds for all.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from measurement.mesh_sets import add_set_options, set_files
from measurement.results import RESULTS, Table, error_fields, write_results


def main() -> None:
    """Write the result file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_set_options(parser)
    parser.add_argument(
        "--run", type=Path, required=True, metavar="FILE", help="result file of the whole set"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="result file; else in docs/results/")
    options = parser.parse_args()
    names = {path.stem for path in set_files(options.data, options.set, options.limit)}
    run = json.loads(options.run.read_text(encoding="utf-8"))
    row = subset_row(run, names)
    out = options.out or RESULTS / f"{options.run.stem}_{options.limit}.json"
    note = "Errors of the whole run, over the meshes that simplification + Draco was measured on."
    write_results(out, Table(run["table"], [row], [note]), {}, (options.data,))
    print(out)


def subset_row(run: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """Return the means of a run over the meshes of some names, all of which it must have."""
    chosen = [item for item in run["objects"] if item["name"] in names]
    if len(chosen) != len(names):
        raise SystemExit(f"The run has {len(chosen)} of the {len(names)} meshes.")
    share = (run["file_bytes"] - sum(item["bytes"] for item in run["objects"])) / len(run["objects"])
    total = sum(item["bytes"] + share for item in chosen)
    errors = {
        name: statistics.fmean(item["error"][name] for item in chosen)
        for name in chosen[0]["error"]
        if name != "samples"
    }
    return {
        "label": f"{run['rows'][0]['label']}, the {len(chosen)} meshes of the Draco rows",
        "objects": len(chosen),
        "bytes_per_object": total / len(chosen),
        "ratio_to_binary": sum(item["binary_bytes"] for item in chosen) / total,
        "ratio_to_source": sum(item["source_bytes"] for item in chosen) / total,
        "left_out": [],
        **error_fields(errors),
    }


if __name__ == "__main__":
    main()
