"""Progress events and cancellation, passed down to everything that takes long.

Library code never prints. It calls `Progress.update`, which raises `Cancelled` when the caller asked to stop,
so that one call in a loop serves both purposes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from scene_codec.errors import Cancelled


@dataclass(frozen=True)
class ProgressEvent:
    """One step forward: what is done, the `fraction` of the whole job in [0, 1], the time left if known."""

    stage: str
    fraction: float
    message: str
    remaining_s: float | None


ProgressCallback = Callable[[ProgressEvent], None]


@dataclass
class CancelToken:
    """Set from any thread; the job stops at its next `Progress.update`."""

    _event: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """Ask the job to stop."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked the job to stop."""
        return self._event.is_set()


class Progress:
    """Reports the fraction done of a job, or of one part of it, and stops the job when it was cancelled."""

    def __init__(
        self,
        callback: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
        *,
        span: tuple[float, float] = (0.0, 1.0),
        stage: str = "",
        started: tuple[float, float] | None = None,
    ) -> None:
        self._callback = callback
        self._cancel = cancel
        self._span = span
        self._stage = stage
        self._started = (time.monotonic(), 0.0) if started is None else started

    def part(self, start: float, end: float, stage: str) -> Progress:
        """Return a reporter for the part of this one from `start` to `end` (fractions of this one's span)."""
        low, high = self._span
        width = high - low
        return Progress(
            self._callback,
            self._cancel,
            span=(low + start * width, low + end * width),
            stage=stage,
            started=self._started,
        )

    def resumed(self, fraction: float) -> Progress:
        """Return a reporter for this part of which `fraction` was done by an earlier run.

        The time left then follows from what is done from now on.
        """
        low, high = self._span
        started = (time.monotonic(), low + fraction * (high - low))
        return Progress(self._callback, self._cancel, span=self._span, stage=self._stage, started=started)

    def update(self, fraction: float, message: str = "") -> None:
        """Report `fraction` in [0, 1] of this part. Raises `Cancelled` when the job is to stop."""
        self.check_cancelled()
        if self._callback is None:
            return
        low, high = self._span
        overall = low + min(max(fraction, 0.0), 1.0) * (high - low)
        began, before = self._started
        elapsed, done = time.monotonic() - began, overall - before
        # Below one percent the extrapolation is noise that would only alarm people.
        remaining = elapsed * (1.0 - overall) / done if done > 0.01 else None
        self._callback(ProgressEvent(self._stage, overall, message, remaining))

    def check_cancelled(self) -> None:
        """Raise `Cancelled` when somebody asked the job to stop."""
        if self._cancel is not None and self._cancel.cancelled:
            raise Cancelled("The job was cancelled. Nothing was written.")
