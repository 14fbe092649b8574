"""The one backend process of this Blender: started when a job needs it, shared by all jobs. No bpy.

`call` is written for job generators: it yields while the backend works, turns its events into the job's
progress, and passes a cancellation on.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .backend_client import BackendClient, BackendEvent
from .backend_process import BackendError, service_command
from .jobs import Job, JobCancelledError, JobFailedError, Step

CANCEL_GRACE_S = 5.0
"""How long the backend may take to obey a cancellation before it is killed."""


@dataclass(frozen=True)
class BackendLocation:
    """Which Python runs the backend, where it logs, and which add-on version asks."""

    python: str
    log_path: Path
    addon_version: str


@dataclass
class _Session:
    client: BackendClient | None = None
    hello: dict[str, Any] = field(default_factory=dict)  # kept when the backend is stopped
    inboxes: dict[int, deque[BackendEvent]] = field(default_factory=dict)


_session = _Session()


def known_codecs() -> list[dict[str, Any]]:
    """Return the codecs the backend named when it was last greeted; empty before that."""
    return list(_session.hello.get("codecs", []))


def greeting() -> dict[str, Any]:
    """Return what the backend last said of itself: version, torch, devices; empty before that."""
    return dict(_session.hello)


def running_pid() -> int | None:
    """Return the process id of the running backend, or None."""
    client = _session.client
    return client.pid if client is not None and client.alive else None


def close(grace_s: float = 3.0) -> None:
    """Stop the backend, if there is one."""
    client, _session.client = _session.client, None
    if client is not None:
        client.close(grace_s)


def call(
    job: Job, locate: Callable[[], BackendLocation], method: str, params: dict[str, Any]
) -> Generator[Step, None, Any]:
    """Send one request and return its result; yields WAIT until it is there.

    Raises `JobFailedError` with the backend's words when the request fails, `JobCancelledError` when the user
    stopped the job and the backend has confirmed it or was killed.
    """
    # A backend of another version is handed no work, so that there is nothing to undo.
    client = yield from greet(job, locate)
    try:
        request = client.submit(method, params)
    except BackendError as problem:
        raise JobFailedError(str(problem)) from problem
    inbox = _session.inboxes[request] = deque()
    kill_at: float | None = None
    answered = False
    try:
        while True:
            _dispatch(client)
            while inbox:
                event = inbox.popleft()
                answered = event.kind in ("done", "error", "cancelled")
                if answered:
                    return _result(job, event)
                _show(job, event)
            if kill_at is None and job.cancelling:
                client.cancel(request)
                kill_at = time.monotonic() + CANCEL_GRACE_S
            elif kill_at is not None and time.monotonic() >= kill_at:
                client.close(grace_s=0.0)
            yield Step.WAIT
    finally:
        del _session.inboxes[request]
        if not answered and client.alive:
            client.cancel(request)


def greet(job: Job, locate: Callable[[], BackendLocation]) -> Generator[Step, None, BackendClient]:
    """Start the backend if it does not run, and wait until it has said what it is.

    Raises `JobFailedError` when it cannot be started or is of another version.
    """
    job.check_cancelled()
    try:
        client = _connect(job, locate)
        while client.hello is None and client.alive:
            _dispatch(client)
            yield Step.WAIT
            job.check_cancelled()
        client.wait_until_ready(timeout_s=0.0)
    except BackendError as problem:
        raise JobFailedError(str(problem)) from problem
    return client


def _connect(job: Job, locate: Callable[[], BackendLocation]) -> BackendClient:
    client = _session.client
    if client is None or not client.alive:
        close(0.0)
        location = locate()
        job.report(job.fraction, "Starting the backend")
        command = service_command(location.python, location.log_path)
        client = BackendClient.start(command, location.log_path, location.addon_version)
        _session.client = client
    return client


def _dispatch(client: BackendClient) -> None:
    """Hand the events of all jobs to those who wait for them."""
    for event in client.poll():
        if event.kind == "ready":
            _session.hello = event.data
        elif event.job_id in _session.inboxes:
            _session.inboxes[event.job_id].append(event)


def _show(job: Job, event: BackendEvent) -> None:
    if event.kind == "log":
        job.log.append(event.data["text"])
    elif not job.cancelling:
        words = [str(event.data[key]) for key in ("stage", "message") if event.data[key]]
        job.report(event.data["fraction"], ": ".join(words))
        job.remaining_s = event.data["remaining_s"]


def _result(job: Job, event: BackendEvent) -> Any:  # noqa: ANN401 - whatever JSON value the method returns
    if event.kind == "done":
        return event.data["result"]
    if event.kind == "cancelled" or job.cancelling:
        raise JobCancelledError
    raise JobFailedError(f"{event.data['message']} {event.data['hint']}".strip())
