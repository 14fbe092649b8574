"""Rate-distortion curves of codecs on one volume, and what tables say of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from scene_codec.metrics.rate import bjontegaard_rate

LOWEST_DB, HIGHEST_DB = 35.0, 50.0
"""Qualities over which curves are compared."""

SHOWN_DB = (35.0, 40.0, 45.0, 50.0)
SECONDS = ("encode_seconds", "decode_seconds", "encode_cpu_seconds", "decode_cpu_seconds")
SECONDS_DB = 45.0

_NEARLY_DB = 0.25
"""How far beyond the end of a curve it still says something."""

Point = dict[str, Any]
Curve = list[tuple[float, float]]
"""PSNR and bits a voxel, both ascending."""


def curve(points: Iterable[Point], codec: str) -> Curve:
    """Return the curve of a codec's lossy points, without those that gain nothing."""
    found: Curve = []
    for psnr, size, voxels in sorted(
        (point["psnr"], point["bytes"], point["voxels"])
        for point in points
        if point["codec"] == codec and point["psnr"] is not None
    ):
        while found and found[-1][1] >= 8 * size / voxels:
            found.pop()
        if not found or psnr > found[-1][0]:
            found.append((psnr, 8 * size / voxels))
    return found


def bits_at(points: Curve, psnr: float) -> float | None:
    """Return the bits a voxel of a curve at a PSNR, None outside of it."""
    if not points or not points[0][0] - _NEARLY_DB <= psnr <= points[-1][0] + _NEARLY_DB:
        return None
    qualities, bits = zip(*points, strict=True)
    return float(np.exp(np.interp(psnr, qualities, np.log(bits))))


def rate_change(anchor: Curve, candidate: Curve) -> float | None:
    """Return the candidate's BD-rate against the anchor, 35 to 50 dB; None if they share no part of it."""
    low = max([LOWEST_DB, *(own[0][0] for own in (anchor, candidate) if own)])
    high = min([HIGHEST_DB, *(own[-1][0] for own in (anchor, candidate) if own)])
    if not anchor or not candidate or not low < high:
        return None
    rates = [
        [(bits, 10.0 ** (-psnr / 10.0)) for psnr, bits in _part(own, low, high)]
        for own in (anchor, candidate)
    ]
    return bjontegaard_rate(*rates)


def _part(points: Curve, low: float, high: float) -> Curve:
    """Return a curve between two qualities that it reaches, its ends interpolated."""
    inner = [point for point in points if low < point[0] < high]
    qualities, bits = zip(*points, strict=True)
    first, last = (float(np.exp(np.interp(end, qualities, np.log(bits)))) for end in (low, high))
    return [(low, first), *inner, (high, last)]


def codec_rows(name: str, points: Sequence[Point], anchor_codec: str) -> list[dict[str, Any]]:
    """Return a row for each codec of a volume; rates compare with one of them."""
    anchor = curve(points, anchor_codec)
    rows = []
    for codec in dict.fromkeys(point["codec"] for point in points):
        own = [point for point in points if point["codec"] == codec]
        row: dict[str, Any] = {"label": f"{name}: {codec}", "codec": codec}
        shown = own[0]
        if len(own) == 1:
            row["bits_per_voxel"] = 8 * shown["bytes"] / shown["voxels"]
            if shown["psnr"] is not None:
                row["psnr"] = shown["psnr"]
        else:
            shown = min(own, key=lambda point: abs((point["psnr"] or 1e9) - SECONDS_DB))
            row |= _rate_fields(curve(own, codec), anchor)
        row |= {field: shown[field] for field in SECONDS}
        row["decoded_per_second"] = shown["voxels"] / max(shown["decode_cpu_seconds"], 1e-6)
        rows.append(row)
    return rows


def _rate_fields(own: Curve, anchor: Curve) -> dict[str, float]:
    """Return bits a voxel at the shown qualities, and how they compare with the anchor."""
    fields = {}
    for psnr in SHOWN_DB:
        bits, reference = bits_at(own, psnr), bits_at(anchor, psnr)
        if bits is not None:
            fields[f"bits_at_{psnr:.0f}"] = bits
        if bits is not None and reference is not None:
            fields[f"ratio_at_{psnr:.0f}"] = bits / reference
    change = None if own == anchor else rate_change(anchor, own)
    return fields if change is None else fields | {"bd_rate": change}


def mean_row(label: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean of rows: of ratios and rate changes the geometric one, of all else the plain one.

    A figure that some rows do not have is left out: means of different volumes cannot be compared.
    """
    row: dict[str, Any] = {"label": label}
    for field in dict.fromkeys(field for own in rows for field in own):
        values = [own[field] for own in rows if field in own]
        if isinstance(values[0], str) or len(values) < len(rows):
            continue
        if "ratio" in field:
            row[field] = statistics.geometric_mean(values)
        elif field.startswith("bd_rate"):
            row[field] = statistics.geometric_mean([1.0 + value for value in values]) - 1.0
        else:
            row[field] = statistics.fmean(values)
    return row
