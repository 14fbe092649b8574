"""Where a TIFF image lies: from its description (ours, ImageJ's, OME's) and its resolution tags, and back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scene_codec.volumes.dense_grid import ORIENTATION, UNITS, placement, plain_spacing
from scene_codec.volumes.volume import MetadataValue, VolumeGrid

DESCRIPTION = "tiff:description"
X_RESOLUTION, Y_RESOLUTION = "tiff:x_resolution", "tiff:y_resolution"
RESOLUTION_UNIT = "tiff:resolution_unit"

_NO_UNIT = 1
_RESOLUTION_UNITS = {2: "inch", 3: "cm"}
_IMAGEJ = re.compile(r"^(\w+)=(.*)$", re.MULTILINE)
_OME = re.compile(r'\bPhysicalSize([XYZ])(Unit)?="([^"]{1,40})"')


def image_placement(notes: Mapping[str, MetadataValue]) -> tuple[NDArray[np.float64], str | None]:
    """Return the map from index to object space and the unit of lengths, from the metadata of this module.

    TIFF itself has no distance between pages: without a description it is taken to be that of columns.
    """
    description = str(notes.get(DESCRIPTION, ""))
    x, y = (_distance(notes.get(name)) for name in (X_RESOLUTION, Y_RESOLUTION))
    if description.startswith("{"):
        fields = _json_fields(description)
        if "to_object" in fields:
            matrix = np.array(fields["to_object"], dtype=np.float64)
            return matrix, str(fields["units"]) if "units" in fields else None
    if description.startswith("ImageJ="):
        entries = dict(_IMAGEJ.findall(description))
        spacing = (x or 1.0, y or 1.0, _length(entries.get("spacing")) or 1.0)
        return placement(spacing), entries.get("unit", "").strip() or None
    sizes = {axis: text for axis, unit, text in _OME.findall(description) if not unit}
    if sizes:
        units = {text for _, unit, text in _OME.findall(description) if unit} or {"um"}
        x, y, z = (_length(sizes.get(axis)) or 1.0 for axis in "XYZ")
        return placement((x, y, z)), units.pop() if len(units) == 1 else None
    unit = _RESOLUTION_UNITS.get(int(str(notes.get(RESOLUTION_UNIT, _NO_UNIT))))
    if unit is None:  # pixels per nothing: only their ratio has a meaning, and most writers put 1 or 72
        return placement((1.0, 1.0, 1.0)), None
    return placement((x or 1.0, y or 1.0, x or 1.0)), unit


def image_notes(grid: VolumeGrid, shape: tuple[int, ...]) -> dict[str, MetadataValue]:
    """Return description and resolution for a grid written as pages of `shape` (z, y, x[, channels]).

    They are those it came with while they place it where it is; otherwise the description is a line of JSON,
    as tifffile writes it, with the fields shape, axes, to_object, units and orientation.
    """
    names = (DESCRIPTION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT)
    notes = {name: grid.metadata[name] for name in names if name in grid.metadata}
    if notes and _fits(str(notes.get(DESCRIPTION, "")), shape):
        matrix, _ = image_placement(notes)
        if np.array_equal(matrix, grid.to_object):
            return notes
    fields: dict[str, Any] = {"shape": shape, "axes": "ZYXS"[: len(shape)]}
    fields["to_object"] = grid.to_object.tolist()
    fields |= {name: str(grid.metadata[name]) for name in (UNITS, ORIENTATION) if name in grid.metadata}
    notes = {DESCRIPTION: json.dumps(fields), RESOLUTION_UNIT: _NO_UNIT}
    spacing = plain_spacing(grid.to_object)
    if spacing is not None and all(
        1e-6 < step < 1e6 for step in spacing
    ):  # for other programs; ours read JSON
        notes[X_RESOLUTION], notes[Y_RESOLUTION] = _rational(spacing[0]), _rational(spacing[1])
    return notes


def orientation_of(description: str) -> str | None:
    """Return the orientation that our own description gives, if any."""
    value = _json_fields(description).get(ORIENTATION) if description.startswith("{") else None
    return value if isinstance(value, str) else None


def _json_fields(description: str) -> dict[str, Any]:
    """Return the fields of a JSON description, none when it is no object."""
    try:
        fields = json.loads(description)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _fits(description: str, shape: tuple[int, ...]) -> bool:
    """Tell whether a description is of pages of this shape, or says nothing of shapes."""
    if description.startswith("{"):
        return _json_fields(description).get("shape") in (
            list(shape),
            list(shape[1:]) if shape[0] == 1 else None,
        )
    entries = dict(_IMAGEJ.findall(description)) if description.startswith("ImageJ=") else {}
    images = entries.get("images")
    return images is None or images.strip() == str(shape[0])


def _distance(resolution: MetadataValue | None) -> float | None:
    """Return the distance of pixels for a rational number of pixels per unit; None when it gives none."""
    if not isinstance(resolution, tuple) or len(resolution) != 2 or 0 in resolution:
        return None
    return float(resolution[1] / resolution[0])


def _length(text: str | None) -> float | None:
    """Return a positive finite number, or None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _rational(step: float) -> tuple[int, int]:
    """Return pixels per unit as two 32-bit numbers."""
    denominator = max(1, math.floor(min(2**31 * step, 2**31)) - 1) if step < 1 else 2**31 - 1
    return max(1, round(denominator / step)), denominator
