"""The job queue's decisions, with workers that do nothing by themselves and a clock that stands still."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scene_codec.service import protocol
from scene_codec.service.job_queue import CANCEL_GRACE_S, CLOSE_GRACE_S, JobQueue
from scene_codec.service.worker import READY


class FakeWorker:
    def __init__(self):
        self.sent = []
        self.finished = self.killed = False

    def send(self, message):
        self.sent.append(message)

    def finish(self):
        self.finished = True

    def kill(self):
        self.killed = True

    def last_words(self):
        return "the last words"


class Bench:
    """A queue with everything around it recorded."""

    def __init__(self):
        self.now = 100.0
        self.workers = []
        self.answers = []
        self.queue = JobQueue(self.start, self.answers.append, Path("backend.log"), lambda: self.now)

    def start(self):
        self.workers.append(FakeWorker())
        return self.workers[-1]

    def worker_of(self, job):
        return next(worker for worker in self.workers if any(m.get("id") == job for m in worker.sent))

    def finish(self, job):
        self.queue.take_message(self.worker_of(job), protocol.result_answer(job, "fine"))

    def words(self):
        return [(a["id"], a["error"]["data"]["code"] if "error" in a else "done") for a in self.answers]

    def running(self):
        """Return the jobs that were sent to a worker which has not ended."""
        return [m["id"] for w in self.workers if not w.finished for m in w.sent if "id" in m]


@pytest.fixture
def bench():
    return Bench()


def test_a_spare_worker_is_started_before_anybody_asks_and_takes_the_first_job(bench):
    bench.queue.warm_up()
    bench.queue.warm_up()
    (spare,) = bench.workers
    bench.queue.submit(1, "echo", {"value": 5})
    assert spare.sent == [protocol.request(1, "echo", {"value": 5})]
    assert len(bench.workers) == 1  # no second import of torch beside a running job that nobody waits for


def test_a_spare_is_started_when_another_job_waits_or_the_running_one_has_ended(bench):
    bench.queue.submit(1, "echo", {})
    bench.queue.submit(2, "echo", {})
    assert len(bench.workers) == 2
    bench.finish(1)
    assert bench.running() == [2]
    assert len(bench.workers) == 2
    bench.finish(2)
    assert len(bench.workers) == 3
    assert [worker.finished for worker in bench.workers] == [True, True, False]


@given(
    st.lists(
        st.sampled_from(["submit", "finish", "crash", "cancel running", "cancel last", "tick"]), max_size=30
    )
)
@settings(derandomize=True, max_examples=200)
def test_every_job_is_answered_once_one_runs_at_a_time_and_workers_are_never_reused(steps):
    bench = Bench()
    count = 0
    for step in steps:
        running = bench.running()
        if step == "submit":
            count += 1
            bench.queue.submit(count, "echo", {})
        elif step == "finish" and running:
            bench.finish(running[0])
        elif step == "crash" and running:
            worker = bench.worker_of(running[0])
            worker.finished = True
            bench.queue.take_exit(worker, -11)
        elif step == "cancel running" and running:
            bench.queue.cancel(running[0])
        elif step == "cancel last" and count:
            bench.queue.cancel(count)
        elif step == "tick":
            bench.now += CANCEL_GRACE_S
            bench.queue.tick()
        assert len(bench.running()) <= 1
        assert len([worker for worker in bench.workers if not worker.finished]) <= 2
    while running := bench.running():
        bench.finish(running[0])
    assert sorted(answer["id"] for answer in bench.answers) == list(range(1, count + 1))
    assert all(len([m for m in worker.sent if "id" in m]) <= 1 for worker in bench.workers)


def test_a_crash_is_answered_with_how_it_ended_and_where_the_log_lies(bench):
    bench.queue.submit(1, "encode", {})
    bench.queue.take_exit(bench.worker_of(1), -11)
    (answer,) = bench.answers
    assert answer["error"]["data"]["code"] == "backend-crash"
    assert "signal SIGSEGV" in answer["error"]["message"]
    assert answer["error"]["data"]["log"] == "backend.log"
    assert answer["error"]["data"]["last_words"] == "the last words"


def test_a_cancelled_job_is_killed_after_the_grace_period_and_not_before(bench):
    bench.queue.submit(1, "encode", {})
    assert bench.queue.tick() is None
    assert bench.queue.cancel(1)
    worker = bench.worker_of(1)
    assert worker.sent[-1] == protocol.notification("cancel", {"job": 1})
    assert bench.queue.tick() == CANCEL_GRACE_S
    bench.now += CANCEL_GRACE_S - 1
    assert bench.queue.tick() == 1
    assert not worker.killed
    bench.now += 1
    assert bench.queue.tick() is None
    assert worker.killed
    bench.queue.take_exit(worker, -9)
    assert bench.words() == [(1, "cancelled")]


def test_cancelling_twice_neither_sends_nor_waits_twice(bench):
    bench.queue.submit(1, "encode", {})
    bench.queue.cancel(1)
    bench.now += 3
    bench.queue.cancel(1)
    assert len(bench.worker_of(1).sent) == 2
    assert bench.queue.tick() == CANCEL_GRACE_S - 3


def test_a_job_that_was_quicker_than_its_cancellation_is_done(bench):
    bench.queue.submit(1, "encode", {})
    bench.queue.cancel(1)
    bench.finish(1)
    assert bench.words() == [(1, "done")]
    assert not bench.queue.cancel(1)


def test_a_worker_that_does_not_end_after_its_job_is_killed(bench):
    bench.queue.submit(1, "encode", {})
    bench.finish(1)
    bench.now += CANCEL_GRACE_S
    bench.queue.tick()
    assert bench.worker_of(1).killed


def test_closing_cancels_everything_and_is_idle_when_all_workers_are_gone(bench):
    bench.queue.submit(1, "encode", {})
    bench.queue.submit(2, "encode", {})
    running, spare = bench.workers
    bench.queue.close()
    assert bench.words() == [(2, "cancelled")]
    assert spare.killed
    bench.queue.take_exit(spare, -9)
    assert not bench.queue.idle
    bench.now += CLOSE_GRACE_S
    bench.queue.tick()
    assert running.killed
    bench.queue.take_exit(running, -9)
    assert bench.words() == [(2, "cancelled"), (1, "cancelled")]
    assert bench.queue.idle
    assert len(bench.workers) == 2


def test_the_environment_is_told_to_all_who_wait_and_at_once_to_those_who_come_later(bench):
    told = []
    for name in "ab":
        bench.queue.when_described(lambda environment, error, name=name: told.append((name, environment)))
    assert told == []
    bench.queue.take_message(bench.workers[0], protocol.notification(READY, {"torch": "2"}))
    bench.queue.when_described(lambda environment, error: told.append(("c", environment)))
    assert told == [(name, {"torch": "2"}) for name in "abc"]


def test_a_worker_that_cannot_start_is_reported_and_started_again_only_when_asked(bench):
    told = []
    bench.queue.when_described(lambda environment, error: told.append((environment, error)))
    bench.queue.take_exit(bench.workers[0], 1)
    ((environment, error),) = told
    assert environment is None
    assert "did not start (exit code 1)" in error["message"]
    assert "the last words" in error["message"]
    assert len(bench.workers) == 1
    bench.queue.submit(1, "echo", {})
    assert len(bench.workers) == 2


def test_messages_of_a_worker_whose_job_has_ended_go_nowhere(bench):
    bench.queue.submit(1, "encode", {})
    worker = bench.worker_of(1)
    bench.finish(1)
    bench.queue.take_message(worker, protocol.notification("progress", {"job": 1}))
    bench.finish(1)
    assert bench.words() == [(1, "done")]
