"""Encodes or decodes one volume file in this process and prints what it took.

Before, a volume of a few voxels goes through both, so that everything is imported.

python -m measurement.volume_timing encode VOLUME FILE.nscene
python -m measurement.volume_timing decode FILE.nscene
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

STARTED = time.perf_counter()

import numpy as np  # noqa: E402

from scene_codec import api  # noqa: E402

PSNR_DB = 45.0


def encode(source: str, file: str) -> int:
    """Encode a volume file, reading and writing included; return its voxels."""
    report = api.encode(Path(source), file, settings={"psnr": PSNR_DB})
    return sum(item.voxels for item in report.objects)


def decode(file: str) -> int:
    """Decode all volumes of a file into memory; return their voxels."""
    total = 0
    for item in api.decode(file):
        total += sum(grid.values.size // grid.channels for grid in item.grids)
    return total


def import_all() -> None:
    """Encode and decode a small volume."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "small.npy"
        np.save(source, np.arange(8**3, dtype=np.float32).reshape(8, 8, 8))
        encode(str(source), f"{folder}/small.nscene")
        decode(f"{folder}/small.nscene")


def main() -> None:
    """Do one of them."""
    steps: dict[str, Callable[..., int]] = {"encode": encode, "decode": decode}
    count, step, *files = sys.argv[1:]
    import_all()
    figures = {"import_seconds": time.perf_counter() - STARTED}
    runs = []
    for _ in range(int(count)):
        wall, cpu = time.perf_counter(), time.process_time()
        voxels = steps[step](*files)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        runs.append({"voxels": voxels, "seconds": wall, "cpu_seconds": cpu})
    print(json.dumps(figures | {"runs": runs}))


if __name__ == "__main__":
    main()
