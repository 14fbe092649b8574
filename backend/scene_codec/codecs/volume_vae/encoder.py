"""From volumes to the sections of a file, slab by slab."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from scene_codec.bitstream import Section
from scene_codec.codecs.volume_parts.channel_range import encode_exceptions, range_of
from scene_codec.codecs.volume_parts.grid_description import check_grid
from scene_codec.codecs.volume_vae.active_voxels import encode_active
from scene_codec.codecs.volume_vae.coding import coding_of
from scene_codec.codecs.volume_vae.config import VolumeVaeSettings
from scene_codec.codecs.volume_vae.decoder import decode_volume
from scene_codec.codecs.volume_vae.model import BlockModel, shipped_model_of
from scene_codec.codecs.volume_vae.quality import SampledChannel, sample_blocks, step_for_psnr
from scene_codec.codecs.volume_vae.reached_quality import quality_of
from scene_codec.codecs.volume_vae.slabs import (
    block_axes,
    channel_view,
    is_reverse,
    layers_at_once,
    mask_view,
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
    grid_header,
    write_records,
    write_volume,
)
from scene_codec.entropy.byte_fields import varint
from scene_codec.errors import InvalidRequestError
from scene_codec.progress import Progress
from scene_codec.volumes.blocks import BLOCK_SIDE, cut_layers
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

_CODING = 0.7
"""Part of the progress that coding takes; the rest is decoding again."""


def model_sections(model: BlockModel) -> tuple[Section, ...]:
    """Return what all volumes of a file share: a reference to a model of the package, or the model itself."""
    if shipped_model_of(model.identity) is not None:
        return (Section(MODEL_REFERENCE, model.identity),)
    return (Section(MODEL, model.decoder_data),)


def encode_volume(
    volume: VolumeObject, settings: VolumeVaeSettings, model: BlockModel, progress: Progress
) -> tuple[Section, ...]:
    """Return the sections of one volume; `model_sections` are needed beside them.

    Values may be memory maps larger than memory. Raises `UnsupportedSceneError` naming the grid and the
    reason, `InvalidRequestError` for a model that cannot encode, `Cancelled`.
    """
    if model.header.part != "whole":
        raise InvalidRequestError(
            "This model comes out of a scene and can only decode. Give the whole model."
        )
    described = VolumeHeader(
        blend=settings.blend,
        file_format=volume.file_format,
        metadata=dict(volume.metadata),
        grids=tuple(_header_of(grid, settings, model) for grid in volume.grids),
    )
    sections = _sections(volume, described, settings, model, progress.part(0.0, _CODING, volume.name))
    # Decoded once here, so that what the file says of its quality is what it will have.
    decoded = decode_volume(
        {section.kind: section.payload for section in sections},
        model,
        progress.part(_CODING, 1.0, "measuring"),
    )
    reached = tuple(
        msgspec.structs.replace(header, quality=quality_of(header, before, after))
        for header, before, after in zip(described.grids, volume.grids, decoded.grids, strict=True)
    )
    final = write_volume(msgspec.structs.replace(described, grids=reached), volume.name)
    return (Section(VOLUME, final), *sections[1:])


def _sections(
    volume: VolumeObject,
    described: VolumeHeader,
    settings: VolumeVaeSettings,
    model: BlockModel,
    progress: Progress,
) -> tuple[Section, ...]:
    """Return the sections, the description first."""
    # Written before anything is coded: what cannot be described is refused at once.
    first = Section(VOLUME, write_volume(described, volume.name))
    values: list[bytes] = []
    topologies: list[bytes] = []
    for index, (grid, header) in enumerate(zip(volume.grids, described.grids, strict=True)):
        part = progress.part(index / len(volume.grids), (index + 1) / len(volume.grids), grid.name)
        values += _value_records(grid, header, settings, model, part)
        if grid.active is not None:
            topologies += _topology_records(grid.active, header)
    sections = (first, Section(VALUES, write_records(values)))
    if any(header.masked for header in described.grids):
        return (*sections, Section(TOPOLOGY, write_records(topologies)))
    return sections


def _header_of(grid: VolumeGrid, settings: VolumeVaeSettings, model: BlockModel) -> GridHeader:
    """Return the header, for which the values are read once."""
    check_grid(grid)
    reverse = is_reverse(grid.values)
    layers = layers_at_once(slab_shape(grid.shape, reverse=reverse))
    active = None if grid.active is None else mask_view(grid.active, reverse=reverse)
    views = [channel_view(grid.values, index, reverse=reverse) for index in range(grid.channels)]
    ranges = [range_of(view) for view in views]
    # Half the range: the whole one of the largest float64 numbers is none.
    extents = [0.5 * found.high - 0.5 * found.low for found in ranges]
    channels = []
    for view, found, extent in zip(views, ranges, extents, strict=True):
        step = 0.0
        if not found.constant:
            sampled = SampledChannel(view, active, found, reverse)
            step = _step(sampled, settings, model, extent / max(extents) if extent > 0.0 else 1.0)
        channels.append(ChannelHeader(low=found.low, high=found.high, step=step))
    return grid_header(grid, tuple(channels), layers, reverse=reverse)


def _step(
    sampled: SampledChannel, settings: VolumeVaeSettings, model: BlockModel, relative_extent: float
) -> float:
    """Return the step of a channel, see `ChannelHeader`.

    relative_extent : of the channel's range and the largest one in its grid, the unit of all errors
    """
    if model.header.kind == "dense":
        return 0.0 if settings.latents == "float32" else settings.latent_step
    if settings.step > 0.0:
        return settings.step / max(relative_extent, settings.step)
    wanted = settings.psnr + 20.0 * math.log10(max(relative_extent, 1e-9))
    return step_for_psnr(sample_blocks(sampled, model.header.margin), wanted, settings, model)


@dataclass(frozen=True)
class _Slab:
    """Where a slab lies: block layers from `first` to `last`, rows from `start` to `stop`."""

    first: int
    last: int
    start: int
    stop: int


def _slabs_of(header: GridHeader) -> list[_Slab]:
    shape = slab_shape(header.shape, reverse=header.reverse)
    if 0 in shape:
        return []
    layers = header.layers_at_once
    return [
        _Slab(start // BLOCK_SIDE, -(-stop // BLOCK_SIDE), start, stop)
        for start, stop in slab_rows(shape, layers)
    ]


def _value_records(
    grid: VolumeGrid, header: GridHeader, settings: VolumeVaeSettings, model: BlockModel, progress: Progress
) -> Iterator[bytes]:
    """Yield a record for each channel and slab of a grid."""
    slabs = _slabs_of(header)
    for index, channel in enumerate(header.channels):
        view = channel_view(grid.values, index, reverse=header.reverse)
        coding = None if channel.value_range.constant else coding_of(model, channel.step, settings.rounding)
        for number, slab in enumerate(slabs):
            progress.update((index + number / len(slabs)) / len(header.channels))
            exceptions = encode_exceptions(np.asarray(view[slab.start : slab.stop]))
            record = varint(len(exceptions)) + exceptions
            if coding is not None:
                cut = cut_layers(view, model.header.margin, slab.first, slab.last)
                blocks = channel.value_range.normalised(block_axes(cut, reverse=header.reverse))
                record += coding.encode(blocks)
            yield record


def _topology_records(active: NDArray[np.bool_], header: GridHeader) -> Iterator[bytes]:
    """Yield a record of active voxels for each slab of a grid."""
    view = mask_view(active, reverse=header.reverse)
    for slab in _slabs_of(header):
        yield encode_active(np.asarray(view[slab.start : slab.stop]))
