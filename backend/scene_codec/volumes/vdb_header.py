"""The parts of an OpenVDB file around the trees: its header, and the descriptor and settings of each grid."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scene_codec.volumes.vdb_compression import ZIP
from scene_codec.volumes.vdb_metadata import metadata_bytes, read_metadata
from scene_codec.volumes.vdb_stream import VdbReader, name_bytes
from scene_codec.volumes.vdb_value_types import HALF_SUFFIX
from scene_codec.volumes.volume import GridKind, MetadataValue

MAGIC = b" BDV\0\0\0\0"
OLDEST_VERSION, NEWEST_VERSION, WRITTEN_VERSION = 220, 225, 224
SELECTIVE_COMPRESSION_END = 222
"""From this file version on, compression is said per grid and inactive values may be left out."""

NAME_KEY, CLASS_KEY, HALF_KEY = "name", "class", "is_saved_as_half_float"
COMPUTED_KEYS = (
    "file_bbox_min",
    "file_bbox_max",
    "file_compression",
    "file_mem_bytes",
    "file_voxel_count",
    "file_delayed_load",
)
"""Metadata that a writer works out from the grid, and so are not kept."""

_WRITTEN_LIBRARY = (12, 0)
"""Readers ask for it only to ignore notes for delayed loading in old files; we write no such notes."""

_UUID_BYTES = 36
_UNIQUE_SEPARATOR = "\x1e"
_KINDS: Mapping[str, GridKind] = {
    "fog volume": "fog volume",
    "level set": "level set",
    "staggered": "staggered",
}


@dataclass(frozen=True)
class FileHeader:
    """What a file says before its first grid.

    compression : of all grids, in files older than version 222; None in later ones
    has_offsets : whether descriptors say where their grids lie
    """

    version: int
    has_offsets: bool
    compression: int | None
    metadata: Mapping[str, MetadataValue]
    grid_count: int


@dataclass(frozen=True)
class Descriptor:
    """Name and place of a grid in its file.

    unique_name : the grid's name, with a number when others have the same
    tree_type : name of the type of its tree
    parent : unique name of the grid whose tree it shares, empty when it has its own
    start, blocks, end : positions in the file, 0 when the file does not say
    """

    unique_name: str
    tree_type: str
    parent: str
    start: int
    blocks: int
    end: int

    @property
    def name(self) -> str:
        """The grid's own name, which others may have too."""
        return self.unique_name.partition(_UNIQUE_SEPARATOR)[0]

    @property
    def shown_name(self) -> str:
        """The grid's name the way OpenVDB prints it: several grids of one name get [0], [1], ..."""
        return _shown(self.unique_name)

    @property
    def shown_parent(self) -> str:
        """The name of the grid whose tree it shares, likewise."""
        return _shown(self.parent)


def _shown(unique_name: str) -> str:
    name, separator, number = unique_name.partition(_UNIQUE_SEPARATOR)
    return f"{name}[{number}]" if separator else name


def read_file_header(reader: VdbReader) -> FileHeader:
    """Return the header of a file. Raises `UnsupportedSceneError` when it is of no version that we know."""
    if reader.remaining < len(MAGIC) or reader.take(len(MAGIC)) != MAGIC:
        raise reader.refused("it does not begin like an OpenVDB file")
    version = reader.uint32()
    if not OLDEST_VERSION <= version <= NEWEST_VERSION:
        raise reader.refused(
            f"its file version is {version} and those from {OLDEST_VERSION} to {NEWEST_VERSION} are known; "
            "open it in OpenVDB 9 to 12 and save it again"
        )
    reader.skip(8)  # version of the library
    has_offsets = reader.byte() != 0
    compression = None
    if version < SELECTIVE_COMPRESSION_END:
        compression = ZIP if reader.byte() else 0
    reader.skip(_UUID_BYTES)
    metadata = read_metadata(reader)
    count = reader.int32()
    if count < 0:
        raise reader.damaged(f"it counts {count} grids")
    return FileHeader(version, has_offsets, compression, metadata, count)


def read_descriptor(reader: VdbReader, header: FileHeader) -> Descriptor:
    """Return the descriptor that follows; its positions lie in the file and in order."""
    unique_name, tree_type, parent = reader.name(), reader.name(), reader.name()
    start, blocks, end = reader.int64(), reader.int64(), reader.int64()
    if not header.has_offsets:
        start = blocks = end = 0
    else:
        in_order = reader.position <= start <= end <= reader.position + reader.remaining
        if not in_order or (not parent and not start <= blocks <= end):
            raise reader.damaged(f"grid '{unique_name}' has no possible place in it")
    return Descriptor(unique_name, tree_type, parent, start, blocks, end)


def read_grid_compression(reader: VdbReader, header: FileHeader) -> int:
    """Return the compression flags of the grid that follows."""
    return reader.uint32() if header.compression is None else header.compression


def grid_kind(metadata: Mapping[str, MetadataValue]) -> GridKind:
    """Return what the values of a grid mean, by its metadata."""
    return _KINDS.get(str(metadata.get(CLASS_KEY, "")).strip().lower(), "unknown")


@dataclass(frozen=True)
class GridBytes:
    """A grid ready to be stored.

    settings : compression, metadata and transform; then the tree's topology, then its values
    """

    name: str
    tree_type: str
    half: bool
    settings: bytes
    topology: bytes
    values: bytes


def grid_settings(compression: int, metadata: Mapping[str, MetadataValue], transform: bytes) -> bytes:
    """Return what stands between a grid's descriptor and its tree."""
    return struct.pack("<I", compression) + metadata_bytes(metadata) + transform


def file_chunks(metadata: Mapping[str, MetadataValue], grids: Sequence[GridBytes]) -> list[bytes]:
    """Return a whole file, as pieces in order. Its identifier is a digest of its contents."""
    head = struct.pack("<8sIIIB", MAGIC, WRITTEN_VERSION, *_WRITTEN_LIBRARY, 1)
    listing = metadata_bytes(metadata) + struct.pack("<i", len(grids))
    position = len(head) + _UUID_BYTES + len(listing)
    chunks = [listing]
    for grid, unique_name in zip(grids, _unique_names([grid.name for grid in grids]), strict=True):
        names = (
            name_bytes(unique_name) + name_bytes(grid.tree_type + HALF_SUFFIX * grid.half) + name_bytes("")
        )
        start = position + len(names) + 24
        blocks = start + len(grid.settings) + len(grid.topology)
        position = blocks + len(grid.values)
        chunks += [
            names,
            struct.pack("<3q", start, blocks, position),
            grid.settings,
            grid.topology,
            grid.values,
        ]
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    letters = digest.hexdigest()
    identifier = "-".join((letters[:8], letters[8:12], letters[12:16], letters[16:20], letters[20:32]))
    return [head, identifier.encode("ascii"), *chunks]


def _unique_names(names: list[str]) -> list[str]:
    """Return names with a hidden number wherever a name is empty or not the only one of its kind."""
    unique = []
    counts: dict[str, int] = {}
    for name in names:
        number = counts.get(name, 0)
        counts[name] = number + 1
        alone = bool(name) and names.count(name) == 1
        unique.append(name if alone else f"{name}{_UNIQUE_SEPARATOR}{number}")
    return unique
