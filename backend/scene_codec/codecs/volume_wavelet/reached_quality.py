"""How far decoded voxels are from the original ones, added up tile by tile."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.volume_parts.grid_description import Quality
from scene_codec.codecs.volume_wavelet.grid_source import SourceTile

Values = NDArray[np.generic]


@dataclass(frozen=True)
class TileErrors:
    """Errors of the finite voxels of a tile, all channels together.

    active_sum, box_sum : squared errors in squared units of the values
    largest : of the active voxels
    """

    active_sum: float = 0.0
    active_count: int = 0
    box_sum: float = 0.0
    box_count: int = 0
    largest: float = 0.0


def tile_errors(source: SourceTile, decoded: Iterable[Values], half_extent: float) -> TileErrors:
    """Return the errors of a decoded tile: squares in units of twice `half_extent`, the largest plain."""
    active_sum = box_sum = largest = 0.0
    active_count = box_count = 0
    # Differences are halved where the whole ones may be no float64.
    part = 1.0 if math.isfinite(2.0 * half_extent) else 0.5
    scale = 0.5 / half_extent / part if half_extent > 0.0 else 1.0
    for channel, own in enumerate(decoded):
        before = source.values[channel]
        difference = _difference(before, own, part)
        cared = source.cared_for(channel)
        finite = np.isfinite(difference)
        if not finite.all():
            difference = np.where(finite, difference, 0.0)
        squares = np.square(difference * scale)
        box_sum += float(squares.sum())
        box_count += int(finite.sum())
        active_sum += float(squares.sum() if cared is None else squares[cared].sum())
        active_count += difference.size if cared is None else int(cared.sum())
        magnitudes = np.abs(difference if cared is None else difference[cared])
        largest = max(largest, min(float(magnitudes.max(initial=0.0)) / part, sys.float_info.max))
    return TileErrors(active_sum, active_count, box_sum, box_count, largest)


def _difference(before: Values, after: Values, part: float) -> NDArray[np.floating]:
    """Return after - before, or a part of it, in a type that holds it."""
    if before.dtype.kind in "iub" and before.dtype.itemsize <= 2:
        return after.astype(np.float32) - before.astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        if before.dtype.itemsize == 8 and before.dtype.kind in "iu":
            # Beyond 2**53 float64 would round before it subtracts.
            rise = after.astype(np.uint64) - before.astype(np.uint64)
            fall = (~rise + np.uint64(1)).astype(np.float64)
            return part * np.where(np.greater_equal(after, before), rise.astype(np.float64), -fall)
        return part * after.astype(np.float64) - part * before.astype(np.float64)


def quality_of(errors: Iterable[TileErrors]) -> Quality:
    """Return what the errors of all tiles come to."""
    found = list(errors)
    return Quality(
        psnr=psnr(sum(one.active_sum for one in found), sum(one.active_count for one in found)),
        box_psnr=psnr(sum(one.box_sum for one in found), sum(one.box_count for one in found)),
        max_error=max((one.largest for one in found), default=0.0),
    )


def psnr(squares: float, count: int) -> float | None:
    """Return the PSNR of a sum of squared errors in units of the range; None without any error."""
    return -10.0 * math.log10(squares / count) if squares > 0.0 else None
