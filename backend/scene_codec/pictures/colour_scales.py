"""Numbers to colours that people with colour-blindness can tell apart too."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

GREY = ((0, 0, 0), (255, 255, 255))
DIVERGING = (
    (5, 48, 97),
    (33, 102, 172),
    (103, 169, 207),
    (255, 255, 255),
    (239, 138, 98),
    (178, 24, 43),
    (103, 0, 31),
)
"""Blue below, white at zero, red above (after ColorBrewer's RdBu)."""
SEQUENTIAL = ((255, 255, 255), (254, 217, 142), (254, 153, 41), (204, 76, 2), (102, 37, 6))
"""White at zero, then darker (after ColorBrewer's YlOrBr)."""

NOT_FINITE = (230, 0, 230)
INACTIVE = (224, 226, 230)
TOPOLOGY = (0, 158, 115)
ORIGINAL_SURFACE, DECODED_SURFACE = (0, 158, 255), (255, 140, 0)


@dataclass(frozen=True)
class ColourScale:
    """Colours from `low` to `high`.

    below, above : there are values beyond this end, which get its colour
    """

    colours: tuple[tuple[int, int, int], ...]
    low: float
    high: float
    below: bool = False
    above: bool = False

    def __call__(self, values: NDArray[np.float64]) -> Pixels:
        """Return colours (..., 3); NaN and infinities have one of their own."""
        extent = 0.5 * self.high - 0.5 * self.low
        with np.errstate(invalid="ignore", over="ignore"):
            share = (0.5 * values - 0.5 * self.low) / extent
        finite = np.isfinite(values)
        pixels: Pixels = _table(self.colours)[
            np.rint(255 * np.clip(np.where(finite, share, 0.0), 0.0, 1.0)).astype(int)
        ]
        pixels[~finite] = NOT_FINITE
        return pixels


def values_scale(shown: NDArray[np.float64], low: float, high: float) -> ColourScale:
    """Return grey from the smallest to the largest value, a thousandth of those shown left out at each end.

    shown : the values to draw
    low, high : of the whole grid
    """
    finite = shown[np.isfinite(shown)]
    if finite.size:
        start, end = (float(value) for value in np.percentile(finite, (0.1, 99.9), method="nearest"))
        # Half a range is not worth a word; a few outliers in black and white would be.
        start, end = (
            (low if start - low < 0.1 * (end - start) else start),
            (high if high - end < 0.1 * (end - start) else end),
        )
    else:
        start, end = low, high
    if not start < end:
        margin = 0.5 * abs(start) or 0.5
        return ColourScale(GREY, start - margin, end + margin)
    return ColourScale(GREY, start, end, below=low < start, above=high > end)


def difference_scale(shown: NDArray[np.float64], *, signed: bool, limit: float | None) -> ColourScale:
    """Return colours for differences: white is none. Without a limit, 1 in 500 of those shown lies beyond.

    signed : there are negative ones
    """
    magnitudes = np.abs(shown[np.isfinite(shown)])
    magnitudes = magnitudes[magnitudes > 0.0]
    largest = float(magnitudes.max(initial=0.0))
    end = limit
    if end is None:
        end = rounded_up(float(np.percentile(magnitudes, 99.8))) if magnitudes.size else 1.0
    beyond = largest > end
    if signed:
        return ColourScale(DIVERGING, -end, end, below=beyond, above=beyond)
    return ColourScale(SEQUENTIAL, 0.0, end, above=beyond)


def rounded_up(value: float) -> float:
    """Return the next number of two digits, so that a scale has round ends."""
    if not 1e-300 < value < 1e300:
        return value
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(round(value / unit, 6)) * unit:.2g}")


def _table(colours: tuple[tuple[int, int, int], ...]) -> Pixels:
    """Return 256 colours, straight between the given ones."""
    places = np.linspace(0.0, 1.0, len(colours))
    wanted = np.linspace(0.0, 1.0, 256)
    channels = [np.interp(wanted, places, [colour[i] for colour in colours]) for i in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
