"""Raw values, x varying fastest, described by the file's name or by a JSON file beside it.

The name is the Open SciVis convention, `NAME_256x256x113_uint8.raw` (x, y, z; little-endian), with the
spacing before the type where it is not 1: `NAME_256x256x113_0.5x0.5x1.2_uint16.raw`. The JSON file has the
volume's name with the suffix .json and the fields of `RawHeader`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
import numpy as np

from scene_codec.bitstream.atomic_file import write_atomically
from scene_codec.errors import UnsupportedSceneError
from scene_codec.volumes.array_storage import map_values, stored_bytes
from scene_codec.volumes.dense_grid import (
    BYTE_ORDER,
    ORIENTATION,
    UNITS,
    checked_placement,
    checked_shape,
    checked_type,
    dense_grid,
    is_big_endian,
    placement,
    plain_spacing,
    reversed_axes,
    stored_type,
)
from scene_codec.volumes.volume import VALUE_TYPES, MetadataValue, VolumeGrid

_OTHER_FIELDS = "raw:fields"
_LARGEST_HEADER = 1 << 20
_STEP = r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
_NAME = re.compile(rf".+?_(\d+)x(\d+)x(\d+)_(?:{_STEP}x{_STEP}x{_STEP}_)?([a-z]+\d*)", re.IGNORECASE)

Triple = tuple[float, float, float]
Row = tuple[float, float, float, float]
Rows = tuple[Row, Row, Row, Row]


class RawHeader(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a .raw file holds; x first in every field.

    shape : voxels along x, y and z; x varies fastest in the file
    dtype : one of `VALUE_TYPES`
    channels : numbers per voxel, side by side
    spacing, origin : or `to_object`, a (4, 4) map from index to object space, for turned grids
    """

    shape: tuple[int, int, int]
    dtype: str
    byte_order: Literal["little", "big"] = "little"
    channels: int = 1
    spacing: Triple = (1.0, 1.0, 1.0)
    origin: Triple = (0.0, 0.0, 0.0)
    to_object: Rows | None = None
    units: str | None = None
    orientation: str | None = None


_FIELDS = tuple(field.name for field in msgspec.structs.fields(RawHeader))


def header_file(path: Path) -> Path:
    """Return where the JSON header of a .raw file is, if it has one."""
    return path.with_suffix(".json")


def load_raw(path: Path) -> VolumeGrid:
    """Return the volume of a .raw file, mapped."""
    header, others = _header(path)
    sizes = (*header.shape, header.channels) if header.channels != 1 else header.shape
    shape = checked_shape(path, sizes)
    if header.dtype not in VALUE_TYPES:
        raise UnsupportedSceneError(
            f"'{path.name}' is declared as '{header.dtype[:40]}'; types are {', '.join(VALUE_TYPES)}."
        )
    dtype = checked_type(path, np.dtype(header.dtype)).newbyteorder(
        ">" if header.byte_order == "big" else "<"
    )
    values = map_values(path, 0, (shape[2], shape[1], shape[0], *shape[3:]), dtype)
    matrix = placement(header.spacing, header.origin)
    if header.to_object is not None:
        matrix = np.array(header.to_object)
    metadata: dict[str, MetadataValue] = {}
    if header.byte_order == "big":
        metadata[BYTE_ORDER] = "big"
    if header.units is not None:
        metadata[UNITS] = header.units
    if header.orientation is not None:
        metadata[ORIENTATION] = header.orientation
    if others:
        metadata[_OTHER_FIELDS] = json.dumps(others)
    return dense_grid(reversed_axes(values), checked_placement(path, matrix), metadata)


def save_raw(grid: VolumeGrid, path: Path) -> None:
    """Write the values, and the JSON file where the name does not say everything.

    Raises `UnsupportedSceneError` when the name says something else than the volume, and when the JSON file
    would take the place of one that is no header.
    """
    header = _header_of(grid)
    others = json.loads(str(grid.metadata.get(_OTHER_FIELDS, "{}")))
    named = _named_header(path)
    if named is not None and (named.shape, named.dtype) != (header.shape, header.dtype):
        raise UnsupportedSceneError(
            f"The name '{path.name}' declares another volume than the one to write, which is "
            f"{'x'.join(map(str, header.shape))}_{header.dtype}. Choose another name."
        )
    beside = header_file(path)
    if beside.exists():
        _read_header(beside)
    write_atomically(path, stored_bytes(reversed_axes(grid.values), stored_type(grid)))
    if named != header or others or beside.exists():
        fields = others | msgspec.to_builtins(header)
        write_atomically(beside, [json.dumps(fields, indent=1).encode()])


def _header_of(grid: VolumeGrid) -> RawHeader:
    """Return the description of a grid."""
    spacing = plain_spacing(grid.to_object)
    x, y, z, *_ = grid.values.shape
    units, orientation = grid.metadata.get(UNITS), grid.metadata.get(ORIENTATION)
    rows = cast(Rows | None, None if spacing is not None else tuple(map(tuple, grid.to_object.tolist())))
    return RawHeader(
        shape=(x, y, z),
        dtype=grid.values.dtype.name,
        byte_order="big" if is_big_endian(grid) and grid.values.dtype.itemsize > 1 else "little",
        channels=grid.channels,
        spacing=spacing or (1.0, 1.0, 1.0),
        origin=(0.0, 0.0, 0.0) if rows else cast(Triple, tuple(grid.to_object[:3, 3].tolist())),
        to_object=rows,
        units=None if units is None else str(units),
        orientation=None if orientation is None else str(orientation),
    )


def _header(path: Path) -> tuple[RawHeader, dict[str, Any]]:
    """Return what describes a .raw file, and the further fields of its JSON file."""
    named = _named_header(path)
    beside = header_file(path)
    if beside.is_file():
        header, others = _read_header(beside)
        if named is not None and (named.shape, named.dtype) != (header.shape, header.dtype):
            raise UnsupportedSceneError(f"'{path.name}' and '{beside.name}' declare different volumes.")
        return header, others
    if named is None:
        raise UnsupportedSceneError(
            f"Nothing says what '{path.name}' holds. Name it like NAME_256x256x128_uint8.raw, or put a file "
            f"'{beside.name}' beside it with shape (x, y, z), dtype, byte_order, spacing and origin."
        )
    return named, {}


def _named_header(path: Path) -> RawHeader | None:
    """Return what the file's name says of it, None when it says nothing."""
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    x, y, z, *steps, dtype = match.groups()
    if max(len(x), len(y), len(z)) > 9:
        raise UnsupportedSceneError(f"The name '{path.name[:80]}' declares more voxels than any volume has.")
    spacing = (1.0, 1.0, 1.0) if steps[0] is None else cast(Triple, tuple(map(float, steps)))
    return RawHeader(shape=(int(x), int(y), int(z)), dtype=dtype.lower(), spacing=spacing)


def _read_header(path: Path) -> tuple[RawHeader, dict[str, Any]]:
    """Return the header in a JSON file and its further fields."""
    example = '{"shape": [64, 64, 32], "dtype": "uint16", "byte_order": "little", "spacing": [1, 1, 2]}'
    if path.stat().st_size > _LARGEST_HEADER:
        raise UnsupportedSceneError(f"'{path.name}' is too large for the header of a .raw file.")
    try:
        fields = json.loads(path.read_bytes())
        header = msgspec.convert(fields, RawHeader)
    except (ValueError, RecursionError) as error:
        raise UnsupportedSceneError(
            f"'{path.name}' is not the header of a .raw file: {error}. One reads {example}."
        ) from error
    return header, {key: value for key, value in fields.items() if key not in _FIELDS}
