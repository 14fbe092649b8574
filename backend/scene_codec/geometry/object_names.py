"""Distinct names for the objects of a set."""

from __future__ import annotations

from collections.abc import Iterable

FALLBACK_NAME = "Object"


def unique_names(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Return the names in order, those that clash with earlier ones or with `taken` given .001, .002, ...

    The suffix is Blender's. An empty name becomes "Object".
    """
    used = set(taken)
    next_number: dict[str, int] = {}
    result = []
    for name in names:
        stem = name or FALLBACK_NAME
        candidate = stem
        while candidate in used:
            number = next_number.get(stem, 0) + 1
            next_number[stem] = number
            candidate = f"{stem}.{number:03d}"
        used.add(candidate)
        result.append(candidate)
    return result
