"""Sizes of pictures as people write them."""

from __future__ import annotations

import re

from scene_codec.errors import InvalidRequestError

_SIZE = re.compile(r"\s*(\d{1,6})\s*[xX×]\s*(\d{1,6})\s*")  # noqa: RUF001 - the sign itself is meant


def picture_size(text: str | None) -> tuple[int, int] | None:
    """Return width and height of a text such as 400x300. Raises `InvalidRequestError` for another text."""
    if text is None:
        return None
    match = _SIZE.fullmatch(text)
    if match is None or not all(map(int, match.groups())):
        raise InvalidRequestError(f"'{text}' is no size; write width x height in pixels, such as 400x300.")
    return int(match[1]), int(match[2])
