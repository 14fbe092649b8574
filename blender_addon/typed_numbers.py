"""Numbers that a user typed into a property of Blender."""

from __future__ import annotations


def as_typed(value: float) -> float:
    """Return the number that was typed: a float32 of Blender's holds about seven digits of it."""
    return float(f"{value:.7g}")
