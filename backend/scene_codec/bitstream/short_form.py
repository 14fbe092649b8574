"""The short form: a file of one object and at most 65 535 bytes, with 20 bytes around it instead of 60.

    magic (4)  CRC-32 of all that follows (4)  container version (1)  2 * header bytes + deflated (varint)
    header, sections
    header   = [codec, payload version, name, sections, transform?, host bytes?, shared sections?]
    sections = [tag, length, tag, length, ..., tag]    the object's last one reaches to the end of the file

A mesh of 200 bytes is what it is made for: there the long form takes a quarter of the file. It is read as a
whole, so one checksum does for everything, and there is no second object that could outlive a damaged one.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Sequence
from typing import Final

import msgspec

from scene_codec.bitstream import limits
from scene_codec.bitstream.deflation import deflated, inflated
from scene_codec.bitstream.header import VALUES_PER_SECTION, Header, HeaderObject, checked_header
from scene_codec.errors import CorruptFileError, UnsupportedVersionError

SHORT_MAGIC: Final = b"\x89nsc"
SHORT_VERSION: Final = 2
MAX_SHORT_FILE_BYTES: Final = 0xFFFF

CODEC_NUMBERS: Final = (
    "mesh-necgs",
    "mesh-surface",
    "volume-vae",
    "volume-wavelet",
    "nerf-pruned",
    "radiance-vqrf",
)
"""Codecs that the header names by their place in this list. It only ever grows at its end."""

_MAX_RAW_HEADER_BYTES = 1 << 17
_START = struct.Struct("<4sI")
_FIXED_BYTES = _START.size + 1
_MAX_VARINT_BYTES = 3
_PER_SECTION = 2


class _ShortHeader(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """The header as it is stored; the rules of its fields are those of the long form."""

    codec: str | int
    payload_version: int
    name: str
    sections: tuple[int, ...]
    transform: bytes | None = None
    host: bytes = b""
    shared: tuple[int, ...] = ()


class ShortFile(msgspec.Struct, frozen=True):
    """A short file taken apart.

    header : as the long form has it, with the checksums of what the sections hold
    payload_start : where the sections begin, bytes
    """

    header: Header
    payload_start: int
    stored_header_bytes: int
    raw_header_bytes: int
    record_bytes: int


_DECODER = msgspec.msgpack.Decoder(_ShortHeader)
_FIELDS_DECODER = msgspec.msgpack.Decoder(tuple[msgspec.Raw, ...])
_ENCODER = msgspec.msgpack.Encoder()


def short_prefix_bytes(header: Header) -> int | None:
    """Return the bytes before the sections of the short form, None when the file takes the long form.

    The short form is for one object with sections of its own, and for at most 65 535 bytes.
    """
    if len(header.objects) != 1 or not header.objects[0].table:
        return None
    if header.payload_bytes > MAX_SHORT_FILE_BYTES:
        return None
    word, stored = _stored_header(header)
    prefix = _FIXED_BYTES + len(word) + len(stored)
    return prefix if prefix + header.payload_bytes <= MAX_SHORT_FILE_BYTES else None


def pack_short(header: Header, payload: bytes) -> bytes:
    """Return the file of a header that `short_prefix_bytes` accepts and of its sections."""
    word, stored = _stored_header(header)
    rest = bytes([SHORT_VERSION]) + word + stored + payload
    return _START.pack(SHORT_MAGIC, zlib.crc32(rest)) + rest


def parse_short(data: bytes) -> ShortFile:
    """Take a short file apart.

    Raises `CorruptFileError`, or `UnsupportedVersionError` for an intact newer file.
    """
    if not _FIXED_BYTES < len(data) <= MAX_SHORT_FILE_BYTES:
        raise CorruptFileError(
            f"The file is cut off or followed by foreign bytes: it has {len(data)} bytes, and a file of this "
            f"form has {_FIXED_BYTES + 1} to {MAX_SHORT_FILE_BYTES}."
        )
    checksum = _START.unpack_from(data)[1]
    if zlib.crc32(data[_START.size :]) != checksum:
        raise CorruptFileError(
            "The file is damaged, cut off or followed by foreign bytes: its checksum (bytes 4 to 7) is wrong."
        )
    version = data[_START.size]
    if version > SHORT_VERSION:
        raise UnsupportedVersionError(
            f"The file has container version {version}; this release reads up to version {SHORT_VERSION}. "
            "Update Neural Scene Codec to open it."
        )
    if version < SHORT_VERSION:
        raise CorruptFileError(f"The file states container version {version}, which has no short form.")
    word, header_start = _read_varint(data)
    payload_start = header_start + (word >> 1)
    if payload_start > len(data):
        raise CorruptFileError(f"The file gives its header {word >> 1} bytes, more than it has.")
    raw = data[header_start:payload_start]
    if word & 1:
        raw = inflated(raw, _MAX_RAW_HEADER_BYTES)
    short = _decoded(raw)
    header = checked_header(_long_header(short, data[payload_start:]))
    before_record = len(_ENCODER.encode([short.codec, short.payload_version]))
    return ShortFile(header, payload_start, word >> 1, len(raw), len(raw) - before_record)


def _decoded(raw: bytes) -> _ShortHeader:
    """Return the fields; a codec of a newer release may well have others."""
    try:
        return _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, IndexError, RecursionError):
            codec = msgspec.msgpack.decode(_FIELDS_DECODER.decode(raw)[0], type=int)
            if codec >= len(CODEC_NUMBERS):
                raise _newer_codec(codec) from error
        raise CorruptFileError(f"The header is malformed: {error}.") from error


def _newer_codec(codec: int) -> UnsupportedVersionError:
    return UnsupportedVersionError(
        f"The file was made by a codec (number {codec}) that this release does not know. Update Neural Scene "
        "Codec to open it."
    )


def _stored_header(header: Header) -> tuple[bytes, bytes]:
    """Return the varint of the header's length and the header, deflated where that is smaller."""
    entry = header.objects[0]
    codec = CODEC_NUMBERS.index(header.codec) if header.codec in CODEC_NUMBERS else header.codec
    fields: list[object] = [codec, header.payload_version, entry.name, _without_checksums(entry.table)[:-1]]
    fields += [entry.transform, entry.host, _without_checksums(header.shared)]
    while not fields[-1]:
        fields.pop()
    raw = _ENCODER.encode(fields)
    smaller = deflated(raw)
    is_smaller = len(smaller) < len(raw)
    stored = smaller if is_smaller else raw
    return _varint(2 * len(stored) + is_smaller), stored


def _without_checksums(table: Sequence[int]) -> list[int]:
    pairs = zip(table[::VALUES_PER_SECTION], table[1::VALUES_PER_SECTION], strict=True)
    return [value for pair in pairs for value in pair]


def _long_header(short: _ShortHeader, payload: bytes) -> Header:
    """Return the header with every length and checksum that the short form leaves out."""
    codec = short.codec
    if isinstance(codec, int):
        if codec < 0:
            raise CorruptFileError(f"The header breaks a rule: codec number {codec}.")
        if codec >= len(CODEC_NUMBERS):
            raise _newer_codec(codec)
        codec = CODEC_NUMBERS[codec]
    if len(short.sections) % _PER_SECTION != 1 or len(short.shared) % _PER_SECTION:
        raise CorruptFileError("The header breaks a rule: a section table has a wrong number of numbers.")
    if len(short.sections) + len(short.shared) > 2 * _PER_SECTION * limits.MAX_SECTIONS_PER_TABLE:
        raise CorruptFileError("The header breaks a rule: it lists too many sections.")
    lengths = short.shared[1::_PER_SECTION] + short.sections[1::_PER_SECTION]
    last = len(payload) - sum(lengths)
    if last < 0 or any(length < 0 for length in lengths):
        raise CorruptFileError(
            f"The header lists more sections than the {len(payload)} bytes behind it hold."
        )
    shared, start = _table(short.shared, payload, 0)
    table, _ = _table((*short.sections, last), payload, start)
    entry = HeaderObject(short.name, table, short.transform, short.host)
    return Header(codec, short.payload_version, (entry,), shared)


def _table(pairs: Sequence[int], payload: bytes, start: int) -> tuple[tuple[int, ...], int]:
    """Return a section table with checksums, and where in `payload` its sections end."""
    table: list[int] = []
    for tag, length in zip(pairs[::_PER_SECTION], pairs[1::_PER_SECTION], strict=True):
        table += (tag, length, zlib.crc32(payload[start : start + length]))
        start += length
    return tuple(table), start


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_varint(data: bytes) -> tuple[int, int]:
    """Return the number behind the version, and where it ends."""
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        position = _FIXED_BYTES + index
        if position >= len(data):
            break
        value |= (data[position] & 0x7F) << 7 * index
        if not data[position] & 0x80:
            if index and not data[position]:
                raise CorruptFileError("The length of the header ends with a byte that says nothing.")
            return value, position + 1
    raise CorruptFileError("The length of the header cannot be read: the number does not end.")
