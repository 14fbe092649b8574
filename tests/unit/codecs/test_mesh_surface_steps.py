"""The coarsest step that keeps an error is found in few tries, whatever rounding adds to the error."""

import math
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from scene_codec.codecs.mesh_surface.step_search import (
    MANY_FACES,
    STEP_TRIES,
    RoundingNoise,
    coarsest_within,
    with_step_for,
)
from scene_codec.codecs.mesh_surface.surface_coding import COARSEST_STEP, FINEST_STEP

WANTED = 1e-3


@dataclass(frozen=True)
class Candidate:
    """What the search looks at."""

    fitted: object
    step: float
    distance: float

    @property
    def size(self):
        return round(1000.0 - 100.0 * math.log2(self.step))


class Coder:
    """A surface whose error grows with a power of the step; measured closer, it is a bit more."""

    settles = False

    def __init__(self, own, per_step, power, closer=1.0):
        self.own, self.per_step, self.power, self.closer = own, per_step, power, closer
        self.tries = 0

    def unrounded(self, fitted):
        return self.own

    def coded(self, fitted, step):
        self.tries += 1
        step = min(max(step, FINEST_STEP), COARSEST_STEP)
        added = (self.per_step * WANTED) ** 2 * (step / WANTED) ** self.power
        return Candidate(fitted, step, math.sqrt(self.own**2 + added))

    def checked(self, candidate):
        return Candidate(candidate.fitted, candidate.step, self.closer * candidate.distance)


def fitted(faces=500):
    return SimpleNamespace(faces=faces)


@pytest.mark.parametrize("power", [0.8, 1.3, 2.0, 2.6])
@pytest.mark.parametrize("per_step", [0.06, 0.12, 0.5])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
def test_a_step_is_found_that_uses_the_error_up(power, per_step, share):
    coder = Coder(share * WANTED, per_step, power)
    found = with_step_for(coder, fitted(), WANTED, RoundingNoise())
    assert coder.tries <= STEP_TRIES
    assert found.distance <= WANTED
    assert found.distance > 0.9 * WANTED or found.step == COARSEST_STEP


def test_what_one_surface_taught_makes_the_next_one_quick():
    noise, coder = RoundingNoise(), Coder(0.5 * WANTED, 0.4, 2.0)
    with_step_for(coder, fitted(), WANTED, noise)
    coder.tries = 0
    with_step_for(coder, fitted(), WANTED, noise)
    assert coder.tries == 1


def test_a_surface_that_is_too_far_off_anyway_is_tried_once():
    coder = Coder(2.0 * WANTED, 0.1, 2.0)
    assert with_step_for(coder, fitted(), WANTED, RoundingNoise()).distance > WANTED
    assert coder.tries == 1


@pytest.mark.parametrize("closer", [0.9, 0.97, 1.0, 1.01, 1.05])
@pytest.mark.parametrize("faces", [500, 2 * MANY_FACES])
def test_the_closer_measurement_decides(closer, faces):
    coder = Coder(0.5 * WANTED, 0.2, 2.0, closer)
    found = with_step_for(coder, fitted(faces), WANTED, RoundingNoise())
    checked = coarsest_within(coder, found, WANTED)
    assert checked.distance <= WANTED
    assert checked.distance > 0.88 * WANTED


def test_a_search_that_has_done_enough_tries_no_further():
    coder = Coder(0.1 * WANTED, 0.02, 2.0)
    coder.settles = True
    found = with_step_for(coder, fitted(), WANTED, RoundingNoise())
    assert coder.tries == 1
    assert coarsest_within(coder, found, WANTED).step == found.step
