"""The range of a grid's values, found with bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scene_codec.volumes.array_storage import slabs
from scene_codec.volumes.volume import VolumeGrid


@dataclass(frozen=True)
class ValueRange:
    """Smallest and largest finite value, None when there is none, and how many are not finite.

    All channels together. Integers stay integers, so that 64-bit ones are exact.
    """

    minimum: float | int | None
    maximum: float | int | None
    nan: int = 0
    positive_infinite: int = 0
    negative_infinite: int = 0

    @property
    def finite(self) -> bool:
        """Whether all values are finite."""
        return self.nan == self.positive_infinite == self.negative_infinite == 0


def value_range(grid: VolumeGrid) -> ValueRange:
    """Return the range of the values in the grid's box, active or not, read slab by slab."""
    lows: list[float | int] = []
    highs: list[float | int] = []
    nan = positive = negative = 0
    for slab in slabs(grid.values):
        low, high = slab.min(), slab.max()
        if not (
            np.isfinite(low) and np.isfinite(high)
        ):  # NaN is both, so that all is well when they are finite
            nan += int(np.isnan(slab).sum())
            positive += int((slab == np.inf).sum())
            negative += int((slab == -np.inf).sum())
            finite = slab[np.isfinite(slab)]
            if not finite.size:
                continue
            low, high = finite.min(), finite.max()
        lows.append(low.item())
        highs.append(high.item())
    return ValueRange(min(lows, default=None), max(highs, default=None), nan, positive, negative)
