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
from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec

from scene_codec.codecs.volume_parts.channel_range import ChannelRange
from scene_codec.codecs.volume_parts.grid_description import (
    MAX_GRIDS,
    GridDescription,
    Quality,
    StoredMetadata,
    description_of,
    fault_of_grids,
    read_header,
    restored_metadata,
    write_header,
)
from scene_codec.codecs.volume_vae.slabs import slab_shape
from scene_codec.entropy.byte_fields import ByteReader, varint
from scene_codec.errors import CorruptFileError
from scene_codec.volumes.blocks import BLOCK_SIDE, block_counts
from scene_codec.volumes.volume import MAX_CHANNELS, VolumeGrid, VolumeObject

PAYLOAD_VERSION = 1

MAX_SLAB_VOXELS = 1 << 24
MAX_LAYER_VOXELS = 1 << 28
"""Of a slab of several layers of blocks, and of one; decoding has them in memory at once, a few times."""

MODEL_REFERENCE = 1
MODEL = 2
VOLUME = 16
VALUES = 17
TOPOLOGY = 18

SHARED_LABELS = {MODEL_REFERENCE: "reference to a model", MODEL: "model"}
OBJECT_LABELS = {VOLUME: "grids", VALUES: "values", TOPOLOGY: "active voxels"}


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


class GridHeader(GridDescription, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One grid without its values.

    reverse : slabs are layers along z instead of x, as the values lie in the source
    layers_at_once : block layers of a slab
    """

    channels: Annotated[tuple[ChannelHeader, ...], msgspec.Meta(min_length=1, max_length=MAX_CHANNELS)]
    reverse: bool
    layers_at_once: int
    quality: Quality = Quality()


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
    return GridHeader(
        **description_of(grid), channels=channels, reverse=reverse, layers_at_once=layers_at_once
    )


def write_volume(header: VolumeHeader, name: str) -> bytes:
    """Return the VOLUME section. Raises `UnsupportedSceneError` when what it describes cannot be coded."""
    return write_header(header, name, _first_fault(header))


def read_volume(data: bytes) -> VolumeHeader:
    """Read a VOLUME section, every bound checked. Raises `CorruptFileError`."""
    header = read_header(data, VolumeHeader)
    fault = _first_fault(header)
    if fault is not None:
        raise CorruptFileError(f"The description of the volume breaks a rule: {fault}.")
    return header


def volume_of(name: str, header: VolumeHeader, grids: tuple[VolumeGrid, ...]) -> VolumeObject:
    """Return the volume that a header and its grids make up; place and host data are the container's."""
    return VolumeObject(
        name=name, grids=grids, file_format=header.file_format, metadata=restored_metadata(header.metadata)
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


def _first_fault(header: VolumeHeader) -> str | None:
    """Return what is wrong with a volume in words, before anything of its size is allocated, or None."""
    fault = fault_of_grids(header.grids)
    if fault is not None:
        return fault
    for grid in header.grids:
        fault = _fault_of_coding(grid)
        if fault is not None:
            return f"grid '{grid.name[:60]}': {fault}"
    return None


def _fault_of_coding(grid: GridHeader) -> str | None:
    if len(grid.background) != len(grid.channels):
        return f"{len(grid.background)} background values for {len(grid.channels)} channels"
    if grid.kind == "level set" and grid.value_type == "bool":
        return "a level set of bool values"
    fault = _fault_of_slabs(grid)
    if fault is not None:
        return fault
    return next((fault for channel in grid.channels if (fault := _fault_of_channel(channel))), None)


def _fault_of_slabs(grid: GridHeader) -> str | None:
    if grid.layers_at_once < 1:
        return "slabs without layers"
    _, count_y, count_z = block_counts(slab_shape(grid.shape, reverse=grid.reverse))
    layer = BLOCK_SIDE**3 * count_y * count_z
    if layer > MAX_LAYER_VOXELS:
        return f"a layer of blocks has {layer} voxels, at most {MAX_LAYER_VOXELS} are possible"
    if grid.layers_at_once > 1 and grid.layers_at_once * layer > MAX_SLAB_VOXELS:
        return f"slabs of {grid.layers_at_once} layers of {layer} voxels"
    return None


def _fault_of_channel(channel: ChannelHeader) -> str | None:
    if not (math.isfinite(channel.low) and math.isfinite(channel.high) and channel.low <= channel.high):
        return f"values from {channel.low} to {channel.high}"
    return None if 0.0 <= channel.step <= 16.0 else f"a quantisation step of {channel.step}"
