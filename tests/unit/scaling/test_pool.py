"""One body of claims for every pool; processes also survive crashes, bound time and leave nothing behind."""

import itertools
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pool_work
import pytest

from scene_codec.errors import Cancelled, InvalidRequestError
from scene_codec.scaling import process_pool
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


@pytest.mark.parametrize(
    ("work", "failure"),
    [
        (pool_work.die_if_odd, "its process crashed (exit code 3)"),
        (pool_work.leave_python_if_odd, "its process crashed (exit code 4)"),
        (pool_work.return_what_does_not_arrive_if_odd, "does not unpack"),
    ],
)
def test_every_other_job_a_poison_costs_none_of_the_good_ones(work, failure):
    with open_pool("processes:2") as pool:
        outcomes = list(pool.map_unordered(work, range(16), Needs(retries=0)))
    assert Counter(outcome.job for outcome in outcomes) == Counter(range(16))
    for outcome in outcomes:
        expected = (None, failure) if outcome.job % 2 else (outcome.job**2, None)
        assert (outcome.result, outcome.failure) == expected


def test_a_death_before_the_job_began_is_not_the_jobs(tmp_path):
    job = pool_work.DiesOnArrival(str(tmp_path), process_pool.FALSE_STARTS)
    with open_pool("processes:1") as pool:
        (outcome,) = pool.map_unordered(pool_work.square, [job], Needs(retries=0))
    assert (outcome.result, outcome.failure) == (process_pool.FALSE_STARTS**2, None)
    assert outcome.job is job


def test_a_job_that_never_arrives_alive_is_at_last_reported_as_crashed(tmp_path):
    jobs = [0, pool_work.DiesOnArrival(str(tmp_path), 1000), 2, 3]
    with open_pool("processes:2") as pool:
        outcomes = {id(o.job): o for o in pool.map_unordered(pool_work.square, jobs, Needs(retries=0))}
    assert outcomes[id(jobs[1])].failure == "its process crashed (exit code 3)"
    assert [outcomes[id(job)].result for job in jobs] == [0, None, 4, 9]
    assert len(list(tmp_path.iterdir())) == 1 + process_pool.FALSE_STARTS


def test_a_process_killed_from_outside_costs_no_job():
    found = []

    def jobs():
        for number in range(6):
            if number == 4:  # asked for when outcomes have come, while the process works or waits
                os.kill(found[-1], signal.SIGTERM)
            yield number

    jobs_seen = []
    with open_pool("processes:1") as pool:
        for outcome in pool.map_unordered(pool_work.own_process, jobs(), Needs(retries=1)):
            assert outcome.failure is None
            jobs_seen.append(outcome.job)
            found.append(outcome.result)
    assert sorted(jobs_seen) == list(range(6))
    assert len(set(found)) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_crash_is_seen_even_where_a_child_of_the_job_lives_on(tmp_path):
    marker = tmp_path / "pid"
    with open_pool("processes:1") as pool:
        (outcome,) = pool.map_unordered(pool_work.die_and_leave_a_child, [str(marker)], Needs(retries=0))
    os.kill(int(marker.read_text()), signal.SIGKILL)  # fails if it is gone: then the test has shown nothing
    assert outcome.failure == "its process crashed (exit code 3)"


def test_a_system_that_gives_no_process_is_told_to_the_caller(monkeypatch):
    def refuse(_):
        raise OSError("no more processes")

    monkeypatch.setattr(process_pool._Process, "_Popen", staticmethod(refuse))
    with open_pool("processes:2") as pool, pytest.raises(OSError, match="no more processes"):
        list(pool.map_unordered(pool_work.square, range(9)))


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
