"""OpenVDB files to volumes and back, in numpy: no OpenVDB library is needed.

Read: file versions 220 to 225, grids of one or three numbers per voxel in OpenVDB's standard tree, all its
compressions, tiles, grids that share a tree, affine transforms. Written: version 224. A grid that cannot be
represented (points, strings, a frustum, a box beyond all memory) is left out by name, the others are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from scene_codec.bitstream.atomic_file import write_atomically
from scene_codec.errors import UnsupportedSceneError
from scene_codec.volumes.vdb_dense import MAX_FILE_BYTES, DenseBox, fill_box
from scene_codec.volumes.vdb_header import (
    CLASS_KEY,
    COMPUTED_KEYS,
    HALF_KEY,
    NAME_KEY,
    SELECTIVE_COMPRESSION_END,
    Descriptor,
    FileHeader,
    file_chunks,
    grid_kind,
    read_descriptor,
    read_file_header,
    read_grid_compression,
)
from scene_codec.volumes.vdb_metadata import read_metadata
from scene_codec.volumes.vdb_stream import GridRefusedError, VdbReader
from scene_codec.volumes.vdb_transforms import read_transform
from scene_codec.volumes.vdb_tree import VdbTree, read_tree
from scene_codec.volumes.vdb_value_types import HALF_SUFFIX, VALUE_TYPES
from scene_codec.volumes.vdb_writer import VdbCompression, grid_bytes
from scene_codec.volumes.volume import GridKind, MetadataValue, VolumeGrid, VolumeObject

SKIPPED_KEY = "skipped_grids"
"""Metadata of a loaded volume: which grids of the file were left out and why, as text."""


@dataclass(frozen=True)
class VdbGridInfo:
    """What a file says of a grid before its values.

    name : unique in its file; grids of one name are told apart as name[0], name[1], ...
    grid_type : OpenVDB's name of its tree, such as "Tree_float_5_4_3"
    half : floats are stored with 16 bits
    parent : `name` of the grid whose tree it shares, empty when it has its own
    to_object : (4, 4) lattice index to object space, column vectors; None when it is not affine
    metadata : all of it, computed entries such as "file_voxel_count" too
    refusal : why it cannot be loaded, empty when it can, as far as its header tells
    """

    name: str
    grid_type: str
    half: bool
    kind: GridKind
    parent: str
    to_object: NDArray[np.float64] | None
    metadata: Mapping[str, MetadataValue]
    refusal: str


@dataclass(frozen=True)
class _GridHead:
    """A grid's descriptor and settings; the reader stands before its tree."""

    descriptor: Descriptor
    flags: int
    info: VdbGridInfo


def load_vdb(path: Path | str) -> VolumeObject:
    """Return the grids of an OpenVDB file, each as the box around its active voxels.

    Tiles become voxels. Inactive values within the box are those of the tree, so the inside of a level set is
    minus the background; inactive values outside the box are lost. Grids with one tree share their arrays.
    Grids that cannot be represented are named in `metadata["skipped_grids"]`.

    Raises `UnsupportedSceneError` naming the file and the reason: no OpenVDB file, of an unknown version,
    damaged, or without any grid that can be represented.
    """
    path = Path(path)
    with _opened(path) as reader:
        header = read_file_header(reader)
        loading = _Loading(reader, header)
        for head in _grid_heads(reader, header):
            loading.add(head)
        grids = loading.grids
        if not grids:
            reasons = "; ".join(loading.refusals) or "it has no grids"
            raise reader.refused(f"nothing in it can be loaded: {reasons}")
        metadata = dict(header.metadata)
        if loading.refusals:
            metadata[SKIPPED_KEY] = "; ".join(loading.refusals)
        size = reader.position + reader.remaining
    return VolumeObject(path.stem, tuple(grids), source_bytes=size, file_format="vdb", metadata=metadata)


def save_vdb(volume: VolumeObject, path: Path | str, *, compression: VdbCompression = "zip") -> None:
    """Write the grids of a volume as an OpenVDB file, version 224; an old file stays whole until it is done.

    Active voxels and all values in the box are kept exactly, with 16 bits where `half` says so and no finite
    value would become infinite. The types are the narrowest that OpenVDB has: 8- and 16-bit integers become
    int32, uint32 becomes int64. The object's own transform is not part of the file.

    compression : "zip" is read by every OpenVDB program, "blosc" loads faster, "none" is neither

    Raises `UnsupportedSceneError` for a grid that OpenVDB cannot hold, `InvalidRequestError` for another
    compression, `SceneCodecError` when the system refuses to write.
    """
    metadata = {key: value for key, value in volume.metadata.items() if key != SKIPPED_KEY}
    grids = [grid_bytes(grid, compression) for grid in volume.grids]
    write_atomically(Path(path), file_chunks(metadata, grids))


def list_vdb_grids(path: Path | str) -> list[VdbGridInfo]:
    """Return what the headers of an OpenVDB file say of its grids, without loading values.

    Only files that were streamed have to be read through. Raises `UnsupportedSceneError` as `load_vdb` does,
    but lists grids that cannot be loaded too.
    """
    with _opened(Path(path)) as reader:
        header = read_file_header(reader)
        found = []
        for head in _grid_heads(reader, header):
            found.append(head.info)
            if not header.has_offsets and not head.descriptor.parent:
                _pass_values(reader, _tree_of(reader, header, head))
        return found


@contextmanager
def _opened(path: Path) -> Iterator[VdbReader]:
    """Open a file for reading; translate what the system says."""
    try:
        if not path.is_file():
            raise UnsupportedSceneError(f"There is no file '{path}'.")
        size = path.stat().st_size
        stream: BinaryIO
        with path.open("rb") as stream:
            yield VdbReader(stream, path, size)
    except OSError as error:
        raise UnsupportedSceneError(f"'{path}' cannot be read: {error.strerror}.") from error


def _grid_heads(reader: VdbReader, header: FileHeader) -> Iterator[_GridHead]:
    """Yield the grids of a file in order; the reader goes on behind each if the file says where that is."""
    names: set[str] = set()
    for _ in range(header.grid_count):
        descriptor = read_descriptor(reader, header)
        if header.has_offsets:
            reader.seek(descriptor.start)
        if descriptor.unique_name in names:
            raise reader.damaged(f"it has two grids '{descriptor.shown_name}'")
        names.add(descriptor.unique_name)
        head = _read_head(reader, header, descriptor)
        if head.info.refusal and not header.has_offsets:
            raise reader.refused(f"{head.info.refusal}, and what comes after it cannot be found")
        yield head
        if header.has_offsets:
            reader.seek(descriptor.end)


def _read_head(reader: VdbReader, header: FileHeader, descriptor: Descriptor) -> _GridHead:
    name = descriptor.shown_name
    flags = read_grid_compression(reader, header)
    metadata = read_metadata(reader) | {NAME_KEY: descriptor.name}
    to_object, refusal = None, ""
    try:
        to_object = read_transform(reader, name)
    except GridRefusedError as error:
        refusal = str(error)
    grid_type, suffixed, _ = descriptor.tree_type.partition(HALF_SUFFIX)
    if grid_type not in VALUE_TYPES:
        refusal = f"grid '{name}' is of the type {grid_type}"
    info = VdbGridInfo(
        name=name,
        grid_type=grid_type,
        half=bool(suffixed),
        kind=grid_kind(metadata),
        parent=descriptor.shown_parent,
        to_object=to_object,
        metadata=metadata,
        refusal=refusal,
    )
    return _GridHead(descriptor, flags, info)


def _tree_of(reader: VdbReader, header: FileHeader, head: _GridHead) -> VdbTree:
    """Return the tree that follows the head of a grid of a known type."""
    return read_tree(
        reader,
        VALUE_TYPES[head.info.grid_type],
        half=bool(head.info.metadata.get(HALF_KEY, False)),  # OpenVDB goes by this, not by the type's suffix
        flags=head.flags,
        selective=header.version >= SELECTIVE_COMPRESSION_END,
    )


def _pass_values(reader: VdbReader, tree: VdbTree) -> None:
    """Go to the end of the leaves of a tree, in a file that does not say where that is."""
    for _ in tree.leaf_values(reader):
        pass


class _Loading:
    """The grids of a file so far, and what grids that share a tree refer to."""

    def __init__(self, reader: VdbReader, header: FileHeader) -> None:
        self._reader, self._header = reader, header
        self._boxes: dict[str, tuple[str, DenseBox]] = {}
        self._budget = MAX_FILE_BYTES
        self.grids: list[VolumeGrid] = []
        self.refusals: list[str] = []

    def add(self, head: _GridHead) -> None:
        """Load a grid, or note why it cannot be."""
        if head.info.refusal:
            self.refusals.append(head.info.refusal)
            return
        try:
            box = self._shared_box(head) if head.descriptor.parent else self._own_box(head)
        except GridRefusedError as error:
            self.refusals.append(str(error))
            return
        self.grids.append(_volume_grid(head.info, box))

    def _own_box(self, head: _GridHead) -> DenseBox:
        tree = _tree_of(self._reader, self._header, head)
        try:
            box = fill_box(self._reader, tree, head.info.name, self._budget)
        finally:
            if not self._header.has_offsets:
                _pass_values(self._reader, tree)
        self._budget -= box.allocated
        self._boxes[head.descriptor.unique_name] = (head.info.grid_type, box)
        return box

    def _shared_box(self, head: _GridHead) -> DenseBox:
        name, parent = head.info.name, head.info.parent
        if head.descriptor.parent not in self._boxes:
            raise GridRefusedError(f"grid '{name}' shares the tree of '{parent}', which is not loaded")
        grid_type, box = self._boxes[head.descriptor.parent]
        if grid_type != head.info.grid_type:
            raise self._reader.damaged(f"grid '{name}' shares the tree of '{parent}', which has another type")
        return box


def _volume_grid(info: VdbGridInfo, box: DenseBox) -> VolumeGrid:
    """Return a loaded grid; metadata that its other fields say are left out."""
    assert info.to_object is not None  # a grid without is refused
    dropped = {CLASS_KEY, HALF_KEY, *COMPUTED_KEYS}
    if info.metadata.get(NAME_KEY) == info.name:
        dropped.add(NAME_KEY)
    value_type = VALUE_TYPES[info.grid_type]
    return VolumeGrid(
        name=info.name,
        values=box.values,
        active=box.active,
        corner=box.corner,
        background=box.background,
        to_object=info.to_object,
        kind=info.kind,
        half=value_type.name == "half" or (value_type.is_real and bool(info.metadata.get(HALF_KEY, False))),
        metadata={key: value for key, value in info.metadata.items() if key not in dropped},
    )
