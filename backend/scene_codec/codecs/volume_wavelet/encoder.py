"""From volumes to the sections of a file, tile by tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from scene_codec.bitstream import Section
from scene_codec.codecs.volume_parts.grid_description import description_of
from scene_codec.codecs.volume_wavelet.config import VolumeWaveletSettings, check_settings
from scene_codec.codecs.volume_wavelet.grid_source import GridSource, SourceTile
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
from scene_codec.codecs.volume_wavelet.tile_encoding import (
    Plan,
    TileResult,
    draft_of,
    finished,
    fitted_tables,
    prepared,
    transformed,
)
from scene_codec.codecs.volume_wavelet.topology_reference import best_reference
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
        coded.append(_encode_grid(volume.grids, index, settings, part))
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


def _encode_grid(
    grids: Sequence[VolumeGrid], number: int, settings: VolumeWaveletSettings, progress: Progress
) -> CodedGrid:
    """Return a grid of a volume, coded."""
    reference = -1 if settings.topology == "tolerant" else best_reference(grids, number)
    source = GridSource(grids[number], settings.tile, grids[reference] if reference >= 0 else None)
    header = _header_of(source, settings, reference)
    best: _Drafted | None = None
    for fill in (False, True):
        plan = Plan(header, published_prior(NEWEST_PRIOR), fill=fill)
        sample = sample_of(source, plan)
        if fill and not any(_has_gaps(tile.source) for tile in sample):
            break
        found = _drafted(source, _searched(plan, sample, settings), sample)
        if best is None or found.size < best.size:
            best = found
        progress.check_cancelled()
    assert best is not None
    return _completed(source, best, progress)


def _has_gaps(tile: SourceTile) -> bool:
    """Return whether some voxels of a tile do not matter."""
    return any(tile.cared_for(channel) is not None for channel in range(len(tile.values)))


def _searched(plan: Plan, sample: list[SampleTile], settings: VolumeWaveletSettings) -> Plan:
    """Return a plan with the step that the settings ask for."""
    if plan.header.constant:
        return plan
    if settings.psnr is not None:
        return plan_for_psnr(plan, sample, settings.psnr)
    assert settings.step is not None
    return with_fitted_offsets(with_step(plan, settings.step), sample)


def _header_of(source: GridSource, settings: VolumeWaveletSettings, reference: int) -> GridHeader:
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
        reference=reference,
        residual="none",
        bound=0.0,
        spare_bits=0,
        quality=Quality(),
    )


@dataclass(frozen=True)
class _Drafted:
    """A plan carried out on the sample: tables, and the coded tiles by number."""

    plan: Plan
    tables: GridTables
    results: dict[int, TileResult]

    @property
    def size(self) -> int:
        """Bytes of the sample and of the tables."""
        streams = (stream for result in self.results.values() for stream in result.streams)
        return sum(map(len, streams)) + len(self.tables.to_bytes())


def _drafted(source: GridSource, plan: Plan, sample: list[SampleTile]) -> _Drafted:
    """Return the sample coded with a plan."""
    tiles = list(
        mapped_in_order(lambda tile: prepared(draft_of(tile.source, tile.bands, plan), plan), sample)
    )
    tables = fitted_tables(tiles, plan)
    results = mapped_in_order(lambda tile: finished(tile, plan, tables), tiles)
    return _Drafted(plan, tables, dict(zip(sample_boxes(source), results, strict=True)))


def _completed(source: GridSource, drafted: _Drafted, progress: Progress) -> CodedGrid:
    """Return a grid coded with the plan and the tables of its sample."""
    plan = drafted.plan

    def coded(number: int) -> TileResult:
        if number in drafted.results:
            return drafted.results[number]
        tile = source.tile(source.boxes[number])
        return finished(prepared(draft_of(tile, transformed(tile, plan), plan), plan), plan, drafted.tables)

    results = []
    for result in mapped_in_order(coded, range(len(source.boxes))):
        results.append(result)
        progress.update(len(results) / len(source.boxes))
    header = msgspec.structs.replace(plan.header, quality=quality_of(result.errors for result in results))
    return CodedGrid(header, drafted.tables, GridStreams([result.streams for result in results]))
