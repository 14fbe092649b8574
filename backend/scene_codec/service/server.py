"""The service: answers the add-on over stdin and stdout until the stream ends.

One thread owns all state and waits for events; the others only read: one the requests, two for each worker,
and a few run quick methods.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from scene_codec.errors import InvalidRequestError
from scene_codec.service import protocol
from scene_codec.service.channel import MessageWriter
from scene_codec.service.job_queue import JobQueue
from scene_codec.service.methods import MethodTable, check_params, load_methods
from scene_codec.service.requests import CancelParams, HelloParams, NoParams
from scene_codec.service.worker import answer_for
from scene_codec.service.worker_process import WorkerEvent, WorkerExit, WorkerMessage, WorkerProcess

QUICK_THREADS = 2
HELLO_FIELDS = ("version", "python", "torch", "devices", "codecs")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Request:
    message: dict[str, Any]


@dataclass(frozen=True)
class _BadLine:
    problem: protocol.ProtocolError


@dataclass(frozen=True)
class _QuickAnswer:
    message: dict[str, Any]


@dataclass(frozen=True)
class _EndOfRequests:
    pass


_Event = _Request | _BadLine | _QuickAnswer | _EndOfRequests | WorkerEvent


class Server:
    """Answers requests from `requests` on `writer`; long ones run in worker processes."""

    def __init__(
        self, requests: BinaryIO, writer: MessageWriter, methods_module: str, log_path: Path
    ) -> None:
        self._requests = requests
        self._writer = writer
        self._methods: MethodTable = load_methods(methods_module)
        self._log_path = log_path
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._jobs = JobQueue(
            start_worker=lambda: WorkerProcess(methods_module, self._events.put),
            send=self._send,
            log_path=log_path,
        )
        self._quick_threads = ThreadPoolExecutor(QUICK_THREADS, thread_name_prefix="quick")
        self._quick_open: set[protocol.JobId] = set()
        self._greeted = False
        self._closing = False
        self._shutdown_id: protocol.JobId | None = None
        self._own_methods: dict[str, Callable[[protocol.JobId, dict[str, Any]], None]] = {
            protocol.LIST_CODECS: self._list_codecs,
            protocol.DOCTOR: self._doctor,
            protocol.CANCEL: self._cancel,
            protocol.SHUTDOWN: self._shutdown,
        }

    def run(self) -> None:
        """Serve until the host says `shutdown` or closes the channel, and all workers have ended."""
        self._jobs.warm_up()
        threading.Thread(target=self._read, name="requests", daemon=True).start()
        while not (self._closing and self._jobs.idle):
            try:
                event = self._events.get(timeout=self._jobs.tick())
            except queue.Empty:
                continue
            self._take(event)
        if self._shutdown_id is not None:
            self._send(protocol.result_answer(self._shutdown_id, {}))

    def _read(self) -> None:
        while True:
            try:
                line = protocol.read_line(self._requests)
                if line is None:
                    break
                self._events.put(_Request(protocol.decode_message(line)))
            except protocol.ProtocolError as problem:
                self._events.put(_BadLine(problem))
            except OSError:
                break
        self._events.put(_EndOfRequests())

    def _take(self, event: _Event) -> None:
        match event:
            case _Request(message):
                self._take_message(message)
            case _BadLine(problem):
                logger.warning("a bad line: %s", problem)
                self._send(protocol.error_answer(None, problem.word, str(problem)))
            case WorkerMessage(worker, message):
                self._jobs.take_message(worker, message)
            case WorkerExit(worker, exit_code):
                self._jobs.take_exit(worker, exit_code)
            case _QuickAnswer(message):
                self._quick_open.discard(message["id"])
                self._send(message)
            case _EndOfRequests():
                logger.info("the host closed the channel")
                self._close()

    def _take_message(self, message: dict[str, Any]) -> None:
        if "method" not in message or "id" not in message:
            logger.warning("an answer or a notification that nobody waits for was left aside")
            return
        job_id, method, params = message["id"], message["method"], message.get("params", {})
        try:
            self._take_request(job_id, method, params)
        except InvalidRequestError as problem:
            self._send(protocol.error_answer(job_id, problem.code, str(problem)))
        except protocol.ProtocolError as problem:
            self._send(protocol.error_answer(job_id, problem.word, str(problem)))

    def _take_request(self, job_id: protocol.JobId, method: str, params: dict[str, Any]) -> None:
        if method == protocol.HELLO:
            self._hello(job_id, params)
            return
        if not self._greeted:
            raise protocol.ProtocolError(
                "no-handshake", f"The first request must be 'hello', not {method!r}."
            )
        if self._closing:
            raise protocol.ProtocolError("shutting-down", "The backend is shutting down.")
        if self._jobs.holds(job_id) or job_id in self._quick_open:
            raise protocol.ProtocolError("bad-message", f"A request with the id {job_id!r} is open already.")
        if method in self._methods.jobs:
            # A wrong request is refused now, not when its turn comes.
            check_params(method, params, self._methods.jobs[method].params)
            self._jobs.submit(job_id, method, params)
        elif method in self._methods.quick:
            self._run_quick(job_id, method, params)
        elif method in self._own_methods:
            self._own_methods[method](job_id, params)
        else:
            known = ", ".join(sorted([*self._methods.jobs, *self._methods.quick, *self._own_methods]))
            raise protocol.ProtocolError("unknown-method", f"There is no method {method!r}, only {known}.")

    def _hello(self, job_id: protocol.JobId, params: dict[str, Any]) -> None:
        spoken = params.get("protocol")
        if spoken != protocol.PROTOCOL_VERSION:
            text = f"The add-on speaks protocol {spoken!r}, this backend speaks {protocol.PROTOCOL_VERSION}."
            hint = "Repair the backend in the add-on's preferences, so that both come from one release."
            self._send(protocol.error_answer(job_id, "protocol-mismatch", text, hint))
            return
        hello = check_params(protocol.HELLO, params, HelloParams)
        logger.info("add-on %s says hello", hello.addon_version)
        self._greeted = True

        def answer(environment: dict[str, Any]) -> dict[str, Any]:
            own = {"protocol": protocol.PROTOCOL_VERSION, "pid": os.getpid(), "log": str(self._log_path)}
            return own | {field: environment[field] for field in HELLO_FIELDS}

        self._answer_when_described(job_id, answer)

    def _list_codecs(self, job_id: protocol.JobId, params: dict[str, Any]) -> None:
        check_params(protocol.LIST_CODECS, params, NoParams)
        self._answer_when_described(job_id, lambda environment: environment["codecs"])

    def _doctor(self, job_id: protocol.JobId, params: dict[str, Any]) -> None:
        check_params(protocol.DOCTOR, params, NoParams)
        self._answer_when_described(job_id, lambda environment: environment | {"log": str(self._log_path)})

    def _answer_when_described(
        self, job_id: protocol.JobId, answer: Callable[[dict[str, Any]], object]
    ) -> None:
        def tell(environment: dict[str, Any] | None, error: dict[str, Any]) -> None:
            if environment is None:
                self._send(protocol.error_answer(job_id, "backend-crash", **error))
            else:
                self._send(protocol.result_answer(job_id, answer(environment)))

        self._jobs.when_described(tell)

    def _cancel(self, job_id: protocol.JobId, params: dict[str, Any]) -> None:
        found = self._jobs.cancel(check_params(protocol.CANCEL, params, CancelParams).job)
        self._send(protocol.result_answer(job_id, {"cancelled": found}))

    def _shutdown(self, job_id: protocol.JobId, params: dict[str, Any]) -> None:
        check_params(protocol.SHUTDOWN, params, NoParams)
        self._shutdown_id = job_id
        self._close()

    def _close(self) -> None:
        if not self._closing:
            self._closing = True
            self._jobs.close()

    def _run_quick(self, job_id: protocol.JobId, method_name: str, params: dict[str, Any]) -> None:
        method = self._methods.quick[method_name]
        checked = check_params(method_name, params, method.params)

        def run() -> None:
            try:
                answer = protocol.result_answer(job_id, method.run(checked))
            except Exception as problem:
                answer = answer_for(job_id, problem)
            self._events.put(_QuickAnswer(answer))

        self._quick_open.add(job_id)
        self._quick_threads.submit(run)

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._writer.send(message)
        except protocol.ProtocolError as problem:
            self._writer.send(protocol.error_answer(message.get("id"), problem.word, str(problem)))
        except OSError:
            # The host is gone; the end of its requests arrives by itself.
            logger.warning("nobody reads the answers any more")
