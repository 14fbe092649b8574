"""Runs a command in a process of its own and says what it took: seconds, processor seconds, memory."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_SAMPLE_SECONDS = 0.1


@dataclass(frozen=True)
class Measured:
    """What a finished process took.

    peak_bytes : largest resident set, pages of mapped files included, as the kernel counted it
    peak_anonymous_bytes : largest sum of memory that is no page of a file, of the process and all that it
        started, sampled ten times a second; 0 where the system does not tell
    """

    output: bytes
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    peak_anonymous_bytes: int


def run_measured(
    command: Sequence[str | Path],
    environment: Mapping[str, str] | None = None,
    accepted: Sequence[int] = (0,),
) -> Measured:
    """Run a command to its end; threads as it starts them by itself, whatever this process was told.

    accepted : exit statuses of success

    Raises `subprocess.CalledProcessError` when it fails. Needs a Unix system.
    """
    words = [str(word) for word in command]
    own = {name: value for name, value in os.environ.items() if name not in _THREAD_VARIABLES}
    started = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.PIPE, env=own | dict(environment or {}))
    sampler = _Sampler(process.pid)
    sampler.start()
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    sampler.stop()
    if process.returncode not in accepted:
        raise subprocess.CalledProcessError(process.returncode, words, output)
    return Measured(
        output=output,
        wall_seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * 1024,
        peak_anonymous_bytes=sampler.peak_bytes,
    )


class _Sampler(threading.Thread):
    """Watches the anonymous memory of a process and of those that it started."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._stopped = threading.Event()
        self.peak_bytes = 0

    def run(self) -> None:
        while not self._stopped.wait(_SAMPLE_SECONDS):
            self.peak_bytes = max(self.peak_bytes, sum(map(_anonymous_bytes, _family(self._process))))

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()
        self.join()


def _family(process: int) -> list[int]:
    """Return a process and all that it and its own have started and that still run."""
    found = [process]
    for member in found:
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, children.read_text(encoding="ascii").split())
    return found


def _anonymous_bytes(process: int) -> int:
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
        for line in status.splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0
