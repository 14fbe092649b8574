"""Starts the backend's child process, carries its lines, and stops it with everything it started.

No bpy, standard library only. Nothing here blocks the caller except `stop`: one thread reads lines into a
queue, one thread writes queued lines, so that a backend that hangs cannot freeze the host.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from . import protocol

SCRUBBED_PREFIXES = (
    "PYTHON",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "DYLD_",
    "QT_PLUGIN_PATH",
    "VIRTUAL_ENV",
    "CONDA_",
)
"""Variables by which Blender's surroundings would leak into the backend's own Python and libraries."""

STDERR_TAIL_BYTES = 4000
"""How much of the backend's last words goes into an error message."""


class BackendError(Exception):
    """The backend could not do what was asked; the message says what happened and what to do.

    code : word for programs, one of `protocol.ERROR_NUMBERS`, or "backend-exited", "backend-garbage",
    "timeout" hint : what the user can do, may be empty
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.code = code
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Received:
    """One thing that came out of the process: a line, a problem with a line, or its end with `exit_code`."""

    kind: Literal["line", "problem", "exit"]
    line: bytes = b""
    text: str = ""
    exit_code: int = 0


def service_command(python: str | os.PathLike[str], log_path: str | os.PathLike[str]) -> list[str]:
    """Return the command line that starts the backend service with the interpreter `python`."""
    return [
        os.fspath(python),
        "-I",
        "-X",
        "utf8",
        "-u",
        "-m",
        "scene_codec.service",
        "--log",
        os.fspath(log_path),
    ]


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would disturb another Python."""
    kept = {
        name: value for name, value in os.environ.items() if not name.upper().startswith(SCRUBBED_PREFIXES)
    }
    kept["PYTHONUTF8"] = "1"
    return kept


def hidden_window_options() -> dict[str, int]:
    """Return the options of `subprocess` that keep a child from opening a console window on Windows."""
    return {"creationflags": subprocess.CREATE_NO_WINDOW} if os.name == "nt" else {}


def separate_process_options() -> dict[str, object]:
    """Return the `Popen` options that give a child its own group, and no console window on Windows."""
    if os.name == "nt":
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill `process`, which was started with `separate_process_options`, and everything it started."""
    if os.name == "nt":
        subprocess.run(
            ["taskkill", "/F", "/T", "/PID", str(process.pid)],
            check=False,
            capture_output=True,
            **hidden_window_options(),
        )
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        process.kill()


class BackendProcess:
    """One child process that speaks lines on stdin and stdout, with stderr going to a file."""

    def __init__(self, command: Sequence[str], stderr_path: Path) -> None:
        self.stderr_path = stderr_path
        self._received: queue.SimpleQueue[Received] = queue.SimpleQueue()
        self._to_send: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        try:
            stderr_path.parent.mkdir(parents=True, exist_ok=True)
            with stderr_path.open("wb") as stderr:
                self._process = subprocess.Popen(
                    list(command),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    env=clean_environment(),
                    **separate_process_options(),
                )
        except OSError as problem:
            raise BackendError(
                "backend-exited",
                f"The backend could not be started with {command[0]!r}: {problem}.",
                "Check the backend's Python in the preferences, or repair the backend there.",
            ) from problem
        self._reader = threading.Thread(target=self._read, name="backend-reader", daemon=True)
        self._writer = threading.Thread(target=self._write, name="backend-writer", daemon=True)
        self._reader.start()
        self._writer.start()

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the child still runs."""
        return self._process.poll() is None

    def send(self, line: bytes) -> None:
        """Queue one line, its newline included; returns at once; `receive` reports a dead child."""
        self._to_send.put(line)

    def receive(self, timeout_s: float = 0.0) -> Received | None:
        """Return the next thing the child said, or None if there is none within `timeout_s`."""
        try:
            return self._received.get(timeout=timeout_s) if timeout_s > 0 else self._received.get_nowait()
        except queue.Empty:
            return None

    def stderr_tail(self) -> str:
        """Return the last lines the child wrote to stderr: what it said before it died."""
        try:
            with self.stderr_path.open("rb") as stderr:
                stderr.seek(max(0, self.stderr_path.stat().st_size - STDERR_TAIL_BYTES))
                return stderr.read(STDERR_TAIL_BYTES).decode("utf-8", "replace").strip()
        except OSError:
            return ""

    def kill(self) -> None:
        """Kill the child and everything it started, at once and without waiting."""
        kill_group(self._process)
        self._to_send.put(None)

    def stop(self, grace_s: float = 3.0) -> None:
        """Close the child's stdin, which asks it to exit, wait up to `grace_s`, then kill its whole group."""
        self._to_send.put(None)
        deadline = time.monotonic() + grace_s
        try:
            self._process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=0.5)
        # Also when it ended by itself: its group may hold children that outlived it.
        kill_group(self._process)
        self._process.wait()
        self._reader.join(timeout=1.0)
        self._writer.join(timeout=1.0)

    def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        with stdout:
            while True:
                try:
                    line = protocol.read_line(stdout)
                except protocol.ProtocolError as problem:
                    self._received.put(Received("problem", text=str(problem)))
                    continue
                except (OSError, ValueError):
                    break
                if line is None:
                    break
                self._received.put(Received("line", line=line))
        self._received.put(Received("exit", exit_code=self._process.wait()))

    def _write(self) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(OSError, ValueError):
            while (line := self._to_send.get()) is not None:
                stdin.write(line)
                stdin.flush()
        with contextlib.suppress(OSError, ValueError):
            stdin.close()


def describe_exit(exit_code: int) -> str:
    """Return an exit code in words: "exit code 3" or "signal SIGKILL"."""
    if exit_code >= 0 or sys.platform == "win32":
        return f"exit code {exit_code}"
    try:
        return f"signal {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"signal {-exit_code}"
