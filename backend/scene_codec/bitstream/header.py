"""The header: what the file holds, as a compact MessagePack array, and the rules that it must obey.

    [codec, payload version, objects, shared sections?]
    object   = [name, sections or index of the object it shares them with, transform?, host bytes?]
    sections = [tag, length, CRC-32, tag, length, CRC-32, ...]    tag = 2 * kind, plus 1 when the section is
    optional

Items marked ? are left out from the end when they are empty. Section payloads follow the header without gaps:
the shared ones first, then those of each object in turn, so that offsets need not be stored.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from typing import Annotated

import msgspec

from scene_codec.bitstream import limits
from scene_codec.errors import CorruptFileError

VALUES_PER_SECTION = 3

_CODEC_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_AFFINE_VALUES = 12
_LAST_ROW = (0.0, 0.0, 0.0, 1.0)
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_SINGLE = struct.Struct(f"<{_AFFINE_VALUES}f")
_DOUBLE = struct.Struct(f"<{_AFFINE_VALUES}d")

SectionTable = Annotated[
    tuple[int, ...], msgspec.Meta(max_length=VALUES_PER_SECTION * limits.MAX_SECTIONS_PER_TABLE)
]


class HeaderObject(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """One object as it stands in the header.

    `content` is its section table, or the index of the object it repeats.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=limits.MAX_NAME_BYTES)]
    content: SectionTable | int
    transform: Annotated[bytes, msgspec.Meta(max_length=_DOUBLE.size)] | None = None
    host: Annotated[bytes, msgspec.Meta(max_length=limits.MAX_HOST_BYTES)] = b""

    @property
    def table(self) -> tuple[int, ...]:
        """The object's own section table, empty for an instance."""
        return () if isinstance(self.content, int) else self.content


class Header(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """The whole header."""

    codec: Annotated[str, msgspec.Meta(min_length=1, max_length=limits.MAX_CODEC_NAME_BYTES)]
    payload_version: int
    objects: Annotated[tuple[HeaderObject, ...], msgspec.Meta(max_length=limits.MAX_OBJECTS)]
    shared: SectionTable = ()

    @property
    def payload_bytes(self) -> int:
        """Bytes of all sections together."""
        return table_bytes(self.shared) + sum(table_bytes(entry.table) for entry in self.objects)


_DECODER = msgspec.msgpack.Decoder(Header)
_ENCODER = msgspec.msgpack.Encoder()


def encode_header(header: Header) -> bytes:
    """Return the shortest form of `header`."""
    fields: list[object] = [
        header.codec,
        header.payload_version,
        [_object_fields(entry) for entry in header.objects],
    ]
    if header.shared:
        fields.append(header.shared)
    return _ENCODER.encode(fields)


def encoded_object_bytes(entry: HeaderObject) -> int:
    """Return how many bytes the object takes in the header before it is deflated."""
    return len(_ENCODER.encode(_object_fields(entry)))


def decode_header(raw: bytes) -> Header:
    """Return the header, every rule checked.

    Raises `CorruptFileError` that says which one is broken and where.
    """
    try:
        header = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"The header is malformed: {error}.") from error
    return checked_header(header)


def checked_header(header: Header) -> Header:
    """Return `header`. Raises `CorruptFileError` that says which rule it breaks, and where."""
    fault = first_fault(header)
    if fault is not None:
        raise CorruptFileError(f"The header breaks a rule: {fault}.")
    return header


def first_fault(header: Header) -> str | None:
    """Return what is wrong with `header` in words, or None. Reader and writer share these rules."""
    fault = _fault_of_codec(header) or _fault_of_table(header.shared, "the shared section table")
    if fault is not None:
        return fault
    if len(header.objects) > limits.MAX_OBJECTS:
        return f"{len(header.objects)} objects, at most {limits.MAX_OBJECTS} are allowed"
    seen: set[str] = set()
    sections = len(header.shared)
    for index, entry in enumerate(header.objects):
        fault = _fault_of_object(entry, index, header.objects)
        if fault is None and entry.name in seen:
            fault = "an earlier object has the same name"
        if fault is not None:
            return f"object {index} ({_shortened(entry.name)}): {fault}"
        seen.add(entry.name)
        sections += len(entry.table)
    if sections > VALUES_PER_SECTION * limits.MAX_SECTIONS:
        return f"{sections // VALUES_PER_SECTION} sections, at most {limits.MAX_SECTIONS} are allowed"
    return None


def pack_transform(transform: Sequence[float] | None) -> bytes | None:
    """Return 12 numbers as float32 if that loses nothing, else as float64; None for the identity.

    Raises `ValueError` when these are not 16 finite numbers whose last row is 0 0 0 1.
    """
    if transform is None:
        return None
    values = tuple(float(value) for value in transform)
    if len(values) != _AFFINE_VALUES + 4 or not all(map(math.isfinite, values)):
        raise ValueError("the transform is not made of 16 finite numbers")
    affine, last_row = values[:_AFFINE_VALUES], values[_AFFINE_VALUES:]
    if last_row != _LAST_ROW:
        raise ValueError(f"the last row of the transform is {last_row}, it must be 0 0 0 1")
    if affine == _IDENTITY:
        return None
    try:
        single = _SINGLE.pack(*affine)
    except OverflowError:
        return _DOUBLE.pack(*affine)
    return single if _SINGLE.unpack(single) == affine else _DOUBLE.pack(*affine)


def unpack_transform(packed: bytes | None) -> tuple[float, ...] | None:
    """Return the 16 numbers of a transform that has passed `first_fault`; None for the identity."""
    return None if packed is None else _affine(packed) + _LAST_ROW


def table_bytes(table: Sequence[int]) -> int:
    """Return the bytes of all sections in a section table."""
    return sum(table[1::VALUES_PER_SECTION])


def _affine(packed: bytes) -> tuple[float, ...]:
    return (_SINGLE if len(packed) == _SINGLE.size else _DOUBLE).unpack(packed)


def _object_fields(entry: HeaderObject) -> list[object]:
    """Return the fields with empty ones left out from the end."""
    fields: list[object] = [entry.name, entry.content]
    if entry.transform is not None or entry.host:
        fields.append(entry.transform)
    if entry.host:
        fields.append(entry.host)
    return fields


def _fault_of_codec(header: Header) -> str | None:
    if len(header.codec) > limits.MAX_CODEC_NAME_BYTES or not _CODEC_NAME.fullmatch(header.codec):
        return f"{header.codec[:80]!r} is no codec name (lower-case letters, digits and hyphens)"
    if not 0 <= header.payload_version <= limits.MAX_PAYLOAD_VERSION:
        return f"payload version {header.payload_version} is not between 0 and {limits.MAX_PAYLOAD_VERSION}"
    return None


def _fault_of_object(entry: HeaderObject, index: int, objects: Sequence[HeaderObject]) -> str | None:
    fault = _fault_of_name(entry.name)
    if fault is None and len(entry.host) > limits.MAX_HOST_BYTES:
        fault = f"{len(entry.host)} host bytes, at most {limits.MAX_HOST_BYTES} are allowed"
    if fault is None and entry.transform is not None:
        fault = _fault_of_transform(entry.transform)
    if fault is None and isinstance(entry.content, int):
        if not 0 <= entry.content < index:
            fault = f"an instance of object {entry.content}, which is not an earlier one"
        elif isinstance(objects[entry.content].content, int):
            fault = f"an instance of object {entry.content}, which is an instance itself"
    return fault or _fault_of_table(entry.table, "its section table")


def _fault_of_name(name: str) -> str | None:
    if not name:
        return "the name is empty"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "the name is no valid Unicode text"
    if size > limits.MAX_NAME_BYTES:
        return f"the name takes {size} bytes, at most {limits.MAX_NAME_BYTES} are allowed"
    return None


def _fault_of_transform(packed: bytes) -> str | None:
    if len(packed) not in (_SINGLE.size, _DOUBLE.size):
        return f"a transform of {len(packed)} bytes, only {_SINGLE.size} and {_DOUBLE.size} are possible"
    if not all(map(math.isfinite, _affine(packed))):
        return "the transform is not finite"
    return None


def _fault_of_table(table: Sequence[int], where: str) -> str | None:
    if len(table) % VALUES_PER_SECTION or len(table) > VALUES_PER_SECTION * limits.MAX_SECTIONS_PER_TABLE:
        return (
            f"{where} has {len(table)} numbers, not three for each of at most {limits.MAX_SECTIONS_PER_TABLE}"
        )
    tags, lengths, checksums = (table[offset::VALUES_PER_SECTION] for offset in range(VALUES_PER_SECTION))
    if len({tag >> 1 for tag in tags}) != len(tags):
        return f"{where} lists a kind twice"
    columns = (
        ("tag", tags, 2 * limits.MAX_KIND + 1),
        ("length", lengths, limits.MAX_SECTION_BYTES),
        ("checksum", checksums, 0xFFFFFFFF),
    )
    for label, values, highest in columns:
        if not all(0 <= value <= highest for value in values):
            return f"{where} has a {label} outside 0 to {highest}"
    return None


def _shortened(name: str) -> str:
    return repr(name if len(name) <= 60 else name[:57] + "...")
