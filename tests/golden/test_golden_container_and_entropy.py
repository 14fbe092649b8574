"""Files of container version 1 stay readable, and docs/FORMAT.md says everything that a reader needs.

The plain reader below is written from docs/FORMAT.md. It shares no code with the package.
"""

import bisect
import json
import runpy
import struct
import zlib
from itertools import accumulate
from pathlib import Path

import msgspec
import numpy as np
import pytest

from scene_codec.bitstream import SceneContent, open_scene_file, serialise
from scene_codec.bitstream.header import encode_header
from scene_codec.entropy.byte_fields import ByteReader
from scene_codec.entropy.fitting import read_table
from scene_codec.entropy.packing import unpack_integers
from scene_codec.entropy.range_coding import decode_symbols, encode_symbols

FOLDER = Path(__file__).parent
MADE = runpy.run_path(str(FOLDER / "make_golden_files.py"))
CONTAINERS: dict[str, SceneContent] = MADE["CONTAINERS"]
ENTROPY = json.loads((FOLDER / MADE["ENTROPY_FILE"]).read_bytes())


class PlainScene:
    """A container read by the book."""

    def __init__(self, data: bytes) -> None:
        self.objects: list = []
        self.shared: list = []
        self.codec: str = ""
        self.payload_version = -1
        if data[:4] == bytes.fromhex("896E7363"):
            self._read_short_form(data)
        else:
            self._read_long_form(data)

    def _read_long_form(self, data: bytes) -> None:
        magic, version, flags, stored, raw, crc, total = struct.unpack("<8sHHIIIQ", data[:32])
        assert magic == bytes.fromhex("894E53430D0A1A0A")
        assert (version, total) == (1, len(data))
        assert zlib.crc32(data[:20] + bytes(4) + data[24 : 32 + stored]) == crc
        self.raw_header = data[32 : 32 + stored]
        if flags & 1:
            self.raw_header = zlib.decompress(self.raw_header, -15)
        assert len(self.raw_header) == raw
        self.codec, self.payload_version, objects, *rest = msgspec.msgpack.decode(self.raw_header)
        position = 32 + stored
        self.shared, position = self._sections(data, rest[0] if rest else [], position)
        for name, content, *optional in objects:
            transform, host = (*optional, None, None)[:2]
            sections = content
            if not isinstance(content, int):
                sections, position = self._sections(data, content, position)
            self.objects.append((name, sections, self._transform(transform), host or b""))
        assert position == len(data)

    def _read_short_form(self, data: bytes) -> None:
        assert struct.unpack("<I", data[4:8])[0] == zlib.crc32(data[8:])
        assert data[8] == 2
        word, shift, position = 0, 0, 9
        while True:
            word |= (data[position] & 127) << shift
            shift, position = shift + 7, position + 1
            if data[position - 1] < 128:
                break
        end = position + word // 2
        raw_header = data[position:end]
        if word % 2:
            raw_header = zlib.decompress(raw_header, -15)
        codec, self.payload_version, name, sections, *optional = msgspec.msgpack.decode(raw_header)
        transform, host, shared = (*optional, None, None, None)[:3]
        numbered = [
            "mesh-necgs",
            "mesh-surface",
            "volume-vae",
            "volume-wavelet",
            "nerf-pruned",
            "radiance-vqrf",
        ]
        self.codec = numbered[codec] if isinstance(codec, int) else codec
        pairs = [*(shared or []), *sections]
        payloads = []
        for length in pairs[1::2]:
            payloads.append(data[end : end + length])
            end += length
        entries = [
            (tag // 2, tag % 2 == 0, payload)
            for tag, payload in zip(pairs[::2], [*payloads, data[end:]], strict=True)
        ]
        split = len(shared or []) // 2
        self.shared = entries[:split]
        self.objects.append((name, entries[split:], self._transform(transform), host or b""))

    @staticmethod
    def _transform(packed: bytes | None) -> tuple[float, ...] | None:
        return None if packed is None else struct.unpack("<12f" if len(packed) == 48 else "<12d", packed)

    @staticmethod
    def _sections(data: bytes, table: list[int], position: int) -> tuple[list, int]:
        sections = []
        for start in range(0, len(table), 3):
            tag, length, crc = table[start : start + 3]
            payload = data[position : position + length]
            assert zlib.crc32(payload) == crc
            sections.append((tag // 2, tag % 2 == 0, payload))
            position += length
        return sections, position


class PlainReader:
    """Fields of a table read by the book."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def take(self, count: int) -> bytes:
        self.position += count
        return self.data[self.position - count : self.position]

    def varint(self) -> int:
        value = shift = 0
        while True:
            (byte,) = self.take(1)
            value += (byte % 128) << shift
            shift += 7
            if byte < 128:
                return value

    def signed(self) -> int:
        value = self.varint()
        return value // 2 if value % 2 == 0 else -(value + 1) // 2

    def table(self) -> tuple[int, list[int]]:
        (head,) = self.take(1)
        return self.histogram() if head == 0x0F else self.two_sided(head)

    def histogram(self) -> tuple[int, list[int]]:
        low, size, mantissa_bits = self.signed(), self.varint() + 1, self.take(1)[0]
        table = self.two_sided(self.take(1)[0])
        (differences,) = plain_decode(self.take(self.varint()), [(size, table)])
        weights = []
        for level in accumulate(differences):
            exponent, mantissa = divmod(max(level - 1, 0), 1 << mantissa_bits)
            weights.append(0 if level == 0 else (mantissa + (1 << mantissa_bits)) << exponent)
        return low, plain_counts([*weights, 0])

    def two_sided(self, head: int) -> tuple[int, list[int]]:
        shape = head & 15
        (right_byte,) = self.take(1)
        centre_byte = self.take(1)[0] if head & 16 else None
        left_byte = self.take(1)[0] if head & 32 else right_byte
        centre = self.signed() if head & 64 else 0
        limit = self.varint() if head & 128 else None
        right, right_tail = plain_side(plain_probability(right_byte), shape, limit)
        left, left_tail = plain_side(plain_probability(left_byte), shape, limit)
        middle = 1 << 32
        if centre_byte is not None and left + right:
            probability = plain_probability(centre_byte)
            middle = (sum(left) + sum(right)) * probability // ((1 << 20) - probability)
        weights = [*reversed(left), middle, *right, left_tail + right_tail]
        return centre - len(left), plain_counts(weights)


def plain_probability(byte: int) -> int:
    if byte < 128:
        return (8 + byte % 8) << byte // 8
    return (1 << 20) - plain_probability(255 - byte)


def plain_side(probability: int, shape: int, limit: int | None) -> tuple[list[int], int]:
    one = 1 << 32
    ratio = probability << 12
    gap = one - ratio
    heaviness = [16, 12, 8, 6, 4, 2, 1][shape] if shape < 7 else 0
    fall = [2, 4, 6, 8, 12, 16, 24][shape - 8] if shape > 7 else 0
    weight, weights = one, []
    while len(weights) < (4096 if limit is None else limit) and weight * ratio // one >= 256:
        weight = weight * ratio // one
        weights.append(weight)
        if fall:
            ratio = ratio * max(0, one - gap * fall // 8) // one
        elif heaviness:
            ratio = one - (gap << 28) // ((1 << 28) + heaviness * gap * len(weights) // 256)
    return weights, weight * ratio // (one - ratio) if limit is None else 0


def plain_counts(weights: list[int]) -> list[int]:
    shift = max(0, sum(weights).bit_length() - 40)
    ends = list(accumulate(weight >> shift for weight in weights))
    shares = [end * ((1 << 24) - len(weights)) // ends[-1] for end in ends]
    return [1 + after - before for before, after in zip([0, *shares], shares, strict=False)]


class PlainRangeDecoder:
    """The range decoder by the book."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.width = (1 << 64) - 1
        self.offset = int.from_bytes(data[:8].ljust(8, b"\0"), "big")
        self.position = 8

    def symbol(self, ends: list[int]) -> int:
        scale = self.width >> 24
        index = bisect.bisect_right(ends, self.offset // scale)
        start = ends[index - 1] if index else 0
        self.offset -= scale * start
        self.width = scale * (ends[index] - start)
        if self.width < 1 << 32:
            word = self.data[self.position : self.position + 4].ljust(4, b"\0")
            self.offset = self.offset << 32 | int.from_bytes(word, "big")
            self.width <<= 32
            self.position += 4
        return index

    def uniform(self, bits: int) -> int:
        return self.symbol([(index + 1) << (24 - bits) for index in range(1 << bits)])


def plain_decode(data: bytes, parts: list[tuple[int, tuple[int, list[int]]]]) -> list[list[int]]:
    decoder = PlainRangeDecoder(data)
    arrays = []
    for count, (low, counts) in parts:
        ends = list(accumulate(counts))
        high = low + len(counts) - 2
        symbols = [low + decoder.symbol(ends) for _ in range(count)]
        escapes = [index for index, symbol in enumerate(symbols) if symbol > high]
        classes = [decoder.uniform(6) for _ in escapes]
        distances = [1 << value // 2 for value in classes]
        for start in (0, 16):
            for index, value in enumerate(classes):
                bits = min(max(value // 2 - start, 0), 16)
                if bits:
                    distances[index] += decoder.uniform(bits) << start
        for index, value, distance in zip(escapes, classes, distances, strict=True):
            symbols[index] = low - distance if value % 2 else high + distance
        arrays.append(symbols)
    return arrays


@pytest.mark.parametrize("name", sorted(CONTAINERS))
def test_container_files_hold_what_was_written(name):
    content = CONTAINERS[name]
    with open_scene_file(FOLDER / name) as file:
        file.verify()
        assert (file.container_version, file.codec, file.payload_version) == (
            int(name[len("container-v")]),
            content.codec,
            content.payload_version,
        )
        assert [(s.kind, s.required, file.read_shared(s.kind)) for s in file.shared] == [
            (s.kind, s.required, s.payload) for s in content.shared
        ]
        for entry, record in zip(file.objects, content.objects, strict=True):
            assert (entry.name, entry.transform, entry.host) == (record.name, record.transform, record.host)
            assert entry.instance_of == record.instance_of
            assert [(s.kind, s.required, file.read_object(entry.name, s.kind)) for s in entry.sections] == [
                (s.kind, s.required, s.payload) for s in record.sections
            ]


@pytest.mark.parametrize("name", sorted(CONTAINERS))
def test_a_reader_written_from_the_specification_reads_the_container_files(name):
    content = CONTAINERS[name]
    scene = PlainScene((FOLDER / name).read_bytes())
    assert (scene.codec, scene.payload_version) == (content.codec, content.payload_version)
    assert scene.shared == [(s.kind, s.required, s.payload) for s in content.shared]
    for (label, sections, transform, host), record in zip(scene.objects, content.objects, strict=True):
        expected = [(s.kind, s.required, s.payload) for s in record.sections]
        assert sections == (expected if record.instance_of is None else record.instance_of)
        assert (label, host) == (record.name, record.host)
        assert transform == (None if record.transform is None else record.transform[:12])


@pytest.mark.parametrize("name", sorted(CONTAINERS))
def test_todays_writer_makes_the_same_header(name):
    golden = (FOLDER / name).read_bytes()
    with open_scene_file(golden) as old, open_scene_file(serialise(CONTAINERS[name])) as new:
        assert encode_header(new.header) == encode_header(old.header)
        is_deflated = old.stored_header_bytes != old.raw_header_bytes
        if old.container_version == new.container_version and not is_deflated:
            assert serialise(CONTAINERS[name]) == golden
        if old.container_version == 1:
            assert encode_header(new.header) == PlainScene(golden).raw_header


def test_a_single_small_object_takes_the_short_form():
    for name, content in CONTAINERS.items():
        with open_scene_file(serialise(content)) as file:
            assert file.container_version == (2 if len(content.objects) == 1 else 1), name


def test_the_full_container_file_shows_every_feature():
    with open_scene_file(FOLDER / "container-v1-full.nscene") as file:
        assert file.stored_header_bytes < file.raw_header_bytes
        file.require_known_kinds(shared={0}, per_object={1, 2, 7})


def _parts_of(stream: dict) -> list:
    return [
        (np.array(symbols, dtype=np.int64), read_table(ByteReader(bytes.fromhex(ENTROPY["tables"][name]))))
        for name, symbols in stream["parts"]
    ]


@pytest.mark.parametrize("stream", ENTROPY["streams"], ids=lambda stream: stream["name"])
def test_streams_of_version_1_are_decoded_and_made_alike(stream):
    parts = _parts_of(stream)
    data = bytes.fromhex(stream["bytes"])
    arrays = decode_symbols(data, [(len(symbols), table) for symbols, table in parts])
    assert [array.tolist() for array in arrays] == [symbols for _, symbols in stream["parts"]]
    assert encode_symbols(parts) == data


@pytest.mark.parametrize("stream", ENTROPY["streams"], ids=lambda stream: stream["name"])
def test_a_decoder_written_from_the_specification_decodes_the_streams(stream):
    tables = {name: PlainReader(bytes.fromhex(text)).table() for name, text in ENTROPY["tables"].items()}
    parts = [(len(symbols), tables[name]) for name, symbols in stream["parts"]]
    assert plain_decode(bytes.fromhex(stream["bytes"]), parts) == [symbols for _, symbols in stream["parts"]]


@pytest.mark.parametrize("name", sorted(ENTROPY["tables"]))
def test_tables_have_the_counts_that_the_specification_gives(name):
    description = bytes.fromhex(ENTROPY["tables"][name])
    table = read_table(ByteReader(description))
    low, counts = PlainReader(description).table()
    assert (table.low, table.counts.tolist()) == (low, counts)
    assert table.description == description


def test_packed_arrays_of_version_1_are_unpacked():
    expected = ENTROPY["packed"]["arrays"]
    data = bytes.fromhex(ENTROPY["packed"]["bytes"])
    arrays = unpack_integers(data, [(len(array),) for array in expected])
    assert [array.tolist() for array in arrays] == expected
    reader = PlainReader(data)
    tables = [reader.table() for _ in expected]
    stream = data[reader.position :]
    assert plain_decode(stream, list(zip(map(len, expected), tables, strict=True))) == expected
