"""The state of an interrupted training on disk; whatever is damaged there is as good as none."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from scene_codec.bitstream import write_atomically


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
