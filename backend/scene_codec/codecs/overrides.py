"""What a user's settings make of a preset's; the same for all codecs."""

from __future__ import annotations

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
        raise InvalidRequestError(f"A setting of {codec} is wrong: {error}.") from error
