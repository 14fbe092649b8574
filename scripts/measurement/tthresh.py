"""TTHRESH (github.com/rballester/tthresh), a program of its own, on one array.

Built from its source with: g++ -O3 -fopenmp -std=c++11 -Iexternal -Iexternal/Eigen src/tthresh.cpp -o tthresh
"""

from __future__ import annotations

import math
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from measurement.codec_points import Codec, Coded, Values

NAME = "TTHRESH"
WANTED_PSNR = (34.5, 38.0, 42.0, 46.0, 50.2, 57.0)
"""On small volumes it misses what it is told by up to 8 dB."""

HALF_RANGE_DB = 20.0 * math.log10(2.0)
"""Its PSNR is against half the range."""


def tthresh_codec(program: Path) -> Codec:
    """Return the codec of a built program, for float32 values; the setting is the PSNR against the range.

    Seconds include the start of the program, and reading and writing the plain files that it works on.
    """

    def codec(values: Values, psnr: float) -> Coded:
        folder = tempfile.TemporaryDirectory()
        plain, coded, decoded = (Path(folder.name) / name for name in ("plain.raw", "coded", "decoded.raw"))
        np.ascontiguousarray(values, np.float32).tofile(plain)
        sizes = [str(side) for side in reversed(values.shape)]  # the fastest axis first
        target = ["-p", f"{psnr - HALF_RANGE_DB:.3f}"]
        _run([program, "-i", plain, "-t", "float", "-s", *sizes, *target, "-c", coded])

        def decode() -> Values:
            with folder:
                _run([program, "-c", coded, "-o", decoded])
                return np.fromfile(decoded, np.float32).reshape(values.shape)

        return coded.stat().st_size, decode

    return codec


def _run(command: list[Path | str]) -> None:
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
