"""Packaged codecs for volumes on one array; runs, in the folder scripts, in whatever Python has them.

    python -m measurement.rival_codecs VALUES.npy RESULT.json

Writes a list of points, see `measured_point`. Needs numpy alone: codecs whose modules are not there are left
out. The packages: h5py and hdf5plugin (SPERR, Blosc2, Zstandard), pysz (SZ3), zfpy.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from measurement.codec_points import Codec, Coded, Values, measured_point, shares_of

PSNR_TARGETS = (9.0, 15.0, 18.0, 21.0, 24.0, 27.0, 30.0, 33.0, 36.0, 39.0, 42.0, 45.0, 48.0)
"""SPERR reaches up to 25 dB more than it is told."""

BOUND_PSNR = (22.0, 26.0, 30.0, 34.0, 38.0, 42.0, 46.0, 50.0)
"""The bound on the error is that of evenly spread errors with this PSNR."""

TOLERANCES = tuple(2.0**-power for power in range(-3, 9))
"""zfp's, which takes the next lower power of two; its errors stay far below."""


def main() -> None:
    """Measure every codec that is installed."""
    values = np.load(sys.argv[1])
    Path(sys.argv[2]).write_text(json.dumps(list(measure(values))), encoding="utf-8")


def measure(values: Values) -> list[dict[str, Any]]:
    """Return the points of all codecs; lossless ones see the values as they are."""
    shares = shares_of(values)
    points = []
    for name, codec, settings in lossy_codecs():
        points += [measured_point(name, codec, shares, setting) for setting in settings]
    for name, codec in lossless_codecs():
        points.append(measured_point(name, codec, values, 0.0))
    return points


def lossy_codecs() -> list[tuple[str, Codec, tuple[float, ...]]]:
    """Return those that are installed, with their settings."""
    found: list[tuple[str, Codec, tuple[float, ...]]] = []
    with contextlib.suppress(ImportError):
        import hdf5plugin

        sperr = through_hdf5(
            lambda psnr: hdf5plugin.Sperr(peak_signal_to_noise_ratio=psnr, swap=True)  # swap: C order
        )
        found.append(("SPERR", sperr, PSNR_TARGETS))
    with contextlib.suppress(ImportError):
        from pysz import sz, szConfig, szErrorBoundMode

        def sz3(values: Values, psnr: float) -> Coded:
            config = szConfig()
            config.errorBoundMode = szErrorBoundMode.ABS
            config.absErrorBound = bound_of(psnr)
            data, _ = sz.compress(values, config)
            return data.nbytes, lambda: sz.decompress(data, values.dtype, values.shape)[0]

        found.append(("SZ3", sz3, BOUND_PSNR))
    with contextlib.suppress(ImportError):
        import zfpy

        def zfp(values: Values, tolerance: float) -> Coded:
            data = zfpy.compress_numpy(values, tolerance=tolerance)
            return len(data), lambda: zfpy.decompress_numpy(data)

        found.append(("zfp", zfp, TOLERANCES))
    return found


def lossless_codecs() -> list[tuple[str, Codec]]:
    """Return those that are installed."""
    found: list[tuple[str, Codec]] = []
    with contextlib.suppress(ImportError):
        import hdf5plugin

        blosc = through_hdf5(lambda _: hdf5plugin.Blosc2(cname="zstd", clevel=9, filters=1))
        zstd = through_hdf5(lambda _: hdf5plugin.Zstd(clevel=19))
        found += [("Blosc2 zstd, lossless", blosc), ("zstd, lossless", zstd)]
    return found


def through_hdf5(filter_of: Callable[[float], Any]) -> Codec:
    """Return a codec that is a filter of HDF5; the bytes are those of the one chunk, without the file's."""

    def codec(values: Values, setting: float) -> Coded:
        import h5py

        folder = tempfile.TemporaryDirectory()
        path = Path(folder.name) / "values.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("values", data=values, chunks=values.shape, **filter_of(setting))
            size = int(file["values"].id.get_storage_size())

        def decode() -> Values:
            # Opened anew: an open file still has the chunk in memory.
            with folder, h5py.File(path) as again:
                decoded: Values = again["values"][:]
                return decoded

        return size, decode

    return codec


def bound_of(psnr: float) -> float:
    """Return the bound of evenly spread errors with a PSNR, of values from 0 to 1."""
    return math.sqrt(3.0) * 10.0 ** (-psnr / 20.0)


if __name__ == "__main__":
    main()
