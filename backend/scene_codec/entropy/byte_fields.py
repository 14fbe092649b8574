"""Small numbers as few bytes: the fields of probability tables."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import CorruptFileError

_MAX_VARINT_BYTES = 5


def varint(value: int) -> bytes:
    """Return a non-negative number below 2**35 as bytes of seven bits, lowest first.

    The top bit is set in every byte but the last.
    """
    if not 0 <= value < 1 << 7 * _MAX_VARINT_BYTES:
        raise ValueError(f"{value} does not fit the field")
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def signed_varint(value: int) -> bytes:
    """Return a number of either sign; 0, -1, 1, -2, 2 are stored as 0, 1, 2, 3, 4."""
    return varint(-2 * value - 1 if value < 0 else 2 * value)


def unpacked_bits(data: bytes, count: int) -> NDArray[np.uint8]:
    """Return so many bits (n,), highest of a byte first, of bytes just long enough for them.

    Raises `CorruptFileError` for other lengths, and unless the rest of the last byte is zero.
    """
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    if len(data) != -(-count // 8) or bits[count:].any():
        raise CorruptFileError(f"A field of {count} bits has {len(data)} bytes, or something behind its end.")
    return bits[:count]


class ByteReader:
    """Reads fields from bytes, one behind the other.

    Raises `CorruptFileError` where the bytes end too early.
    """

    def __init__(self, data: bytes, position: int = 0) -> None:
        self._data = data
        self.position = position

    def byte(self) -> int:
        """Return the next byte."""
        return self.take(1)[0]

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        end = self.position + count
        if end > len(self._data):
            raise CorruptFileError(
                f"A section is cut off: it ends with byte {len(self._data)}, inside one of its fields."
            )
        taken = self._data[self.position : end]
        self.position = end
        return taken

    def since(self, start: int) -> bytes:
        """Return the bytes from position `start` up to here."""
        return self._data[start : self.position]

    def rest(self) -> bytes:
        """Return all bytes that are left."""
        return self.take(len(self._data) - self.position)

    def varint(self) -> int:
        """Return a number written by `varint`, which must be in its shortest form."""
        value = 0
        for index in range(_MAX_VARINT_BYTES):
            byte = self.byte()
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                if byte == 0 and index > 0:
                    break
                return value
        raise CorruptFileError(
            f"A number before byte {self.position} of a section is not in its shortest form."
        )

    def signed_varint(self) -> int:
        """Return a number written by `signed_varint`."""
        value = self.varint()
        return -(value >> 1) - 1 if value & 1 else value >> 1
