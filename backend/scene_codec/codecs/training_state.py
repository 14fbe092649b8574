"""The state of an interrupted training on disk; whatever is damaged there is as good as none."""

from __future__ import annotations

import contextlib
import hashlib
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch

from scene_codec.bitstream import write_atomically
from scene_codec.errors import UnsupportedSceneError


class ResumableTraining(Protocol):
    """A training that can be stopped and continued with the same result."""

    def state(self) -> dict[str, Any]:
        """Return all tensors and plain values that the next step depends on.

        Under "step" it holds how many steps are done.
        """

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what `state` returned."""


@contextlib.contextmanager
def kept_state(
    training: ResumableTraining, path: Path | None, interval_s: float
) -> Iterator[Callable[[], None]]:
    """Let a training go on from the state in a file, and leave its state there when the block ends.

    Yields what is to be called after each step: that writes the state whenever so many seconds have passed.
    However the block ends, the state stays, for what follows may be interrupted as well. It goes when the
    training is lost (`UnsupportedSceneError`), as another run would be, at the same place.

    path : None keeps nothing
    """
    if path is None:
        yield lambda: None
        return
    stored = read_training_state(path)
    if stored is not None:
        training.restore(stored)
    written = time.monotonic()

    def after_step() -> None:
        nonlocal written
        if time.monotonic() - written > interval_s:
            write_training_state(path, training.state())
            written = time.monotonic()

    try:
        yield after_step
    except UnsupportedSceneError:
        path.unlink(missing_ok=True)
        raise
    except BaseException:
        _write_last(path, training)
        raise
    _write_last(path, training)


def _write_last(path: Path, training: ResumableTraining) -> None:
    """Write the state of a training that has begun."""
    state = training.state()
    if state["step"]:
        write_training_state(path, state)


def write_training_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values under names, with a checksum in front."""
    stream = io.BytesIO()
    torch.save(state, stream)
    content = stream.getvalue()
    write_atomically(path, [hashlib.blake2b(content).digest(), content])


def read_training_state(path: Path) -> dict[str, Any] | None:
    """Return what `write_training_state` wrote, None when nothing is whole, as after a loss of power."""
    if not path.exists():
        return None
    raw = path.read_bytes()
    content = raw[hashlib.blake2b().digest_size :]
    if hashlib.blake2b(content).digest() != raw[: len(raw) - len(content)]:
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True)
    return state
