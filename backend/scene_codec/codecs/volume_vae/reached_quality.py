"""How far decoded grids are from the original ones, added up slab by slab."""

from __future__ import annotations

import math
import sys

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.volume_parts.grid_description import Quality
from scene_codec.codecs.volume_vae.slabs import channel_view, mask_view, slab_rows, slab_shape
from scene_codec.codecs.volume_vae.syntax import GridHeader
from scene_codec.volumes.volume import VolumeGrid

Values = NDArray[np.generic]


def quality_of(header: GridHeader, before: VolumeGrid, after: VolumeGrid) -> Quality:
    """Return the errors of a decoded grid; values that are no finite numbers do not count."""
    shape = slab_shape(header.shape, reverse=header.reverse)
    half_extent = max(0.5 * channel.high - 0.5 * channel.low for channel in header.channels)
    box, active = _Squares(), _Squares()
    largest = 0.0
    for channel in range(len(header.channels)):
        old, new = (channel_view(grid.values, channel, reverse=header.reverse) for grid in (before, after))
        mask = None if before.active is None else mask_view(before.active, reverse=header.reverse)
        for start, stop in () if 0 in shape else slab_rows(shape, header.layers_at_once):
            halves = _half_difference(old[start:stop], new[start:stop])
            finite = np.isfinite(halves)
            cared = finite if mask is None else finite & mask[start:stop]
            box.add(halves[finite], half_extent)
            active.add(halves[cared], half_extent)
            largest = max(largest, float(np.abs(halves[cared]).max(initial=0.0)))
    return Quality(psnr=active.psnr, box_psnr=box.psnr, max_error=min(2.0 * largest, sys.float_info.max))


def _half_difference(before: Values, after: Values) -> NDArray[np.float64]:
    """Return half of after - before, which float64 has for all numbers; not finite where `before` is not."""
    with np.errstate(invalid="ignore"):
        return 0.5 * after.astype(np.float64) - 0.5 * before.astype(np.float64)


class _Squares:
    """Squared errors in units of the range, and how many."""

    def __init__(self) -> None:
        self._total = 0.0
        self._count = 0

    def add(self, halves: NDArray[np.float64], half_extent: float) -> None:
        """Take in halved differences."""
        self._total += float(np.square(halves / half_extent if half_extent > 0.0 else halves).sum())
        self._count += halves.size

    @property
    def psnr(self) -> float | None:
        """PSNR in dB, None without any error."""
        return -10.0 * math.log10(self._total / self._count) if self._total > 0.0 else None
