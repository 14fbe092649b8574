"""Frames of a sequence are volumes whose names differ in the number at their end."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")

_FRAME = re.compile(r"(.*?)(\d{1,9})", re.DOTALL)


def frame_of(name: str) -> tuple[str, int] | None:
    """Return what comes before the number at the end of a name, and the number; None without one."""
    found = _FRAME.fullmatch(name)
    return None if found is None else (found[1], int(found[2]))


def in_frame_order(items: Sequence[Item], name_of: Callable[[Item], str]) -> list[Item]:
    """Return items with the frames of each sequence one behind the other, where its first one stands.

    Frame 10 comes after frame 9, however many digits they have.
    """
    first: dict[str, int] = {}
    keys = []
    for index, item in enumerate(items):
        frame = frame_of(name_of(item))
        keys.append((index, 0) if frame is None else (first.setdefault(frame[0], index), frame[1]))
    return [items[index] for index in sorted(range(len(items)), key=lambda index: keys[index])]


def follows(name: str, before: str) -> bool:
    """Tell whether a volume is a later frame of the sequence that another one belongs to."""
    own, other = frame_of(name), frame_of(before)
    return own is not None and other is not None and own[0] == other[0] and own[1] > other[1]
