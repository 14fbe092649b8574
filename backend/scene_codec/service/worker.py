"""The process that runs jobs, so that a crash of native code costs a job and not the service.

It is started by `worker_process.WorkerProcess` and speaks the same protocol with the server as the server
does with the add-on: a request is a job, `cancel` is a notification, `ready` is the notification after all
imports.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from scene_codec.errors import SceneCodecError
from scene_codec.progress import CancelToken, Progress, ProgressEvent
from scene_codec.service import protocol
from scene_codec.service.channel import MessageWriter, die_with_parent, take_standard_streams
from scene_codec.service.methods import MethodTable, check_params, load_methods

READY = "ready"
PROGRESS_PERIOD_S = 0.1
"""Progress of the same stage is sent at most this often, so that a tight loop cannot flood the host."""

EXIT_GRACE_S = 2.0
"""How long a job may clean up after the server is gone."""

logger = logging.getLogger(__name__)


@dataclass
class _Job:
    id: protocol.JobId
    method: str
    params: dict[str, Any]
    token: CancelToken = field(default_factory=CancelToken)


class Worker:
    """Takes jobs from its stdin one after the other until the stream ends."""

    def __init__(self, requests: BinaryIO, writer: MessageWriter) -> None:
        self._requests = requests
        self._writer = writer
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._open: dict[protocol.JobId, _Job] = {}
        self._idle = threading.Event()

    def run(self, methods_module: str) -> None:
        """Load the methods, say what is here, and run jobs."""
        threading.Thread(target=self._read, name="requests", daemon=True).start()
        methods = load_methods(methods_module)
        self._writer.send(protocol.notification(READY, methods.describe()))
        while (job := self._jobs.get()) is not None:
            self._run_job(methods, job)
            del self._open[job.id]
        self._idle.set()

    def _read(self) -> None:
        """Take requests as they come, also while a job runs; the end of the stream ends this process."""
        while (line := protocol.read_line(self._requests)) is not None:
            message = protocol.decode_message(line)
            if message["method"] == protocol.CANCEL:
                job = self._open.get(message["params"]["job"])
                if job is not None:
                    job.token.cancel()
                continue
            job = _Job(message["id"], message["method"], message["params"])
            self._open[job.id] = job
            self._jobs.put(job)
        for job in list(self._open.values()):
            job.token.cancel()
        self._jobs.put(None)
        self._idle.wait(EXIT_GRACE_S)
        os._exit(0)  # a job that does not react must not outlive the server

    def _run_job(self, methods: MethodTable, job: _Job) -> None:
        handler = _LogNotifier(job.id, self._writer)
        logging.getLogger("scene_codec").addHandler(handler)
        progress = Progress(_ProgressNotifier(job.id, self._writer), job.token)
        try:
            method = methods.jobs[job.method]
            result = method.run(check_params(job.method, job.params, method.params), progress)
            answer = protocol.result_answer(job.id, result)
        except BaseException as problem:  # also SystemExit: the job ends, the answer must come
            answer = answer_for(job.id, problem)
        finally:
            logging.getLogger("scene_codec").removeHandler(handler)
        try:
            self._writer.send(answer)
        except protocol.ProtocolError as problem:
            self._writer.send(protocol.error_answer(job.id, problem.word, str(problem)))


def answer_for(job: protocol.JobId, problem: BaseException) -> dict[str, Any]:
    """Return the error answer for an exception, in the one form that the host knows."""
    if isinstance(problem, SceneCodecError):
        return protocol.error_answer(job, problem.code, str(problem))
    logger.error("%s", "".join(traceback.format_exception(problem)))
    if isinstance(problem, MemoryError):
        hint = "Use fewer or smaller objects, or a preset with a lower resolution."
        return protocol.error_answer(job, "error", "The memory did not suffice.", hint)
    if isinstance(problem, OSError):
        return protocol.error_answer(job, "error", f"The system refused: {problem}.")
    text = f"An error in the backend itself: {type(problem).__name__}: {problem}."
    return protocol.error_answer(job, "internal-error", text, "Please report it with the log.")


class _ProgressNotifier:
    """Sends progress of a job, but not more often than somebody can read."""

    def __init__(self, job: protocol.JobId, writer: MessageWriter) -> None:
        self._job = job
        self._writer = writer
        self._stage = ""
        self._next_at = 0.0

    def __call__(self, event: ProgressEvent) -> None:
        now = time.monotonic()
        if now < self._next_at and event.stage == self._stage:
            return
        self._stage, self._next_at = event.stage, now + PROGRESS_PERIOD_S
        params = {
            "job": self._job,
            "stage": event.stage,
            "fraction": event.fraction,
            "message": event.message,
            "remaining_s": event.remaining_s,
        }
        self._writer.send(protocol.notification(protocol.PROGRESS, params))


class _LogNotifier(logging.Handler):
    """Sends warnings that the package logs during a job to the host; the log file gets everything."""

    def __init__(self, job: protocol.JobId, writer: MessageWriter) -> None:
        super().__init__(logging.WARNING)
        self._job = job
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        self._writer.send(
            protocol.notification(protocol.LOG, {"job": self._job, "text": record.getMessage()})
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a worker; only the server starts it."""
    parser = argparse.ArgumentParser(prog="scene_codec.service.worker")
    parser.add_argument("--methods", required=True)
    parser.add_argument("--parent", required=True, type=int)
    options = parser.parse_args(arguments)
    requests, writer = take_standard_streams()
    die_with_parent(options.parent)
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    Worker(requests, writer).run(options.methods)


if __name__ == "__main__":
    main()
