"""Peak memory and seconds of encoding and decoding a volume that is read from its file as it is needed.

    python scripts/volume_memory.py --folder FOLDER
    python scripts/volume_memory.py --folder FOLDER --side 512 --out FILE

Makes a cube of uint8, slice by slice, encodes and decodes it with the command line, each in a process of its
own, and compares the result slice by slice. The folder takes four times the volume (4 GiB for 1024^3) and is
left empty. Needs Linux.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from measurement.made_volume import write_made_volume
from measurement.measured_process import Measured, run_measured
from measurement.results import RESULTS, Table, write_results

LIMIT_GB = 4.0
PSNR_DB = 45.0
NOTES = (
    "Peak memory is the largest resident set of the process as the kernel counts it. Pages of mapped files "
    "count, though the system can take them back at any time; what is left without them is the "
    "process's own.",
    "The volume is made by the script: turbulent wisps with noise in empty space. PSNR is over all voxels of "
    "the decoded file. Seconds are those of the whole commands, reading and writing files included.",
)


def main() -> None:
    """Make the table."""
    options = parse()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        rows = measured_rows(Path(name), options.side)
    table = Table("volume-memory", rows, NOTES)
    out = options.out or RESULTS / "volume_memory.json"
    write_results(out, table, {"load_average": os.getloadavg()}, (options.folder,))
    print(out)
    print("\n".join(map(str, rows)))


def parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, metavar="FOLDER", help="where there is room")
    parser.add_argument("--side", type=int, default=1024, help="voxels along each axis")
    parser.add_argument("--out", type=Path, metavar="FILE", help="result file; else in docs/results/")
    return parser.parse_args()


def measured_rows(folder: Path, side: int) -> list[dict[str, Any]]:
    """Return a row for each direction."""
    source = write_made_volume(folder, side)
    file, decoded = folder / "volume.nscene", folder / "decoded"
    command = [sys.executable, "-m", "scene_codec"]
    own = {"TMPDIR": str(folder)}  # where large decoded values are mapped
    encoding = run_measured([*command, "encode", source, "-o", file, "--psnr", str(PSNR_DB), "--json"], own)
    print(f"encoded in {encoding.wall_seconds:.0f} s, peak {encoding.peak_bytes / 1e9:.2f} GB", flush=True)
    decoding = run_measured([*command, "decode", file, "-o", decoded, "--json"], own)
    path = decoded / json.loads(decoding.output)["objects"][0]["file"]
    shared = {"psnr": psnr_of(source, path, side), "bits_per_voxel": 8 * file.stat().st_size / side**3}
    return [
        row_of(f"encode {side}^3 uint8", encoding, side) | shared,
        row_of(f"decode {side}^3 uint8", decoding, side) | shared,
    ]


def row_of(label: str, measured: Measured, side: int) -> dict[str, Any]:
    """Return what one process took."""
    return {
        "label": label,
        "process_seconds": measured.wall_seconds,
        "process_cpu_seconds": measured.cpu_seconds,
        "voxels_per_second": side**3 / measured.wall_seconds,
        "peak_gb": measured.peak_bytes / 1e9,
        "peak_anonymous_gb": measured.peak_anonymous_bytes / 1e9,
        "within_limit": measured.peak_bytes < LIMIT_GB * 1e9,
    }


def psnr_of(source: Path, decoded: Path, side: int) -> float:
    """Return the PSNR of a decoded .raw file, read slice by slice."""
    before, after = (np.memmap(path, np.uint8, "r", shape=(side, side, side)) for path in (source, decoded))
    squares = sum(_squares(*pair) for pair in zip(before, after, strict=True))
    return 20.0 * math.log10(int(before.max()) - int(before.min())) - 10.0 * math.log10(squares / side**3)


def _squares(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> float:
    return float(np.square(after.astype(np.float32) - before.astype(np.float32)).sum(dtype=np.float64))


if __name__ == "__main__":
    main()
