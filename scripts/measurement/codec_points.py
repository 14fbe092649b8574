"""What one codec comes to at one setting: bytes, PSNR, seconds. Needs numpy alone."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
Coded = tuple[int, Callable[[], Values]]
"""Bytes, and what decodes them."""

Codec = Callable[[Values, float], Coded]
"""Takes values and a setting."""


def shares_of(values: Values) -> NDArray[np.float32]:
    """Return values as parts of their range, from 0 to 1."""
    low, high = float(values.min()), float(values.max())
    return ((values.astype(np.float64) - low) / max(high - low, 1e-300)).astype(np.float32)


def measured_point(name: str, codec: Codec, values: Values, setting: float) -> dict[str, Any]:
    """Return what a codec comes to: PSNR in dB against a range of 1, null without any error; bytes; seconds.

    Processor seconds are those of this process and of those that it started and that ended.
    """
    encoding = _Watch()
    size, decode = codec(values, setting)
    encode_seconds = encoding.seconds("encode")
    decoding = _Watch()
    decoded = decode()
    decode_seconds = decoding.seconds("decode")
    error = float(np.mean((decoded.astype(np.float64) - values) ** 2))
    psnr = -10.0 * math.log10(error) if error > 0.0 else None
    return {
        "codec": name,
        "setting": setting,
        "psnr": psnr,
        "bytes": size,
        **encode_seconds,
        **decode_seconds,
    }


class _Watch:
    """Counts seconds from its making on."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), _cpu_seconds()

    def seconds(self, name: str) -> dict[str, float]:
        """Return the fields of a step."""
        return {
            f"{name}_seconds": time.perf_counter() - self._wall,
            f"{name}_cpu_seconds": _cpu_seconds() - self._cpu,
        }


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
