"""Patterns such as `parts/*.stl`, for shells that leave them as they are (Windows, quoted text)."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from scene_codec.errors import InvalidRequestError


def expand_patterns(inputs: Iterable[str]) -> list[Path]:
    """Return the files and folders that `inputs` name, in their order, each once; `**` stands for any depth.

    Raises `InvalidRequestError` when there is no input, or a name or pattern that matches nothing.
    """
    found: dict[Path, None] = {}
    for text in inputs:
        path = Path(text).expanduser()
        # A name that exists is meant as it is, even with brackets in it.
        matches = [path] if path.exists() else [Path(match) for match in sorted(_matches(str(path)))]
        if not matches:
            raise InvalidRequestError(
                f"There is no file or folder '{text}', and as a pattern it matches nothing."
            )
        found.update(dict.fromkeys(matches))
    if not found:
        raise InvalidRequestError("No input was given; name files, folders or patterns.")
    return list(found)


def _matches(pattern: str) -> list[str]:
    """Return what a glob pattern matches, nothing for a plain name."""
    # Path.glob refuses absolute patterns, and people type them.
    return glob.glob(pattern, recursive=True) if glob.has_magic(pattern) else []  # noqa: PTH207
