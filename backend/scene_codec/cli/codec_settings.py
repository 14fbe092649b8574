"""Command-line flags out of a codec's own settings: every field of its config becomes a documented flag."""

from __future__ import annotations

import importlib
from typing import cast

import msgspec

from scene_codec.errors import InvalidRequestError


def preset_settings(codec: str, preset: str | None) -> msgspec.Struct:
    """Return the settings that `preset` of `codec` stands for.

    Raises `InvalidRequestError` when there is no such codec or preset.
    """
    from scene_codec import api

    known = [info.name for info in api.list_codecs()]
    if codec not in known:
        raise InvalidRequestError(f"There is no codec '{codec}'; choose one of: {', '.join(known)}.")
    # Every codec keeps its settings and presets in the module `config` of its own package.
    config = importlib.import_module(f"scene_codec.codecs.{codec.replace('-', '_')}.config")
    return cast(msgspec.Struct, config.settings_for(preset))


def changed_settings(chosen: msgspec.Struct, preset: msgspec.Struct) -> dict[str, object]:
    """Return the fields of `chosen` that differ from the preset's: what the user asked for beyond it."""
    before = msgspec.structs.asdict(preset)
    return {name: value for name, value in msgspec.structs.asdict(chosen).items() if value != before[name]}
