"""The part of a host record that volumes have: settings, files and frames. Plain data, no bpy.

A record from a file is hostile until it was checked, see `host_record`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

MAX_FRAME = 2**20
MAX_TEXT = 255

Setting = bool | int | float | str

DEFAULTS: dict[str, Setting] = {
    "is_sequence": False,
    "frame_start": 1,
    "frame_duration": 0,
    "frame_offset": 0,
    "sequence_mode": "CLIP",
    "velocity_grid": "velocity",
    "velocity_unit": "FRAME",
    "velocity_scale": 1.0,
    "display.density": 1.0,
    "display.wireframe_type": "BOXES",
    "display.wireframe_detail": "COARSE",
    "display.interpolation_method": "LINEAR",
    "display.use_slice": False,
    "display.slice_axis": "AUTO",
    "display.slice_depth": 0.5,
    "render.precision": "HALF",
    "render.space": "OBJECT",
    "render.step_size": 0.0,
    "render.clipping": 0.001,
}
"""Settings of a volume data-block by their path in it, and what a new one has in every Blender so far."""


@dataclass(frozen=True)
class VolumeRecord:
    """What a volume needs beside its grids.

    name : of the data-block
    settings : paths of `DEFAULTS` and values that differ from the default
    file : name of the file it was read from, without folders; "" if Blender made it
    folder : names of the folders below the one that was stored, for the files of a cache
    frame : number of the frame that the file is, None when it belongs to no sequence
    first : stored name of the frame that has the record of the whole sequence, "" when it is this one
    """

    name: str = ""
    settings: dict[str, Setting] = field(default_factory=dict)
    file: str = ""
    folder: tuple[str, ...] = ()
    frame: int | None = None
    first: str = ""


def to_json(record: VolumeRecord) -> dict[str, Any]:
    """Return the record as a JSON object, defaults left out."""
    data: dict[str, Any] = {}
    for name in ("name", "settings", "file", "first"):
        if getattr(record, name):
            data[name] = getattr(record, name)
    if record.folder:
        data["folder"] = list(record.folder)
    if record.frame is not None:
        data["frame"] = record.frame
    return data


def parse(data: object) -> VolumeRecord | None:
    """Return the record in a JSON object from a file, None when there is none; nonsense takes its default."""
    if not isinstance(data, dict):
        return None
    settings, folder, frame = data.get("settings"), data.get("folder"), data.get("frame")
    return VolumeRecord(
        name=_text(data.get("name")),
        settings=_settings(settings) if isinstance(settings, dict) else {},
        file=_text(data.get("file")),
        folder=tuple(filter(None, map(_text, folder[:8]))) if isinstance(folder, list) else (),
        frame=frame if _is_integer(frame) and 0 <= frame <= MAX_FRAME else None,
        first=_text(data.get("first"), 4096),
    )


def sequence_settings(numbers: list[int]) -> dict[str, Setting]:
    """Return the settings that show each numbered frame at the frame of the scene with its number."""
    first, last = min(numbers), max(numbers)
    return {
        "is_sequence": True,
        "frame_start": first,
        "frame_duration": last - first + 1,
        "frame_offset": first - 1,
    }


def _settings(data: dict[str, Any]) -> dict[str, Setting]:
    """Return the known settings whose values are of the right type and can be held by Blender."""
    found: dict[str, Setting] = {}
    for path, default in DEFAULTS.items():
        value = data.get(path)
        if isinstance(default, bool):
            good = isinstance(value, bool)
        elif isinstance(default, int):
            good = _is_integer(value) and abs(value) <= MAX_FRAME
        elif isinstance(default, float):
            good = (_is_integer(value) or isinstance(value, float)) and math.isfinite(value)
            good = good and abs(value) < 1e30
        else:
            good = bool(_text(value))
        if good:
            found[path] = value
    return found


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _text(value: object, longest: int = MAX_TEXT) -> str:
    """Return a text that Blender can hold, or nothing."""
    if not isinstance(value, str) or len(value) > longest or "\0" in value:
        return ""
    return "" if any("\ud800" <= character <= "\udfff" for character in value) else value
