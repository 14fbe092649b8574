"""The first 32 bytes of a file of the long form: magic, versions, lengths and the checksum of the header.

The preamble's layout and the rule for its checksum are the same in every container version, so that a reader
can always tell a newer file from a damaged one. Files of one small object begin otherwise: `short_form`.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace

from scene_codec.bitstream.deflation import deflated, inflated
from scene_codec.bitstream.limits import MAX_HEADER_BYTES
from scene_codec.errors import CorruptFileError, UnsupportedVersionError

MAGIC = b"\x89NSC\r\n\x1a\n"
CONTAINER_VERSION = 1
PREAMBLE_BYTES = 32

_LAYOUT = struct.Struct("<8sHHIIIQ")
_FLAG_DEFLATED = 1


@dataclass(frozen=True, slots=True)
class Preamble:
    """What the preamble states, lengths in bytes.

    header_crc32 : CRC-32 of the preamble, with this field zero, followed by the stored header
    """

    version: int
    flags: int
    stored_header_bytes: int
    raw_header_bytes: int
    header_crc32: int
    file_bytes: int

    def pack(self) -> bytes:
        """Return the 32 bytes."""
        return _LAYOUT.pack(
            MAGIC,
            self.version,
            self.flags,
            self.stored_header_bytes,
            self.raw_header_bytes,
            self.header_crc32,
            self.file_bytes,
        )


def pack_header(raw_header: bytes, payload_bytes: int) -> bytes:
    """Return preamble and stored header of a file whose sections take `payload_bytes` bytes.

    The header is stored deflated when that is smaller.
    """
    smaller = deflated(raw_header)
    is_smaller = len(smaller) < len(raw_header)
    stored = smaller if is_smaller else raw_header
    preamble = Preamble(
        version=CONTAINER_VERSION,
        flags=_FLAG_DEFLATED if is_smaller else 0,
        stored_header_bytes=len(stored),
        raw_header_bytes=len(raw_header),
        header_crc32=0,
        file_bytes=PREAMBLE_BYTES + len(stored) + payload_bytes,
    )
    return _with_checksum(preamble, stored).pack() + stored


def parse_preamble(data: bytes, actual_file_bytes: int) -> Preamble:
    """Return the preamble in the first bytes of a file of `actual_file_bytes`.

    Raises `CorruptFileError` when this is no whole `.nscene` file. The version is judged by `unpack_header`,
    once the checksum has shown that the preamble itself is intact.
    """
    if data[: len(MAGIC)] != MAGIC:
        reason = "it is empty" if not data else "its first bytes are not those of a .nscene file"
        if len(data) >= 4 and data[:4] == MAGIC[:4]:
            reason = "its first bytes were changed on the way, as by a transfer in text mode"
        raise CorruptFileError(f"This is not a .nscene file: {reason}.")
    if len(data) < PREAMBLE_BYTES:
        raise CorruptFileError(
            f"The file is cut off: {len(data)} bytes, and its preamble alone takes {PREAMBLE_BYTES}."
        )
    preamble = Preamble(*_LAYOUT.unpack(data[:PREAMBLE_BYTES])[1:])
    if preamble.file_bytes != actual_file_bytes:
        what = "cut off" if actual_file_bytes < preamble.file_bytes else "followed by foreign bytes"
        raise CorruptFileError(
            f"The file is {what}: it has {actual_file_bytes} bytes, its preamble says {preamble.file_bytes}."
        )
    for label, length in (("", preamble.stored_header_bytes), ("inflated ", preamble.raw_header_bytes)):
        if not 0 < length <= MAX_HEADER_BYTES:
            raise CorruptFileError(
                f"The preamble gives the {label}header {length} bytes; allowed are 1 to {MAX_HEADER_BYTES}."
            )
    if preamble.stored_header_bytes > actual_file_bytes - PREAMBLE_BYTES:
        raise CorruptFileError(
            f"The preamble gives the header {preamble.stored_header_bytes} bytes, more than the file has."
        )
    return preamble


def unpack_header(preamble: Preamble, stored: bytes) -> bytes:
    """Return the raw header.

    Raises `CorruptFileError`, or `UnsupportedVersionError` for an intact newer file.
    """
    if len(stored) != preamble.stored_header_bytes:
        raise CorruptFileError(
            f"The header is cut off: {len(stored)} of {preamble.stored_header_bytes} bytes could be read."
        )
    if _with_checksum(preamble, stored).header_crc32 != preamble.header_crc32:
        raise CorruptFileError(
            "The file is damaged: the checksum of preamble and header (bytes 20 to 23) is wrong."
        )
    if preamble.version > CONTAINER_VERSION or preamble.flags & ~_FLAG_DEFLATED:
        raise UnsupportedVersionError(
            f"The file has container version {preamble.version}, flags {preamble.flags:#06x}; this release "
            f"reads up to version {CONTAINER_VERSION}. Update Neural Scene Codec to open it."
        )
    if preamble.version < 1:
        raise CorruptFileError("The file states container version 0, which never existed.")
    if not preamble.flags & _FLAG_DEFLATED:
        if preamble.raw_header_bytes != preamble.stored_header_bytes:
            raise CorruptFileError("The header is not deflated, yet its two lengths in the preamble differ.")
        return stored
    raw = inflated(stored, preamble.raw_header_bytes)
    if len(raw) != preamble.raw_header_bytes:
        raise CorruptFileError(
            f"The deflated header does not end where the preamble says: {len(raw)} of "
            f"{preamble.raw_header_bytes} bytes inflated."
        )
    return raw


def _with_checksum(preamble: Preamble, stored: bytes) -> Preamble:
    """Return `preamble` with the checksum that belongs to it and to the stored header."""
    blank = replace(preamble, header_crc32=0)
    return replace(preamble, header_crc32=zlib.crc32(stored, zlib.crc32(blank.pack())))
