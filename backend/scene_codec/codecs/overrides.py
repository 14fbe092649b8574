"""A codec's presets, and what a user's settings make of them; the same for all codecs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from scene_codec.errors import InvalidRequestError

Settings = TypeVar("Settings", bound=msgspec.Struct)


def settings_of_preset(
    presets: Mapping[str, tuple[str, Settings]], name: str, codec: str | None = None
) -> Settings:
    """Return the settings of a preset. Raises `InvalidRequestError` for an unknown name.

    presets : what each is for, and its settings
    codec : whose presets they are, if the error shall say so
    """
    if name not in presets:
        owner = "There is" if codec is None else f"{codec} has"
        raise InvalidRequestError(f"{owner} no preset '{name}'; choose one of: {', '.join(presets)}.")
    return presets[name][1]


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


def refuse_contradiction(codec: str, fault: str | None) -> None:
    """Raise `InvalidRequestError` if there is something that a codec's settings cannot mean together."""
    if fault is not None:
        raise InvalidRequestError(f"The settings of {codec} contradict each other: {fault}.")


def _in_words(message: str) -> str:
    """Return msgspec's message with the setting in front and without the marks of its path."""
    found = re.fullmatch(r"(.+) - at `\$\.(\w+).*`", message)
    return message if found is None else f"{found[2]}: {found[1][0].lower()}{found[1][1:]}".replace("`", "")
