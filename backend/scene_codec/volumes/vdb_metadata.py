"""Metadata of OpenVDB files and grids: named values with a type and a size each."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np

from scene_codec.volumes.vdb_stream import VdbReader, name_bytes
from scene_codec.volumes.volume import MetadataValue

_SCALARS = {"bool": "?", "int32": "i", "int64": "q", "half": "e", "float": "f", "double": "d"}
_TUPLES = {
    **{
        f"vec{count}{letter}": (count, code)
        for count in (2, 3, 4)
        for letter, code in zip("isd", "ifd", strict=True)
    },
    "mat4s": (16, "f"),
    "mat4d": (16, "d"),
}
_INT32, _INT64 = range(-(2**31), 2**31), range(-(2**63), 2**63)


def read_metadata(reader: VdbReader) -> dict[str, MetadataValue]:
    """Return the metadata that follow. Values of types that we do not know are left out.

    Matrices are tuples of 16 numbers, in the order of the file.
    """
    found: dict[str, MetadataValue] = {}
    for _ in range(reader.uint32()):  # a false count runs into the end of the file
        name, kind = reader.name(), reader.name()
        data = reader.take(reader.uint32())
        value = _parsed(kind, data)
        if value is not None:
            found[name] = value
    return found


def _parsed(kind: str, data: bytes) -> MetadataValue | None:
    """Return a value, or None when its type is unknown or its size is not that of its type."""
    if kind == "string":
        return data.decode("utf-8", "replace")
    if kind in _SCALARS:
        layout = f"<{_SCALARS[kind]}"
    elif kind in _TUPLES:
        count, code = _TUPLES[kind]
        layout = f"<{count}{code}"
    else:
        return None
    if len(data) != struct.calcsize(layout):
        return None
    values = struct.unpack(layout, data)
    return values if kind in _TUPLES else values[0]


def metadata_bytes(metadata: Mapping[str, MetadataValue]) -> bytes:
    """Return metadata as a file has them, each with the narrowest OpenVDB type that holds its value.

    A tuple that OpenVDB has no vector or 4 x 4 matrix for is left out, and so is an entry without a name, and
    an integer beyond 64 bits.
    """
    entries = []
    for name, value in metadata.items():
        stored = _stored(value)
        if name and stored is not None:
            kind, data = stored
            entries.append(name_bytes(name) + name_bytes(kind) + struct.pack("<I", len(data)) + data)
    return struct.pack("<I", len(entries)) + b"".join(entries)


def _stored(value: MetadataValue) -> tuple[str, bytes] | None:
    """Return the type and the bytes of a value, None when OpenVDB has no type for it."""
    if isinstance(value, str):
        return "string", value.encode("utf-8", "replace")
    if isinstance(value, tuple):
        return _stored_tuple(value)
    if isinstance(value, bool):
        return "bool", struct.pack("<?", value)
    if isinstance(value, int):
        kind = "int32" if value in _INT32 else "int64"
        return (kind, struct.pack(f"<{_SCALARS[kind]}", value)) if value in _INT64 else None
    kind = "float" if _fit_float32((value,)) else "double"
    return kind, struct.pack(f"<{_SCALARS[kind]}", value)


def _stored_tuple(values: tuple[float, ...]) -> tuple[str, bytes] | None:
    integers = all(isinstance(value, int) and value in _INT32 for value in values)
    if len(values) in (2, 3, 4):
        kind = f"vec{len(values)}{'i' if integers else 's' if _fit_float32(values) else 'd'}"
    elif len(values) == 16:
        kind = "mat4s" if _fit_float32(values) else "mat4d"
    else:
        return None
    count, code = _TUPLES[kind]
    return kind, struct.pack(f"<{count}{code}", *values)


def _fit_float32(values: tuple[float, ...]) -> bool:
    """Tell whether 32-bit floats hold the numbers exactly."""
    exact = np.array(values, np.float64)
    with np.errstate(over="ignore"):
        return bool(np.array_equal(exact, exact.astype(np.float32), equal_nan=True))
