"""The sections of a volume-vae file and their bytes, written and read side by side.

| kind | where | content |
|---|---|---|
| 1 MODEL_REFERENCE | shared | 16 bytes: which model of the package decodes the file |
| 2 MODEL | shared | or the decoding half of a user's own model, see model.py |
| 16 VOLUME | object | MessagePack array: what the volume and its grids are, and how they are coded |
| 17 VALUES | object | for each grid, channel and slab of block layers: a record of coded values |
| 18 TOPOLOGY | object | for each grid with inactive voxels and each slab: a record of the active ones |

A record is a length and that many bytes. A record of values begins with the length of its list of exceptions
(values that are no finite numbers) and that list; coded blocks follow unless the channel is constant.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.volume_vae.channel_range import ChannelRange
from scene_codec.entropy.byte_fields import ByteReader, varint
from scene_codec.errors import CorruptFileError, UnsupportedSceneError
from scene_codec.volumes.volume import (
    MAX_CHANNELS,
    VALUE_TYPES,
    GridKind,
    MetadataValue,
    VolumeGrid,
    VolumeObject,
)

PAYLOAD_VERSION = 1

MODEL_REFERENCE = 1
MODEL = 2
VOLUME = 16
VALUES = 17
TOPOLOGY = 18

SHARED_LABELS = {MODEL_REFERENCE: "reference to a model", MODEL: "model"}
OBJECT_LABELS = {VOLUME: "grids", VALUES: "values", TOPOLOGY: "active voxels"}

MAX_VOXELS = 1 << 36
MAX_GRIDS = 1024
MAX_SIDE = 1 << 20

Triple = tuple[int, int, int]
StoredMetadata = dict[str, bool | int | float | str | tuple[int | float, ...]]


class ChannelHeader(msgspec.Struct, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One channel of a grid.

    step : quantisation step in units of the range (rate-optimised networks) or of latents (dense ones, 0 for
        float32)
    """

    low: float
    high: float
    step: float

    @property
    def value_range(self) -> ChannelRange:
        """Smallest and largest value."""
        return ChannelRange(self.low, self.high)


class GridHeader(msgspec.Struct, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One grid without its values.

    vectors : whether values have an axis of channels, even of one
    to_object : (16,) row major, None for the identity
    reverse : slabs are layers along z instead of x, as the values lie in the source
    layers_at_once : block layers of a slab
    """

    name: str
    value_type: str
    shape: Triple
    vectors: bool
    channels: Annotated[tuple[ChannelHeader, ...], msgspec.Meta(min_length=1, max_length=MAX_CHANNELS)]
    reverse: bool
    layers_at_once: int
    masked: bool
    corner: Triple
    background: tuple[float, ...]
    to_object: tuple[float, ...] | None
    kind: GridKind
    half: bool
    metadata: StoredMetadata


class VolumeHeader(msgspec.Struct, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of the VOLUME section."""

    blend: Literal["crop", "box", "smooth"]
    file_format: str
    metadata: StoredMetadata
    grids: Annotated[tuple[GridHeader, ...], msgspec.Meta(max_length=MAX_GRIDS)]


def grid_header(
    grid: VolumeGrid, channels: tuple[ChannelHeader, ...], layers_at_once: int, *, reverse: bool
) -> GridHeader:
    """Return the header of a grid."""
    identity = np.array_equal(grid.to_object, np.eye(4))
    return GridHeader(
        name=grid.name,
        value_type=grid.values.dtype.name,
        shape=grid.shape,
        vectors=grid.values.ndim == 4,
        channels=channels,
        reverse=reverse,
        layers_at_once=layers_at_once,
        masked=grid.active is not None,
        corner=grid.corner,
        background=tuple(float(value) for value in grid.background),
        to_object=None if identity else tuple(float(value) for value in np.ravel(grid.to_object)),
        kind=grid.kind,
        half=grid.half,
        metadata=dict(grid.metadata),
    )


def write_volume(header: VolumeHeader, name: str) -> bytes:
    """Return the VOLUME section. Raises `UnsupportedSceneError` when what it describes cannot be coded."""
    try:
        data = msgspec.msgpack.encode(header)
    except (TypeError, ValueError, OverflowError) as error:
        raise UnsupportedSceneError(
            f"Volume '{name}' has metadata that cannot be stored: {error}."
        ) from error
    fault = _first_fault(header)
    if fault is not None:
        raise UnsupportedSceneError(f"Volume '{name}' cannot be coded: {fault}.")
    return data


def read_volume(data: bytes) -> VolumeHeader:
    """Read a VOLUME section, every bound checked. Raises `CorruptFileError`."""
    try:
        header = msgspec.msgpack.decode(data, type=VolumeHeader)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"The description of the volume cannot be read: {error}.") from error
    fault = _first_fault(header)
    if fault is not None:
        raise CorruptFileError(f"The description of the volume breaks a rule: {fault}.")
    return header


def grid_of(header: GridHeader, values: NDArray[np.generic], active: NDArray[np.bool_] | None) -> VolumeGrid:
    """Return the grid that a header, values and a mask make up."""
    matrix = np.eye(4) if header.to_object is None else np.array(header.to_object).reshape(4, 4)
    return VolumeGrid(
        name=header.name,
        values=values,
        active=active,
        corner=header.corner,
        background=header.background,
        to_object=matrix,
        kind=header.kind,
        half=header.half,
        metadata=_metadata(header.metadata),
    )


def volume_of(name: str, header: VolumeHeader, grids: tuple[VolumeGrid, ...]) -> VolumeObject:
    """Return the volume that a header and its grids make up; place and host data are the container's."""
    return VolumeObject(
        name=name, grids=grids, file_format=header.file_format, metadata=_metadata(header.metadata)
    )


def write_records(records: Iterable[bytes]) -> bytes:
    """Return records one behind the other, each with its length."""
    return b"".join(varint(len(record)) + record for record in records)


def read_records(data: bytes, count: int, what: str) -> list[bytes]:
    """Return exactly `count` records. Raises `CorruptFileError`."""
    reader = ByteReader(data)
    records = [reader.take(reader.varint()) for _ in range(count)]
    excess = len(reader.rest())
    if excess:
        raise CorruptFileError(f"The {what} of a volume have {excess} bytes too many.")
    return records


def _metadata(stored: StoredMetadata) -> Mapping[str, MetadataValue]:
    """Return metadata with tuples of one type: all whole numbers, or all floating-point."""
    restored: dict[str, MetadataValue] = {}
    for key, value in stored.items():
        if not isinstance(value, tuple):
            restored[key] = value
        elif all(isinstance(item, int) for item in value):
            restored[key] = tuple(int(item) for item in value)
        else:
            restored[key] = tuple(float(item) for item in value)
    return restored


def _first_fault(header: VolumeHeader) -> str | None:
    """Return what is wrong with a volume in words, before anything of its size is allocated, or None."""
    for grid in header.grids:
        fault = _fault_of_values(grid) or _fault_of_place(grid)
        if fault is not None:
            return f"grid '{grid.name[:60]}': {fault}"
    names = {grid.name for grid in header.grids}
    return "two grids have the same name" if len(names) < len(header.grids) else None


def _fault_of_values(grid: GridHeader) -> str | None:
    if grid.value_type not in VALUE_TYPES:
        return f"values of type {grid.value_type[:20]}"
    if not all(0 <= side <= MAX_SIDE for side in grid.shape) or math.prod(grid.shape) > MAX_VOXELS:
        return f"{' x '.join(map(str, grid.shape))} voxels"
    if not grid.vectors and len(grid.channels) != 1:
        return f"{len(grid.channels)} channels of single values"
    if grid.layers_at_once < 1:
        return "slabs without layers"
    return next((fault for channel in grid.channels if (fault := _fault_of_channel(channel))), None)


def _fault_of_channel(channel: ChannelHeader) -> str | None:
    if not (math.isfinite(channel.low) and math.isfinite(channel.high) and channel.low <= channel.high):
        return f"values from {channel.low} to {channel.high}"
    return None if 0.0 <= channel.step <= 16.0 else f"a quantisation step of {channel.step}"


def _fault_of_place(grid: GridHeader) -> str | None:
    if grid.to_object is not None and not (
        len(grid.to_object) == 16 and all(map(math.isfinite, grid.to_object))
    ):
        return "a transform that is not made of 16 finite numbers"
    if len(grid.background) != len(grid.channels):
        return f"{len(grid.background)} background values for {len(grid.channels)} channels"
    return None
