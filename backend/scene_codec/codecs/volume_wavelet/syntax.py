"""The sections of a volume-wavelet file and their bytes, written and read side by side.

| kind | where | content |
|---|---|---|
| 16 VOLUME | object | MessagePack array, maybe deflated: the volume, its grids, and how they are coded |
| 17 TABLES | object | for each grid, as its header says: tables of values, of residuals, of the topology |
| 18 INDEX | object | for each grid and tile: length of each of its streams, CRC-32 of them all |
| 19 VALUES | object | for each grid, tile and channel: the wavelet's coefficients |
| 20 TOPOLOGY | object | for each grid with a mask and each tile: which voxels are active |
| 21 RESIDUALS | object | for each grid, tile and channel: what is added to the decoded values |
| 22 EXCEPTIONS | object | for each grid, tile and channel: values stored as they are, and where |
| 23 PREDICTION | object | MessagePack array: from which other grids the coefficients are predicted |

Streams lie one behind the other. A tile is decoded from its own streams and the tables alone, and
from decoded tiles of other grids where it is predicted.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from scene_codec.codecs.volume_parts.channel_range import ChannelRange
from scene_codec.codecs.volume_parts.grid_description import (
    MAX_GRIDS,
    GridDescription,
    Quality,
    StoredMetadata,
    fault_of_grids,
    read_header,
    write_header,
)
from scene_codec.codecs.volume_wavelet.prior import MODEL_FILES
from scene_codec.codecs.volume_wavelet.residual_coding import largest_bound, suits_steps
from scene_codec.codecs.volume_wavelet.tiles import Tiling
from scene_codec.entropy.byte_fields import ByteReader, varint
from scene_codec.errors import CorruptFileError
from scene_codec.volumes.volume import MAX_CHANNELS

PAYLOAD_VERSION = 2
"""Version 2 adds to what headers may say; what version 1 said it means still."""

VOLUME = 16
TABLES = 17
INDEX = 18
VALUES = 19
TOPOLOGY = 20
RESIDUALS = 21
EXCEPTIONS = 22
PREDICTION = 23

OBJECT_LABELS = {
    VOLUME: "grids",
    TABLES: "probability tables",
    INDEX: "index of tiles",
    VALUES: "values",
    TOPOLOGY: "active voxels",
    RESIDUALS: "residuals",
    EXCEPTIONS: "exceptional values",
    PREDICTION: "prediction",
}

LEVELS = 5
"""Levels of the wavelet, as far as a tile is long enough."""

TILE_SIDES = (32, 64, 128, 256)
_CRC_BYTES = 4

_DEFLATED = b"\x78"
"""First byte of a zlib stream; no MessagePack array begins with it."""

_MOST_INFLATED = 1 << 24
"""Bytes of the largest description that is stored deflated."""


class ChannelHeader(msgspec.Struct, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The smallest and the largest finite active value of a channel."""

    low: float
    high: float

    @property
    def value_range(self) -> ChannelRange:
        """Smallest and largest value."""
        return ChannelRange(self.low, self.high)


Residual = Literal["none", "steps", "bits", "stored", "packed"]
Topology = Literal["dense", "exact", "tolerant"]


STORED = ("stored", "packed")
"""Residuals that stand for the values themselves."""


class GridHeader(GridDescription, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One grid without its values.

    tile : side of the tiles, see `Tiling`
    prior : number of the prior that sorts coefficients into classes
    step : quantisation step in units of the largest range of the channels
    offsets : of the quantiser
    residual : what is added to decoded values: nothing, multiples of a step, or differences of bit patterns;
        "packed": values are not decoded but stored, as in "stored", which version 1 of the payload had
    bound : largest error that multiples leave, in units of the values
    spare_bits : lowest bits that are zero in all bit patterns
    tolerance : tolerant topology: largest difference from the background of what is inactive, as `step`
    reference : number of an earlier grid whose active voxels help to code this one's, -1 for none
    """

    channels: Annotated[tuple[ChannelHeader, ...], msgspec.Meta(min_length=1, max_length=MAX_CHANNELS)]
    tile: int
    prior: int
    step: float
    offsets: tuple[int, int]
    topology: Topology
    tolerance: float
    reference: int
    residual: Residual
    bound: float
    spare_bits: int
    quality: Quality

    @property
    def tiling(self) -> Tiling:
        """How the grid is cut."""
        return Tiling(self.shape, self.tile)

    @property
    def constant(self) -> bool:
        """Whether no channel needs values."""
        return all(channel.value_range.constant for channel in self.channels)

    @property
    def has_coefficients(self) -> bool:
        """Whether tiles have wavelet coefficients."""
        return not self.constant and self.residual not in STORED

    def streams(self) -> list[int]:
        """Return the sections in which a tile has streams, in order; one entry for each channel."""
        count = len(self.channels)
        kinds = [VALUES] * count if self.has_coefficients else []
        kinds += [TOPOLOGY] if self.topology == "exact" else []
        kinds += [RESIDUALS] * count if self.residual != "none" else []
        return kinds + ([EXCEPTIONS] * count if self.dtype.kind == "f" else [])


class VolumeHeader(msgspec.Struct, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of the VOLUME section."""

    file_format: str
    metadata: StoredMetadata
    grids: Annotated[tuple[GridHeader, ...], msgspec.Meta(max_length=MAX_GRIDS)]


def write_volume(header: VolumeHeader, name: str) -> bytes:
    """Return the VOLUME section, deflated where that is shorter.

    Raises `UnsupportedSceneError` when what it describes cannot be coded.
    """
    plain = write_header(header, name, _first_fault(header))
    packed = zlib.compress(plain, 9)
    return packed if len(packed) < len(plain) <= _MOST_INFLATED else plain


def read_volume(data: bytes) -> VolumeHeader:
    """Read a VOLUME section, every bound checked. Raises `CorruptFileError`."""
    header = read_header(_inflated(data) if data[:1] == _DEFLATED else data, VolumeHeader)
    fault = _first_fault(header)
    if fault is not None:
        raise CorruptFileError(f"The description of the volume breaks a rule: {fault}.")
    return header


def _inflated(data: bytes) -> bytes:
    """Return what a zlib stream holds, and nothing behind it. Raises `CorruptFileError`."""
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(data, _MOST_INFLATED)
    except zlib.error as error:
        raise CorruptFileError(f"The description of the volume cannot be inflated: {error}.") from error
    if not stream.eof or stream.unused_data:
        raise CorruptFileError("The description of the volume is cut off, or has bytes too many.")
    return plain


def _first_fault(header: VolumeHeader) -> str | None:
    """Return what is wrong with a volume in words, before anything of its size is allocated, or None."""
    fault = fault_of_grids(header.grids)
    if fault is not None:
        return fault
    for number, grid in enumerate(header.grids):
        fault = _fault_of_coding(grid, header.grids[:number])
        if fault is not None:
            return f"grid '{grid.name[:60]}': {fault}"
    return None


def _fault_of_coding(grid: GridHeader, before: Sequence[GridHeader]) -> str | None:
    for channel in grid.channels:
        if not (math.isfinite(channel.low) and math.isfinite(channel.high) and channel.low <= channel.high):
            return f"values from {channel.low} to {channel.high}"
    checks = {
        f"{len(grid.channels)} channels": len(grid.channels) != len(grid.background),
        "a level set of bool values": grid.kind == "level set" and grid.value_type == "bool",
        f"tiles of side {grid.tile}": grid.tile not in TILE_SIDES,
        f"prior {grid.prior}": grid.prior not in MODEL_FILES,
        f"a quantisation step of {grid.step}": not 0.0 < grid.step <= 1.0,
        f"reconstruction offsets {grid.offsets}": max(map(abs, grid.offsets)) > 256,
        f"a {grid.topology} topology": (grid.topology == "dense") == grid.masked,
        f"a tolerance of {grid.tolerance}": not 0.0 <= grid.tolerance <= 1.0,
        f"a reference to grid {grid.reference}": grid.reference != -1
        and not (0 <= grid.reference < len(before) and before[grid.reference].masked),
        f"{grid.spare_bits} spare bits": not 0 <= grid.spare_bits < 8 * grid.dtype.itemsize,
        f"residuals in {grid.residual}": grid.residual == "steps"
        and not all(
            suits_steps(grid.dtype, channel.low, channel.high, grid.bound) for channel in grid.channels
        ),
        f"a bound of {grid.bound}": not (0.0 <= grid.bound <= largest_bound(grid.dtype)),
    }
    return next((fault for fault, holds in checks.items() if holds), None)


@dataclass(frozen=True)
class GridStreams:
    """The coded tiles of a grid: for each tile its streams, in the order of `GridHeader.streams`."""

    tiles: Sequence[Sequence[bytes]]


def write_streams(headers: Sequence[GridHeader], grids: Sequence[GridStreams]) -> dict[int, bytes]:
    """Return the INDEX section and those that hold the streams."""
    index = bytearray()
    sections: dict[int, bytearray] = {}
    for header, grid in zip(headers, grids, strict=True):
        kinds = header.streams()
        for tile in grid.tiles:
            for kind, stream in zip(kinds, tile, strict=True):
                index += varint(len(stream))
                if stream:
                    sections.setdefault(kind, bytearray()).extend(stream)
            if any(tile):
                index += zlib.crc32(b"".join(tile)).to_bytes(_CRC_BYTES, "little")
    return {INDEX: bytes(index)} | {kind: bytes(data) for kind, data in sorted(sections.items())}


@dataclass(frozen=True)
class _Place:
    """Where a tile's streams lie: (kind, start, stop) each, and their checksum."""

    parts: tuple[tuple[int, int, int], ...]
    checksum: int


class StreamIndex:
    """Finds the streams of any tile of a volume."""

    def __init__(self, headers: Sequence[GridHeader], sections: Mapping[int, bytes]) -> None:
        """Read the INDEX section. Raises `CorruptFileError` when it does not cover the others exactly."""
        self._sections = sections
        reader = ByteReader(sections.get(INDEX, b""))
        ends = dict.fromkeys((VALUES, TOPOLOGY, RESIDUALS, EXCEPTIONS), 0)
        self._grids = [list(_places(header, reader, ends)) for header in headers]
        if reader.rest():
            raise CorruptFileError("The index of a volume's tiles has bytes too many.")
        for kind, end in ends.items():
            if len(sections.get(kind, b"")) != end:
                raise CorruptFileError(
                    f"The section '{OBJECT_LABELS[kind]}' has {len(sections.get(kind, b''))} bytes, "
                    f"its tiles have {end}."
                )

    def tile(self, grid: int, number: int) -> list[bytes]:
        """Return the streams of a tile. Raises `CorruptFileError` when they are damaged."""
        place = self._grids[grid][number]
        streams = [self._sections[kind][start:stop] for kind, start, stop in place.parts if stop > start]
        if streams and zlib.crc32(b"".join(streams)) != place.checksum:
            raise CorruptFileError(f"Tile {number} of grid {grid} is damaged: its checksum is wrong.")
        return [
            self._sections[kind][start:stop] if stop > start else b"" for kind, start, stop in place.parts
        ]


def _places(header: GridHeader, reader: ByteReader, ends: dict[int, int]) -> Iterator[_Place]:
    """Yield where each tile of a grid lies; `ends` says how far the sections are read and goes on with it."""
    kinds = header.streams()
    for _ in range(header.tiling.count):
        parts = []
        for kind in kinds:
            start = ends[kind]
            ends[kind] += reader.varint()
            parts.append((kind, start, ends[kind]))
        used = any(stop > start for _, start, stop in parts)
        checksum = int.from_bytes(reader.take(_CRC_BYTES), "little") if used else 0
        yield _Place(tuple(parts), checksum)
