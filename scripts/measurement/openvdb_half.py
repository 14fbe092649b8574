"""Volumes as OpenVDB itself stores them with 16-bit floats; runs, in the folder scripts, where OpenVDB is.

    python -m measurement.openvdb_half values VALUES.npy COPY.vdb RESULT.json
    python -m measurement.openvdb_half file SOURCE.vdb COPY.vdb RESULT.json

values: an array as one grid; what equals 0 is background, as OpenVDB's own tools take it.
file: all grids of a file, marked to be stored with 16 bits.

The module is `openvdb`, or the one in the `bpy` package (4.4 and later). Files are compressed as its build
does by default, which the result says.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    """Write the copy and say what it took."""
    what, source, copy, result = sys.argv[1:]
    openvdb = openvdb_module()
    measure = measure_values if what == "values" else measure_file
    content = measure(openvdb, Path(source), Path(copy))
    Path(result).write_text(json.dumps(content), encoding="utf-8")


def openvdb_module() -> Any:  # noqa: ANN401 - a compiled module without types
    """Return the module, from wherever it is."""
    try:
        import openvdb
    except ImportError:
        import bpy

        bpy.utils.expose_bundled_modules()
        import openvdb
    return openvdb


def measure_values(openvdb: Any, source: Path, copy: Path) -> dict[str, Any]:  # noqa: ANN401
    """Return a point, as of `measured_point`, of float32 values from 0 to 1."""
    values = np.load(source)
    times = [_now()]
    grid = openvdb.FloatGrid()
    grid.copyFromArray(values)
    grid.saveFloatAsHalf = True
    grid.name = "density"
    openvdb.write(str(copy), grids=[grid])
    times.append(_now())
    decoded = np.zeros_like(values)
    openvdb.read(str(copy), "density").copyToArray(decoded)
    times.append(_now())
    error = float(np.mean((decoded.astype(np.float64) - values) ** 2))
    point = {"psnr": -10.0 * math.log10(error) if error > 0.0 else None, "bytes": copy.stat().st_size}
    for step, (before, after) in zip(("encode", "decode"), itertools.pairwise(times), strict=True):
        point |= {f"{step}_seconds": after[0] - before[0], f"{step}_cpu_seconds": after[1] - before[1]}
    return point | {"compression": compression_of(openvdb, copy)}


def measure_file(openvdb: Any, source: Path, copy: Path) -> dict[str, Any]:  # noqa: ANN401
    """Return the size of a file's copy with 16-bit floats, and how it is compressed."""
    grids, metadata = openvdb.readAll(str(source))
    for grid in grids:
        grid.saveFloatAsHalf = True
    openvdb.write(str(copy), grids=grids, metadata=metadata)
    return {"bytes": copy.stat().st_size, "compression": compression_of(openvdb, copy)}


def compression_of(openvdb: Any, path: Path) -> str:  # noqa: ANN401
    """Return what the file says of its compression."""
    found = {str(grid.metadata["file_compression"]) for grid in openvdb.readAllGridMetadata(str(path))}
    return ", ".join(sorted(found))


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


if __name__ == "__main__":
    main()
