"""Finds the coarsest step with which a fitted surface keeps a wanted error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scene_codec.codecs.mesh_surface.surface_coding import (
    COARSEST_STEP,
    FINEST_STEP,
    CodedCandidate,
    FittedSurface,
    SurfaceCoder,
)

MANY_FACES = 2_000
"""Control faces of which each try takes seconds: fewer are made, for one or two per cent of the bytes."""

STEP_TRIES = 4

_HIGHEST_AIM = 0.985
"""What is aimed at, of the wanted error."""

_MADE_UP = 0.03
"""How far below a try may be aimed, of that, after one that came out above."""

_USUAL_POWER, _POWERS = 2.0, (0.7, 3.0)
"""With which powers of the step that may grow."""

_LEAST_ADDED = 0.05
"""Of an error, what rounding is taken to have added at least."""

_HARDLY_MORE = 1.02
"""What rounding may make of the error of a surface that is not near enough in any case."""

_CLOSE, _CLOSE_ENOUGH = 0.975, 0.93
"""Share of the wanted error with which no other step is tried, of few and of many faces."""

_NEAR, _NEAR_ENOUGH = 0.985, 0.95
"""The same when it is checked."""

_SURELY = 0.996
"""The largest share with which the error is kept: the first of many that passes is a lucky one."""

_STEPS_AROUND = (1.1, 1.06, 1.03, 1.0, 0.97, 0.93, 0.88)
"""Steps against the best one found; the coarsest is taken that keeps the error when it is checked."""

_WELL_WITHIN, _STEPS_FAR = 0.94, (1.35, 1.2)
"""Share of the wanted error below which coarser steps are tried before."""


@dataclass
class RoundingNoise:
    """How much error a step adds to that of a fitted surface, in steps: the squares add up, about."""

    per_step: float = 0.12

    def learn(self, own: float, candidate: CodedCandidate) -> None:
        """Note what a step came to."""
        self.per_step = math.sqrt(_added(candidate, own)) / candidate.step


def with_step_for(
    coder: SurfaceCoder, fitted: FittedSurface, wanted: float, noise: RoundingNoise
) -> CodedCandidate:
    """Return a fitted surface with the coarsest step found that keeps the wanted error."""
    own = coder.unrounded(fitted)
    close = _CLOSE if fitted.faces <= MANY_FACES else _CLOSE_ENOUGH
    aim = max(_HIGHEST_AIM * wanted, _HARDLY_MORE * own)
    step = max(math.sqrt(aim**2 - own**2) / noise.per_step, FINEST_STEP)
    tried: list[CodedCandidate] = []
    for _ in range(STEP_TRIES):
        tried.append(coder.coded(fitted, step))
        near = close * wanted <= tried[-1].distance <= wanted
        if tried[-1].distance <= wanted and coder.settles:
            break
        if near or aim > wanted or not FINEST_STEP < step < COARSEST_STEP:
            break
        step *= min(max(_step_after(tried, own, aim) / step, 0.2), 4.0)
    noise.learn(own, tried[-1])
    best = tried[0]
    for candidate in tried[1:]:
        best = candidate if is_better(candidate, best, wanted) else best
    return best


def _step_after(tried: Sequence[CodedCandidate], own: float, aim: float) -> float:
    """Return the step at which the error should be the one aimed at, between those that had less and more.

    What rounding adds to the square of the error grows with some power of the step: the second where all of a
    surface is off anyway, less where most of it is exact. A try that was too far off is made up for by aiming
    lower, or one end would stay for ever.

    own : error before rounding, which is that of a step of 0
    """
    last = tried[-1]
    goal = aim - min(max(0.5 * (last.distance - aim), 0.0), _MADE_UP * aim)
    below = max((x for x in tried if x.distance <= goal), key=lambda x: x.step, default=None)
    above = min((x for x in tried if x.distance > goal), key=lambda x: x.step, default=None)
    if below is None or above is None:
        known, low, high = sorted(tried, key=lambda x: abs(x.distance - goal))[:2], 0.0, math.inf
    elif above.step <= below.step:
        return 0.5 * (above.step + below.step)
    else:
        known, low, high = [below, above], below.step, above.step
    wanted = max(goal**2 - own**2, (_LEAST_ADDED * goal) ** 2)
    reached: float = known[0].step * (wanted / _added(known[0], own)) ** (1.0 / _power(known, own))
    return min(max(reached, low), high)


def _power(known: Sequence[CodedCandidate], own: float) -> float:
    """Return with which power of the step rounding adds to the square of the error."""
    few, *many = sorted(known, key=lambda x: x.step)
    if not many or few.step == many[0].step:
        return _USUAL_POWER
    rise = math.log(_added(many[0], own) / _added(few, own))
    return min(max(rise / math.log(many[0].step / few.step), _POWERS[0]), _POWERS[1])


def _added(candidate: CodedCandidate, own: float) -> float:
    """Return the square of what rounding added to an error, of which a little is left in any case."""
    least = (_LEAST_ADDED * candidate.distance) ** 2
    return max(candidate.distance**2 - own**2, least)


def coarsest_within(coder: SurfaceCoder, found: CodedCandidate, wanted: float) -> CodedCandidate:
    """Return the first candidate that keeps the error by the closer measurement, of steps around that found.

    The same surface with a slightly other step is off by some per cent more or less: what one rounding gains
    in the search from its points, it may lose here, and the other way round.
    """
    checked = coder.checked(found)
    limit = _SURELY * wanted
    near = _NEAR if found.fitted.faces <= MANY_FACES else _NEAR_ENOUGH
    if found.distance > wanted or near * wanted <= checked.distance <= limit:
        return checked
    if checked.distance <= limit and coder.settles:
        return checked
    far = _STEPS_FAR if checked.distance < _WELL_WITHIN * wanted else ()
    for factor in (*far, *_STEPS_AROUND):
        other = coder.checked(coder.coded(found.fitted, factor * found.step)) if factor != 1.0 else checked
        if other.distance <= limit:
            return other
        checked = min(checked, other, key=lambda candidate: candidate.distance)
    return checked


def is_better(candidate: CodedCandidate, best: CodedCandidate, wanted: float) -> bool:
    """Return whether a candidate is smaller among those within the error, or nearer when none is."""
    if candidate.distance > wanted:
        return candidate.distance < best.distance
    return best.distance > wanted or candidate.size < best.size
