"""What the user asked for beyond a preset."""

from __future__ import annotations

import msgspec


def changed_settings(chosen: msgspec.Struct, preset: msgspec.Struct) -> dict[str, object]:
    """Return the fields of `chosen` that differ from those of `preset`."""
    before = msgspec.structs.asdict(preset)
    return {name: value for name, value in msgspec.structs.asdict(chosen).items() if value != before[name]}
