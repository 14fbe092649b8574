"""From the sections of a file back to volumes, or to a part of one grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.volume_parts.channel_range import restore_exceptions
from scene_codec.codecs.volume_parts.grid_description import Triple, grid_of, restored_metadata
from scene_codec.codecs.volume_wavelet.exact_values import corrector_of
from scene_codec.codecs.volume_wavelet.grid_tables import GridTables, read_tables
from scene_codec.codecs.volume_wavelet.parallel import mapped_in_order
from scene_codec.codecs.volume_wavelet.prior import published_prior
from scene_codec.codecs.volume_wavelet.syntax import (
    EXCEPTIONS,
    RESIDUALS,
    TABLES,
    TOPOLOGY,
    VALUES,
    VOLUME,
    GridHeader,
    StreamIndex,
    VolumeHeader,
    read_volume,
)
from scene_codec.codecs.volume_wavelet.tile_voxels import (
    TileVoxels,
    clues_of,
    set_inactive,
    tolerant_states,
)
from scene_codec.codecs.volume_wavelet.tiles import Box, box_shape
from scene_codec.codecs.volume_wavelet.topology_coding import ACTIVE, decode_states
from scene_codec.codecs.volume_wavelet.topology_reference import reference_states
from scene_codec.codecs.volume_wavelet.value_coding import channel_codings, decode_values
from scene_codec.entropy.byte_fields import ByteReader
from scene_codec.errors import CorruptFileError, InvalidRequestError
from scene_codec.progress import Progress
from scene_codec.volumes.array_storage import storage
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

Values = NDArray[np.generic]


class VolumeReader:
    """The sections of one volume, opened: decodes whole grids or parts of them."""

    def __init__(self, sections: Mapping[int, bytes]) -> None:
        """Read everything but the tiles. Raises `CorruptFileError`."""
        if VOLUME not in sections:
            raise CorruptFileError("The volume's description is missing.")
        self.header: VolumeHeader = read_volume(sections[VOLUME])
        reader = ByteReader(sections.get(TABLES, b""))
        self._tables = [read_tables(reader, grid) for grid in self.header.grids]
        if reader.rest():
            raise CorruptFileError("The tables of a volume have bytes too many.")
        self._index = StreamIndex(self.header.grids, sections)
        self._active: dict[int, _Active] = {}

    def grid(self, number: int, progress: Progress) -> VolumeGrid:
        """Return a grid; a large one comes back as a map of a temporary file.

        Raises `CorruptFileError`, `Cancelled`.
        """
        whole = tuple(slice(0, length) for length in self.header.grids[number].shape)
        return self._part(number, (whole[0], whole[1], whole[2]), progress)

    def region(self, number: int, corner: Triple, shape: Triple, progress: Progress) -> VolumeGrid:
        """Return the voxels of a grid's box from `corner` on, decoding only the tiles that it touches.

        corner : counted from the first voxel of the grid's own box
        Raises `InvalidRequestError` when it does not lie within that, `CorruptFileError`, `Cancelled`.
        """
        header = self.header.grids[number]
        ends = tuple(start + length for start, length in zip(corner, shape, strict=True))
        if min(*corner, *shape) < 0 or any(end > side for end, side in zip(ends, header.shape, strict=True)):
            raise InvalidRequestError(
                f"The region from {corner} with {shape} voxels does not lie within the {header.shape} voxels "
                f"of grid '{header.name}'."
            )
        x, y, z = (slice(start, end) for start, end in zip(corner, ends, strict=True))
        return self._part(number, (x, y, z), progress)

    def _part(self, number: int, part: Box, progress: Progress) -> VolumeGrid:
        """Return a part of a grid, having decoded what helps with it."""
        chain = self._chain(number, part)
        first = self.header.grids[chain[-1][0]].reference
        helper = self._active.get(first)
        for other, its_part in reversed(chain[1:]):
            progress.check_cancelled()
            helper = _Active.of(self._decoded(other, its_part, helper, Progress()))
        return self._decoded(number, part, helper, progress)

    def _chain(self, number: int, part: Box) -> list[tuple[int, Box]]:
        """Return a part of a grid, the part of the grid that helps to decode it, and so on.

        It ends with a grid that needs no help, or that of one whose active voxels are known.
        """
        chain = [(number, part)]
        while True:
            number, part = chain[-1]
            header = self.header.grids[number]
            boxes = [box for box in header.tiling.boxes() if _overlap(box, part) is not None]
            known = header.reference in self._active
            if header.reference < 0 or header.topology != "exact" or known or not boxes:
                return chain
            chain.append((header.reference, self._counterpart(number, boxes)))

    def _counterpart(self, number: int, boxes: Sequence[Box]) -> Box:
        """Return the part of the grid that helps another one which has the voxels of some of its tiles."""
        header = self.header.grids[number]
        other = self.header.grids[header.reference]
        part = []
        for axis in range(3):
            shift = header.corner[axis] - other.corner[axis]
            start = min(box[axis].start for box in boxes) + shift
            stop = max(box[axis].stop for box in boxes) + shift
            start = min(max(start, 0), other.shape[axis])
            part.append(slice(start, max(start, min(stop, other.shape[axis]))))
        return part[0], part[1], part[2]

    def _decoded(self, number: int, part: Box, helper: _Active | None, progress: Progress) -> VolumeGrid:
        header = self.header.grids[number]
        shape = box_shape(part)
        axes = (len(header.channels),) if header.vectors else ()
        values = storage((*shape, *axes), header.dtype)
        active = storage(shape, np.dtype(np.bool_)) if header.masked else None
        wanted = [
            (index, box) for index, box in enumerate(header.tiling.boxes()) if _overlap(box, part) is not None
        ]
        tiles = mapped_in_order(lambda item: self._tile(number, *item, helper), wanted)
        for done, ((_, box), tile) in enumerate(zip(wanted, tiles, strict=True)):
            progress.update(done / len(wanted))
            inner, target = _overlap(box, part) or (box, box)
            for channel, own in enumerate(tile.values):
                (values[..., channel] if header.vectors else values)[target] = own[inner]
            if active is not None and tile.states is not None:
                active[target] = tile.states[inner] == ACTIVE
        grid = grid_of(header, values, None if active is None else active.view(np.bool_))
        corner = tuple(own + side.start for own, side in zip(header.corner, part, strict=True))
        grid = replace(grid, corner=(corner[0], corner[1], corner[2]))
        if shape == header.shape:
            self._active[number] = _Active.of(grid)
        return grid

    def _tile(self, number: int, index: int, box: Box, helper: _Active | None) -> TileVoxels:
        """Return the voxels of a grid's tile. Raises `CorruptFileError`."""
        header = self.header.grids[number]
        streams: dict[int, list[bytes]] = {}
        for kind, stream in zip(header.streams(), self._index.tile(number, index), strict=True):
            streams.setdefault(kind, []).append(stream)
        reference = (
            None if helper is None else reference_states(helper.voxels, helper.corner, box, header.corner)
        )
        return _Tile(header, self._tables[number], streams, box_shape(box), reference).decoded()


@dataclass(frozen=True)
class _Active:
    """Active voxels (x, y, z) of a grid or of a part of it, and the lattice index of the first."""

    voxels: NDArray[np.bool_]
    corner: Triple

    @staticmethod
    def of(grid: VolumeGrid) -> _Active:
        """Return those of a grid."""
        voxels = np.ones(grid.shape, np.bool_) if grid.active is None else grid.active
        return _Active(voxels, grid.corner)


@dataclass(frozen=True)
class _Tile:
    """The streams of one tile by section, and what they are decoded with."""

    header: GridHeader
    tables: GridTables
    streams: Mapping[int, list[bytes]]
    shape: Triple
    reference: NDArray[np.uint8] | None

    def decoded(self) -> TileVoxels:
        """Return the voxels. Raises `CorruptFileError`."""
        header, codings = self.header, channel_codings(self.header)
        numbers = [np.zeros(self.shape, np.float32) for _ in codings]
        if self.tables.values is not None:
            prior = published_prior(header.prior)
            numbers = [
                decode_values(data, self.shape, coding, prior, self.tables.values)
                for data, coding in zip(self.streams[VALUES], codings, strict=True)
            ]
        states = None
        if header.topology == "tolerant":
            states = tolerant_states(numbers, codings, header)
        elif self.tables.topology is not None:
            clues = clues_of(numbers, codings, header, self.reference)
            states = decode_states(self.streams[TOPOLOGY][0], self.shape, clues, self.tables.topology)
        values = []
        for channel, (own, coding) in enumerate(zip(numbers, codings, strict=True)):
            if header.residual == "none":
                restored = coding.restored(own, header.dtype)
            else:
                coded = None if states is None else states == ACTIVE
                corrector = corrector_of(header, coding, own, coded)
                restored = corrector.corrected(self.streams[RESIDUALS][channel], self.tables.residuals)
            if states is not None:
                set_inactive(restored, states, header, channel)
            if self.streams.get(EXCEPTIONS, [b""] * len(codings))[channel]:
                restore_exceptions(restored, self.streams[EXCEPTIONS][channel])
            values.append(restored)
        return TileVoxels(tuple(values), states)


def _overlap(box: Box, part: Box) -> tuple[Box, Box] | None:
    """Return where two boxes overlap, counted from the starts of each, or None where they do not."""
    inner, target = [], []
    for own, other in zip(box, part, strict=True):
        start, stop = max(own.start, other.start), min(own.stop, other.stop)
        if start >= stop:
            return None
        inner.append(slice(start - own.start, stop - own.start))
        target.append(slice(start - other.start, stop - other.start))
    return (inner[0], inner[1], inner[2]), (target[0], target[1], target[2])


def decode_volume(sections: Mapping[int, bytes], progress: Progress, name: str = "") -> VolumeObject:
    """Return the volume of an object's sections; large grids come back as maps of temporary files.

    Raises `CorruptFileError`, `Cancelled`, and `UnsupportedSceneError` when there is no room for the values.
    """
    reader = VolumeReader(sections)
    headers = reader.header.grids
    grids = [
        reader.grid(index, progress.part(index / len(headers), (index + 1) / len(headers), header.name))
        for index, header in enumerate(headers)
    ]
    return VolumeObject(
        name=name,
        grids=tuple(grids),
        file_format=reader.header.file_format,
        metadata=restored_metadata(reader.header.metadata),
    )


def decode_region(sections: Mapping[int, bytes], grid: int, corner: Triple, shape: Triple) -> VolumeGrid:
    """Return a part of a grid, see `VolumeReader.region`."""
    return VolumeReader(sections).region(grid, corner, shape, Progress())
