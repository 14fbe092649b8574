"""The Bjontegaard rate against curves whose answer is known."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scene_codec.metrics.rate import bjontegaard_rate

ANCHOR = [(700.0, 8.0), (1200.0, 4.5), (2300.0, 2.2), (5000.0, 1.0)]


@given(st.floats(0.1, 10.0))
@settings(derandomize=True, max_examples=30)
def test_scaling_every_rate_is_found_exactly(factor):
    candidate = [(rate * factor, distortion) for rate, distortion in ANCHOR]
    assert bjontegaard_rate(ANCHOR, candidate) == pytest.approx(factor - 1.0)


def test_swapping_the_curves_inverts_the_ratio():
    candidate = [(500.0, 7.0), (1000.0, 3.9), (2600.0, 1.5)]
    there, back = bjontegaard_rate(ANCHOR, candidate), bjontegaard_rate(candidate, ANCHOR)
    assert (1.0 + there) * (1.0 + back) == pytest.approx(1.0)


def test_the_order_of_the_points_does_not_matter():
    candidate = [(500.0, 7.0), (1000.0, 3.9), (2600.0, 1.5)]
    assert bjontegaard_rate(ANCHOR[::-1], candidate) == bjontegaard_rate(ANCHOR, candidate[::-1])


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        ([(100.0, 0.9), (200.0, 0.5)], "share no range"),
        ([(100.0, 2.0)], "at least two points"),
        ([(100.0, 2.0), (0.0, 3.0)], "positive"),
        ([(100.0, 2.0), (200.0, 3.0)], "lose distortion"),
        ([(100.0, 2.0), (200.0, 2.0)], "lose distortion"),
    ],
)
def test_curves_that_cannot_be_compared_are_refused(candidate, reason):
    with pytest.raises(ValueError, match=reason):
        bjontegaard_rate(ANCHOR, candidate)
