"""Requests to the backend and what comes back: the add-on's side of the protocol.

No bpy. Used from one thread (Blender's main thread); only `call`, `wait_until_ready` and `close`
block.

    client = BackendClient.start(service_command(python, log), log, "0.1.0")
    job = client.submit("encode", {...})          # may follow at once, the backend answers in order
    for event in client.poll():                   # every timer tick
        if event.job_id == job and event.kind == "progress": ...

Every submitted job ends with exactly one event of kind `done`, `error` or `cancelled`, also when the
backend dies.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from . import protocol
from .backend_process import BackendError, BackendProcess, Received, describe_exit

EventKind = Literal["ready", "progress", "log", "done", "error", "cancelled", "backend-exited"]

RESTART_HINT = "Nothing in the scene was changed. The next job starts the backend again; the log says more."


@dataclass(frozen=True)
class BackendEvent:
    """One thing that happened, as returned by `BackendClient.poll`.

    kind, job_id and data:
        ready           None     the answer to `hello`: version, python, torch, devices, codecs, log
        progress        the job  {"stage", "fraction", "message", "remaining_s"}
        log             the job  {"text"}
        done            the job  {"result": the method's result}
        error           the job  {"code", "message", "hint", ...}
        cancelled       the job  {"message"}
        backend-exited  None     {"code", "message", "hint", "log"}; always the last event of a client
    """

    kind: EventKind
    job_id: int | None
    data: dict[str, Any] = field(default_factory=dict)


class BackendClient:
    """Talks to one backend process from start to end; make a new one after it exited."""

    def __init__(self, process: BackendProcess, log_path: Path, addon_version: str) -> None:
        self._process = process
        self._log_path = log_path
        self._next_id = 1
        self._open: set[int] = set()
        self._own: set[int] = set()  # the handshake and cancellations, which are no jobs of the caller
        self._events: list[BackendEvent] = []
        self._failure: BackendError | None = None
        self.hello: dict[str, Any] | None = None
        params = {"protocol": protocol.PROTOCOL_VERSION, "addon_version": addon_version}
        self._hello_id = self._submit_own(protocol.HELLO, params)

    @classmethod
    def start(cls, command: Sequence[str], log_path: Path, addon_version: str) -> BackendClient:
        """Start `command` and send the handshake without waiting for its answer. Raises `BackendError`."""
        stderr_path = log_path.with_name(f"{log_path.stem}-stderr.log")
        return cls(BackendProcess(command, stderr_path), log_path, addon_version)

    @property
    def alive(self) -> bool:
        """Whether requests can be sent: the process runs and the channel is sound."""
        return self._failure is None and self._process.alive

    @property
    def pid(self) -> int:
        """Process id of the backend."""
        return self._process.pid

    @property
    def log_path(self) -> Path:
        """The backend's log file."""
        return self._log_path

    @property
    def open_jobs(self) -> tuple[int, ...]:
        """Ids of the requests that have no answer yet, the handshake and cancellations left out."""
        return tuple(sorted(self._open - self._own))

    def submit(self, method: str, params: dict[str, Any]) -> int:
        """Send a request and return its job id at once. Raises `BackendError` if nothing can be sent."""
        if self._failure is not None:
            raise BackendError(self._failure.code, self._failure.message, self._failure.hint)
        job_id = self._next_id
        try:
            line = protocol.encode_message(protocol.request(job_id, method, params))
        except protocol.ProtocolError as problem:
            raise BackendError(problem.word, str(problem)) from problem
        self._next_id += 1
        self._open.add(job_id)
        self._process.send(line)
        return job_id

    def cancel(self, job_id: int) -> None:
        """Ask the backend to stop a job; its `cancelled` event follows (or `done`, if it was quicker)."""
        if job_id in self._open and self._failure is None:
            self._submit_own(protocol.CANCEL, {"job": job_id})

    def poll(self) -> list[BackendEvent]:
        """Return what happened since the last call; never blocks."""
        while (received := self._process.receive()) is not None:
            self._take(received)
        events, self._events = self._events, []
        return events

    def call(
        self,
        method: str,
        params: dict[str, Any],
        timeout_s: float,
        on_event: Callable[[BackendEvent], None] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever JSON value the method returns
        """Send a request and wait for its result; events of other jobs stay for `poll`.

        on_event : is given the job's progress and log events as they come
        Raises `BackendError`: with the backend's own code when the request fails ("cancelled" when it was
        cancelled), and "timeout" after `timeout_s`, in which case the job is cancelled.
        """
        job_id = self.submit(method, params)
        deadline = time.monotonic() + timeout_s
        while True:
            for event in self._events_of(job_id):
                if event.kind == "done":
                    return event.data["result"]
                if event.kind in ("error", "cancelled"):
                    raise BackendError(event.data["code"], event.data["message"], event.data["hint"])
                if on_event is not None:
                    on_event(event)
            if time.monotonic() >= deadline:
                self.cancel(job_id)
                self._open.discard(job_id)
                raise BackendError(
                    "timeout", f"The backend did not finish {method!r} within {timeout_s:g} s."
                )
            self._take_next(deadline)

    def wait_until_ready(self, timeout_s: float) -> dict[str, Any]:
        """Wait for the handshake and return its answer. Raises `BackendError` if it fails."""
        deadline = time.monotonic() + timeout_s
        while self.hello is None:
            if self._failure is not None:
                raise BackendError(self._failure.code, self._failure.message, self._failure.hint)
            if time.monotonic() >= deadline:
                raise BackendError(
                    "timeout", f"The backend did not answer within {timeout_s:g} s.", RESTART_HINT
                )
            self._take_next(deadline)
        return self.hello

    def kill(self) -> None:
        """End the backend at once, from any thread; `poll` then reports its exit."""
        self._process.kill()

    def close(self, grace_s: float = 3.0) -> None:
        """Stop the backend and everything it started; open jobs get an `error` event."""
        if self._failure is None:
            self._process.send(
                protocol.encode_message(protocol.request(self._next_id, protocol.SHUTDOWN, {}))
            )
        self._process.stop(grace_s)
        self._fail("backend-exited", "The backend was stopped.")

    def _submit_own(self, method: str, params: dict[str, Any]) -> int:
        job_id = self.submit(method, params)
        self._own.add(job_id)
        return job_id

    def _events_of(self, job_id: int) -> list[BackendEvent]:
        mine = [event for event in self._events if event.job_id == job_id]
        self._events = [event for event in self._events if event.job_id != job_id]
        return mine

    def _take_next(self, deadline: float) -> None:
        received = self._process.receive(max(0.001, min(0.25, deadline - time.monotonic())))
        if received is not None:
            self._take(received)

    def _take(self, received: Received) -> None:
        if self._failure is not None:
            return
        if received.kind == "exit":
            self._fail("backend-exited", self._exit_text(received.exit_code), RESTART_HINT)
            return
        try:
            if received.kind == "problem":
                raise protocol.ProtocolError("bad-message", received.text)
            self._take_message(protocol.decode_message(received.line))
        except (protocol.ProtocolError, KeyError, TypeError, ValueError) as problem:
            text = f"The backend sent something that is no message of the protocol: {problem}."
            self._fail("backend-garbage", text, RESTART_HINT)

    def _take_message(self, message: dict[str, Any]) -> None:
        if "method" in message:
            self._take_notification(message["method"], dict(message.get("params", {})))
            return
        job_id = message.get("id")
        if "error" in message:
            data = _error_data(message["error"])
            if job_id is None:
                raise protocol.ProtocolError(data["code"], f"it refused a request: {data['message']}")
            self._take_answer(job_id, "cancelled" if data["code"] == "cancelled" else "error", data)
        else:
            self._take_answer(job_id, "done", {"result": message["result"]})

    def _take_notification(self, method: str, params: dict[str, Any]) -> None:
        job_id = params.pop("job", None)
        if method == protocol.PROGRESS:
            kind: EventKind = "progress"
            params["fraction"] = min(1.0, max(0.0, float(params["fraction"])))
            params = {"stage": "", "message": "", "remaining_s": None, **params}
        elif method == protocol.LOG:
            kind, params["text"] = "log", str(params["text"])
        else:
            return  # a notification this add-on does not know has no effect on it
        if job_id in self._open:
            self._events.append(BackendEvent(kind, job_id, params))

    def _take_answer(self, job_id: int, kind: EventKind, data: dict[str, Any]) -> None:
        if job_id not in self._open:
            return  # it belongs to a call that timed out
        self._open.remove(job_id)
        if job_id == self._hello_id:
            self._take_hello(kind, data)
        elif job_id not in self._own:
            self._events.append(BackendEvent(kind, job_id, data))

    def _take_hello(self, kind: EventKind, data: dict[str, Any]) -> None:
        if kind != "done":
            self._fail(data["code"], data["message"], data["hint"])
            return
        result = data["result"]
        spoken = result.get("protocol") if isinstance(result, dict) else None
        if spoken != protocol.PROTOCOL_VERSION:
            text = f"The backend speaks protocol {spoken!r}, this add-on speaks {protocol.PROTOCOL_VERSION}."
            self._fail("protocol-mismatch", text, "Repair the backend in the add-on's preferences.")
            return
        self.hello = result
        self._events.append(BackendEvent("ready", None, result))

    def _exit_text(self, exit_code: int) -> str:
        text = f"The backend ended unexpectedly ({describe_exit(exit_code)})."
        tail = self._process.stderr_tail()
        return f"{text} Its last words: {tail}" if tail else text

    def _fail(self, code: str, message: str, hint: str = "") -> None:
        """Close the channel for good, and give every open job its one last event."""
        if self._failure is not None:
            return
        self._failure = BackendError(code, message, hint)
        self._process.kill()
        data = {"code": code, "message": message, "hint": hint, "log": str(self._log_path)}
        for job_id in self.open_jobs:
            self._events.append(BackendEvent("error", job_id, dict(data)))
        self._open.clear()
        self._events.append(BackendEvent("backend-exited", None, data))


def _error_data(error: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an error answer, flat, with `code`, `message` and `hint` always there."""
    details = error.get("data", {})
    code, hint = str(details.get("code", "error")), str(details.get("hint", ""))
    return {**details, "code": code, "hint": hint, "message": error["message"]}
