"""Runs jobs in local processes, where a crash costs one job.

    caller --jobs--> [waiting] --> thread 1 <==pipe==> process 1
                               --> thread 2 <==pipe==> process 2
    caller <--outcomes-- [finished] <--- each thread

A thread has one process at a time and starts another when it crashed or was late. Processes share nothing,
neither pipes nor locks: what happens to one shows on its own pipe only, and its thread knows which job it had
and whether that job had begun.
"""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.connection
import multiprocessing.context
import os
import queue
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from typing import Any, Generic

from scene_codec.errors import Cancelled
from scene_codec.scaling.pool import DEFAULT_NEEDS, Job, Needs, Outcome, Result, never_stop, run_job

CHECK_PERIOD_S = 0.2
FALSE_STARTS = (
    2  # tries again, at the least, where the process died before the job began: hardly the job's fault
)

_EXIT_GRACE_S = 5.0
_BEGAN = b""
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


class ProcessPool:
    """Runs jobs in `processes` fresh processes for each call of `map_unordered`.

    They are spawned, because fork would copy threads' locks and CUDA's state into them.
    """

    def __init__(self, processes: int) -> None:
        self._processes = processes

    def map_unordered(
        self,
        work: Callable[[Job], Result],
        jobs: Iterable[Job],
        needs: Needs = DEFAULT_NEEDS,
        check: Callable[[], None] = never_stop,
    ) -> Iterator[Outcome[Job, Result]]:
        """Run the jobs in parallel; see `WorkPool.map_unordered`.

        Raises `OSError` when the system gives no further process.
        """
        run = _Run(self._processes, work, needs)
        atexit.register(run.stop)  # Python waits for its processes when it ends
        try:
            yield from run.outcomes(iter(jobs), check)
        finally:
            run.stop()  # kills what still runs when the caller left early
            atexit.unregister(run.stop)


class _Run(Generic[Job, Result]):
    """One pass over the jobs: keeps a window of them in flight, so that memory stays bounded."""

    def __init__(self, processes: int, work: Callable[[Job], Result], needs: Needs) -> None:
        self._processes = processes
        self._work = work
        self._needs = needs
        self._workers: list[_Worker[Job, Result]] = []
        self._threads: list[threading.Thread] = []
        self._waiting: queue.SimpleQueue[tuple[Job] | None] = queue.SimpleQueue()  # None: no more will come
        self._finished: queue.SimpleQueue[Outcome[Job, Result] | BaseException] = queue.SimpleQueue()

    def outcomes(self, jobs: Iterator[Job], check: Callable[[], None]) -> Iterator[Outcome[Job, Result]]:
        in_flight = 0
        exhausted = False
        while True:
            while not exhausted and in_flight < 2 * self._processes:
                try:
                    self._start(next(jobs))
                    in_flight += 1
                except StopIteration:
                    exhausted = True
            if in_flight == 0:
                return
            outcome = self._next_finished(check)
            in_flight -= 1
            yield outcome

    def stop(self) -> None:
        """Kill the processes and wait until they are gone."""
        for worker in self._workers:
            worker.stop()
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():  # which may collect an abandoned iterator
                thread.join()

    def _start(self, job: Job) -> None:
        self._waiting.put((job,))
        if len(self._threads) < self._processes:
            worker: _Worker[Job, Result] = _Worker(self._work, self._needs)
            thread = threading.Thread(target=self._feed, args=(worker,), name="pool-worker", daemon=True)
            self._workers.append(worker)
            self._threads.append(thread)
            thread.start()

    def _feed(self, worker: _Worker[Job, Result]) -> None:
        try:
            while (waiting := self._waiting.get()) is not None:
                try:
                    self._finished.put(worker.outcome(*waiting))
                except _Stopped:
                    return
                except BaseException as problem:  # passes on to the caller, whose job would be missing
                    self._finished.put(problem)
        finally:
            worker.end_process()

    def _next_finished(self, check: Callable[[], None]) -> Outcome[Job, Result]:
        while True:
            check()
            try:
                finished = self._finished.get(timeout=CHECK_PERIOD_S)
            except queue.Empty:
                continue
            if isinstance(finished, BaseException):
                raise finished
            return finished


class _Stopped(Exception):  # noqa: N818 - no error
    """The run is over, no job is to be begun."""


class _Crashed(Exception):  # noqa: N818 - told as a failure of the job
    def __init__(self, exit_code: int | None, began: bool) -> None:
        super().__init__(f"its process crashed (exit code {exit_code})")
        self.began = began


class _Worker(Generic[Job, Result]):
    """Has one process at a time run one job at a time, and starts another process where one has ended."""

    def __init__(self, work: Callable[[Job], Result], needs: Needs) -> None:
        self._work = work
        self._needs = needs
        self._starting = threading.Lock()
        self._stopped = False
        self._process: _Process | None = None
        self._pipe: Any = None  # a Connection, which has another type on Windows

    def outcome(self, job: Job) -> Outcome[Job, Result]:
        """Run the job, again where its process crashes and `needs` allows it."""
        crashes = 0
        while True:
            try:
                return self._attempt(job)
            except _Crashed as crash:
                if self._stopped:
                    raise _Stopped from crash
                crashes += 1
                retries = self._needs.retries if crash.began else max(self._needs.retries, FALSE_STARTS)
                if crashes > retries:
                    when = "while it ran the job" if crash.began else "before the job began"
                    return Outcome(job=job, failure=str(crash), details=f"{crash}, {when}")

    def stop(self) -> None:
        """Kill the process, from any thread; no other is started."""
        with self._starting:
            self._stopped = True
            if self._process is not None:
                self._process.kill()

    def end_process(self, grace_s: float = 0.0) -> int | None:
        """Wait `grace_s` for the process to end by itself, then kill it. Returns its exit code."""
        process = self._process
        if process is None:
            return None
        process.join(grace_s)
        process.kill()
        process.join()
        self._pipe.close()
        self._process = None
        return _exit_code(process)

    def _attempt(self, job: Job) -> Outcome[Job, Result]:
        try:
            packed = ForkingPickler.dumps((self._work, job))
        except Exception as problem:
            return _could_not_travel(job, problem)
        process = self._running_process()
        began = False
        try:
            self._pipe.send_bytes(packed)
            del packed  # may be large
            answer = self._receive(process, timeout_s=None)  # starting and importing is not the job's time
            if answer == _BEGAN:
                began = True
                answer = self._receive(process, self._needs.timeout_s)
        except (EOFError, OSError) as problem:
            raise _Crashed(self.end_process(_EXIT_GRACE_S), began) from problem
        if answer is None:
            self.end_process()
            return Outcome(job=job, failure=f"stopped after {self._needs.timeout_s:g} s, its time limit")
        try:
            unpacked = ForkingPickler.loads(answer)
        except Exception as problem:
            return _could_not_travel(job, problem)
        if isinstance(unpacked, Cancelled):
            raise unpacked
        return replace(unpacked, job=job)

    def _running_process(self) -> _Process:
        with self._starting:
            if self._stopped:
                raise _Stopped
            if self._process is not None:
                return self._process
            self._pipe, far_end = multiprocessing.connection.Pipe()
            process = _Process(target=_run_jobs, args=(far_end, self._needs.threads), name="pool-worker")
            try:
                process.start()
            except BaseException:
                self._pipe.close()
                raise
            finally:
                far_end.close()  # the process then has the only one, and its death closes the pipe
            self._process = process
            return process

    def _receive(self, process: _Process, timeout_s: float | None) -> bytes | None:
        """Return the next message, or None when time is up. Raises `EOFError` or `OSError` after a crash."""
        deadline = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left = deadline - time.monotonic()
            # a process that the job forked may hold the pipe open, so a crash is looked for too
            alive = process.is_alive()
            if self._pipe.poll(max(0.0, min(left, CHECK_PERIOD_S))):
                message: bytes = self._pipe.recv_bytes()
                return message
            if not alive:
                raise EOFError
            if left <= 0:
                return None


def _could_not_travel(job: Job, problem: Exception) -> Outcome[Job, Any]:
    """Report a job or result that cannot be packed or unpacked."""
    return Outcome(job=job, failure=str(problem) or type(problem).__name__, details=repr(problem))


def _exit_code(process: _Process) -> int | None:
    """Return the exit code of a process that has ended.

    Python asks for the ends of all processes whenever it starts another one. The thread that does may have
    heard of this one's and not have noted it yet.
    """
    patience = time.monotonic() + 1.0
    while process.exitcode is None and time.monotonic() < patience:
        time.sleep(0.001)
    return process.exitcode


def _run_jobs(pipe: Any, threads: int) -> None:  # noqa: ANN401 - a Connection, see _Worker
    """Answer each job with `_BEGAN` and then with its packed outcome, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group, and the caller decides
    prepare_process(threads)
    while True:
        try:
            pipe.send_bytes(_answer(pipe))
        except (EOFError, OSError):  # the caller has gone
            return


def _answer(pipe: Any) -> Any:  # noqa: ANN401 - a Connection, and bytes of one kind or another
    """Run the next job and return its packed outcome, or the packed `Cancelled` that it raised."""
    packed = pipe.recv_bytes()
    try:
        work, job = ForkingPickler.loads(packed)
        del packed  # may be large
        pipe.send_bytes(_BEGAN)
        return ForkingPickler.dumps(replace(run_job(work, job), job=None))
    except Cancelled as request:
        return ForkingPickler.dumps(request)
    except Exception as problem:
        return ForkingPickler.dumps(_could_not_travel(None, problem))


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
