"""Scene content to bytes, to a file, and new objects appended to an existing file."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from scene_codec.bitstream.atomic_file import write_atomically
from scene_codec.bitstream.header import (
    Header,
    HeaderObject,
    encode_header,
    first_fault,
    pack_transform,
)
from scene_codec.bitstream.limits import MAX_HEADER_BYTES
from scene_codec.bitstream.preamble import pack_header
from scene_codec.bitstream.reader import SceneFile, open_scene_file
from scene_codec.bitstream.records import ObjectRecord, SceneContent, Section
from scene_codec.bitstream.short_form import pack_short, short_prefix_bytes
from scene_codec.errors import InvalidRequestError, UnsupportedSceneError


def serialise(content: SceneContent) -> bytes:
    """Return the bytes of a file that holds `content`.

    Raises `UnsupportedSceneError` naming the object and reason.
    """
    return b"".join(_file_chunks(_header_of(content), _payloads(content.shared, content.objects)))


def file_size(content: SceneContent) -> int:
    """Return the bytes of the file that `write_scene_file` would write.

    Raises `UnsupportedSceneError` when it would.
    """
    header = _sound(_header_of(content))
    prefix = short_prefix_bytes(header)
    if prefix is None:
        prefix = len(pack_header(encode_header(header), header.payload_bytes))
    return prefix + header.payload_bytes


def write_scene_file(path: str | Path, content: SceneContent) -> None:
    """Write `content` to `path`; an interrupted write leaves the old file whole.

    Raises `UnsupportedSceneError` when the content breaks a rule of the container, `SceneCodecError` when the
    system refuses to write.
    """
    write_atomically(
        Path(path), _file_chunks(_header_of(content), _payloads(content.shared, content.objects))
    )


def append_objects(
    path: str | Path,
    records: Sequence[ObjectRecord],
    output: str | Path | None = None,
    *,
    expected: Header | None = None,
    payload_version: int = 0,
) -> None:
    """Add objects behind those of an existing file; the bytes of all old sections are copied untouched.

    output : where to write, the same file by default
    expected : the header that the file had when the records were made for it
    payload_version : of the new records, of which the file gets the newer one; old ones mean the same in it
    `instance_of` counts in the whole file, so a new object may be an instance of an old one.
    Raises what `open_scene_file` and `write_scene_file` raise, and `InvalidRequestError` for a file that is
    not the expected one any more.
    """
    with open_scene_file(path) as old:
        if expected is not None and old.header != expected:
            raise InvalidRequestError(
                f"'{path}' was changed by another program in the meantime. Nothing was added; start again."
            )
        header = Header(
            codec=old.header.codec,
            payload_version=max(old.header.payload_version, payload_version),
            objects=old.header.objects + tuple(_header_object(record) for record in records),
            shared=old.header.shared,
        )
        payloads = _old_and_new(old, _payloads((), records))
        write_atomically(Path(path if output is None else output), _file_chunks(header, payloads))


def _old_and_new(old: SceneFile, payloads: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the old sections and the new ones, and close the old file in between."""
    yield from old.raw_sections()
    old.close()  # an open file cannot be replaced on Windows
    yield from payloads


def _sound(header: Header) -> Header:
    """Return `header`. Raises `UnsupportedSceneError` when it breaks a rule."""
    fault = first_fault(header)
    if fault is not None:
        raise UnsupportedSceneError(f"This cannot be written to a .nscene file: {fault}.")
    return header


def _file_chunks(header: Header, payloads: Iterator[bytes]) -> Iterator[bytes]:
    header = _sound(header)
    if short_prefix_bytes(header) is not None:
        yield pack_short(header, b"".join(payloads))
        return
    raw_header = encode_header(header)
    if len(raw_header) > MAX_HEADER_BYTES:
        raise UnsupportedSceneError(
            f"Names, transforms and host data of {len(header.objects)} objects take {len(raw_header)} bytes, "
            f"a .nscene file has room for {MAX_HEADER_BYTES}. Use shorter host data or several files."
        )
    yield pack_header(raw_header, header.payload_bytes)
    yield from payloads


def _header_of(content: SceneContent) -> Header:
    return Header(
        codec=content.codec,
        payload_version=content.payload_version,
        objects=tuple(_header_object(record) for record in content.objects),
        shared=_section_table(content.shared),
    )


def _header_object(record: ObjectRecord) -> HeaderObject:
    if record.instance_of is not None and record.sections:
        raise UnsupportedSceneError(
            f"Object {record.name!r} is an instance and has sections of its own as well."
        )
    try:
        transform = pack_transform(record.transform)
    except ValueError as error:
        raise UnsupportedSceneError(f"Object {record.name!r}: {error}.") from error
    content = _section_table(record.sections) if record.instance_of is None else record.instance_of
    return HeaderObject(name=record.name, content=content, transform=transform, host=record.host)


def _section_table(sections: Sequence[Section]) -> tuple[int, ...]:
    table: list[int] = []
    for section in sections:
        optional = 0 if section.required else 1
        table += (2 * section.kind + optional, len(section.payload), zlib.crc32(section.payload))
    return tuple(table)


def _payloads(shared: Iterable[Section], objects: Iterable[ObjectRecord]) -> Iterator[bytes]:
    yield from (section.payload for section in shared)
    for record in objects:
        yield from (section.payload for section in record.sections)
