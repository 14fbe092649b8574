"""Finds the number of faces and the step with which a surface reaches a wanted error best.

Fewer faces and finer steps, or more faces and coarser ones: for each number of faces there is one step that
reaches the error, and the bytes have one lowest point over the number of faces.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scene_codec.codecs.mesh_surface.exact_surface import is_worth_it
from scene_codec.codecs.mesh_surface.step_search import (
    MANY_FACES,
    RoundingNoise,
    coarsest_within,
    is_better,
    with_step_for,
)
from scene_codec.codecs.mesh_surface.surface_coding import (
    CodedCandidate,
    Form,
    SurfaceCoder,
)

FEWEST_FACES = 4

_FIRST_FACES = 300
_FITTED_SHARE = (0.75, 1.05)
"""Share of the wanted error that a sketched surface may have before rounding, for a good start."""

_AIMED_SHARE = 0.9
_FITTED_SHARE_OF_MANY, _AIMED_SHARE_OF_MANY = (0.66, 0.92), 0.8
"""The same where numbers of faces beside the first are not tried."""

_NOTHING = 0.05
"""Shares below are alike: they are next to nothing, of surfaces that are all but exact."""

LOST = 1.6
"""A form with more than so many times the least error is not followed further."""

_LOST_OF_MANY = 1.15

_SLOWEST = 0.6
"""With which power of the faces errors fall at least, of a form that has not come to its end."""

_FOR_MORE_FACES = 1.04
"""What bytes of a surface of more triangles than the mesh has count for."""

_WORTH_TRYING = 1.15
_HOPELESS = 1.05

_BRACKETS = 7
_NEIGHBOUR = 1.2
_FORMS_OF_MANY = 2
"""Forms that are fitted and coded."""

_MOVES = 2
_POWERS = (0.7, 6.0)
"""With which powers of the faces errors are taken to fall."""

_VERY_MANY_FACES = 8_000
"""Control faces of which one form is coded, at one number of faces."""

_BEST_SHARE, _GOOD_SHARE = 0.8, (0.74, 0.86)
"""Share of the wanted error that fitted surfaces had before rounding where neighbours were no smaller."""


def reach_error(coder: SurfaceCoder, wanted: float) -> CodedCandidate:
    """Return the smallest candidate within a wanted error, in the frame; the nearest one if none is."""
    found, exact = smallest_within(coder, wanted), coder.exact()
    if exact is not None and (found.distance > wanted or is_worth_it(exact.size, found.size)):
        return exact
    return found


def smallest_within(coder: SurfaceCoder, wanted: float) -> CodedCandidate:
    """Return the same, of the candidates that are simplified and rounded."""
    best: CodedCandidate | None = None
    starts = _starts(coder, wanted)
    if starts[0][1] > MANY_FACES:
        starts = _starts_of_many(coder, starts, wanted)
    for form, start in starts:
        if best is not None and best.distance <= wanted and coder.settles:
            break
        found = _reach_with(coder, form, start, wanted, best)
        if best is None or _is_preferred(found, best, wanted, coder.most_faces):
            best = found
    assert best is not None
    return coarsest_within(coder, best, wanted)


def _is_preferred(found: CodedCandidate, best: CodedCandidate, wanted: float, source: int) -> bool:
    """Return whether a form is to be taken in place of another.

    source : faces of the mesh; a form that makes more of them than there were has to save bytes for it
    """
    if max(found.distance, best.distance) > wanted:
        return is_better(found, best, wanted)
    sizes = [
        candidate.size * (_FOR_MORE_FACES if len(candidate.decoded.faces) > source else 1.0)
        for candidate in (found, best)
    ]
    return sizes[0] < sizes[1]


def _reach_with(
    coder: SurfaceCoder, form: Form, start: int, wanted: float, rival: CodedCandidate | None
) -> CodedCandidate:
    """Return the best candidate of a form; the first one alone if a rival of another form is far better."""
    found: dict[int, CodedCandidate] = {}
    noise = RoundingNoise()

    def size(faces: int) -> float:
        """Return bytes; candidates that miss the error are worse than all others, by how much they do."""
        if faces not in found:
            found[faces] = with_step_for(coder, coder.fitted(faces, form), wanted, noise)
        candidate = found[faces]
        missed = candidate.distance / wanted
        return float(candidate.size) if missed <= 1.0 else 1e12 * missed

    if rival is not None and rival.distance <= wanted and size(start) > _HOPELESS * rival.size:
        return found[start]
    size(start)
    if found[start].distance <= wanted and (start > MANY_FACES or coder.settles):
        return found[start]
    return found[_descend(size, start, coder.most_faces_of(form))]


def _starts_of_many(
    coder: SurfaceCoder, starts: Sequence[tuple[Form, int]], wanted: float
) -> list[tuple[Form, int]]:
    """Return the forms to code, with faces at which a fitted surface has the share that is usually best.

    That is looked for with the most promising form alone, and once where there are very many faces. One
    surface is fitted; the others are sketched, and taken to gain as much by fitting.
    """
    form, first = starts[0]
    faces, most = first, coder.most_faces_of(form)
    share = max(coder.unrounded(coder.fitted(faces, form)) / wanted, _NOTHING)
    left = share / _shares(coder, faces, [form], wanted)[form]
    before: tuple[int, float] | None = None
    for _ in range(_MOVES if first <= _VERY_MANY_FACES else 1):
        if before is not None:
            share = left * _shares(coder, faces, [form], wanted)[form]
        if _GOOD_SHARE[0] <= share <= _GOOD_SHARE[1] or (share < 1.0 and coder.settles):
            break
        power = 1.0
        if before is not None and faces != before[0]:
            power = math.log(before[1] / share) / math.log(faces / before[0])
        reach = (share / _BEST_SHARE) ** (1.0 / min(max(power, _POWERS[0]), _POWERS[1]))
        before = faces, share
        faces = min(round(faces * min(max(reach, 0.5), 2.0)), most)
    count = _FORMS_OF_MANY if first <= _VERY_MANY_FACES else 1
    return [
        (other, min(round(start * faces / first), coder.most_faces_of(other)))
        for other, start in starts[:count]
    ]


def _starts(coder: SurfaceCoder, wanted: float) -> list[tuple[Form, int]]:
    """Return the forms worth trying with a number of faces near the best, the most promising first.

    Surfaces are only sketched: how many faces are needed follows, as errors fall about as faces grow. Where
    they do not, a form has come to its end, as smooth surfaces do on facets, and all others are asked again.
    """
    forms = list(coder.forms)
    most = max(map(coder.most_faces_of, forms))
    bracket = _Bracket(FEWEST_FACES - 1, most + 1)
    faces = min(_FIRST_FACES, most)
    shares: dict[Form, float] = {}
    for _ in range(_BRACKETS):
        shares = _shares(coder, faces, forms, wanted)
        if bracket.stands_still(faces, min(shares.values())):
            shares = _shares(coder, faces, coder.forms, wanted)
            forms = list(coder.forms)
        lost = LOST if faces <= MANY_FACES >> 1 else _LOST_OF_MANY
        forms = [form for form in forms if shares[form] <= lost * min(shares.values())]
        following = bracket.following(faces, min(shares.values()))
        if following is None:
            break
        faces = following
    if min(shares.values()) > _FITTED_SHARE[1] and bracket.enough <= most:
        faces = bracket.enough
        shares = _shares(coder, faces, forms, wanted)
    least = min(shares.values())
    return [
        (form, min(round(faces * shares[form] / least), coder.most_faces_of(form)))
        for form in sorted(forms, key=lambda form: shares[form])
        if shares[form] <= _WORTH_TRYING * least
    ]


def _shares(coder: SurfaceCoder, faces: int, forms: Sequence[Form], wanted: float) -> dict[Form, float]:
    """Return the errors of sketches in the wanted one."""
    return {form: max(sketched_error(coder, faces, form) / wanted, _NOTHING) for form in forms}


def sketched_error(coder: SurfaceCoder, faces: int, form: Form) -> float:
    """Return the error of a form with so many faces, or all there are, before rounding."""
    return coder.sketched(min(faces, coder.most_faces_of(form)), form).error.distance


@dataclass
class _Bracket:
    """Numbers of faces known to be too few, and enough: errors fall by leaps where a shape needs so many.

    shares : of the wanted error, by what was tried, in that order
    """

    too_few: int
    enough: int
    shares: dict[int, float] = field(default_factory=dict)

    def following(self, faces: int, share: float) -> int | None:
        """Return what to try after so many faces had a share of the wanted error; None when it is near it."""
        (lowest, highest), aim = _FITTED_SHARE, _AIMED_SHARE
        if faces > MANY_FACES:
            (lowest, highest), aim = _FITTED_SHARE_OF_MANY, _AIMED_SHARE_OF_MANY
        if lowest <= share <= highest:
            return None
        self.shares[faces] = share
        if share > highest:
            self.too_few = max(self.too_few, faces)
        else:
            self.enough = min(self.enough, faces)
        following = round(faces * min(max(share / aim, 0.125), 8.0))
        if self.too_few in self.shares and self.enough in self.shares:
            following = self._between(aim)
        if not self.too_few < following < self.enough:
            following = round(math.sqrt(self.too_few * self.enough))
        return following if self.too_few < following < self.enough else None

    def stands_still(self, faces: int, share: float) -> bool:
        """Return whether more faces than before have hardly made the error less."""
        fewer = [tried for tried in self.shares if tried < faces]
        if not fewer:
            return False
        usual = math.pow(max(fewer) / faces, _SLOWEST)
        return share > usual * self.shares[max(fewer)]

    def _between(self, aim: float) -> int:
        """Return where a power law through both ends has a share, not too near an end.

        Errors seldom follow one. After two tries on the same side, the other end counts for half (the
        "Illinois" rule: M. Dowell, P. Jarratt, 1971).
        """
        few, many = math.log(self.too_few), math.log(self.enough)
        above = math.log(self.shares[self.too_few] / aim)
        below = math.log(aim / self.shares[self.enough])
        last, *before = [share > aim for share in self.shares.values()][-1:-3:-1]
        if before == [last]:
            above, below = (above, 0.5 * below) if last else (0.5 * above, below)
        place = above / (above + below)
        return round(math.exp(few + min(max(place, 0.15), 0.85) * (many - few)))


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
