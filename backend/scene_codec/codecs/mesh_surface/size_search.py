"""Finds the surface that comes nearest within a wanted number of bytes.

That is the smallest one within some error, which is sought: bytes fall with a power of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from scene_codec.codecs.mesh_surface.quality_search import FEWEST_FACES, sketched_error, smallest_within
from scene_codec.codecs.mesh_surface.step_search import STEP_TRIES
from scene_codec.codecs.mesh_surface.surface_coding import (
    COARSEST_STEP,
    FINEST_STEP,
    CodedCandidate,
    Form,
    SurfaceCoder,
)

_FIRST_TRIES = 7
_USUAL_STEP = 3.0
"""Step against the fitted error at which neither faces nor bits a vertex are worth changing."""

_FILLED = 0.97

_NEARLY_FILLED, _FILLED_IN_HASTE = 0.96, 0.85
"""Share of the wanted bytes with which a search ends, and one that has done enough."""

_LEAST_ERROR = 1e-8
"""Share of the diagonal that is as good as no error."""

_SIZE_TRIES, _HARDLY_OVER = 6, 1.25
_USUAL_POWER, _POWERS_OF_SIZE = 0.7, (0.3, 2.0)
"""With which powers of the error bytes fall."""


def reach_size(coder: SurfaceCoder, wanted: int) -> CodedCandidate:
    """Return the nearest candidate of at most so many bytes; the smallest there is if none fits."""
    exact = coder.exact()
    if exact is not None and exact.size <= wanted:
        return exact
    best = coder.checked(_nearest_within(coder, wanted))
    over: CodedCandidate | None = None
    for candidate in _at_errors(coder, best, wanted):
        if _fits_better(candidate, best, wanted):
            best = candidate
        elif candidate.size > wanted and (over is None or candidate.size < over.size):
            over = candidate
    # One that is hardly too large is better with coarser steps than one with bytes left over.
    for start in (best, over):
        if start is not None and start.size <= _HARDLY_OVER * wanted:
            spent = coder.checked(_spend(coder, start, wanted))
            best = spent if _fits_better(spent, best, wanted) else best
    return best


def _at_errors(coder: SurfaceCoder, start: CodedCandidate, wanted: int) -> Iterator[CodedCandidate]:
    """Yield the smallest candidates within errors that should take so many bytes.

    Bytes fall with a power of the error, also that of what is found on the way.
    """
    error, power = max(start.distance, _LEAST_ERROR * coder.diagonal), _USUAL_POWER
    excess, fits = 0.0, math.inf
    before: tuple[float, int] | None = None
    for _ in range(_SIZE_TRIES):
        candidate = smallest_within(coder, error)
        yield candidate
        enough = _FILLED_IN_HASTE if coder.settles else _NEARLY_FILLED
        if enough * wanted <= candidate.size <= wanted:
            break
        if before is not None and before[0] != error and before[1] != candidate.size:
            power = math.log(before[1] / candidate.size) / math.log(error / before[0])
            power = min(max(power, _POWERS_OF_SIZE[0]), _POWERS_OF_SIZE[1])
        before = error, candidate.size
        if candidate.size <= wanted:
            fits = min(fits, error)
        else:
            excess = max(excess, error)
        error *= min(max((candidate.size / (_FILLED * wanted)) ** (1.0 / power), 0.125), 8.0)
        if not excess < error < fits:
            error = math.sqrt((excess or 0.125 * fits) * (fits if fits < math.inf else 8.0 * excess))


def _nearest_within(coder: SurfaceCoder, wanted: int) -> CodedCandidate:
    """Return it as the search measures it."""
    faces = max(FEWEST_FACES, round(wanted * 8 / 9))
    form = min(coder.forms, key=lambda form: sketched_error(coder, faces, form))
    limit = coder.most_faces_of(form)
    faces = min(limit, faces)
    best: CodedCandidate | None = None
    whole: CodedCandidate | None = None
    for _ in range(_FIRST_TRIES):
        fitted = coder.fitted(faces, form)
        candidate = coder.coded(fitted, _USUAL_STEP * fitted.error.distance)
        if faces == limit and form is Form.FLAT:
            whole = candidate
        if best is None or _fits_better(candidate, best, wanted):
            best = candidate
        ratio = wanted * _FILLED / candidate.size
        following = min(limit, max(FEWEST_FACES, round(faces * min(max(ratio, 0.2), 5.0))))
        if following == faces:
            break
        faces = following
    assert best is not None
    if best.size > wanted:
        smallest = coder.coded(coder.fitted(FEWEST_FACES, Form.FLAT), COARSEST_STEP)
        best = smallest if _fits_better(smallest, best, wanted) else best
    spent = _spend(coder, best, wanted)
    if whole is None or whole is best:
        return spent
    # All faces of a mesh may be worth a far coarser step than their own error, which is next to none.
    whole = _spend(coder, whole, wanted)
    return whole if _fits_better(whole, spent, wanted) else spent


def _spend(coder: SurfaceCoder, best: CodedCandidate, wanted: int) -> CodedCandidate:
    """Return a candidate with a finer step where bytes are left over, or a coarser one where they lack."""
    step = best.step
    for _ in range(STEP_TRIES):
        vertices = len(best.fitted.control.vertices)
        bits_left = 8.0 * (wanted * _FILLED - best.size) / (3.0 * vertices)
        if best.size <= wanted and bits_left < 0.1:
            break
        step *= 2.0 ** -min(max(bits_left, -8.0), 2.0)
        if not FINEST_STEP <= step <= COARSEST_STEP:
            break
        candidate = coder.coded(best.fitted, step)
        if not _fits_better(candidate, best, wanted):
            break
        best = candidate
    return best


def _fits_better(candidate: CodedCandidate, best: CodedCandidate, wanted: int) -> bool:
    """Return whether a candidate is nearer among those that fit, or smaller when none does."""
    if candidate.size > wanted:
        return candidate.size < best.size
    return best.size > wanted or candidate.distance < best.distance
