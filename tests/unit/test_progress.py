"""The time left follows from what this run has done, also when an earlier one began the work."""

import pytest

from scene_codec import progress as module
from scene_codec.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves by hand."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_time_left_is_extrapolated_from_the_part_that_is_done(clock):
    events = []
    progress = Progress(events.append)
    clock[0] += 10.0
    progress.part(0.0, 0.5, "first").update(0.5)
    assert events[-1].remaining_s == pytest.approx(30.0)


def test_what_an_earlier_run_did_does_not_shorten_the_time_left(clock):
    events = []
    part = Progress(events.append).part(0.2, 1.0, "training").resumed(0.5)
    clock[0] += 8.0
    part.update(0.6)  # 8 s for a tenth of the part
    assert events[-1].remaining_s == pytest.approx(32.0)
    assert events[-1].fraction == pytest.approx(0.68)


def test_right_after_resuming_nothing_is_said_of_the_time_left(clock):
    events = []
    Progress(events.append).resumed(0.7).update(0.7)
    assert events[-1].remaining_s is None
