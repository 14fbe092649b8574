"""A header that lies about its size costs an error message, not memory."""

import struct
import tracemalloc
import zlib

import pytest

from scene_codec.bitstream import open_scene_file
from scene_codec.errors import CorruptFileError

MEBIBYTE = 1 << 20


def build(stored: bytes, raw_bytes: int, *, deflated: bool, file_bytes: int | None = None) -> bytes:
    def preamble(checksum: int) -> bytes:
        total = 32 + len(stored) if file_bytes is None else file_bytes
        lengths = (len(stored), raw_bytes, checksum, total)
        return struct.pack("<8sHHIIIQ", b"\x89NSC\r\n\x1a\n", 1, int(deflated), *lengths)

    return preamble(zlib.crc32(preamble(0) + stored)) + stored


def deflate(raw: bytes) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflater.compress(raw) + deflater.flush()


def peak_of_refusal(data: bytes) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(CorruptFileError):
            open_scene_file(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_deflate_bomb_is_stopped_at_the_length_the_preamble_states():
    bomb = deflate(bytes(100 * MEBIBYTE))
    assert peak_of_refusal(build(bomb, 1000, deflated=True)) < MEBIBYTE


def test_a_header_said_to_inflate_beyond_the_bound_is_refused_before_inflating():
    bomb = deflate(bytes(100 * MEBIBYTE))
    assert peak_of_refusal(build(bomb, 100 * MEBIBYTE, deflated=True)) < MEBIBYTE


@pytest.mark.parametrize(
    "raw",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\x93\xa1x\x01\xdd\xff\xff\xff\xff",
        b"\x93\xa1x\x01\xdd\x00\x03\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\x93\xa1x\x01\x91\x92\xa1a\xdd\xff\xff\xff\xff",
        b"\x93\xa1x\x01\x91\x94\xa1a\x90\xc0\xc6\xff\xff\xff\xff",
    ],
    ids=["fields", "objects", "objects within the bound", "text", "sections", "host"],
)
def test_a_count_without_its_items_allocates_nothing(raw):
    assert peak_of_refusal(build(raw, len(raw), deflated=False)) < 8 * MEBIBYTE


def test_the_largest_possible_header_stays_within_a_few_hundred_mebibytes():
    table = b"\xdc\x00\xc0" + b"\xce\xff\xff\xff\xff" * 192
    count = (30 * MEBIBYTE) // (len(table) + 3)
    raw = b"\x93\xa1x\x01\xdd" + struct.pack(">I", count) + (b"\x92\xa1a" + table) * count
    assert peak_of_refusal(build(deflate(raw), len(raw), deflated=True)) < 400 * MEBIBYTE


@pytest.mark.parametrize(
    ("raw_bytes", "deflated", "message"),
    [(5, False, "two lengths"), (2, True, "does not end"), (4, True, "does not end"), (0, True, "0 bytes")],
)
def test_wrong_header_lengths_are_refused(raw_bytes, deflated, message):
    raw = b"\x93\x01\x02"
    with pytest.raises(CorruptFileError, match=message):
        open_scene_file(build(deflate(raw) if deflated else raw, raw_bytes, deflated=deflated))


def test_bytes_behind_a_deflated_header_are_refused():
    raw = b"\x93\xa1x\x01\x90"
    with pytest.raises(CorruptFileError, match="does not end"):
        open_scene_file(build(deflate(raw) + b"\x00", len(raw), deflated=True))


def test_a_header_longer_than_the_file_is_refused():
    data = bytearray(build(b"\x93\xa1x\x01\x90", 5, deflated=False))
    data[12:16] = struct.pack("<I", 1000)
    with pytest.raises(CorruptFileError, match="more than the file has"):
        open_scene_file(bytes(data))
