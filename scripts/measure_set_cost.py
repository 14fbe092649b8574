"""What sets of more and more meshes cost: bytes, seconds and memory for each mesh, encoding and decoding.

    python scripts/measure_set_cost.py --data FOLDER --set random_urdfs --counts 50 200 1000
    python scripts/measure_set_cost.py --data FOLDER --set dev --preset fast --settings target_error=0.3

Each set is one file, written and read by the command line in a process of its own, without results kept from
earlier runs. Costs that grow with nothing but the number of meshes show as the same figures in all rows.
Needs Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from measurement.measured_process import run_measured
from measurement.mesh_sets import set_files
from measurement.results import RESULTS, Table, write_results

SOME_LEFT_OUT = 1
"""Exit status of a command that could not encode all of the meshes."""

NOTES = (
    "One file holds the whole set. CPU seconds are those of the whole command and all processes that it "
    "starts, divided by the number of meshes; others are seconds on the wall, on the cores named below.",
    "Memory is the largest sum of what all processes of a command have for themselves, ten times a second; "
    "pages of libraries, which they share, are not in it.",
)


def main() -> None:
    """Make the table."""
    options = parse()
    rows = [measured_row(options, count) for count in options.counts]
    name = f"set_cost_{options.set}"
    out = options.out or RESULTS / f"{name}.json"
    write_results(out, Table("set-cost", rows, NOTES), {"load_average": os.getloadavg()}, (options.data,))
    print(out)


def parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the sets")
    parser.add_argument("--set", required=True, help="the set: a folder below --data, or below its sets/")
    parser.add_argument("--counts", type=int, nargs="+", default=[50, 200, 1000], help="meshes of each row")
    parser.add_argument("--preset", help="preset of the codec; its default when left out")
    parser.add_argument("--settings", nargs="*", default=[], metavar="KEY=VALUE", help="further settings")
    parser.add_argument("--out", type=Path, metavar="FILE", help="result file; else in docs/results/")
    return parser.parse_args()


def measured_row(options: argparse.Namespace, count: int) -> dict[str, Any]:
    """Encode and decode so many meshes of the set, evenly spaced in it."""
    files = set_files(options.data, options.set, count)
    pairs = [setting.split("=", 1) for setting in options.settings]
    settings = [word for key, value in pairs for word in (f"--{key.replace('_', '-')}", value)]
    settings += ["--preset", options.preset] if options.preset else []
    command = [sys.executable, "-m", "scene_codec"]
    with tempfile.TemporaryDirectory() as name:
        file, decoded = Path(name) / "set.nscene", Path(name) / "decoded"
        own = {"SCENE_CODEC_CACHE": str(Path(name) / "cache"), "TMPDIR": name}
        encode = [*command, "encode", *files, "-o", file, *settings, "--json"]
        encoding = run_measured(encode, own, accepted=(0, SOME_LEFT_OUT))
        decoding = run_measured([*command, "decode", file, "-o", decoded, "--json"], own)
        size, done = file.stat().st_size, len(json.loads(decoding.output)["objects"])
    row = {
        "label": f"{options.set}: {' '.join([options.preset or 'default', *options.settings])}",
        "objects": done,
        "left_out": json.loads(encoding.output)["failures"],
        "bytes_per_object": size / done,
        "encode_cpu_seconds": encoding.cpu_seconds / done,
        "encode_seconds": encoding.wall_seconds / done,
        "decode_cpu_seconds": decoding.cpu_seconds / done,
        "encode_peak_gb": encoding.peak_anonymous_bytes / 1e9,
        "decode_peak_gb": decoding.peak_anonymous_bytes / 1e9,
    }
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
