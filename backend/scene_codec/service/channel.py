"""The message channel of a process: its standard streams, kept away from everybody else's prints."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from typing import Any, BinaryIO

from scene_codec.service import protocol

_PR_SET_PDEATHSIG = 1


class MessageWriter:
    """Writes messages to a stream, one whole line at a time, from any thread."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """Write `message`. Raises `ProtocolError` if it is too long and OSError if nobody reads any more."""
        line = protocol.encode_message(message)
        with self._lock:
            self._stream.write(line)
            self._stream.flush()


def take_standard_streams() -> tuple[BinaryIO, MessageWriter]:
    """Take stdin and stdout for messages alone and return them.

    Descriptor 1 then leads to stderr and descriptor 0 to nothing, so that neither a stray print (also one
    of native code or of a child) can corrupt the channel, nor a child can steal a request. The copies are
    not inherited.
    """
    sys.stdout.flush()
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, MessageWriter(answers)


def die_with_parent(parent_pid: int) -> None:
    """Have the system kill this process when the thread that started it ends (Linux; elsewhere nothing).

    This covers native code that never gives the interpreter its lock back. The end of stdin, which only the
    parent can write, is the guard on every system.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # it ended before the request was made
        os._exit(1)


def describe_exit(exit_code: int) -> str:
    """Return how a process ended in words: "exit code 3" or "signal SIGSEGV"."""
    if exit_code >= 0 or sys.platform == "win32":
        return f"exit code {exit_code}"
    try:
        return f"signal {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"signal {-exit_code}"
