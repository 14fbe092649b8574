"""The server's end of one worker process: its messages, its last words, its end."""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from scene_codec.service import protocol

TAIL_LINES = 12
LONGEST_LOG_LINE = 4096

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerMessage:
    """A message of the worker arrived."""

    worker: WorkerProcess
    message: dict[str, Any]


@dataclass(frozen=True)
class WorkerExit:
    """The worker ended."""

    worker: WorkerProcess
    exit_code: int


WorkerEvent = WorkerMessage | WorkerExit


class WorkerProcess:
    """One worker; what it says goes to `report` from a thread, its end last of all."""

    def __init__(self, methods_module: str, report: Callable[[WorkerEvent], None]) -> None:
        self._report = report
        self._tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
        # Called in the server's main thread, which lives as long as the server: the worker dies with it.
        self._process = subprocess.Popen(
            worker_command(methods_module),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._stderr_reader = threading.Thread(target=self._read_stderr, name="worker-stderr", daemon=True)
        self._stderr_reader.start()
        threading.Thread(target=self._read_messages, name="worker-messages", daemon=True).start()

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; if the worker is dead, its exit event tells."""
        line = protocol.encode_message(message)
        with contextlib.suppress(OSError, ValueError):
            stdin = _pipe(self._process.stdin)
            stdin.write(line)
            stdin.flush()

    def finish(self) -> None:
        """Ask the worker to end by closing its stdin."""
        with contextlib.suppress(OSError):
            _pipe(self._process.stdin).close()

    def kill(self) -> None:
        """End the worker at once."""
        self._process.kill()

    def last_words(self) -> str:
        """Return the last lines of the worker's stderr."""
        return "\n".join(self._tail)

    def _read_messages(self) -> None:
        stdout = _pipe(self._process.stdout)
        with stdout:
            try:
                while (line := protocol.read_line(stdout)) is not None:
                    self._report(WorkerMessage(self, protocol.decode_message(line)))
            except protocol.ProtocolError:
                # Cut off in the middle of a line by its end, or no longer itself: either way it is finished.
                logger.exception("worker %d broke the channel", self.pid)
                self._process.kill()
        exit_code = self._process.wait()
        self.finish()
        self._stderr_reader.join(timeout=1.0)  # a child of the worker may still hold it open
        self._report(WorkerExit(self, exit_code))

    def _read_stderr(self) -> None:
        stderr = _pipe(self._process.stderr)
        with stderr:
            while line := stderr.readline(LONGEST_LOG_LINE):
                text = line.decode("utf-8", "replace").rstrip()
                self._tail.append(text)
                logger.info("[worker %d] %s", self.pid, text)


def worker_command(methods_module: str) -> list[str]:
    """Return the command line of a worker, as isolated from the user's settings as this process is."""
    isolation = ["-I"] if sys.flags.isolated else []
    own = ["-X", "utf8", "-u", "-m", "scene_codec.service.worker"]
    return [sys.executable, *isolation, *own, "--methods", methods_module, "--parent", str(os.getpid())]


def _pipe(stream: IO[bytes] | None) -> Any:  # noqa: ANN401 - a buffered pipe; the stubs say IO
    assert stream is not None
    return stream
