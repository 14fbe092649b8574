"""Finds the quantisation step of a grid for a wanted PSNR, from a sample of its tiles."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import msgspec
import numpy as np

from scene_codec.codecs.volume_wavelet.grid_source import GridSource, SourceTile
from scene_codec.codecs.volume_wavelet.grid_tables import GridTables
from scene_codec.codecs.volume_wavelet.parallel import mapped_in_order
from scene_codec.codecs.volume_wavelet.quantiser import fitted_offsets
from scene_codec.codecs.volume_wavelet.reached_quality import TileErrors, psnr, tile_errors
from scene_codec.codecs.volume_wavelet.stored_values import quick_size
from scene_codec.codecs.volume_wavelet.tile_encoding import (
    Plan,
    TileBands,
    TileResult,
    draft_of,
    finished,
    fitted_tables,
    prepared,
    transformed,
)
from scene_codec.codecs.volume_wavelet.tile_voxels import states_of
from scene_codec.codecs.volume_wavelet.tiles import box_shape
from scene_codec.codecs.volume_wavelet.topology_coding import ACTIVE

MOST_TILES = 8
MOST_VOXELS = 1 << 24
"""Bounds of a sample, in tiles and in voxels."""

SMALLEST_STEP = 2.0**-20
"""Below, symbols get too large for their type, and float32 makes the errors anyway."""

LARGEST_STEP = 1.0
TOLERANCE_DB = 0.09
"""How far a wanted PSNR may be exceeded."""

_AIM_DB = 0.03
_ITERATIONS = 8


@dataclass(frozen=True)
class SampleTile:
    """A tile in memory, with its coefficients."""

    number: int
    source: SourceTile
    bands: TileBands


def sample_boxes(source: GridSource) -> list[int]:
    """Return the numbers of at most eight tiles: every so many of those that are not the same everywhere.

    They are taken from the list by extent, so that few lively tiles among many quiet ones are not missed, and
    not by place, since evenly spaced tiles may all lie in one plane.
    """
    boxes = source.boxes
    if not boxes:
        return []
    lively = source.lively or [0]
    largest = max(int(np.prod(box_shape(box))) for box in boxes)
    count = max(1, min(len(lively), MOST_TILES, MOST_VOXELS // largest))
    return [lively[(2 * index + 1) * len(lively) // (2 * count)] for index in range(count)]


def with_step(plan: Plan, step: float) -> Plan:
    """Return a plan with another step and reconstruction offsets to be fitted."""
    header = msgspec.structs.replace(plan.header, step=step, offsets=(0, 0))
    return replace(plan, header=header)


def with_fitted_offsets(plan: Plan, sample: list[SampleTile]) -> Plan:
    """Return a plan with the reconstruction offsets that suit a sample."""
    found = [
        fitted_offsets([tile.bands.coded[channel] for tile in sample], coding.quantiser)
        for channel, coding in enumerate(plan.codings)
        if not coding.value_range.constant
    ]
    ones, more = (round(sum(pair[slot] for pair in found) / max(len(found), 1)) for slot in (0, 1))
    header = msgspec.structs.replace(plan.header, offsets=(ones, more))
    return replace(plan, header=header)


def sample_psnr(plan: Plan, sample: list[SampleTile]) -> float:
    """Return the PSNR that a step reaches on a sample, really decoded; infinite without any error."""
    errors = list(mapped_in_order(lambda tile: _sample_errors(plan, tile), sample))
    found = psnr(sum(own.active_sum for own in errors), sum(own.active_count for own in errors))
    return math.inf if found is None else found


def _sample_errors(plan: Plan, tile: SampleTile) -> TileErrors:
    # Voxels that a tolerance drops are not counted: no step brings them back.
    draft = draft_of(tile.source, tile.bands, plan)
    decoded = [
        coding.restored(numbers, plan.header.dtype)
        for numbers, coding in zip(draft.numbers, plan.codings, strict=True)
    ]
    return tile_errors(tile.source, decoded, plan.half_extent)


def plan_for_psnr(plan: Plan, sample: list[SampleTile], wanted: float) -> Plan:
    """Return a plan whose step reaches a PSNR on a sample and exceeds it by little.

    plan : with a predictor, its step is where the search begins
    """
    start = start_step(wanted) if plan.predictor is None else plan.header.step

    def reached(step: float) -> tuple[float, Plan]:
        tried = with_fitted_offsets(with_step(plan, step), sample)
        return sample_psnr(tried, sample), tried

    return found_step(reached, start, wanted)[1]


def start_step(wanted: float) -> float:
    """Return the step whose error would be a third of it."""
    return float(min(LARGEST_STEP, 3.0 * math.pow(10.0, -wanted / 20.0)))


def found_step(
    reached: Callable[[float], tuple[float, Plan]], start: float, wanted: float
) -> tuple[float, Plan]:
    """Return PSNR and plan of the largest step found that reaches the wanted PSNR.

    reached : PSNR and plan of a step; falls with the step, as good as always
    """
    step, slope = float(start), -6.02
    above: tuple[float, float, Plan] | None = None
    below: tuple[float, float] | None = None
    for _ in range(_ITERATIONS):
        found, plan = reached(step)
        at = math.log2(step)
        if found >= wanted:
            if above is None or at > above[0]:
                above = (at, found, plan)
            if found <= wanted + TOLERANCE_DB or step >= LARGEST_STEP:
                break
        elif below is None or at < below[0]:
            below = (at, found)
        if above is not None and below is not None and math.isfinite(above[1]) and above[0] < below[0]:
            slope = min(-0.5, (above[1] - below[1]) / (above[0] - below[0]))
        following = at + (wanted + _AIM_DB - min(found, wanted + 12.0)) / slope
        if above is not None and below is not None and not above[0] < following < below[0]:
            following = 0.5 * (above[0] + below[0])
        step = min(max(2.0**following, SMALLEST_STEP), LARGEST_STEP)
    if above is None:
        found, plan = reached(SMALLEST_STEP)
        return found, plan
    return above[1], above[2]


def sample_of(source: GridSource, plan: Plan) -> list[SampleTile]:
    """Return the sample of a grid."""
    return list(mapped_in_order(lambda number: _sample_tile(source, plan, number), sample_boxes(source)))


def _sample_tile(source: GridSource, plan: Plan, number: int) -> SampleTile:
    tile = source.tile(source.boxes[number])
    return SampleTile(number, tile, transformed(tile, plan))


@dataclass(frozen=True)
class Drafted:
    """A plan carried out on a sample: tables, and the coded tiles by number."""

    plan: Plan
    tables: GridTables
    results: dict[int, TileResult]

    @cached_property
    def size(self) -> int:
        """Bytes of the sample and of the tables."""
        streams = (stream for result in self.results.values() for stream in result.streams)
        return sum(map(len, streams)) + len(self.tables.to_bytes())


def drafted(plan: Plan, sample: list[SampleTile]) -> Drafted:
    """Return a sample coded with a plan."""
    drafts = (draft_of(tile.source, tile.bands, plan) for tile in sample)
    tiles = list(mapped_in_order(lambda draft: prepared(draft, plan), drafts))
    tables = fitted_tables(tiles, plan)
    results = mapped_in_order(lambda tile: finished(tile, plan, tables), tiles)
    return Drafted(plan, tables, {tile.number: own for tile, own in zip(sample, results, strict=True)})


def draft_of_least_bytes(plan: Plan, sample: list[SampleTile]) -> Drafted:
    """Return a sample coded with the step that makes values and residuals together smallest on few tiles.

    Where storing the values takes fewer bytes than any step, they are stored.
    """
    few = _few(sample)
    best = drafted(plan, few) if plan.header.constant else _corrected(plan, few)
    if _quick_stored_size(plan, few) < _STORING_MAY_WIN * best.size:
        stored = msgspec.structs.replace(plan.header, residual="packed", bound=0.0, spare_bits=0)
        best = min(best, drafted(replace(plan, header=stored), few), key=_size)
    return _completed(best, few, sample)


_STORING_MAY_WIN = 1.6
"""Largest ratio of a quick try at storing to the best other way that makes the full one worth its time."""


def _quick_stored_size(plan: Plan, few: list[SampleTile]) -> int:
    def size(tile: SampleTile) -> int:
        source = tile.source
        states = None
        if source.active is not None:
            states = states_of(source.values[0], source.active, plan.header)
        coded = np.ones(source.values[0].shape, np.bool_) if states is None else states == ACTIVE
        return sum(quick_size(own, coded) for own in source.values)

    return sum(mapped_in_order(size, few))


def _corrected(plan: Plan, few: list[SampleTile]) -> Drafted:
    """Return tiles coded with the step that takes the fewest bytes together with what corrects it.

    Steps are tried on boxes out of the tiles.
    """
    tried_on = _boxes_of(plan, few)
    start, ratio = _FIRST_STEP_FOR_BITS, 8.0
    if plan.header.residual == "steps":
        whole = plan.header.dtype.kind != "f"
        bound = math.floor(plan.header.bound) + 0.5 if whole else plan.header.bound
        start, ratio = _FIRST_STEP_IN_BOUNDS * bound / (2.0 * plan.half_extent), 2.0

    def tried(step: float) -> Drafted:
        step = min(max(step, SMALLEST_STEP), LARGEST_STEP)
        return drafted(with_fitted_offsets(with_step(plan, step), tried_on), tried_on)

    best = first = tried(start)
    for factor in (ratio, 1.0 / ratio):
        best = _downhill(tried, first, factor)
        if best is not first:
            break
    return best if tried_on is few else drafted(with_fitted_offsets(best.plan, few), few)


def _boxes_of(plan: Plan, few: list[SampleTile]) -> list[SampleTile]:
    """Return four boxes out of the first of some tiles, or the tiles themselves where they are small."""
    source = few[0].source if few else None
    if source is None or sum(tile.source.values[0].size for tile in few) <= 8 * _TRIED_SIDE**3:
        return few
    boxes = []
    for number, corner in enumerate(((0, 0, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1))):
        cuts = [_quarter(side.stop - side.start, part) for side, part in zip(source.box, corner, strict=True)]
        own = source.part((cuts[0], cuts[1], cuts[2]))
        boxes.append(SampleTile(number, own, transformed(own, plan)))
    return boxes


def _quarter(length: int, part: int) -> slice:
    """Return so many voxels as are tried around the first or the third quarter of a side."""
    start = max(0, min(length * (1 + 2 * part) // 4 - _TRIED_SIDE // 2, length - _TRIED_SIDE))
    return slice(start, min(length, start + _TRIED_SIDE))


_TRIED_SIDE = 40


def _size(found: Drafted) -> int:
    return found.size


def _completed(found: Drafted, few: list[SampleTile], sample: list[SampleTile]) -> Drafted:
    """Return a whole sample coded with the plan of a few of its tiles."""
    return found if len(few) == len(sample) else drafted(found.plan, sample)


def _downhill(tried: Callable[[float], Drafted], first: Drafted, factor: float) -> Drafted:
    """Return the last of the steps, each a factor from the one before, that take fewer and fewer bytes."""
    best = first
    while SMALLEST_STEP < (step := best.plan.header.step * factor) < LARGEST_STEP:
        found = tried(step)
        if found.size >= best.size:
            break
        best = found
    return best


def _few(sample: list[SampleTile]) -> list[SampleTile]:
    """Return the middle tiles of a sample, as many as a search can code again and again."""
    middle = len(sample) // 2
    count, voxels = 0, 0
    for tile in sample[middle:]:
        voxels += tile.source.values[0].size
        count += 1
        if voxels >= _FEW_VOXELS:
            break
    return sample[middle : middle + count]


_FEW_VOXELS = 1 << 21
_FIRST_STEP_IN_BOUNDS = 8.0
_FIRST_STEP_FOR_BITS = 2.0**-9
