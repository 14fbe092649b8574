"""Reading a file: the header at once, each section when it is asked for.

Needs neither torch nor numpy, so that a file can be listed anywhere.
"""

from __future__ import annotations

import difflib
import io
import zlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from scene_codec.bitstream.header import (
    VALUES_PER_SECTION,
    Header,
    decode_header,
    encoded_object_bytes,
    table_bytes,
    unpack_transform,
)
from scene_codec.bitstream.preamble import MAGIC, PREAMBLE_BYTES, parse_preamble, unpack_header
from scene_codec.bitstream.short_form import MAX_SHORT_FILE_BYTES, SHORT_MAGIC, SHORT_VERSION, parse_short
from scene_codec.errors import CorruptFileError, InvalidRequestError, UnsupportedVersionError

_CHUNK_BYTES = 1 << 20
_NAMES_COMPARED = 2000
"""How many names are searched for one like a misspelt name; more would take seconds in large files."""


@dataclass(frozen=True, slots=True)
class SectionEntry:
    """Where a section lies: `offset` and `length` in bytes from the start of the file."""

    kind: int
    required: bool
    length: int
    crc32: int
    offset: int


@dataclass(frozen=True, slots=True)
class ObjectEntry:
    """One object as the header lists it.

    transform : 16 numbers, row major, object to world; None is the identity
    sections : its own sections, empty for an instance
    instance_of : index of the object whose sections it shares, or None
    """

    name: str
    transform: tuple[float, ...] | None
    host: bytes
    sections: tuple[SectionEntry, ...]
    instance_of: int | None


class SceneFile:
    """An open `.nscene` file. Use `open_scene_file`. Not for use by several threads at once."""

    def __init__(self, stream: BinaryIO, file_bytes: int, label: str) -> None:
        self._stream = stream
        self._label = label
        self.file_bytes: int = file_bytes
        start = stream.read(PREAMBLE_BYTES)
        if start.startswith(SHORT_MAGIC):
            self._read_short_form(start)
        else:
            self._read_long_form(start)
        if self.payload_start + self.header.payload_bytes != file_bytes:
            raise CorruptFileError(
                f"The header lists {self.header.payload_bytes} bytes of sections, the file holds "
                f"{file_bytes - self.payload_start}."
            )

    def _read_long_form(self, start: bytes) -> None:
        preamble = parse_preamble(start, self.file_bytes)
        raw_header = unpack_header(preamble, self._stream.read(preamble.stored_header_bytes))
        self.header: Header = decode_header(raw_header)
        self.container_version: int = preamble.version
        self.payload_start: int = PREAMBLE_BYTES + preamble.stored_header_bytes
        self.stored_header_bytes: int = preamble.stored_header_bytes
        self.raw_header_bytes: int = preamble.raw_header_bytes

    def _read_short_form(self, start: bytes) -> None:
        short = parse_short(start + self._stream.read(MAX_SHORT_FILE_BYTES + 1 - len(start)))
        self.header = short.header
        self.container_version = SHORT_VERSION
        self.payload_start = short.payload_start
        self.stored_header_bytes = short.stored_header_bytes
        self.raw_header_bytes = short.raw_header_bytes
        self._short_record_bytes = short.record_bytes

    @property
    def raw_record_bytes(self) -> tuple[int, ...]:
        """Bytes of each object in the header before it is deflated."""
        if self.container_version == SHORT_VERSION:
            return (self._short_record_bytes,)
        return tuple(map(encoded_object_bytes, self.header.objects))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was read stays valid."""
        self._stream.close()

    @property
    def codec(self) -> str:
        """Name of the codec that wrote the sections."""
        return self.header.codec

    @property
    def payload_version(self) -> int:
        """Version of the codec's own payload."""
        return self.header.payload_version

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all objects, in file order."""
        return tuple(entry.name for entry in self.header.objects)

    @cached_property
    def shared(self) -> tuple[SectionEntry, ...]:
        """The sections that belong to all objects."""
        return _section_entries(self.header.shared, self.payload_start)

    @cached_property
    def objects(self) -> tuple[ObjectEntry, ...]:
        """All objects, in file order."""
        return tuple(self.object(index) for index in range(len(self.header.objects)))

    def object(self, which: int | str) -> ObjectEntry:
        """Return the object with this index or name. Raises `InvalidRequestError` when there is none."""
        index = self._index_of(which)
        entry = self.header.objects[index]
        return ObjectEntry(
            name=entry.name,
            transform=unpack_transform(entry.transform),
            host=entry.host,
            sections=_section_entries(entry.table, self._object_offsets[index]),
            instance_of=entry.content if isinstance(entry.content, int) else None,
        )

    def require_known_kinds(self, shared: Collection[int], per_object: Collection[int]) -> None:
        """Raise `UnsupportedVersionError` when a required section of the file is of no kind listed here."""
        unknown = _required_kinds([self.header.shared]) - set(shared)
        unknown |= _required_kinds(entry.table for entry in self.header.objects) - set(per_object)
        if unknown:
            raise UnsupportedVersionError(
                f"{self._label} needs sections of kind {', '.join(map(str, sorted(unknown)))} that codec "
                f"{self.codec!r} of this release does not know. Update Neural Scene Codec to open it."
            )

    def read_shared(self, kind: int) -> bytes:
        """Return the payload of a shared section. Raises `CorruptFileError` when it is absent or damaged."""
        return self._read_kind(self.shared, kind, "the shared part")

    def read_object(self, which: int | str, kind: int) -> bytes:
        """Return the payload of a section of one object, of the shared original when it is an instance.

        Raises `InvalidRequestError` when there is no such object, `CorruptFileError` when the section is
        absent or damaged.
        """
        entry = self.object(which)
        source = entry if entry.instance_of is None else self.object(entry.instance_of)
        return self._read_kind(source.sections, kind, f"object {source.name!r}")

    def verify(self) -> None:
        """Check the checksum of every section. Raises `CorruptFileError` that names the first damaged one."""
        for damage in self.damage():
            raise CorruptFileError(damage)

    def damage(self) -> Iterator[str]:
        """Yield a sentence about every section whose checksum does not match. Reads the whole file."""
        owners = [("the shared part", self.shared)]
        owners += [(f"object {entry.name!r}", entry.sections) for entry in self.objects]
        for owner, sections in owners:
            for section in sections:
                if not self._is_whole(section):
                    yield self._damage(section, owner)

    def raw_sections(self) -> Iterator[bytes]:
        """Yield everything behind the header, as it is, in chunks."""
        return self._chunks(self.payload_start, self.file_bytes - self.payload_start)

    @cached_property
    def _object_offsets(self) -> list[int]:
        start = self.payload_start + table_bytes(self.header.shared)
        return list(accumulate((table_bytes(entry.table) for entry in self.header.objects), initial=start))

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {entry.name: index for index, entry in enumerate(self.header.objects)}

    def _index_of(self, which: int | str) -> int:
        if isinstance(which, str):
            index = self._indices.get(which)
            if index is None:
                some = self.names[:_NAMES_COMPARED]
                close = difflib.get_close_matches(which, some, n=3) or some[:3]
                raise InvalidRequestError(
                    f"{self._label} has no object named {which!r}. It has {len(self._indices)} objects, "
                    f"among them: {', '.join(map(repr, close)) or 'none'}."
                )
            return index
        if not 0 <= which < len(self.header.objects):
            raise InvalidRequestError(
                f"{self._label} has {len(self.header.objects)} objects; there is no number {which}."
            )
        return which

    def _read_kind(self, sections: tuple[SectionEntry, ...], kind: int, owner: str) -> bytes:
        for section in sections:
            if section.kind == kind:
                payload = b"".join(self._chunks(section.offset, section.length))
                if zlib.crc32(payload) != section.crc32:
                    raise CorruptFileError(self._damage(section, owner))
                return payload
        raise CorruptFileError(f"{self._label}: {owner} has no section of kind {kind}.")

    def _is_whole(self, section: SectionEntry) -> bool:
        checksum = 0
        for chunk in self._chunks(section.offset, section.length):
            checksum = zlib.crc32(chunk, checksum)
        return checksum == section.crc32

    def _damage(self, section: SectionEntry, owner: str) -> str:
        return (
            f"{self._label}: the section of kind {section.kind} of {owner} (bytes {section.offset} to "
            f"{section.offset + section.length}) is damaged, its checksum does not match."
        )

    def _chunks(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield the bytes of a range that the header has placed inside the file."""
        self._stream.seek(offset)
        while length > 0:
            chunk = self._stream.read(min(length, _CHUNK_BYTES))
            if not chunk:
                raise CorruptFileError(f"{self._label} was cut off while it was being read.")
            length -= len(chunk)
            yield chunk


def begins_scene_file(start: bytes) -> bool:
    """Tell whether the first bytes (8 are enough) are those of a `.nscene` file of either form."""
    return start.startswith((MAGIC, SHORT_MAGIC))


def open_scene_file(source: str | Path | bytes) -> SceneFile:
    """Open a file, or the bytes of one, and read its header; use it as a context manager.

    Raises `CorruptFileError` when it is damaged or no `.nscene` file, `UnsupportedVersionError` when it was
    written by a newer container version, `InvalidRequestError` when it cannot be opened.
    """
    if isinstance(source, bytes):
        return SceneFile(io.BytesIO(source), len(source), "The file")
    path = Path(source)
    if path.exists() and not path.is_file():
        raise InvalidRequestError(f"Could not open {path}: it is no regular file.")
    try:
        stream = path.open("rb")
    except OSError as error:
        raise InvalidRequestError(f"Could not open {path}: {error.strerror or error}.") from error
    try:
        file_bytes = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        return SceneFile(stream, file_bytes, str(path))
    except CorruptFileError as error:
        stream.close()
        raise CorruptFileError(f"{path}: {error}") from error
    except BaseException:
        stream.close()
        raise


def _section_entries(table: tuple[int, ...], offset: int) -> tuple[SectionEntry, ...]:
    entries = []
    for start in range(0, len(table), VALUES_PER_SECTION):
        tag, length, crc32 = table[start : start + VALUES_PER_SECTION]
        entries.append(SectionEntry(tag >> 1, not tag & 1, length, crc32, offset))
        offset += length
    return tuple(entries)


def _required_kinds(tables: Iterable[tuple[int, ...]]) -> set[int]:
    return {tag >> 1 for table in tables for tag in table[::VALUES_PER_SECTION] if not tag & 1}
