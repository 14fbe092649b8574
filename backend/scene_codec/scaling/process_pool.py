"""Runs jobs in local processes on pebble, where a crash costs one job.

The standard library's pool gives up all jobs when one process dies.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import multiprocessing.context
import os
import queue
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic

import pebble

from scene_codec.errors import Cancelled
from scene_codec.scaling.pool import DEFAULT_NEEDS, Job, Needs, Outcome, Result, never_stop, run_job

CHECK_PERIOD_S = 0.2

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class _Process(multiprocessing.context.SpawnProcess):
    """A fresh process that does not run the caller's main script again.

    Python's own would, and a script that calls the library outside of `if __name__ == "__main__"` would start
    itself over and over. Our work is named by module, so nothing of the script is needed.
    """

    _hiding = threading.Lock()

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: ANN401, N802 - multiprocessing's own hook
        with _Process._hiding:
            main = sys.modules["__main__"]
            sys.modules["__main__"] = types.ModuleType("__main__")
            try:
                return multiprocessing.context.SpawnProcess._Popen(process_obj)
            finally:
                sys.modules["__main__"] = main


class _Context(multiprocessing.context.SpawnContext):
    """Spawns, because fork would copy threads' locks and CUDA's state into the child."""

    Process = _Process


@dataclass
class _Attempt(Generic[Job]):
    job: Job
    crashes: int = 0


class ProcessPool:
    """Runs jobs in `processes` fresh processes for each call of `map_unordered`."""

    def __init__(self, processes: int) -> None:
        self._processes = processes

    def map_unordered(
        self,
        work: Callable[[Job], Result],
        jobs: Iterable[Job],
        needs: Needs = DEFAULT_NEEDS,
        check: Callable[[], None] = never_stop,
    ) -> Iterator[Outcome[Job, Result]]:
        """Run the jobs in parallel; see `WorkPool.map_unordered`."""
        pool: Any = pebble.ProcessPool(  # its methods carry no types
            max_workers=self._processes,
            context=_Context(),
            initializer=prepare_process,
            initargs=(needs.threads,),
        )
        try:
            yield from _Run(pool, work, needs, check).outcomes(iter(jobs), window=2 * self._processes)
        finally:
            pool.stop()  # kills what still runs when the caller left early
            pool.join()


class _Run(Generic[Job, Result]):
    """One pass over the jobs: keeps a window of them in flight, so that memory stays bounded."""

    def __init__(
        self,
        pool: Any,  # noqa: ANN401 - its methods carry no types
        work: Callable[[Job], Result],
        needs: Needs,
        check: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._work = work
        self._needs = needs
        self._check = check
        self._finished: queue.SimpleQueue[tuple[_Attempt[Job], Any]] = queue.SimpleQueue()

    def outcomes(self, jobs: Iterator[Job], window: int) -> Iterator[Outcome[Job, Result]]:
        in_flight = 0
        exhausted = False
        while True:
            while not exhausted and in_flight < window:
                try:
                    self._start(_Attempt(next(jobs)))
                    in_flight += 1
                except StopIteration:
                    exhausted = True
            if in_flight == 0:
                return
            attempt, future = self._next_finished()
            outcome = self._outcome(attempt, future)
            if outcome is None:
                self._start(attempt)
            else:
                in_flight -= 1
                yield outcome

    def _start(self, attempt: _Attempt[Job]) -> None:
        future = self._pool.schedule(run_job, args=(self._work, attempt.job), timeout=self._needs.timeout_s)
        future.add_done_callback(partial(self._note_finished, attempt))

    def _note_finished(self, attempt: _Attempt[Job], future: Any) -> None:  # noqa: ANN401 - pebble's future
        self._finished.put((attempt, future))

    def _next_finished(self) -> tuple[_Attempt[Job], Any]:
        while True:
            self._check()
            try:
                return self._finished.get(timeout=CHECK_PERIOD_S)
            except queue.Empty:
                continue

    def _outcome(self, attempt: _Attempt[Job], future: Any) -> Outcome[Job, Result] | None:  # noqa: ANN401
        """Return what became of the attempt, or None when it is to be run again."""
        try:
            outcome: Outcome[Job, Result] = future.result()
        except Cancelled:
            raise
        except FutureTimeoutError:
            return Outcome(
                job=attempt.job, failure=f"stopped after {self._needs.timeout_s:g} s, its time limit"
            )
        except pebble.ProcessExpired as crash:
            attempt.crashes += 1
            if attempt.crashes <= self._needs.retries:
                return None
            code = crash.exitcode
            return Outcome(
                job=attempt.job, failure=f"its process crashed (exit code {code})", details=str(crash)
            )
        except Exception as problem:  # the job or its result could not travel
            return Outcome(
                job=attempt.job, failure=str(problem) or type(problem).__name__, details=repr(problem)
            )
        return outcome


def prepare_process(threads: int) -> None:
    """Initialise a process of the pool: it dies with its parent and uses at most `threads` threads."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(
            target=_exit_after, args=(parent.sentinel,), name="parent-watch", daemon=True
        ).start()
    for variable in _THREAD_VARIABLES:
        os.environ[variable] = str(threads)
    torch = sys.modules.get("torch")  # read at import, which may have happened with the main module
    if torch is not None:
        torch.set_num_threads(threads)


def _exit_after(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
