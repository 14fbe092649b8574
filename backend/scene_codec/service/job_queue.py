"""Runs one job at a time, each in a worker process of its own, and tells the host how each one ended.

A fresh worker per job means that a crash costs one job and that all memory, that of the graphics card
included, is free again after each. So that nobody waits for the import of torch, a spare worker is kept
ready whenever no job runs or another one waits.

Single-threaded: the server's loop calls everything here, and passes on what the workers report.
"""

from __future__ import annotations

import collections
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from scene_codec.service import protocol
from scene_codec.service.channel import describe_exit
from scene_codec.service.worker import READY

CANCEL_GRACE_S = 5.0
"""How long a cancelled job, or a worker that is no longer needed, may take before it is killed."""

CLOSE_GRACE_S = 2.0
"""The same when the service shuts down."""

logger = logging.getLogger(__name__)


class WorkerHandle(Protocol):
    """What the queue needs of a worker; see `worker_process.WorkerProcess`."""

    def send(self, message: dict[str, Any]) -> None:
        """Send a message."""
        ...

    def finish(self) -> None:
        """Ask it to end."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...

    def last_words(self) -> str:
        """Return the end of its stderr."""
        ...


@dataclass
class _Job:
    id: protocol.JobId
    method: str
    params: dict[str, Any]


@dataclass
class _Running:
    job: _Job
    worker: WorkerHandle
    kill_at: float | None = None  # set once it was cancelled


Waiter = Callable[[dict[str, Any] | None, dict[str, Any]], None]
"""Called with the environment, or with None and the error's `message`, `hint` and details."""


class JobQueue:
    """The jobs of one service."""

    def __init__(
        self,
        start_worker: Callable[[], WorkerHandle],
        send: Callable[[dict[str, Any]], None],
        log_path: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._start_worker = start_worker
        self._send = send
        self._log_path = log_path
        self._clock = clock
        self._waiting: collections.deque[_Job] = collections.deque()
        self._running: _Running | None = None
        self._spare: WorkerHandle | None = None
        self._retired: dict[WorkerHandle, float] = {}
        self._environment: dict[str, Any] | None = None
        self._environment_waiters: list[Waiter] = []
        self._closing = False

    @property
    def idle(self) -> bool:
        """Whether no worker process is left."""
        return self._running is None and self._spare is None and not self._retired

    def holds(self, job_id: protocol.JobId) -> bool:
        """Whether a job with this id waits or runs."""
        running = self._running is not None and self._running.job.id == job_id
        return running or any(job.id == job_id for job in self._waiting)

    def warm_up(self) -> None:
        """Make sure that a worker is there or on its way."""
        self._schedule()

    def when_described(self, waiter: Waiter) -> None:
        """Call `waiter` as soon as a worker has told about its environment, or could not start."""
        if self._environment is not None:
            waiter(self._environment, {})
            return
        self._environment_waiters.append(waiter)
        self._schedule()

    def submit(self, job_id: protocol.JobId, method: str, params: dict[str, Any]) -> None:
        """Take a job; its answer is sent when it ends."""
        self._waiting.append(_Job(job_id, method, params))
        self._schedule()

    def cancel(self, job_id: protocol.JobId) -> bool:
        """Stop a job that waits or runs; its answer "cancelled" follows. Returns whether there was one."""
        for job in self._waiting:
            if job.id == job_id:
                self._waiting.remove(job)
                self._answer_cancelled(job)
                return True
        if self._running is None or self._running.job.id != job_id:
            return False
        self._cancel_running(CANCEL_GRACE_S)
        return True

    def close(self) -> None:
        """Cancel everything and let all workers end; `idle` tells when they have."""
        self._closing = True
        while self._waiting:
            self._answer_cancelled(self._waiting.popleft())
        if self._running is not None:
            self._cancel_running(CLOSE_GRACE_S)
        if self._spare is not None:
            # It may be in the middle of an import, which nobody needs to wait for.
            self._spare.kill()
            self._retire(self._spare)
            self._spare = None

    def take_message(self, worker: WorkerHandle, message: dict[str, Any]) -> None:
        """Take a message of a worker."""
        if message.get("method") == READY:
            self._environment = message["params"]
            self._tell_waiters(self._environment, {})
        elif self._running is None or worker is not self._running.worker:
            logger.warning("a worker without a job said something")
        elif message.get("method") in (protocol.PROGRESS, protocol.LOG):
            self._send(message)
        elif message.get("id") == self._running.job.id:
            self._running = None
            self._retire(worker)
            self._send(message)
            self._schedule()

    def take_exit(self, worker: WorkerHandle, exit_code: int) -> None:
        """Take the news that a worker ended."""
        if self._retired.pop(worker, None) is not None:
            return
        if worker is self._spare:
            # Not started again by itself: where it cannot start, that would keep the machine busy for ever.
            self._spare = None
            text = f"The backend's worker did not start ({describe_exit(exit_code)}). {worker.last_words()}"
            hint = f"Repair the backend in the preferences. The log says more: {self._log_path}"
            logger.error("%s", text)
            self._tell_waiters(None, {"message": text.strip(), "hint": hint, "log": str(self._log_path)})
        elif self._running is not None and worker is self._running.worker:
            running, self._running = self._running, None
            if running.kill_at is not None:
                self._answer_cancelled(running.job)
            else:
                self._answer_crashed(running.job, exit_code, worker.last_words())
            self._schedule()

    def tick(self) -> float | None:
        """Kill what had to end by now; return the seconds until the next such moment, or None."""
        now = self._clock()
        if self._running is not None and self._running.kill_at is not None and self._running.kill_at <= now:
            logger.warning("job %r did not react to its cancellation and is killed", self._running.job.id)
            self._running.worker.kill()
            self._running.kill_at = float("inf")
        for worker, kill_at in self._retired.items():
            if kill_at <= now:
                worker.kill()
                self._retired[worker] = float("inf")
        moments = [moment for moment in self._retired.values() if moment != float("inf")]
        if self._running is not None and self._running.kill_at not in (None, float("inf")):
            moments.append(self._running.kill_at)
        return max(0.0, min(moments) - now) if moments else None

    def _schedule(self) -> None:
        """Start the next job if none runs, and keep a spare worker if one will be of use soon."""
        if self._closing:
            return
        if self._running is None and self._waiting:
            worker, self._spare = self._spare or self._start_worker(), None
            job = self._waiting.popleft()
            self._running = _Running(job, worker)
            worker.send(protocol.request(job.id, job.method, job.params))
        if self._spare is None and (self._running is None or self._waiting or self._environment_waiters):
            self._spare = self._start_worker()

    def _cancel_running(self, grace_s: float) -> None:
        assert self._running is not None
        kill_at = self._clock() + grace_s
        if self._running.kill_at is None:
            self._running.worker.send(protocol.notification(protocol.CANCEL, {"job": self._running.job.id}))
            self._running.kill_at = kill_at
        else:
            self._running.kill_at = min(self._running.kill_at, kill_at)

    def _retire(self, worker: WorkerHandle) -> None:
        worker.finish()
        self._retired[worker] = self._clock() + (CLOSE_GRACE_S if self._closing else CANCEL_GRACE_S)

    def _tell_waiters(self, environment: dict[str, Any] | None, error: dict[str, Any]) -> None:
        waiters, self._environment_waiters = self._environment_waiters, []
        for waiter in waiters:
            waiter(environment, error)

    def _answer_cancelled(self, job: _Job) -> None:
        self._send(protocol.error_answer(job.id, "cancelled", "The job was cancelled. Nothing was written."))

    def _answer_crashed(self, job: _Job, exit_code: int, last_words: str) -> None:
        end = describe_exit(exit_code)
        logger.error("job %r (%s) crashed: %s", job.id, job.method, end)
        text = f"The backend crashed while it ran {job.method!r} ({end})."
        hint = f"Try fewer or simpler objects. The log says more: {self._log_path}"
        details = {"exit": end, "log": str(self._log_path), "last_words": last_words}
        self._send(protocol.error_answer(job.id, "backend-crash", text, hint, **details))
