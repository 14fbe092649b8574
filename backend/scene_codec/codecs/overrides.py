"""What a user's settings make of a preset's; the same for all codecs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from scene_codec.errors import InvalidRequestError

Settings = TypeVar("Settings", bound=msgspec.Struct)


def with_overrides(codec: str, base: Settings, overrides: Mapping[str, Any]) -> Settings:
    """Return settings with some fields replaced and all of them checked.

    Raises `InvalidRequestError` naming the codec and the field that is unknown or wrong.
    """
    fields = msgspec.to_builtins(base)
    unknown = sorted(set(overrides) - set(fields))
    if unknown:
        raise InvalidRequestError(
            f"{codec} has no setting '{unknown[0]}'. Its settings are: {', '.join(fields)}."
        )
    try:
        return msgspec.convert({**fields, **overrides}, type(base))
    except msgspec.ValidationError as error:
        raise InvalidRequestError(f"A setting of {codec} is wrong: {_in_words(str(error))}.") from error


def _in_words(message: str) -> str:
    """Return msgspec's message with the setting in front and without the marks of its path."""
    found = re.fullmatch(r"(.+) - at `\$\.(\w+).*`", message)
    return message if found is None else f"{found[2]}: {found[1][0].lower()}{found[1][1:]}".replace("`", "")
