"""From volumes to the sections of a file, tile by tile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import msgspec

from scene_codec.bitstream import Section
from scene_codec.codecs.volume_parts.grid_description import Quality, check_grid, description_of
from scene_codec.codecs.volume_wavelet.config import VolumeWaveletSettings, check_settings
from scene_codec.codecs.volume_wavelet.decoder import VolumeReader
from scene_codec.codecs.volume_wavelet.grid_source import GridSource, SourceTile
from scene_codec.codecs.volume_wavelet.grid_tables import GridTables
from scene_codec.codecs.volume_wavelet.parallel import mapped_in_order
from scene_codec.codecs.volume_wavelet.prediction_search import (
    WORTHWHILE,
    Known,
    best_predictor,
    same_lattice,
)
from scene_codec.codecs.volume_wavelet.prediction_syntax import (
    GridOf,
    GridPrediction,
    Prediction,
    needs_previous,
    write_prediction,
)
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
    PREDICTION,
    TABLES,
    VOLUME,
    ChannelHeader,
    GridHeader,
    GridStreams,
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
from scene_codec.volumes.array_storage import storage
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

_ATTEMPTS = 5
_LAST_CAUTION_DB = 1.0


@dataclass(frozen=True)
class CodedGrid:
    """A grid's part of a file, and the grid as it is decoded, where that was kept for others."""

    header: GridHeader
    tables: GridTables
    streams: GridStreams
    prediction: GridPrediction | None
    decoded: VolumeGrid | None


def encode_volume(
    volume: VolumeObject,
    settings: VolumeWaveletSettings,
    progress: Progress,
    previous: VolumeObject | None = None,
) -> tuple[Section, ...]:
    """Return the sections of one volume.

    previous : the frame before as it is decoded; the sections may need it
    Values may be memory maps larger than memory. Raises `UnsupportedSceneError` naming the grid and the
    reason, `InvalidRequestError` for settings that contradict each other, `Cancelled`.
    """
    check_settings(settings)
    for grid in volume.grids:
        check_grid(grid)
    if settings.target_size is not None:
        return encode_to_size(volume, settings, partial(encode_volume, previous=previous), progress)
    coded: list[CodedGrid] = []
    known = Known(
        volume.grids,
        _DecodedGrids(volume, coded, previous),
        lambda number: coded[number].header.channels[0].value_range,
        previous,
    )
    for index, grid in enumerate(volume.grids):
        part = progress.part(index / len(volume.grids), (index + 1) / len(volume.grids), grid.name)
        coded.append(_encode_grid(known, index, settings, part))
    return _sections(volume, coded, previous)


class _DecodedGrids:
    """The grids of a volume that are coded so far, decoded when they are asked for."""

    def __init__(
        self, volume: VolumeObject, coded: Sequence[CodedGrid], previous: VolumeObject | None
    ) -> None:
        self._volume, self._coded, self._previous = volume, coded, previous
        self._found: dict[int, VolumeGrid] = {}

    def __call__(self, number: int) -> VolumeGrid:
        kept = self._coded[number].decoded
        if kept is not None:
            return kept
        if number not in self._found:
            sections = _sections(self._volume, self._coded, self._previous)
            reader = VolumeReader({own.kind: own.payload for own in sections}, self._previous)
            for other, grid in self._found.items():
                reader.know(other, grid)
            self._found[number] = reader.grid(number, Progress())
        return self._found[number]


def _sections(
    volume: VolumeObject, coded: Sequence[CodedGrid], previous: VolumeObject | None
) -> tuple[Section, ...]:
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
    sections += [Section(kind, data) for kind, data in streams.items()]
    predictions = tuple(grid.prediction for grid in coded)
    if any(own is not None for own in predictions):
        needed = previous is not None and any(own is not None and needs_previous(own) for own in predictions)
        name = previous.name if needed and previous is not None else ""
        sections.append(Section(PREDICTION, write_prediction(Prediction(previous=name, grids=predictions))))
    return tuple(sections)


def _encode_grid(known: Known, number: int, settings: VolumeWaveletSettings, progress: Progress) -> CodedGrid:
    """Return a grid of a volume, coded."""
    grids = known.grids
    if grids[number].kind == "level set" and grids[number].values.dtype.kind == "b":
        raise UnsupportedSceneError(f"Grid '{grids[number].name}' is a level set of bool values.")
    reference = -1 if settings.topology == "tolerant" else best_reference(grids, number)
    clue = None if reference >= 0 or settings.topology == "tolerant" else known.clue(number)
    source = GridSource(grids[number], settings.tile, grids[reference] if reference >= 0 else clue)
    task = _Task(source, known, number, clue is not None)
    wanted = settings
    found: list[CodedGrid] = []
    for attempt in range(_ATTEMPTS):
        share = progress.part(1.0 - 2.0**-attempt, 1.0 - 2.0 ** -(attempt + 1), source.grid.name)
        found.append(_encoded_once(task, _header_of(source, settings, reference), wanted, share))
        reached = found[-1].header.quality.psnr
        if settings.psnr is None or wanted.psnr is None or reached is None:
            return found[-1]
        excess = reached - settings.psnr
        complete = len(sample_boxes(source)) >= len(source.lively)
        if settings.topology == "tolerant" or 0.0 <= excess <= TOLERANCE_DB or (complete and excess >= 0.0):
            return found[-1]
        # The sample was not like the rest: aim higher or lower by as much, and at last high enough.
        caution = 0.5 * TOLERANCE_DB if attempt < _ATTEMPTS - 2 else _LAST_CAUTION_DB
        wanted = msgspec.structs.replace(settings, psnr=wanted.psnr + caution - excess)
    return min(found, key=partial(_distance, settings.psnr or 0.0))


def _distance(wanted: float, coded: CodedGrid) -> float:
    """Return how far a grid is from a wanted PSNR; any that reaches it is nearer than any that does not."""
    excess = (coded.header.quality.psnr or math.inf) - wanted
    return excess if excess >= 0.0 else 1e6 - excess


@dataclass(frozen=True)
class _Task:
    """One grid that is to be coded.

    clue : whether the active voxels of the frame before help with its own
    """

    source: GridSource
    known: Known
    number: int
    clue: bool

    def may_help(self, header: GridHeader) -> bool:
        """Return whether a later grid may be predicted from this one, which is known without decoding."""
        later = self.known.grids[self.number + 1 :]
        return header.topology != "tolerant" and any(same_lattice(self.source.grid, grid) for grid in later)

    def prediction_of(self, plan: Plan) -> GridPrediction | None:
        """Return what the file must say of a plan's predictor."""
        if plan.predictor is not None and plan.header.has_coefficients:
            own = plan.predictor.prediction
            return msgspec.structs.replace(own, topology=self.clue and own.source.previous)
        if not self.clue:
            return None
        source = GridOf(previous=True, number=self.known.earlier_self(self.number))
        return GridPrediction(source=source, scales=(), motion=None, gains=(), topology=True)


def _encoded_once(
    task: _Task, header: GridHeader, settings: VolumeWaveletSettings, progress: Progress
) -> CodedGrid:
    """Return a grid coded as its sample suggests."""
    drafts = _MOST_DRAFTS * len(sample_boxes(task.source))
    share = drafts / max(drafts + len(task.source.boxes), 1)
    search = progress.part(0.0, share, task.source.grid.name)
    best: Drafted | None = None
    for done, fill in enumerate((False, True)):
        search.update(done / _MOST_DRAFTS, "looking for the step")
        plan = Plan(header, published_prior(NEWEST_PRIOR), fill=fill)
        sample = sample_of(task.source, plan)
        if fill and (header.topology == "tolerant" or not any(_has_gaps(tile.source) for tile in sample)):
            break
        found = _searched(plan, sample, settings, task.source.quiet_db)
        filled = sample
        if best is None or found.size < best.size:
            best = found
    assert best is not None
    if not header.constant:
        search.update((_MOST_DRAFTS - 1) / _MOST_DRAFTS, "looking for a prediction")
        best = _predicted(task, best, filled, header, settings)
    return _completed(task, best, progress.part(share, 1.0, task.source.grid.name))


_MOST_DRAFTS = 3
"""How often the sample of a grid is coded: with gaps filled and not, and predicted."""


def _predicted(
    task: _Task,
    plain: Drafted,
    sample: list[SampleTile],
    header: GridHeader,
    settings: VolumeWaveletSettings,
) -> Drafted:
    """Return the sample coded with what predicts the grid, if that takes fewer bytes.

    header : as before the search
    """
    plan = plain.plan
    if not plan.header.has_coefficients:
        # Values are smaller stored than coded; with a prediction it may be the other way round.
        plan = with_step(replace(plan, header=header), _PROBING_STEP)
    predictor = best_predictor(task.known, task.number, plan, sample)
    if predictor is None or (task.clue and not predictor.prediction.source.previous):
        return plain
    fill = any(_has_gaps(tile.source) for tile in sample) and header.topology != "tolerant"
    plan = replace(plan, fill=fill, predictor=predictor)
    found = _searched(plan, sample_of(task.source, plan), settings, task.source.quiet_db)
    return found if found.size < WORTHWHILE * plain.size else plain


_PROBING_STEP = 2.0**-8
"""With what step to look for predictions where nothing says how fine values are coded."""


def _has_gaps(tile: SourceTile) -> bool:
    """Return whether some voxels of a tile do not matter."""
    return any(tile.cared_for(channel) is not None for channel in range(len(tile.values)))


def _searched(
    plan: Plan, sample: list[SampleTile], settings: VolumeWaveletSettings, quiet_db: float
) -> Drafted:
    """Return the sample coded with the step that the settings ask for; `quiet_db` as of `GridSource`."""
    if plan.header.residual != "none":
        return draft_of_least_bytes(plan, sample)
    if not plan.header.constant:
        if settings.psnr is not None:
            plan = plan_for_psnr(plan, sample, settings.psnr - quiet_db)
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


def _completed(task: _Task, draft: Drafted, progress: Progress) -> CodedGrid:
    """Return a grid coded with the plan and the tables of its sample."""
    plan, source = draft.plan, task.source

    def coded(number: int) -> TileResult:
        if number in draft.results:
            return draft.results[number]
        tile = source.tile(source.boxes[number])
        return finished(prepared(draft_of(tile, transformed(tile, plan), plan), plan), plan, draft.tables)

    results: list[TileResult] = []
    kept = storage(source.grid.values.shape, source.grid.values.dtype) if task.may_help(plan.header) else None
    for result, box in zip(mapped_in_order(coded, range(len(source.boxes))), source.boxes, strict=True):
        if kept is not None:
            for channel, own in enumerate(result.decoded):
                (kept if kept.ndim == 3 else kept[..., channel])[box] = own
        results.append(replace(result, decoded=()))
        progress.update(len(results) / len(source.boxes))
    header = msgspec.structs.replace(plan.header, quality=quality_of(result.errors for result in results))
    streams = GridStreams([result.streams for result in results])
    decoded = None if kept is None else source.grid.with_values(kept)
    return CodedGrid(header, draft.tables, streams, task.prediction_of(plan), decoded)
