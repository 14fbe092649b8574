"""The record that travels beside each object's data and says how to put it back: plain data, no bpy.

It is stored as JSON in the file (at most 64 KiB). A record from a file is hostile until it was checked:
`parse` returns only well-typed, bounded values, and defaults where something is missing, so that meshes which
were encoded elsewhere, without a record, can be placed too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from . import volume_record
from .volume_record import VolumeRecord

RECORD_VERSION = 1
MAX_NAME = 1024
MAX_LIST = 4096
MAX_DEPTH = 64

IDENTITY = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
PARENT_TYPES = frozenset({"OBJECT", "BONE", "VERTEX", "VERTEX_3"})
ROTATION_MODES = frozenset({"QUATERNION", "XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX", "AXIS_ANGLE"})


@dataclass(frozen=True)
class DataReference:
    """A data-block: its name, and the library file it is linked from ("" for a local one)."""

    name: str
    library: str = ""


@dataclass(frozen=True)
class ParentLink:
    """How an object hangs on its parent; `inverse` is row major, like all matrices here."""

    object: DataReference
    type: str = "OBJECT"
    bone: str = ""
    vertices: tuple[int, ...] = (0, 0, 0)
    inverse: tuple[float, ...] = IDENTITY


@dataclass(frozen=True)
class MaterialSlot:
    """One slot: its material, if any, and whether it belongs to the object instead of the mesh."""

    material: DataReference | None = None
    on_object: bool = False


@dataclass(frozen=True)
class HostRecord:
    """Everything about one object that is not geometry.

    mesh, volume : about the object's data; the other one is empty
    collections : paths from the scene's root collection, () for the root itself
    hidden : the eye in the outliner, which belongs to the view layer
    properties : custom properties that are plain numbers, words or truth values
    """

    object: DataReference = DataReference("")
    mesh: str = ""
    volume: VolumeRecord | None = None
    parent: ParentLink | None = None
    collections: tuple[tuple[str, ...], ...] = ()
    materials: tuple[MaterialSlot, ...] = ()
    material_index: int = 0
    smooth: bool = False
    hidden: bool = False
    hide_viewport: bool = False
    hide_render: bool = False
    hide_select: bool = False
    rotation_mode: str = "XYZ"
    properties: dict[str, bool | int | float | str] = field(default_factory=dict)


def to_json(record: HostRecord) -> dict[str, Any]:
    """Return the record as a JSON object; defaults are left out, they cost bytes in every file."""
    data: dict[str, Any] = {"version": RECORD_VERSION}
    if record.object.name:
        data["object"] = _reference_json(record.object)
    default = HostRecord()
    for name in ("mesh", "material_index", "smooth", "hidden", "hide_viewport", "hide_render", "hide_select"):
        if getattr(record, name) != getattr(default, name):
            data[name] = getattr(record, name)
    if record.rotation_mode != default.rotation_mode:
        data["rotation_mode"] = record.rotation_mode
    if record.collections:
        data["collections"] = [list(path) for path in record.collections]
    if record.materials:
        data["materials"] = [
            ({"material": _reference_json(slot.material)} if slot.material else {})
            | ({"on_object": True} if slot.on_object else {})
            for slot in record.materials
        ]
    if record.properties:
        data["properties"] = dict(record.properties)
    if record.parent is not None:
        data["parent"] = _parent_json(record.parent)
    if record.volume is not None:
        data["volume"] = volume_record.to_json(record.volume)
    return data


def parse(data: object) -> HostRecord:
    """Return the record in a JSON object from a file; whatever is missing or ill-formed takes its default."""
    if not isinstance(data, dict) or data.get("version") != RECORD_VERSION:
        return HostRecord()
    mode = _text(data.get("rotation_mode"))
    return HostRecord(
        object=_reference(data.get("object")) or DataReference(""),
        mesh=_text(data.get("mesh")),
        volume=volume_record.parse(data.get("volume")),
        parent=_parent(data.get("parent")),
        collections=tuple(
            tuple(filter(None, map(_text, _list(path)[:MAX_DEPTH])))
            for path in _list(data.get("collections"))
        ),
        materials=tuple(_slot(slot) for slot in _list(data.get("materials"))),
        material_index=_index(data.get("material_index")),
        smooth=data.get("smooth") is True,
        hidden=data.get("hidden") is True,
        hide_viewport=data.get("hide_viewport") is True,
        hide_render=data.get("hide_render") is True,
        hide_select=data.get("hide_select") is True,
        rotation_mode=mode if mode in ROTATION_MODES else "XYZ",
        properties=_properties(data.get("properties")),
    )


def matrix_values(values: object) -> tuple[float, ...] | None:
    """Return 16 finite numbers, or None when `values` is anything else."""
    if not isinstance(values, (list, tuple)) or len(values) != 16:
        return None
    if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in values):
        return None
    return tuple(float(value) for value in values)


def _reference_json(reference: DataReference) -> dict[str, str]:
    return {"name": reference.name} | ({"library": reference.library} if reference.library else {})


def _parent_json(parent: ParentLink) -> dict[str, Any]:
    data: dict[str, Any] = {"object": _reference_json(parent.object)}
    if parent.type != "OBJECT":
        data |= {"type": parent.type, "bone": parent.bone, "vertices": list(parent.vertices)}
    if parent.inverse != IDENTITY:
        # Nine digits hold every float32, which is what Blender keeps; more would be noise in the file.
        data["inverse"] = [float(f"{value:.9g}") for value in parent.inverse]
    return data


def _reference(data: object) -> DataReference | None:
    if not isinstance(data, dict) or not _text(data.get("name")):
        return None
    return DataReference(_text(data["name"]), _text(data.get("library")))


def _parent(data: object) -> ParentLink | None:
    if not isinstance(data, dict):
        return None
    reference, inverse = _reference(data.get("object")), matrix_values(data.get("inverse", IDENTITY))
    if reference is None or inverse is None:
        return None
    indices = [*map(_index, _list(data.get("vertices"))), 0, 0, 0]
    kind = _text(data.get("type"))
    return ParentLink(
        reference,
        kind if kind in PARENT_TYPES else "OBJECT",
        _text(data.get("bone")),
        tuple(indices[:3]),
        inverse,
    )


def _slot(data: object) -> MaterialSlot:
    if not isinstance(data, dict):
        return MaterialSlot()
    return MaterialSlot(_reference(data.get("material")), data.get("on_object") is True)


def _properties(data: object) -> dict[str, bool | int | float | str]:
    if not isinstance(data, dict):
        return {}
    return {
        name: value
        for name, value in list(data.items())[:MAX_LIST]
        if isinstance(value, (bool, int, float, str)) and _text(name)
    }


def _list(data: object) -> list[object]:
    return data[:MAX_LIST] if isinstance(data, list) else []


def _text(data: object) -> str:
    """Return a text that Blender can hold, or nothing."""
    if not isinstance(data, str) or len(data) > MAX_NAME or "\0" in data:
        return ""
    # JSON can spell halves of surrogate pairs, which no UTF-8 can.
    return "" if any("\ud800" <= character <= "\udfff" for character in data) else data


def _index(data: object) -> int:
    return data if isinstance(data, int) and not isinstance(data, bool) and 0 <= data < 2**31 else 0
