"""What the user asked for beyond a preset."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


def changed_settings(chosen: msgspec.Struct, preset: msgspec.Struct) -> dict[str, object]:
    """Return the fields of `chosen` that differ from those of `preset`."""
    before = msgspec.structs.asdict(preset)
    return {name: value for name, value in msgspec.structs.asdict(chosen).items() if value != before[name]}


def given_settings(chosen: msgspec.Struct, preset: msgspec.Struct, words: Sequence[str]) -> dict[str, object]:
    """Return the fields of `chosen` that the words of a command line name, and those that differ.

    A flag counts although its value is the preset's: beside another one it may contradict that.
    """
    named = {_field_of(word) for word in words if word.startswith("--")}
    values = msgspec.structs.asdict(chosen)
    return changed_settings(chosen, preset) | {name: values[name] for name in values if name in named}


def _field_of(flag: str) -> str:
    """Return the field that a flag such as `--max-error=1` or `--no-lossless` sets."""
    name = flag.split("=", 1)[0].removeprefix("--").replace("-", "_")
    return name.removeprefix("no_")
