"""One contract for running many independent jobs, and the places where they can run.

    with open_pool("processes:4") as pool:
        for outcome in pool.map_unordered(fit_one, jobs):
            if outcome.failure is None: use(outcome.result)

Jobs are pure and carry their own seed, so it does not matter where, in which order or how often they run. An
exception or a crash costs the one job that caused it, never the run. Work for `processes` is a function of a
module, and jobs and results can be pickled; they travel between our own processes only.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from scene_codec.errors import Cancelled, InvalidRequestError

Job = TypeVar("Job")
Result = TypeVar("Result")

MAX_PROCESSES = 1024


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What one job occupies.

    threads : how many threads numerical libraries may use in one job; processes are given no more
    timeout_s : a job that takes longer is killed and reported as failed. Binds where jobs run in processes of
        their own; a job in the caller's process cannot be interrupted from outside
    retries : how often a job is run again after its process crashed; ordinary exceptions are never retried
    """

    threads: int = 1
    timeout_s: float | None = None
    retries: int = 1


DEFAULT_NEEDS = Needs()


@dataclass(frozen=True, kw_only=True)
class Outcome(Generic[Job, Result]):
    """What became of one job: `result`, or a `failure` in words with `details` for the log."""

    job: Job
    result: Result | None = None
    failure: str | None = None
    details: str = ""


def never_stop() -> None:
    """Default of `map_unordered`'s `check`: nobody asks to stop."""


class WorkPool(Protocol):
    """A place where jobs run."""

    def map_unordered(
        self,
        work: Callable[[Job], Result],
        jobs: Iterable[Job],
        needs: Needs = ...,
        check: Callable[[], None] = ...,
    ) -> Iterator[Outcome[Job, Result]]:
        """Run `work` on every job and yield each outcome as soon as it is there.

        jobs : consumed as slots become free, so it may be long or endless
        check : called a few times a second while waiting (between jobs where they run in the caller's
            process); an exception it raises stops the run and passes on to the caller
        Closing the iterator stops jobs that still run. `Cancelled` raised by a job passes on to the caller.
        """
        ...


class InlinePool:
    """Runs the jobs one after the other in the caller's process: the default, and the easiest to debug."""

    def map_unordered(
        self,
        work: Callable[[Job], Result],
        jobs: Iterable[Job],
        needs: Needs = DEFAULT_NEEDS,
        check: Callable[[], None] = never_stop,
    ) -> Iterator[Outcome[Job, Result]]:
        """Run the jobs in their order; see `WorkPool.map_unordered`."""
        for job in jobs:
            check()
            yield run_job(work, job)


def run_job(work: Callable[[Job], Result], job: Job) -> Outcome[Job, Result]:
    """Run one job and catch its exceptions, so that every pool reports them in the same words."""
    try:
        return Outcome(job=job, result=work(job))
    except Cancelled:
        raise
    except Exception as problem:
        reason = str(problem) or type(problem).__name__
        return Outcome(job=job, failure=reason, details=traceback.format_exc())


def open_pool(where: str) -> AbstractContextManager[WorkPool]:
    """Return the pool named by `where`: "inline", or "processes:N" for N local processes.

    Raises `InvalidRequestError` for any other place.
    """
    kind, _, count = where.partition(":")
    if where == "inline":
        return contextlib.nullcontext(InlinePool())
    if kind == "processes" and count.isascii() and count.isdigit() and 1 <= int(count) <= MAX_PROCESSES:
        from scene_codec.scaling.process_pool import ProcessPool  # keeps multiprocessing out of inline runs

        return contextlib.nullcontext(ProcessPool(int(count)))
    raise InvalidRequestError(
        f"Jobs cannot run in {where!r}. Use 'inline' (this process) or 'processes:N' with N from 1 to "
        f"{MAX_PROCESSES} (local processes)."
    )
