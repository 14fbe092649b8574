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
from scene_codec.codecs.volume_wavelet.prediction import Predictor, grid_named, predictor_of
from scene_codec.codecs.volume_wavelet.prediction_syntax import (
    GridPrediction,
    check_prediction,
    read_prediction,
)
from scene_codec.codecs.volume_wavelet.prior import published_prior
from scene_codec.codecs.volume_wavelet.reference_voxels import MARGIN
from scene_codec.codecs.volume_wavelet.syntax import (
    EXCEPTIONS,
    LEVELS,
    PREDICTION,
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
from scene_codec.codecs.volume_wavelet.tiles import Box, box_shape, lattice_corner
from scene_codec.codecs.volume_wavelet.topology_coding import ACTIVE, decode_states
from scene_codec.codecs.volume_wavelet.topology_reference import reference_states
from scene_codec.codecs.volume_wavelet.value_coding import (
    channel_codings,
    decode_coefficients,
    numbers_of,
)
from scene_codec.entropy.byte_fields import ByteReader
from scene_codec.errors import CorruptFileError, InvalidRequestError
from scene_codec.progress import Progress
from scene_codec.volumes.array_storage import storage
from scene_codec.volumes.lifting_wavelet import Subbands
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

Values = NDArray[np.generic]


class VolumeReader:
    """The sections of one volume, opened: decodes whole grids or parts of them."""

    def __init__(self, sections: Mapping[int, bytes], previous: VolumeObject | None = None) -> None:
        """Read everything but the tiles. Raises `CorruptFileError`.

        previous : the frame before, decoded, when `needed_frame` names one
        """
        if VOLUME not in sections:
            raise CorruptFileError("The volume's description is missing.")
        self.header: VolumeHeader = read_volume(sections[VOLUME])
        reader = ByteReader(sections.get(TABLES, b""))
        self._tables = [read_tables(reader, grid) for grid in self.header.grids]
        if reader.rest():
            raise CorruptFileError("The tables of a volume have bytes too many.")
        self._index = StreamIndex(self.header.grids, sections)
        self._predictions = _predictions(sections, self.header)
        self._previous = previous
        self._helping = {
            other for number in range(len(self.header.grids)) for other, _ in self._helpers_of(number)
        }
        self._whole: dict[int, VolumeGrid] = {}

    def know(self, number: int, grid: VolumeGrid) -> None:
        """Take a grid that was decoded before, so that it need not be decoded to help with others."""
        self._whole[number] = grid

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
        needed = self._needed(number, part)
        grids = dict(self._whole)
        for other in sorted(needed):
            progress.check_cancelled()
            grids[other] = self._decoded(other, needed[other], grids, Progress())
        return self._decoded(number, part, grids, progress)

    def _helpers_of(self, number: int) -> list[tuple[int, int]]:
        """Return the grids of this volume that help to decode one, and how many voxels beyond its tiles."""
        header, prediction = self.header.grids[number], self._predictions[number]
        helpers = [(header.reference, 0)] if header.reference >= 0 and header.topology == "exact" else []
        if prediction is None:
            return helpers
        if not prediction.source.previous:
            helpers.append((prediction.source.number, 0 if prediction.motion is None else MARGIN))
        if prediction.motion is not None and not prediction.motion.velocity.previous:
            helpers.append((prediction.motion.velocity.number, 1))
        return helpers

    def _needed(self, number: int, part: Box) -> dict[int, Box]:
        """Return which parts of other grids are needed for a part of one, with those that these need."""
        needed = {number: part}
        for own in range(number, -1, -1):
            if own not in needed:
                continue
            boxes = [
                box for box in self.header.grids[own].tiling.boxes() if _overlap(box, needed[own]) is not None
            ]
            for other, reach in self._helpers_of(own):
                if boxes and other not in self._whole:
                    counterpart = self._counterpart(own, other, boxes, reach)
                    needed[other] = _hull(needed.get(other, counterpart), counterpart)
        del needed[number]
        return needed

    def _counterpart(self, number: int, other: int, boxes: Sequence[Box], reach: int) -> Box:
        """Return the part of another grid that lies where some tiles of a grid do, or not far from them."""
        own, its = self.header.grids[number], self.header.grids[other]
        part = []
        for axis in range(3):
            shift = own.corner[axis] - its.corner[axis]
            start = min(box[axis].start for box in boxes) + shift - reach
            stop = max(box[axis].stop for box in boxes) + shift + reach
            start = min(max(start, 0), its.shape[axis])
            part.append(slice(start, max(start, min(stop, its.shape[axis]))))
        return part[0], part[1], part[2]

    def _decoded(
        self, number: int, part: Box, grids: Mapping[int, VolumeGrid], progress: Progress
    ) -> VolumeGrid:
        """Return a part of a grid. `grids` are those that help, as far as needed."""
        header = self.header.grids[number]
        shape = box_shape(part)
        axes = (len(header.channels),) if header.vectors else ()
        values = storage((*shape, *axes), header.dtype)
        active = storage(shape, np.dtype(np.bool_)) if header.masked else None
        wanted = [
            (index, box) for index, box in enumerate(header.tiling.boxes()) if _overlap(box, part) is not None
        ]
        help_at = self._help(number, grids)
        tiles = mapped_in_order(lambda item: self._tile(number, *item, help_at), wanted)
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
        if shape == header.shape and number in self._helping:
            self._whole[number] = grid
        return grid

    def _help(self, number: int, grids: Mapping[int, VolumeGrid]) -> _Help:
        """Return what helps to decode a grid. Raises `CorruptFileError` when it is missing."""
        header, prediction = self.header.grids[number], self._predictions[number]
        topology = grids[header.reference] if header.reference >= 0 and header.topology == "exact" else None
        if prediction is None:
            return _Help(topology, None)
        if prediction.topology and topology is None:
            topology = grid_named(prediction.source, self._previous, grids)
        predictor = predictor_of(prediction, len(header.channels), self._previous, grids)
        return _Help(topology, predictor if header.has_coefficients else None)

    def _tile(self, number: int, index: int, box: Box, help_at: _Help) -> TileVoxels:
        """Return the voxels of a grid's tile. Raises `CorruptFileError`."""
        header = self.header.grids[number]
        streams: dict[int, list[bytes]] = {}
        for kind, stream in zip(header.streams(), self._index.tile(number, index), strict=True):
            streams.setdefault(kind, []).append(stream)
        return _Tile(
            header,
            self._tables[number],
            streams,
            box_shape(box),
            help_at.states(box, header),
            help_at.bands(box, header),
        ).decoded()


@dataclass(frozen=True)
class _Help:
    """What is known of a grid's tiles from other grids."""

    topology: VolumeGrid | None
    predictor: Predictor | None

    def states(self, box: Box, header: GridHeader) -> NDArray[np.uint8] | None:
        """Return whether the voxels of a tile are active in the grid that tells."""
        if self.topology is None:
            return None
        active = self.topology.active
        if active is None:
            active = np.ones(self.topology.shape, np.bool_)
        return reference_states(active, self.topology.corner, box, header.corner)

    def bands(self, box: Box, header: GridHeader) -> Sequence[Subbands | None]:
        """Return the predicted coefficients of each channel of a tile."""
        if self.predictor is None:
            return [None for _ in header.channels]
        return self.predictor.bands(lattice_corner(header.corner, box), box_shape(box))


@dataclass(frozen=True)
class _Tile:
    """The streams of one tile by section, and what they are decoded with."""

    header: GridHeader
    tables: GridTables
    streams: Mapping[int, list[bytes]]
    shape: Triple
    reference: NDArray[np.uint8] | None
    predicted: Sequence[Subbands | None]

    def decoded(self) -> TileVoxels:
        """Return the voxels. Raises `CorruptFileError`."""
        header, codings = self.header, channel_codings(self.header)
        numbers = [np.zeros(self.shape, np.float32) for _ in codings]
        if self.tables.values is not None:
            prior = published_prior(header.prior)
            bands = (
                decode_coefficients(data, self.shape, coding, prior, self.tables.values)
                for data, coding in zip(self.streams[VALUES], codings, strict=True)
            )
            numbers = [
                numbers_of(own, predicted, self.shape)
                for own, predicted in zip(bands, self.predicted, strict=True)
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


def _hull(first: Box, second: Box) -> Box:
    """Return the smallest box that holds two."""
    x, y, z = (
        slice(min(own.start, other.start), max(own.stop, other.stop))
        for own, other in zip(first, second, strict=True)
    )
    return x, y, z


def _predictions(sections: Mapping[int, bytes], header: VolumeHeader) -> Sequence[GridPrediction | None]:
    """Return how each grid is predicted. Raises `CorruptFileError`."""
    if PREDICTION not in sections:
        return [None for _ in header.grids]
    prediction = read_prediction(sections[PREDICTION])
    check_prediction(prediction, [len(grid.channels) for grid in header.grids], LEVELS)
    return prediction.grids


def needed_frame(sections: Mapping[int, bytes]) -> str:
    """Return the name of the object that must be decoded before a volume; "" when there is none.

    Raises `CorruptFileError`.
    """
    return read_prediction(sections[PREDICTION]).previous if PREDICTION in sections else ""


def decode_volume(
    sections: Mapping[int, bytes], progress: Progress, previous: VolumeObject | None = None, name: str = ""
) -> VolumeObject:
    """Return the volume of an object's sections; large grids come back as maps of temporary files.

    previous : the frame before, decoded, when `needed_frame` names one

    Raises `CorruptFileError`, `Cancelled`, and `UnsupportedSceneError` when there is no room for the values.
    """
    reader = VolumeReader(sections, previous)
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


def decode_region(
    sections: Mapping[int, bytes],
    grid: int,
    corner: Triple,
    shape: Triple,
    previous: VolumeObject | None = None,
) -> VolumeGrid:
    """Return a part of a grid, see `VolumeReader`."""
    return VolumeReader(sections, previous).region(grid, corner, shape, Progress())
