"""From the sections of a file back to volumes, one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from scene_codec.codecs.volume_parts.channel_range import restore_exceptions
from scene_codec.codecs.volume_parts.grid_description import background_value, grid_of
from scene_codec.codecs.volume_vae.active_voxels import decode_active
from scene_codec.codecs.volume_vae.coding import coding_of
from scene_codec.codecs.volume_vae.model import BlockModel, read_model, shipped_model_of
from scene_codec.codecs.volume_vae.slabs import (
    block_axes,
    channel_view,
    mask_view,
    slab_count,
    slab_rows,
    slab_shape,
)
from scene_codec.codecs.volume_vae.syntax import (
    MODEL,
    MODEL_REFERENCE,
    TOPOLOGY,
    VALUES,
    VOLUME,
    ChannelHeader,
    GridHeader,
    VolumeHeader,
    read_records,
    read_volume,
    volume_of,
)
from scene_codec.entropy.byte_fields import ByteReader
from scene_codec.errors import CorruptFileError, UnsupportedVersionError
from scene_codec.progress import Progress
from scene_codec.volumes.array_storage import storage
from scene_codec.volumes.blocks import BLOCK_SIDE, Blend, LayerJoiner, block_counts
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

Values = NDArray[np.generic]


def model_of(shared: Mapping[int, bytes], device: torch.device) -> BlockModel:
    """Return the model of a file, on a device.

    Raises `CorruptFileError` when there is none, `UnsupportedVersionError` when a release with other models
    wrote the file.
    """
    if MODEL in shared:
        return read_model(shared[MODEL]).to(device)
    if MODEL_REFERENCE not in shared:
        raise CorruptFileError("The file has no model and no reference to one.")
    model = shipped_model_of(shared[MODEL_REFERENCE])
    if model is None:
        raise UnsupportedVersionError(
            f"The file needs the model {shared[MODEL_REFERENCE].hex()[:32]}, which is not in this release. "
            "Update scene-codec."
        )
    return model.to(device)


def decode_volume(
    sections: Mapping[int, bytes], model: BlockModel, progress: Progress, name: str = ""
) -> VolumeObject:
    """Return the volume of an object's sections; large grids come back as maps of temporary files.

    Raises `CorruptFileError`, `Cancelled`, and `UnsupportedSceneError` when there is no room for the values.
    """
    if VOLUME not in sections or VALUES not in sections:
        raise CorruptFileError("The volume's description or its values are missing.")
    header = read_volume(sections[VOLUME])
    slabs = [_slab_count(grid) for grid in header.grids]
    wanted = sum(count * len(grid.channels) for count, grid in zip(slabs, header.grids, strict=True))
    values = read_records(sections[VALUES], wanted, "values")
    masked = sum(count for count, grid in zip(slabs, header.grids, strict=True) if grid.masked)
    masks = read_records(sections.get(TOPOLOGY, b""), masked, "active voxels")
    grids = []
    for index, (count, grid) in enumerate(zip(slabs, header.grids, strict=True)):
        part = progress.part(index / len(slabs), (index + 1) / len(slabs), grid.name)
        own = _GridRecords(values[: count * len(grid.channels)], masks[: count if grid.masked else 0])
        values, masks = values[len(own.values) :], masks[len(own.masks) :]
        grids.append(_grid(header, grid, own, model, part))
    return volume_of(name, header, tuple(grids))


@dataclass(frozen=True)
class _GridRecords:
    """The records of one grid: values channel by channel, and masks."""

    values: list[bytes]
    masks: list[bytes]


def _slab_count(grid: GridHeader) -> int:
    return slab_count(slab_shape(grid.shape, reverse=grid.reverse), grid.layers_at_once)


def _grid(
    volume: VolumeHeader, header: GridHeader, records: _GridRecords, model: BlockModel, progress: Progress
) -> VolumeGrid:
    """Return one grid."""
    values = _allocated(header)
    active = _active(header, records.masks)
    count = _slab_count(header)
    for index, channel in enumerate(header.channels):
        own = records.values[index * count : (index + 1) * count]
        part = progress.part(index / len(header.channels), (index + 1) / len(header.channels), header.name)
        view = channel_view(values, index, reverse=header.reverse)
        exceptions = _decode_channel(_Channel(header, channel, volume.blend), own, view, model, part)
        mask = None if active is None else mask_view(active, reverse=header.reverse)
        for (start, stop), odd in zip(_rows(header), exceptions, strict=True):
            if mask is not None:
                _set_background(view[start:stop], mask[start:stop], header, header.background[index])
            if odd:
                restore_exceptions(view[start:stop], odd)
    return grid_of(header, values, active)


@dataclass(frozen=True)
class _Channel:
    """What decoding one channel needs to know."""

    grid: GridHeader
    channel: ChannelHeader
    blend: Blend


def _decode_channel(
    what: _Channel, records: list[bytes], view: Values, model: BlockModel, progress: Progress
) -> list[bytes]:
    """Fill a channel with its decoded values; returns the list of exceptions of each slab."""
    header, found = what.grid, what.channel.value_range
    shape = slab_shape(header.shape, reverse=header.reverse)
    lists = []
    coding = None if found.constant else coding_of(model, what.channel.step)
    joiner = LayerJoiner(shape, model.header.margin, what.blend)
    _, count_y, count_z = block_counts(shape)
    done = 0
    for number, (record, (start, stop)) in enumerate(zip(records, _rows(header), strict=True)):
        progress.update(number / len(records))
        reader = ByteReader(record)
        lists.append(reader.take(reader.varint()))
        if coding is None:
            view[start:stop] = found.restored(np.zeros((1, 1, 1), np.float32), view.dtype)
            continue
        counts = (-(-stop // BLOCK_SIDE) - start // BLOCK_SIDE, count_y, count_z)
        blocks = block_axes(coding.decode(reader.rest(), counts), reverse=header.reverse)
        rows = joiner.push(blocks)
        view[done : done + len(rows)] = found.restored(rows, view.dtype)
        done += len(rows)
    return lists


def _allocated(header: GridHeader) -> Values:
    """Return zeros of the grid's shape and type that lie in memory in the order of its slabs."""
    dtype = np.dtype(header.value_type)
    axes = (len(header.channels),) if header.vectors else ()
    shape = slab_shape(header.shape, reverse=header.reverse)
    values = storage((*shape, *axes), dtype)
    return values.transpose(2, 1, 0, *range(3, values.ndim)) if header.reverse else values


def _active(header: GridHeader, records: list[bytes]) -> NDArray[np.bool_] | None:
    if not header.masked:
        return None
    active = np.zeros(slab_shape(header.shape, reverse=header.reverse), np.bool_)
    for record, (start, stop) in zip(records, _rows(header), strict=True):
        slab = (stop - start, active.shape[1], active.shape[2])
        active[start:stop] = decode_active(record, slab, block_counts(slab))
    return mask_view(active, reverse=header.reverse)


def _rows(header: GridHeader) -> list[tuple[int, int]]:
    shape = slab_shape(header.shape, reverse=header.reverse)
    return [] if 0 in shape else list(slab_rows(shape, header.layers_at_once))


def _set_background(values: Values, active: NDArray[np.bool_], header: GridHeader, background: float) -> None:
    """Give inactive voxels the value that they must have; inside a level set that is minus the background."""
    outside = background_value(background, values.dtype)
    if header.kind == "level set":
        inside = np.asarray(values).astype(np.float64) < 0.0
        values[...] = np.where(active, values, np.where(inside, np.negative(outside), outside))
    else:
        values[~active] = outside
