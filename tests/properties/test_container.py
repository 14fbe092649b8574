"""Laws of the container that hold for every content and every kind of damage."""

import io
import math
import struct
import zlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scene_codec.bitstream import (
    ObjectRecord,
    SceneContent,
    SceneFile,
    Section,
    account_bytes,
    append_objects,
    open_scene_file,
    serialise,
    write_scene_file,
)
from scene_codec.errors import CorruptFileError, SceneCodecError, UnsupportedVersionError

IDENTITY = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)

sections = st.lists(
    st.builds(Section, st.integers(0, 0xFFFF), st.binary(max_size=40), st.booleans()),
    max_size=4,
    unique_by=lambda section: section.kind,
).map(tuple)
finite = st.floats(allow_nan=False, allow_infinity=False)
transforms = st.none() | st.lists(finite, min_size=12, max_size=12).map(
    lambda values: (*values, 0.0, 0.0, 0.0, 1.0)
)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@st.composite
def object_lists(draw, taken=()):
    """Objects whose names are unique, some of them instances of earlier ones of the same list."""
    records = []
    for name in draw(st.lists(names.filter(lambda text: text not in taken), max_size=6, unique=True)):
        originals = [index for index, record in enumerate(records) if record.instance_of is None]
        common = {"name": name, "transform": draw(transforms), "host": draw(st.binary(max_size=20))}
        if originals and draw(st.booleans()):
            records.append(ObjectRecord(instance_of=draw(st.sampled_from(originals)), **common))
        else:
            records.append(ObjectRecord(sections=draw(sections), **common))
    return tuple(records)


contents = st.builds(
    SceneContent,
    st.sampled_from(["mesh-necgs", "x", "volume-vae-2"]),
    st.integers(0, 0xFFFF),
    sections,
    object_lists(),
)


def read_back(file: SceneFile) -> SceneContent:
    """Everything in `file` as the records it was written from."""
    return SceneContent(
        codec=file.codec,
        payload_version=file.payload_version,
        shared=tuple(Section(s.kind, file.read_shared(s.kind), s.required) for s in file.shared),
        objects=tuple(
            ObjectRecord(
                name=entry.name,
                sections=tuple(
                    Section(s.kind, file.read_object(entry.name, s.kind), s.required) for s in entry.sections
                ),
                transform=entry.transform,
                host=entry.host,
                instance_of=entry.instance_of,
            )
            for entry in file.objects
        ),
    )


def canonical(content: SceneContent) -> SceneContent:
    """The content with an explicit identity spelled as None, as the file has it."""
    objects = tuple(
        ObjectRecord(
            o.name, o.sections, None if o.transform == IDENTITY else o.transform, o.host, o.instance_of
        )
        for o in content.objects
    )
    return SceneContent(content.codec, content.payload_version, content.shared, objects)


def sample_file(repeats: int = 1) -> bytes:
    """A small file that uses every feature; with many repeats its header is stored deflated."""
    tilt = (0.5, 0.25, 0.0, 3.0, 0.0, 1.0, 0.0, -2.0, 0.0, 0.0, 1.0, 0.1, 0.0, 0.0, 0.0, 1.0)
    objects = []
    for index in range(repeats):
        objects.append(
            ObjectRecord(f"Würfel {index}", (Section(1, bytes(range(24))), Section(9, b"", False)), tilt)
        )
        objects.append(ObjectRecord(f"copy {index}", host=b"{}", instance_of=2 * index))
    return serialise(SceneContent("mesh-necgs", 1, (Section(0, b"decoder"),), tuple(objects)))


def with_header(raw_header: bytes, payload: bytes = b"", *, version: int = 1, flags: int = 0) -> bytes:
    """A file around any header bytes, its lengths and its checksum right."""
    stored = raw_header
    if flags & 1:
        deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
        stored = deflater.compress(raw_header) + deflater.flush()
    total = 32 + len(stored) + len(payload)

    def preamble(checksum: int) -> bytes:
        lengths = (len(stored), len(raw_header), checksum, total)
        return struct.pack("<8sHHIIIQ", b"\x89NSC\r\n\x1a\n", version, flags, *lengths)

    return preamble(zlib.crc32(preamble(0) + stored)) + stored + payload


@settings(max_examples=60, deadline=None, derandomize=True)
@given(contents)
def test_whatever_is_written_is_read_back(content):
    with open_scene_file(serialise(content)) as file:
        file.verify()
        assert read_back(file) == canonical(content)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(contents)
def test_the_byte_account_adds_up_to_the_file(content):
    data = serialise(content)
    with open_scene_file(data) as file:
        account = account_bytes(file)
    assert account.header_bytes + account.shared_bytes + sum(account.object_bytes) == len(data)
    assert account.shared_bytes == sum(len(section.payload) for section in content.shared)
    for record, whole, share in zip(content.objects, account.object_bytes, account.record_bytes, strict=True):
        assert share >= 0
        assert whole == share + sum(len(section.payload) for section in record.sections)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.data(), contents)
def test_appending_equals_writing_everything_at_once(tmp_path_factory, data, content):
    more = data.draw(object_lists(taken=tuple(record.name for record in content.objects)))
    start = len(content.objects)
    more = tuple(
        record
        if record.instance_of is None
        else ObjectRecord(record.name, (), record.transform, record.host, record.instance_of + start)
        for record in more
    )
    path: Path = tmp_path_factory.mktemp("append") / "set.nscene"
    write_scene_file(path, content)
    append_objects(path, more)
    together = SceneContent(content.codec, content.payload_version, content.shared, content.objects + more)
    assert path.read_bytes() == serialise(together)


@pytest.mark.parametrize("repeats", [1, 12], ids=["plain header", "deflated header"])
def test_truncated_file_is_refused_at_every_length(repeats):
    data = sample_file(repeats)
    for length in range(len(data)):
        with pytest.raises(CorruptFileError):
            open_scene_file(data[:length])


@pytest.mark.parametrize("repeats", [1, 12], ids=["plain header", "deflated header"])
def test_every_flipped_bit_is_found(repeats):
    data = bytearray(sample_file(repeats))
    for position in range(8 * len(data)):
        data[position // 8] ^= 1 << position % 8
        with pytest.raises(CorruptFileError), open_scene_file(bytes(data)) as file:
            file.verify()
        data[position // 8] ^= 1 << position % 8


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.binary(min_size=1, max_size=8))
def test_bytes_behind_the_end_are_refused(extra):
    with pytest.raises(CorruptFileError, match="foreign bytes"):
        open_scene_file(sample_file() + extra)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_with_a_clear_error(data):
    for candidate in (
        data,
        b"\x89NSC\r\n\x1a\n" + data,
        with_header(data or b"\x00"),
        with_header(data or b"\x00", flags=1),
    ):
        with pytest.raises(SceneCodecError):
            open_scene_file(candidate)


json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=60),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.sampled_from(["necgs", ""]) | json_like,
    st.integers(-1, 70000) | json_like,
    st.lists(st.lists(json_like, max_size=5) | json_like, max_size=3),
    st.lists(st.integers(-1, 2**33), max_size=7) | json_like,
    st.binary(max_size=10),
)
def test_an_intact_but_senseless_header_is_refused_or_obeys_every_rule(
    codec, version, objects, shared, payload
):
    data = with_header(msgspec.msgpack.encode([codec, version, objects, shared]), payload)
    try:
        file = open_scene_file(data)
    except CorruptFileError:
        return
    with file:
        assert len(set(file.names)) == len(file.names)
        for entry in file.objects:
            assert entry.transform is None or all(map(math.isfinite, entry.transform))
            assert all(s.offset + s.length <= len(data) for s in entry.sections)


@pytest.mark.parametrize(("version", "flags"), [(2, 0), (9, 1), (1, 2), (1, 0x8000)])
def test_an_intact_newer_file_is_called_newer_and_not_damaged(version, flags):
    header = msgspec.msgpack.encode(["mesh-necgs", 1, []])
    with pytest.raises(UnsupportedVersionError, match="Update"):
        open_scene_file(with_header(header, version=version, flags=flags))


class CountingStream(io.BytesIO):
    """A file that counts what is read from it."""

    bytes_read = 0

    def read(self, size=-1, /):
        data = super().read(size)
        self.bytes_read += len(data)
        return data


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 299))
def test_one_object_is_read_without_touching_the_others(index):
    records = tuple(ObjectRecord(f"{i}", (Section(4, bytes([i % 256]) * 100),)) for i in range(300))
    data = serialise(SceneContent("x", 1, (), records))
    stream = CountingStream(data)
    with SceneFile(stream, len(data), "The file") as file:
        assert file.read_object(str(index), 4) == bytes([index % 256]) * 100
        assert stream.bytes_read == 32 + file.stored_header_bytes + 100
