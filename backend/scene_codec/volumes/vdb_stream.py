"""Bytes of an OpenVDB file, taken one field at a time and never more than the file still has.

All numbers are little-endian; a string is its length as an unsigned 32-bit integer, then its bytes.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import UnsupportedSceneError

NAME_LIMIT = 1 << 16
"""Names of grids, types and metadata are shorter; what is longer is damage."""


class GridRefusedError(UnsupportedSceneError):
    """One grid cannot be represented; the others of its file can."""


class VdbReader:
    """A position in an open file, with every length checked before anything is read or allocated.

    stream : a binary file that can seek, of `size` bytes
    """

    def __init__(self, stream: BinaryIO, path: Path, size: int) -> None:
        self._stream = stream
        self._path = path
        self._size = size
        self.position = 0

    def damaged(self, reason: str) -> UnsupportedSceneError:
        """Return the error to raise when the file contradicts itself here."""
        return UnsupportedSceneError(
            f"'{self._path.name}' is a damaged OpenVDB file: {reason} (at byte {self.position}). "
            "Export it again."
        )

    def refused(self, reason: str) -> UnsupportedSceneError:
        """Return the error to raise when the whole file is of a kind that is not read."""
        return UnsupportedSceneError(f"'{self._path.name}' cannot be read as OpenVDB: {reason}.")

    @property
    def remaining(self) -> int:
        """Bytes from here to the end of the file."""
        return self._size - self.position

    def seek(self, position: int) -> None:
        """Go to an absolute position within the file."""
        if not 0 <= position <= self._size:
            raise self.damaged(f"it points to byte {position} of {self._size}")
        self._stream.seek(position)
        self.position = position

    def skip(self, count: int) -> None:
        """Go `count` bytes ahead."""
        self._require(count)
        self.seek(self.position + count)

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        self._require(count)
        data = self._stream.read(count)
        if len(data) != count:
            raise self.damaged("it became shorter while it was read")
        self.position += count
        return data

    def array(self, dtype: np.dtype[np.generic], count: int) -> NDArray[np.generic]:
        """Return the next `count` values of a little-endian type."""
        return np.frombuffer(self.take(count * dtype.itemsize), dtype)

    def byte(self) -> int:
        """Return an unsigned 8-bit integer."""
        return self.take(1)[0]

    def int32(self) -> int:
        """Return a signed 32-bit integer."""
        return int(struct.unpack("<i", self.take(4))[0])

    def uint32(self) -> int:
        """Return an unsigned 32-bit integer."""
        return int(struct.unpack("<I", self.take(4))[0])

    def int64(self) -> int:
        """Return a signed 64-bit integer."""
        return int(struct.unpack("<q", self.take(8))[0])

    def doubles(self, count: int) -> list[float]:
        """Return `count` 64-bit floats."""
        return list(struct.unpack(f"<{count}d", self.take(8 * count)))

    def name(self) -> str:
        """Return a string that is a name; bytes that are no UTF-8 are replaced."""
        length = self.uint32()
        if length > NAME_LIMIT:
            raise self.damaged(f"a name of {length} bytes")
        return self.take(length).decode("utf-8", "replace")

    def _require(self, count: int) -> None:
        if not 0 <= count <= self.remaining:
            raise self.damaged(f"{count} bytes are announced and {self.remaining} follow")


def name_bytes(name: str) -> bytes:
    """Return a string as it is stored."""
    data = name.encode("utf-8", "replace")
    return struct.pack("<I", len(data)) + data
