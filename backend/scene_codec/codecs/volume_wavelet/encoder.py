"""From volumes to the sections of a file, tile by tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from scene_codec.bitstream import Section
from scene_codec.codecs.volume_parts.grid_description import check_grid, description_of
from scene_codec.codecs.volume_wavelet.config import VolumeWaveletSettings, check_settings
from scene_codec.codecs.volume_wavelet.grid_source import GridSource, SourceTile
from scene_codec.codecs.volume_wavelet.grid_tables import GridTables
from scene_codec.codecs.volume_wavelet.parallel import mapped_in_order
from scene_codec.codecs.volume_wavelet.prior import NEWEST_PRIOR, published_prior
from scene_codec.codecs.volume_wavelet.rate_search import (
    TOLERANCE_DB,
    Drafted,
    SampleTile,
    draft_of_least_bytes,
    drafted,
    plan_for_psnr,
    sample_boxes,
    sample_of,
    with_fitted_offsets,
    with_step,
)
from scene_codec.codecs.volume_wavelet.reached_quality import quality_of
from scene_codec.codecs.volume_wavelet.residual_coding import largest_bound, suits_steps
from scene_codec.codecs.volume_wavelet.size_search import encode_to_size
from scene_codec.codecs.volume_wavelet.syntax import (
    TABLES,
    VOLUME,
    ChannelHeader,
    GridHeader,
    GridStreams,
    Quality,
    Residual,
    Topology,
    VolumeHeader,
    write_streams,
    write_volume,
)
from scene_codec.codecs.volume_wavelet.tile_encoding import (
    Plan,
    TileResult,
    draft_of,
    finished,
    prepared,
    transformed,
)
from scene_codec.codecs.volume_wavelet.topology_reference import best_reference
from scene_codec.errors import UnsupportedSceneError
from scene_codec.progress import Progress
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

_ATTEMPTS = 4


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
    for grid in volume.grids:
        check_grid(grid)
    if settings.target_size is not None:
        return encode_to_size(volume, settings, encode_volume, progress)
    return _sections(volume, _encode_grids(volume, settings, progress))


def _encode_grids(
    volume: VolumeObject, settings: VolumeWaveletSettings, progress: Progress
) -> list[CodedGrid]:
    coded = []
    for index, grid in enumerate(volume.grids):
        part = progress.part(index / len(volume.grids), (index + 1) / len(volume.grids), grid.name)
        coded.append(_encode_grid(volume.grids, index, settings, part))
    return coded


def _sections(volume: VolumeObject, coded: Sequence[CodedGrid]) -> tuple[Section, ...]:
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
    if grids[number].kind == "level set" and grids[number].values.dtype.kind == "b":
        raise UnsupportedSceneError(f"Grid '{grids[number].name}' is a level set of bool values.")
    reference = -1 if settings.topology == "tolerant" else best_reference(grids, number)
    source = GridSource(grids[number], settings.tile, grids[reference] if reference >= 0 else None)
    wanted = settings
    for attempt in range(_ATTEMPTS):
        share = progress.part(1.0 - 2.0**-attempt, 1.0 - 2.0 ** -(attempt + 1), source.grid.name)
        coded = _encoded_once(source, _header_of(source, settings, reference), wanted, share)
        reached = coded.header.quality.psnr
        if settings.psnr is None or wanted.psnr is None or reached is None:
            break
        if 0.0 <= reached - settings.psnr <= TOLERANCE_DB or len(sample_boxes(source)) == len(source.boxes):
            break
        # The sample was not like the rest: aim higher or lower by as much.
        aim = wanted.psnr + settings.psnr + 0.5 * TOLERANCE_DB - reached
        wanted = msgspec.structs.replace(settings, psnr=aim)
    return coded


def _encoded_once(
    source: GridSource, header: GridHeader, settings: VolumeWaveletSettings, progress: Progress
) -> CodedGrid:
    """Return a grid coded as its sample suggests."""
    best: Drafted | None = None
    for fill in (False, True):
        plan = Plan(header, published_prior(NEWEST_PRIOR), fill=fill)
        sample = sample_of(source, plan)
        if fill and (header.topology == "tolerant" or not any(_has_gaps(tile.source) for tile in sample)):
            break
        found = _searched(plan, sample, settings)
        if best is None or found.size < best.size:
            best = found
        progress.check_cancelled()
    assert best is not None
    return _completed(source, best, progress)


def _has_gaps(tile: SourceTile) -> bool:
    """Return whether some voxels of a tile do not matter."""
    return any(tile.cared_for(channel) is not None for channel in range(len(tile.values)))


def _searched(plan: Plan, sample: list[SampleTile], settings: VolumeWaveletSettings) -> Drafted:
    """Return the sample coded with the step that the settings ask for."""
    if plan.header.residual != "none":
        return draft_of_least_bytes(plan, sample)
    if not plan.header.constant:
        if settings.psnr is not None:
            plan = plan_for_psnr(plan, sample, settings.psnr)
        else:
            assert settings.step is not None
            plan = with_fitted_offsets(with_step(plan, settings.step), sample)
    return drafted(plan, sample)


def _header_of(source: GridSource, settings: VolumeWaveletSettings, reference: int) -> GridHeader:
    """Return a header in which only what the search finds is left open."""
    grid = source.grid
    ranges = source.ranges
    residual: Residual = "none"
    bound = 0.0
    if settings.lossless or settings.max_error is not None:
        bound = min(settings.max_error or 0.0, largest_bound(grid.values.dtype))
        stepped = all(suits_steps(grid.values.dtype, own.low, own.high, bound) for own in ranges)
        residual = "steps" if stepped else "bits"
    return GridHeader(
        **description_of(grid),
        channels=tuple(ChannelHeader(low=found.low, high=found.high) for found in ranges),
        tile=settings.tile,
        prior=NEWEST_PRIOR,
        step=1.0,
        offsets=(0, 0),
        topology=_topology_of(source, settings),
        tolerance=settings.tolerance,
        reference=reference,
        residual=residual,
        bound=bound,
        spare_bits=source.spare_bits if residual == "bits" else 0,
        quality=Quality(),
    )


def _topology_of(source: GridSource, settings: VolumeWaveletSettings) -> Topology:
    """Return how active voxels are coded; values that are all the same tell nothing of them."""
    if source.grid.active is None:
        return "dense"
    constant = all(own.low == own.high for own in source.ranges)
    return "exact" if constant else settings.topology


def _completed(source: GridSource, draft: Drafted, progress: Progress) -> CodedGrid:
    """Return a grid coded with the plan and the tables of its sample."""
    plan = draft.plan

    def coded(number: int) -> TileResult:
        if number in draft.results:
            return draft.results[number]
        tile = source.tile(source.boxes[number])
        return finished(prepared(draft_of(tile, transformed(tile, plan), plan), plan), plan, draft.tables)

    results = []
    for result in mapped_in_order(coded, range(len(source.boxes))):
        results.append(result)
        progress.update(len(results) / len(source.boxes))
    header = msgspec.structs.replace(plan.header, quality=quality_of(result.errors for result in results))
    return CodedGrid(header, draft.tables, GridStreams([result.streams for result in results]))
