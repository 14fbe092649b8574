"""The short form: what it costs, when it is taken, and what it refuses."""

import struct
import tracemalloc
import zlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scene_codec.bitstream import (
    ObjectRecord,
    SceneContent,
    Section,
    account_bytes,
    append_objects,
    file_size,
    open_scene_file,
    serialise,
    write_scene_file,
)
from scene_codec.bitstream.short_form import CODEC_NUMBERS
from scene_codec.codecs.registry import all_codecs
from scene_codec.errors import (
    CorruptFileError,
    SceneCodecError,
    UnsupportedSceneError,
    UnsupportedVersionError,
)

MEBIBYTE = 1 << 20


def content_of(payload: bytes, *more: ObjectRecord, name: str = "body") -> SceneContent:
    return SceneContent("mesh-surface", 2, (), (ObjectRecord(name, (Section(0, payload),)), *more))


def build(header: object, payload: bytes = b"", *, version: int = 2, deflate: bool = False) -> bytes:
    """A short file around any header, its checksum right."""
    stored = header if isinstance(header, bytes) else msgspec.msgpack.encode(header)
    if deflate:
        stored = zlib.compress(stored, 9, -15)
    word, varint = 2 * len(stored) + deflate, bytearray()
    while word > 127:
        varint.append(word & 127 | 128)
        word >>= 7
    rest = bytes([version, *varint, word]) + stored + payload
    return struct.pack("<4sI", b"\x89nsc", zlib.crc32(rest)) + rest


def test_twenty_bytes_stand_around_a_mesh_with_a_name_of_four():
    assert len(serialise(content_of(bytes(200)))) == 220


def test_every_codec_of_the_package_has_a_number():
    assert set(all_codecs()) <= set(CODEC_NUMBERS)


def test_the_form_is_chosen_by_size_and_number_of_objects(tmp_path):
    versions = {}
    for label, content in {
        "largest": content_of(bytes(0xFFFF - 22)),
        "larger": content_of(bytes(0xFFFF)),
        "two": content_of(b"x", ObjectRecord("again", instance_of=0)),
        "no sections": SceneContent("mesh-surface", 2, (), (ObjectRecord("empty"),)),
    }.items():
        write_scene_file(tmp_path / label, content)
        assert (tmp_path / label).stat().st_size == file_size(content)
        with open_scene_file(tmp_path / label) as file:
            file.verify()
            versions[label] = file.container_version
    assert versions == {"largest": 2, "larger": 1, "two": 1, "no sections": 1}


def test_objects_are_added_to_a_short_file(tmp_path):
    path = tmp_path / "one.nscene"
    write_scene_file(path, content_of(b"one"))
    append_objects(path, [ObjectRecord("two", (Section(0, b"second"),))])
    with open_scene_file(path) as file:
        assert (file.container_version, file.names) == (1, ("body", "two"))
        assert (file.read_object("body", 0), file.read_object("two", 0)) == (b"one", b"second")


def test_a_short_file_that_says_the_same_is_read_whatever_its_spelling():
    plain = ["mesh-surface", 2, "body", [0], None, b"", []]
    for data in (build(plain, b"one"), build(plain, b"one", deflate=True)):
        with open_scene_file(data) as file:
            assert (file.codec, file.names, file.read_object(0, 0)) == ("mesh-surface", ("body",), b"one")
            account = account_bytes(file)
            assert account.header_bytes + sum(account.object_bytes) == len(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (build([1, 2, "body", [0]], b"x", version=1), "version 1"),
        (build([-1, 2, "body", [0]], b"x"), "codec number"),
        (build([1, 2, "", [0]], b"x"), "name"),
        (build([1, 2, "body", []], b"x"), "section table"),
        (build([1, 2, "body", [0, 5, 2]], b"x"), "lists more"),
        (build([1, 2, "body", [0, -5, 2]], b"x"), "lists more"),
        (build([1, 2, "body", [0, 1, 0]], b"xy"), "twice"),
        (build([1, 2, "body", [0, 1] * 70 + [4]], b"x" * 90), "numbers|many"),
        (build([1, 2, "body", [0], None, b"", [1]], b"x"), "section table"),
        (build([1, 2, "body", [0], b"short"], b"x"), "transform"),
        (build([1, 70000, "body", [0]], b"x"), "payload version"),
        (build([1, 2, "body", [0], None, b"", [], 1], b"x"), "malformed"),
        (build(b"\xc1", b"x"), "malformed"),
        (build(zlib.compress(b"\x93" * 50, 9, -15) + b"\x00")[:9] + b"", "cut off"),
        (b"\x89nsc", "cut off"),
        (b"\x89nsc" + bytes(70000), "cut off"),
    ],
)
def test_senseless_files_are_refused(data, message):
    with pytest.raises(CorruptFileError, match=message):
        open_scene_file(data)


@pytest.mark.parametrize(
    "data",
    [
        build([1, 2, "b", [0]], b"x", version=3),
        build([99, 2, "b", [0]], b"x"),
        build([99, "other", {"fields": 1}], b"x"),
    ],
)
def test_an_intact_newer_file_is_called_newer(data):
    with pytest.raises(UnsupportedVersionError, match="Update"):
        open_scene_file(data)


def test_a_header_that_does_not_fit_or_does_not_end_is_refused():
    rest = bytes([2, 255, 255, 3]) + b"x" * 20
    with pytest.raises(CorruptFileError, match="more than it has"):
        open_scene_file(struct.pack("<4sI", b"\x89nsc", zlib.crc32(rest)) + rest)
    rest = bytes([2, 255, 255, 255, 255, 255, 3])
    with pytest.raises(CorruptFileError, match="does not end"):
        open_scene_file(struct.pack("<4sI", b"\x89nsc", zlib.crc32(rest)) + rest)


@pytest.mark.parametrize("varint", [b"\x90\x00", b"\x90\x80\x00"])
def test_the_length_of_the_header_has_one_spelling(varint):
    rest = b"\x02" + varint + msgspec.msgpack.encode([1, 2, "b", [0]]) + b"x"
    with pytest.raises(CorruptFileError, match="says nothing"):
        open_scene_file(struct.pack("<4sI", b"\x89nsc", zlib.crc32(rest)) + rest)


def test_a_name_that_cannot_be_written_is_refused_before_its_size_is_told():
    with pytest.raises(UnsupportedSceneError, match="Unicode"):
        file_size(content_of(b"x", name="\ud800"))


def test_a_deflate_bomb_is_stopped():
    data = build(bytes(60 * MEBIBYTE), deflate=True)
    assert len(data) < 0xFFFF
    tracemalloc.start()
    try:
        with pytest.raises(CorruptFileError, match="does not end"):
            open_scene_file(data)
        assert tracemalloc.get_traced_memory()[1] < MEBIBYTE
    finally:
        tracemalloc.stop()


def test_every_flipped_bit_and_every_cut_is_found():
    data = bytearray(serialise(content_of(bytes(range(60)))))
    for position in range(8 * len(data)):
        data[position // 8] ^= 1 << position % 8
        with pytest.raises(CorruptFileError):
            open_scene_file(bytes(data))
        data[position // 8] ^= 1 << position % 8
    for length in range(len(data)):
        with pytest.raises(CorruptFileError):
            open_scene_file(bytes(data[:length]))
    with pytest.raises(CorruptFileError):
        open_scene_file(bytes(data) + b"\x00")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=120), st.booleans(), st.binary(max_size=20))
def test_arbitrary_headers_with_a_right_checksum_are_refused_or_read(header, deflate, payload):
    try:
        with open_scene_file(build(header, payload, deflate=deflate)) as file:
            file.verify()
    except SceneCodecError:
        pass
