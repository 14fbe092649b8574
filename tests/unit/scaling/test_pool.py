"""One body of claims for every pool; processes also survive crashes, bound time and leave nothing behind."""

import itertools
import subprocess
import sys
from pathlib import Path

import pool_work
import pytest

from scene_codec.errors import Cancelled, InvalidRequestError
from scene_codec.scaling.pool import Needs, open_pool

PLACES = ["inline", "processes:2"]


@pytest.mark.parametrize("where", PLACES)
def test_every_job_gives_exactly_one_outcome(where):
    with open_pool(where) as pool:
        outcomes = list(pool.map_unordered(pool_work.square, range(9)))
    assert sorted((outcome.job, outcome.result) for outcome in outcomes) == [(n, n * n) for n in range(9)]
    assert all(outcome.failure is None for outcome in outcomes)


@pytest.mark.parametrize("where", PLACES)
def test_an_exception_costs_one_job_and_is_told_in_the_same_words_everywhere(where):
    with open_pool(where) as pool:
        outcomes = {o.job: o for o in pool.map_unordered(pool_work.square_unless_odd, range(4))}
    assert [outcomes[n].result for n in range(4)] == [0, None, 4, None]
    assert outcomes[3].failure == "object 3: odd"
    assert "UnsupportedSceneError" in outcomes[3].details


@pytest.mark.parametrize("where", PLACES)
def test_no_jobs_give_no_outcomes(where):
    with open_pool(where) as pool:
        assert list(pool.map_unordered(pool_work.square, [])) == []


@pytest.mark.parametrize("where", PLACES)
def test_cancellation_inside_a_job_passes_on_to_the_caller(where):
    with open_pool(where) as pool, pytest.raises(Cancelled):
        list(pool.map_unordered(pool_work.cancel, range(3)))


@pytest.mark.parametrize("where", PLACES)
def test_check_stops_an_endless_run(where):
    calls = itertools.count()

    def check():
        if next(calls) > 5:
            raise Cancelled("stop")

    with open_pool(where) as pool, pytest.raises(Cancelled):
        for _ in pool.map_unordered(pool_work.square, itertools.count(), Needs(), check):
            pass


def test_a_poison_job_costs_itself_only():
    with open_pool("processes:2") as pool:
        outcomes = {
            o.job: o for o in pool.map_unordered(pool_work.square_or_die, range(31), Needs(retries=0))
        }
    assert sorted(outcomes) == list(range(31))
    assert [n for n, outcome in outcomes.items() if outcome.failure is not None] == [7]
    assert "crashed (exit code 3)" in outcomes[7].failure


def test_a_crash_is_retried(tmp_path):
    with open_pool("processes:1") as pool:
        (outcome,) = pool.map_unordered(
            pool_work.die_the_first_time, [str(tmp_path / "marker")], Needs(retries=1)
        )
    assert (outcome.result, outcome.failure) == ("second time", None)


def test_a_job_that_takes_too_long_is_killed_and_named(tmp_path, wait_for, process_runs):
    marker = tmp_path / "pid"
    with open_pool("processes:1") as pool:
        (outcome,) = pool.map_unordered(pool_work.hang, [str(marker)], Needs(timeout_s=1.0))
    assert outcome.failure == "stopped after 1 s, its time limit"
    wait_for(lambda: not process_runs(int(marker.read_text())))


def test_a_result_that_cannot_travel_is_a_failure_of_its_job():
    with open_pool("processes:1") as pool:
        (outcome,) = pool.map_unordered(pool_work.return_something_unpicklable, [1])
    assert outcome.result is None
    assert outcome.failure is not None


def test_processes_use_no_more_threads_than_the_job_needs():
    with open_pool("processes:1") as pool:
        (outcome,) = pool.map_unordered(pool_work.thread_settings, [0], Needs(threads=1))
    assert outcome.result == ("1", 1)


def test_leaving_early_stops_what_runs(tmp_path, wait_for, process_runs):
    marker = tmp_path / "pid"

    def leave_when_started():
        if marker.exists() and marker.read_text():
            raise Cancelled("stop")

    with open_pool("processes:1") as pool, pytest.raises(Cancelled):
        list(pool.map_unordered(pool_work.hang, [str(marker)], Needs(), leave_when_started))
    wait_for(lambda: not process_runs(int(marker.read_text())))


def test_killing_the_driver_leaves_no_process(tmp_path, wait_for, process_runs):
    marker = tmp_path / "pid"
    program = (
        f"import sys; sys.path.insert(0, {str(Path(pool_work.__file__).parent)!r})\n"
        "import pool_work\n"
        "from scene_codec.scaling.pool import open_pool\n"
        "if __name__ == '__main__':\n"
        "    with open_pool('processes:1') as pool:\n"
        "        list(pool.map_unordered(pool_work.hang, [sys.argv[1]]))\n"
    )
    script = tmp_path / "driver.py"
    script.write_text(program)
    with subprocess.Popen([sys.executable, str(script), str(marker)]) as driver:
        wait_for(lambda: marker.exists() and marker.read_text())
        driver.kill()
    wait_for(lambda: not process_runs(int(marker.read_text())))


@pytest.mark.parametrize(
    "where", ["", "ray", "ray://head", "processes", "processes:0", "processes:-1", "processes:²", "x"]
)
def test_an_unknown_place_is_refused_and_the_known_ones_are_named(where):
    with pytest.raises(InvalidRequestError, match=r"'inline'.*'processes:N'"):
        open_pool(where)
