"""Compressed values of OpenVDB nodes.

A node's values are stored in two steps. First, inactive values may be left out where they take at most two
values ("active mask" compression); a code says how to put them back. Then what remains is stored as it is,
through zlib or through Blosc, with its size in front.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene_codec.volumes.vdb_stream import VdbReader
from scene_codec.volumes.vdb_value_types import VdbValueType

ZIP, ACTIVE_MASK, BLOSC = 1, 2, 4

BACKGROUND, MINUS_BACKGROUND, ONE_VALUE = 0, 1, 2
MASKED_BACKGROUNDS, MASKED_ONE_VALUE, MASKED_TWO_VALUES, ALL_VALUES = 3, 4, 5, 6
"""What a node stores of its inactive values: OpenVDB's seven codes."""

WITH_FIRST_VALUE = (ONE_VALUE, MASKED_ONE_VALUE, MASKED_TWO_VALUES)
WITH_MASK = (MASKED_BACKGROUNDS, MASKED_ONE_VALUE, MASKED_TWO_VALUES)

_ZIP_LEVEL = 6
_BLOSC_LEVEL = 9
_BLOSC_TYPE_SIZE = 4  # what OpenVDB passes for all types
_BLOSC_HEADER = struct.Struct("<4BIII")


@dataclass(frozen=True)
class ValueStorage:
    """How the values of one tree are stored.

    half : floats are stored with 16 bits
    flags : sum of `ZIP`, `ACTIVE_MASK` and `BLOSC`
    selective : False in file versions before 222, which store every value of a leaf and every tile's
    background : (channels,) little-endian
    """

    value_type: VdbValueType
    half: bool
    flags: int
    selective: bool
    background: NDArray[np.generic]

    @property
    def stored_number(self) -> np.dtype[np.generic]:
        """Type of the numbers in the file."""
        return np.dtype("<f2") if self.half else self.value_type.number

    def byte_count(self, count: int) -> int:
        """Return the uncompressed size of `count` values."""
        return count * self.stored_number.itemsize * self.value_type.channels


def bits_of(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the (..., 8 k) bits of (..., k) bytes of a node mask."""
    return np.unpackbits(mask, axis=-1, bitorder="little").view(np.bool_)


def mask_bytes(bits: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Return the (..., k) bytes of a node mask of (..., 8 k) bits."""
    return np.packbits(bits.astype(np.bool_, copy=False), axis=-1, bitorder="little")


def read_chunk(reader: VdbReader, storage: ValueStorage, count: int) -> bytes:
    """Return the bytes of `count` stored values, decompressed."""
    expected = storage.byte_count(count)
    if storage.half and count == 0:
        return b""  # of no 16-bit floats, not even the size is stored
    if not storage.flags & (ZIP | BLOSC):
        return reader.take(expected)
    size = reader.int64()
    if size <= 0:
        if -size != expected:
            raise reader.damaged(f"a node has {-size} bytes of values instead of {expected}")
        return reader.take(expected)
    data = reader.take(size)
    values = _from_blosc(data, expected) if storage.flags & BLOSC else _from_zip(data, expected)
    if values is None:
        raise reader.damaged(f"the {expected} bytes of a node do not decompress")
    return values


def chunk_bytes(data: bytes | memoryview, storage: ValueStorage) -> bytes:
    """Return values as they are stored, compressed if that makes them smaller."""
    if storage.half and not data:
        return b""
    if not storage.flags & (ZIP | BLOSC):
        return bytes(data)
    packed = _to_blosc(data) if storage.flags & BLOSC else zlib.compress(data, _ZIP_LEVEL)
    if len(packed) < len(data):
        return struct.pack("<q", len(packed)) + packed
    return struct.pack("<q", -len(data)) + bytes(data)


def _from_zip(data: bytes, expected: int) -> bytes | None:
    stream = zlib.decompressobj()
    try:
        values = stream.decompress(data, expected + 1)
    except zlib.error:
        return None
    return values if len(values) == expected and stream.eof else None


def _from_blosc(data: bytes, expected: int) -> bytes | None:
    from numcodecs import blosc  # here, because it takes a quarter of a second

    # The library allocates what the header promises, so that has to be right before.
    if len(data) < _BLOSC_HEADER.size:
        return None
    *_, size, _, packed_size = _BLOSC_HEADER.unpack_from(data)
    if size != expected or packed_size != len(data):
        return None
    if expected == 0:
        return b""
    try:
        values = bytes(blosc.decompress(data))
    except (RuntimeError, ValueError):
        return None
    return values if len(values) == expected else None


def _to_blosc(data: bytes | memoryview) -> bytes:
    from numcodecs import blosc

    if not data:
        return b""
    settings = {"shuffle": blosc.SHUFFLE, "blocksize": len(data), "typesize": _BLOSC_TYPE_SIZE}
    return bytes(blosc.compress(bytes(data), b"lz4", _BLOSC_LEVEL, **settings))
