"""Where the bytes of a file go; the parts add up to the file, byte for byte."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise

from scene_codec.bitstream.reader import SceneFile


@dataclass(frozen=True, slots=True)
class ByteAccount:
    """Bytes of a file by owner: `header_bytes + shared_bytes + sum(object_bytes)` is `file_bytes`.

    header_bytes : preamble and header without the objects' records
    record_bytes : for each object, its record in the header; a deflated header is shared out in proportion to
        size
    object_bytes : for each object, its record and its own sections
    """

    file_bytes: int
    header_bytes: int
    shared_bytes: int
    record_bytes: tuple[int, ...]
    object_bytes: tuple[int, ...]


def account_bytes(file: SceneFile) -> ByteAccount:
    """Return where the bytes of `file` go."""
    records = file.raw_record_bytes
    # Cumulative rounding: every share is off by less than a byte, and together they are exact.
    raw_ends = accumulate(records, initial=file.raw_header_bytes - sum(records))
    ends = [end * file.stored_header_bytes // file.raw_header_bytes for end in raw_ends]
    record_bytes = tuple(end - start for start, end in pairwise(ends))
    own_bytes = (sum(section.length for section in entry.sections) for entry in file.objects)
    return ByteAccount(
        file_bytes=file.file_bytes,
        header_bytes=file.payload_start - file.stored_header_bytes + ends[0],
        shared_bytes=sum(section.length for section in file.shared),
        record_bytes=record_bytes,
        object_bytes=tuple(record + own for record, own in zip(record_bytes, own_bytes, strict=True)),
    )
