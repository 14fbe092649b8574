"""Finds the number of faces and the step with which a surface reaches a wanted error, or a size, best.

Fewer faces and finer steps, or more faces and coarser ones: for each number of faces there is one step that
reaches the error, and the bytes have one lowest point over the number of faces.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scene_codec.codecs.mesh_surface.surface_coding import (
    COARSEST_STEP,
    FINEST_STEP,
    CodedCandidate,
    FittedSurface,
    SurfaceCoder,
)

FEWEST_FACES = 4
MOST_FACES = 200_000

_FIRST_FACES = 400
_FITTED_SHARE = (0.72, 0.95)
"""Share of the wanted error that the fitted surface may have before rounding, for a good start."""

_BRACKETS = 7
_NEIGHBOUR = 1.2
_STEP_TRIES = 4
_USUAL_STEP = 3.0
"""Step against the fitted error at which neither faces nor bits a vertex are worth changing."""

_CLOSE = 0.98
_STEPS_TO_ERROR = 0.3
"""Mean error that rounding alone makes, in steps."""

_FILLED = 0.97


def reach_error(coder: SurfaceCoder, wanted: float, most_faces: int | None) -> CodedCandidate:
    """Return the smallest candidate within a mean distance, in the frame; the nearest one if none is."""
    limit = min(coder.most_faces, most_faces or MOST_FACES, MOST_FACES)
    found: dict[int, CodedCandidate] = {}

    def size(faces: int) -> float:
        """Return bytes; candidates that miss the error are worse than all others, by how much they do."""
        if faces not in found:
            found[faces] = _with_step_for(coder, coder.fitted(faces), wanted)
        candidate = found[faces]
        missed = candidate.distance / wanted
        return float(candidate.size) if missed <= 1.0 else 1e12 * missed

    start = _faces_for(coder, wanted, limit)
    best = _descend(size, start, limit)
    size(best)
    return found[best]


def reach_size(coder: SurfaceCoder, wanted: int, most_faces: int | None) -> CodedCandidate:
    """Return the nearest candidate of at most so many bytes; the smallest there is if none fits."""
    limit = min(coder.most_faces, most_faces or MOST_FACES, MOST_FACES)
    faces = min(limit, max(FEWEST_FACES, round(wanted * 8 / 9)))
    best: CodedCandidate | None = None
    whole: CodedCandidate | None = None
    for _ in range(_BRACKETS):
        fitted = coder.fitted(faces)
        candidate = coder.coded(fitted, _USUAL_STEP * fitted.error.distance)
        if faces == limit:
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
        smallest = coder.coded(coder.fitted(FEWEST_FACES), COARSEST_STEP)
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
    for _ in range(_STEP_TRIES):
        vertices = len(best.fitted.mesh.vertices)
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


def _faces_for(coder: SurfaceCoder, wanted: float, limit: int) -> int:
    """Return a number of faces at which the fitted surface is somewhat nearer than wanted.

    Errors fall with the faces, but by leaps where a shape needs a certain number of them: what is known to be
    too few and enough is closed in from both sides.
    """
    faces = min(limit, _FIRST_FACES)
    too_few, enough = FEWEST_FACES - 1, limit + 1
    for _ in range(_BRACKETS):
        share = coder.fitted(faces).error.distance / wanted
        if _FITTED_SHARE[0] <= share <= _FITTED_SHARE[1]:
            return faces
        if share > _FITTED_SHARE[1]:
            too_few = max(too_few, faces)
        else:
            enough = min(enough, faces)
        following = round(faces * min(max(share / 0.85, 0.125), 8.0))
        if not too_few < following < enough:
            following = round(math.sqrt(too_few * enough))
        if not too_few < following < enough:
            break
        faces = following
    return min(enough, limit)


def _descend(size: Callable[[int], float], start: int, limit: int) -> int:
    """Return the number of faces, of those in steps of a fifth from `start`, at which `size` is least."""
    best = start
    for factor in (_NEIGHBOUR, 1.0 / _NEIGHBOUR):
        improved = False
        for _ in range(_BRACKETS):
            following = min(limit, max(FEWEST_FACES, round(best * factor)))
            if following == best or size(following) >= size(best):
                break
            best, improved = following, True
        if improved:
            break
    return best


def _with_step_for(coder: SurfaceCoder, fitted: FittedSurface, wanted: float) -> CodedCandidate:
    """Return a fitted surface with the coarsest step found that keeps the wanted error."""
    own = fitted.error.distance
    room = math.sqrt(max(wanted**2 - own**2, (0.1 * wanted) ** 2))
    step = max(room / _STEPS_TO_ERROR / 2.0, 1e-9)
    best: CodedCandidate | None = None
    for _ in range(_STEP_TRIES):
        candidate = coder.coded(fitted, step)
        if best is None or _nearer_to(candidate, best, wanted):
            best = candidate
        if _CLOSE * wanted <= candidate.distance <= wanted:
            break
        added = math.sqrt(max(candidate.distance**2 - own**2, (0.05 * candidate.distance) ** 2))
        allowed = math.sqrt(max((0.99 * wanted) ** 2 - own**2, 0.0))
        if allowed == 0.0 or not FINEST_STEP < step < COARSEST_STEP:
            break
        step *= min(max(allowed / added, 0.25), 2.5)
    assert best is not None
    return best


def _nearer_to(candidate: CodedCandidate, best: CodedCandidate, wanted: float) -> bool:
    """Return whether a candidate is smaller among those within the error, or nearer when none is."""
    if candidate.distance > wanted:
        return candidate.distance < best.distance
    return best.distance > wanted or candidate.size < best.size
