"""From volumes to the sections of a file, tile by tile."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from scene_codec.bitstream import Section
from scene_codec.codecs.volume_parts.grid_description import description_of
from scene_codec.codecs.volume_wavelet.config import VolumeWaveletSettings, check_settings
from scene_codec.codecs.volume_wavelet.grid_source import GridSource
from scene_codec.codecs.volume_wavelet.grid_tables import GridTables
from scene_codec.codecs.volume_wavelet.parallel import mapped_in_order
from scene_codec.codecs.volume_wavelet.prior import NEWEST_PRIOR, published_prior
from scene_codec.codecs.volume_wavelet.rate_search import (
    SampleTile,
    plan_for_psnr,
    sample_boxes,
    sample_of,
    with_fitted_offsets,
    with_step,
)
from scene_codec.codecs.volume_wavelet.reached_quality import quality_of
from scene_codec.codecs.volume_wavelet.syntax import (
    TABLES,
    VOLUME,
    ChannelHeader,
    GridHeader,
    GridStreams,
    Quality,
    VolumeHeader,
    write_streams,
    write_volume,
)
from scene_codec.codecs.volume_wavelet.tile_coding import CONTEXTS
from scene_codec.codecs.volume_wavelet.tile_encoding import (
    Plan,
    TileResult,
    draft_of,
    finished,
    transformed,
)
from scene_codec.entropy.context_tables import count_magnitudes, fit_context_tables
from scene_codec.progress import Progress
from scene_codec.volumes.volume import VolumeGrid, VolumeObject


@dataclass(frozen=True)
class CodedGrid:
    """A grid's part of a file."""

    header: GridHeader
    tables: GridTables
    streams: GridStreams


def encode_volume(
    volume: VolumeObject, settings: VolumeWaveletSettings, progress: Progress
) -> tuple[Section, ...]:
    """Return the sections of one volume.

    Values may be memory maps larger than memory. Raises `UnsupportedSceneError` naming the grid and the
    reason, `InvalidRequestError` for settings that contradict each other, `Cancelled`.
    """
    check_settings(settings)
    coded = []
    for index, grid in enumerate(volume.grids):
        part = progress.part(index / len(volume.grids), (index + 1) / len(volume.grids), grid.name)
        coded.append(_encode_grid(grid, settings, part))
    header = VolumeHeader(
        file_format=volume.file_format,
        metadata=dict(volume.metadata),
        grids=tuple(grid.header for grid in coded),
    )
    sections = [
        Section(VOLUME, write_volume(header, volume.name)),
        Section(TABLES, b"".join(grid.tables.to_bytes() for grid in coded)),
    ]
    streams = write_streams([grid.header for grid in coded], [grid.streams for grid in coded])
    return (*sections, *(Section(kind, data) for kind, data in streams.items()))


def _encode_grid(grid: VolumeGrid, settings: VolumeWaveletSettings, progress: Progress) -> CodedGrid:
    source = GridSource(grid, settings.tile)
    plan = Plan(_header_of(source, settings), published_prior(NEWEST_PRIOR), fill=False)
    sample = sample_of(source, plan)
    if settings.step is not None:
        plan = with_fitted_offsets(with_step(plan, settings.step), sample)
    elif settings.psnr is not None:
        plan = plan_for_psnr(plan, sample, settings.psnr)
    return _coded(source, plan, sample, progress)


def _header_of(source: GridSource, settings: VolumeWaveletSettings) -> GridHeader:
    """Return a header in which only what the search finds is left open."""
    grid = source.grid
    return GridHeader(
        **description_of(grid),
        channels=tuple(ChannelHeader(low=found.low, high=found.high) for found in source.ranges),
        tile=settings.tile,
        prior=NEWEST_PRIOR,
        step=1.0,
        offsets=(0, 0),
        topology="dense" if grid.active is None else settings.topology,
        tolerance=settings.tolerance,
        reference=-1,
        residual="none",
        bound=0.0,
        quality=Quality(),
    )


def _coded(source: GridSource, plan: Plan, sample: list[SampleTile], progress: Progress) -> CodedGrid:
    """Return a grid coded with a plan."""
    drafts = {}
    for number, tile in zip(sample_boxes(source), sample, strict=True):
        draft = draft_of(tile.source, tile.bands, plan)
        drafts[number] = draft, draft.pieces(plan.prior)
        progress.check_cancelled()
    counts = count_magnitudes(
        (piece for _, pieces in drafts.values() for own in pieces for piece in own), CONTEXTS
    )
    tables = GridTables(values=None if plan.header.constant else fit_context_tables(counts))

    def coded(number: int) -> TileResult:
        if number in drafts:
            return finished(*drafts[number], plan, tables)
        tile = source.tile(source.boxes[number])
        draft = draft_of(tile, transformed(tile, plan), plan)
        return finished(draft, draft.pieces(plan.prior), plan, tables)

    results = []
    for result in mapped_in_order(coded, range(len(source.boxes))):
        results.append(result)
        progress.update(len(results) / len(source.boxes))
    quality = quality_of(result.errors for result in results)
    header = msgspec.structs.replace(plan.header, quality=quality)
    return CodedGrid(header, tables, GridStreams([result.streams for result in results]))
