"""The table of jobs: what runs, how far it is, and how it ended. Knows nothing of Blender.

A job is a generator that does a small piece of work between two `yield`s, so that a window stays fluid: an
operator calls `advance` once per timer tick. Operators keep the job's number and look it up here at each
tick, since undo and file loading throw away everything that was borrowed from the scene.
"""

from __future__ import annotations

import enum
import itertools
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any


class Step(enum.Enum):
    """What a job's generator says when it hands back control."""

    MORE = "more"  # there is further work at once
    WAIT = "wait"  # nothing to do before the backend or the user acts


class JobState(enum.Enum):
    """Where a job stands."""

    RUNNING = "running"
    CANCELLING = "cancelling"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobFailedError(Exception):
    """The job cannot go on; the message is shown to the user."""


class JobCancelledError(Exception):
    """Raised inside a job's generator when the user asked it to stop."""


@dataclass
class Job:
    """One encode, decode or environment job; `result` is set when it is DONE, `error` when it FAILED."""

    id: int
    kind: str
    title: str
    state: JobState = JobState.RUNNING
    fraction: float = 0.0
    message: str = ""
    remaining_s: float | None = None
    error: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    log: deque[str] = field(default_factory=lambda: deque(maxlen=200))

    @property
    def finished(self) -> bool:
        """Whether the job has ended, in whatever way."""
        return self.state in {JobState.DONE, JobState.FAILED, JobState.CANCELLED}

    @property
    def cancelling(self) -> bool:
        """Whether the user asked the job to stop and it has not ended yet."""
        return self.state is JobState.CANCELLING

    def check_cancelled(self) -> None:
        """Raise `JobCancelledError` when the user asked the job to stop."""
        if self.cancelling:
            raise JobCancelledError

    def report(self, fraction: float, message: str) -> None:
        """Show how far the job is."""
        self.fraction = min(max(fraction, 0.0), 1.0)
        self.message = message


Steps = Generator[Step, None, None]

KEPT_JOBS = 20  # finished jobs that stay visible in the panel

_numbers = itertools.count(1)
_jobs: dict[int, Job] = {}
_steps: dict[int, Steps] = {}


def start(kind: str, title: str, make_steps: Callable[[Job], Steps]) -> Job:
    """Enter a job into the table; nothing of it runs before the first `advance`."""
    job = Job(next(_numbers), kind, title)
    _jobs[job.id] = job
    _steps[job.id] = make_steps(job)
    for old in [other.id for other in _jobs.values() if other.finished][:-KEPT_JOBS]:
        del _jobs[old]
    return job


def find(job_id: int) -> Job | None:
    """Return the job of this number, or None when it was cleared from the table."""
    return _jobs.get(job_id)


def listed() -> list[Job]:
    """Return all jobs of the table, newest first."""
    return list(reversed(_jobs.values()))


def active() -> list[Job]:
    """Return the jobs that have not ended."""
    return [job for job in _jobs.values() if not job.finished]


def advance(job_id: int, budget_s: float) -> Step:
    """Work on a job for about `budget_s` seconds; return WAIT when it has nothing to do or has ended."""
    deadline = time.monotonic() + budget_s
    while True:
        step = _advance_once(job_id)
        if step is Step.WAIT or time.monotonic() >= deadline:
            return step


def run_to_end(job: Job, pause: Callable[[], None]) -> None:
    """Work on a job until it has ended, for scripts and background use; `pause` is called while it waits."""
    while not job.finished:
        if advance(job.id, 1.0) is Step.WAIT and not job.finished:
            pause()


def cancel(job_id: int) -> None:
    """Ask a job to stop. It ends as CANCELLED at one of its next steps, after cleaning up."""
    job = _jobs.get(job_id)
    if job is not None and job.state is JobState.RUNNING:
        job.state = JobState.CANCELLING
        job.message = "Cancelling"


def abandon(job_id: int, reason: str) -> None:
    """End a job at once, without waiting for the backend to confirm it: nobody is left to advance the job."""
    job = _jobs.get(job_id)
    if job is None or job.finished:
        return
    job.state = JobState.CANCELLED
    job.message = reason
    _steps.pop(job_id).close()


def clear_finished() -> None:
    """Remove the jobs that have ended from the table."""
    for job in [job for job in _jobs.values() if job.finished]:
        del _jobs[job.id]


def _advance_once(job_id: int) -> Step:
    job = _jobs.get(job_id)
    if job is None or job.finished:
        return Step.WAIT
    try:
        return next(_steps[job_id])
    except StopIteration:
        job.state = JobState.DONE
        job.report(1.0, "Done")
    except JobCancelledError:
        job.state = JobState.CANCELLED
        job.message = "Cancelled"
    except JobFailedError as failure:
        job.state = JobState.FAILED
        job.error = str(failure)
    except OSError as failure:  # a full disk, a folder that vanished
        job.state = JobState.FAILED
        job.error = f"The system refused: {failure}"
    except Exception as failure:
        # A job must end even when our own code is wrong, or its progress bar would stay for ever.
        job.state = JobState.FAILED
        job.error = f"Internal error ({type(failure).__name__}): {failure}"
        del _steps[job_id]
        raise
    del _steps[job_id]
    return Step.WAIT
