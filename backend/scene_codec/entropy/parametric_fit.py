"""Finds the parameters of a two-sided model that code given symbols in the fewest bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scene_codec.entropy.parametric import (
    MAX_CENTRE,
    MAX_REACH,
    SHAPE_COUNT,
    SHAPE_GEOMETRIC,
    ParametricModel,
    byte_of_probability,
)

_RATIO_STEPS = (64, 32, 16, 8, 4, 2, 1)
_REFINING_STEPS = (8, 4, 2, 1)


class _Search:
    """Costs in bits, table included, of one histogram under different models, each worked out once."""

    def __init__(self, values: NDArray[np.int64], repeats: NDArray[np.int64]) -> None:
        self.values = values
        self.repeats = repeats
        self._costs: dict[ParametricModel, float] = {}

    def cost(self, model: ParametricModel) -> float:
        """Return the bits of the stored parameters and of the coded symbols."""
        known = self._costs.get(model)
        if known is None:
            table = model.table()
            known = 8 * len(table.description) + table.cost_bits(self.values, self.repeats)
            self._costs[model] = known
        return known

    def best(self, models: Iterable[ParametricModel]) -> ParametricModel:
        """Return the cheapest of some models, the first one among equals."""
        return min(models, key=self.cost)

    def descend(
        self,
        start: ParametricModel,
        vary: Callable[[ParametricModel, int], ParametricModel],
        steps: Iterable[int],
    ) -> ParametricModel:
        """Walk downhill from `start`, where `vary(model, step)` makes a step, with steps of falling size."""
        current = start
        for size in steps:
            while True:
                following = self.best((current, vary(current, size), vary(current, -size)))
                if following == current:
                    break
                current = following
        return current


def fit_parametric(
    values: NDArray[np.int64], repeats: NDArray[np.int64], *, limit: int | Literal["free"] | None = "free"
) -> ParametricModel:
    """Return the cheapest model found for a histogram: the symbols that occur, ascending, and how often.

    limit : the limit that the model has to have; by default the best one is chosen
    Not every model is tried: the cost falls towards one best ratio for each shape and towards one best
    shape, so both are found by walking downhill.
    """
    if len(values) == 0:
        return ParametricModel(ratio=0, limit=None if limit == "free" else limit)
    search = _Search(values, repeats)
    start = _start(search, limit)
    plain = _fit_shape(search, start)
    central = repeats[values == start.centre].sum() / repeats.sum()
    inflated = replace(plain, centre_probability=byte_of_probability(float(central)))
    best = search.best((plain, _fit_shape(search, inflated)))
    skewed = _fit_sides(search, replace(best, left_ratio=best.ratio))
    best = search.best((best, skewed))
    return search.best((best, replace(best, limit=None))) if limit == "free" else best


def fit_skewed(values: NDArray[np.int64], repeats: NDArray[np.int64]) -> ParametricModel:
    """Return a model with a ratio for either side and a probability of zero, for a histogram around zero.

    A tenth of the time of `fit_parametric`: one shape, and no other centre.
    """
    total = max(int(repeats.sum()), 1)
    central = byte_of_probability(float(repeats[values == 0].sum()) / total)
    ratio, left_ratio = (_ratio_of(values, repeats, sign) for sign in (1, -1))
    best = ParametricModel(ratio=ratio, left_ratio=left_ratio, centre_probability=central)
    search = _Search(values, repeats)
    for vary in (_vary_ratio, _vary_left_ratio, _vary_ratio, _vary_left_ratio):
        best = search.descend(best, vary, _REFINING_STEPS)
    return best


def _ratio_of(values: NDArray[np.int64], repeats: NDArray[np.int64], sign: int) -> int:
    """Return the ratio of a geometric side with the mean of the values on it."""
    side = values * sign > 0
    mean = float(np.abs(values[side]) @ repeats[side]) / max(int(repeats[side].sum()), 1)
    return byte_of_probability(1.0 - 1.0 / max(mean, 1.0 + 2.0**-6))


def _start(search: _Search, limit: int | Literal["free"] | None) -> ParametricModel:
    """Return the best geometric model of those centred on zero, the median and the most frequent symbol."""
    ends = np.cumsum(search.repeats)
    median = int(search.values[np.searchsorted(ends, (ends[-1] + 1) // 2)])
    mode = int(search.values[np.argmax(search.repeats)])
    starts = []
    for centre in dict.fromkeys((0, median, mode)):
        if abs(centre) <= MAX_CENTRE:
            reach = max(centre - int(search.values[0]), int(search.values[-1]) - centre)
            within = min(reach, MAX_REACH) if limit == "free" else limit
            model = ParametricModel(ratio=128, centre=centre, limit=within)
            starts.append(search.descend(model, _vary_ratio, _RATIO_STEPS))
    return search.best(starts)


def _fit_shape(search: _Search, start: ParametricModel) -> ParametricModel:
    """Return the best ratio and shape, walking from the geometric shape to either side."""
    best = search.descend(replace(start, shape=SHAPE_GEOMETRIC), _vary_ratio, _REFINING_STEPS)
    for shapes in (range(SHAPE_GEOMETRIC + 1, SHAPE_COUNT), range(SHAPE_GEOMETRIC - 1, -1, -1)):
        current, failures = best, 0
        for shape in shapes:
            current = search.descend(replace(current, shape=shape), _vary_ratio, _REFINING_STEPS)
            better = search.best((best, current))
            failures = failures + 1 if better == best else 0
            best = better
            if failures == 2:
                break
    return best


def _fit_sides(search: _Search, start: ParametricModel) -> ParametricModel:
    """Return the best two ratios, and the shape again for them."""
    best = start
    for _ in range(2):
        for vary in (_vary_ratio, _vary_left_ratio, _vary_shape):
            best = search.descend(best, vary, _REFINING_STEPS if vary is not _vary_shape else (1,))
    return best


def _vary_ratio(model: ParametricModel, step: int) -> ParametricModel:
    return replace(model, ratio=min(max(model.ratio + step, 0), 255))


def _vary_left_ratio(model: ParametricModel, step: int) -> ParametricModel:
    return replace(model, left_ratio=min(max((model.left_ratio or 0) + step, 0), 255))


def _vary_shape(model: ParametricModel, step: int) -> ParametricModel:
    return replace(model, shape=min(max(model.shape + step, 0), SHAPE_COUNT - 1))
