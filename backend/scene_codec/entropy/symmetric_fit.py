"""Finds tables for symbols that scatter evenly around zero, fast: many contexts, each with a small histogram.

The probability of zero is stored apart, so that ratio and shape have only to suit the magnitudes of the
others: their cost is a product of two vectors, and the vectors are the same for all contexts.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from scene_codec.entropy.parametric import (
    SHAPE_COUNT,
    SHAPE_GEOMETRIC,
    ParametricModel,
    byte_of_probability,
    probability_of_byte,
    side_weights,
)
from scene_codec.entropy.tables import ESCAPE_CLASS_BITS, SymbolTable

_RATIO_STEPS = (16, 4, 1)
_FAILURES = 2


def fit_symmetric(repeats: NDArray[np.int64]) -> SymbolTable:
    """Return a table for symbols around zero.

    repeats : (n,) how often each magnitude from 0 on occurs, either sign counted
    Not every model is tried: the cost falls towards one best ratio and one best shape.
    """
    sides = np.trim_zeros(repeats[1:], "b")
    total = int(repeats.sum())
    central = byte_of_probability(int(repeats[0]) / total) if total else 255
    if not len(sides):
        return ParametricModel(ratio=0, centre_probability=central).table()
    mean = float(np.arange(1, len(sides) + 1) @ sides) / float(sides.sum())
    start = byte_of_probability(1.0 - 1.0 / max(mean, 1.0 + 2.0**-17))
    cost, ratio, shape = _best_ratio(sides, start, SHAPE_GEOMETRIC)
    for shapes in (range(SHAPE_GEOMETRIC + 1, SHAPE_COUNT), range(SHAPE_GEOMETRIC - 1, -1, -1)):
        near, failures = ratio, 0
        for candidate in shapes:
            found = _best_ratio(sides, near, candidate)
            near = found[1]
            failures = 0 if found[0] < cost else failures + 1
            cost, ratio, shape = min((cost, ratio, shape), found)
            if failures == _FAILURES:
                break
    return ParametricModel(ratio=ratio, shape=shape, centre_probability=central).table()


def _best_ratio(sides: NDArray[np.int64], start: int, shape: int) -> tuple[float, int, int]:
    """Return cost, ratio and shape of the best ratio, walking downhill from one."""
    ratio, cost = start, _cost(sides, start, shape)
    for size in _RATIO_STEPS:
        while True:
            near = [code for code in (ratio - size, ratio + size) if 0 <= code <= _LARGEST_RATIO]
            best, code = min((_cost(sides, code, shape), code) for code in near)
            if best >= cost:
                break
            cost, ratio = best, code
    return cost, ratio, shape


_LARGEST_RATIO = next(code for code in range(255, -1, -1) if probability_of_byte(code) < 1 << 20)


def _cost(sides: NDArray[np.int64], ratio: int, shape: int) -> float:
    """Return the bits of symbols that are not zero, signs included."""
    bits, escape = _side_bits(ratio, shape)
    inside = min(len(sides), len(bits))
    cost = float(bits[:inside] @ sides[:inside])
    if inside < len(sides):
        distances = np.arange(1, len(sides) - inside + 1)
        cost += float(sides[inside:] @ (escape + np.floor(np.log2(distances))))
    return cost


@lru_cache(maxsize=4096)
def _side_bits(ratio: int, shape: int) -> tuple[NDArray[np.float64], float]:
    """Return the bits of each magnitude from 1 on given that it is not 0, and those of an escape's head."""
    weights, tail = side_weights(ratio, shape, None)
    array = np.array(weights, np.float64)
    total = np.log2(2.0 * (float(array.sum()) + tail) + 1.0)
    escape = total - np.log2(2.0 * tail + 1.0) + ESCAPE_CLASS_BITS
    return total - np.log2(array), float(escape)
