"""Finds the quantisation step of a grid for a wanted PSNR, from a sample of its tiles."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np

from scene_codec.codecs.volume_wavelet.grid_source import GridSource, SourceTile
from scene_codec.codecs.volume_wavelet.quantiser import fitted_offsets
from scene_codec.codecs.volume_wavelet.reached_quality import psnr, tile_errors
from scene_codec.codecs.volume_wavelet.tile_encoding import Plan, draft_of, transformed
from scene_codec.codecs.volume_wavelet.tile_voxels import set_inactive, states_of
from scene_codec.codecs.volume_wavelet.tiles import box_shape
from scene_codec.volumes.lifting_wavelet import Subbands

MOST_TILES = 8
MOST_VOXELS = 1 << 24
"""Bounds of a sample, in tiles and in voxels."""

SMALLEST_STEP = 2.0**-24
LARGEST_STEP = 1.0
TOLERANCE_DB = 0.09
"""How far a wanted PSNR may be exceeded."""

_AIM_DB = 0.03
_ITERATIONS = 8


@dataclass(frozen=True)
class SampleTile:
    """A tile in memory, with its coefficients."""

    source: SourceTile
    bands: list[Subbands]


def sample_boxes(source: GridSource) -> list[int]:
    """Return the numbers of at most eight evenly spaced tiles."""
    boxes = source.boxes
    if not boxes:
        return []
    largest = max(int(np.prod(box_shape(box))) for box in boxes)
    count = max(1, min(len(boxes), MOST_TILES, MOST_VOXELS // largest))
    return [(2 * index + 1) * len(boxes) // (2 * count) for index in range(count)]


def with_step(plan: Plan, step: float) -> Plan:
    """Return a plan with another step and reconstruction offsets to be fitted."""
    header = msgspec.structs.replace(plan.header, step=step, offsets=(0, 0))
    return Plan(header, plan.prior, plan.fill)


def with_fitted_offsets(plan: Plan, sample: list[SampleTile]) -> Plan:
    """Return a plan with the reconstruction offsets that suit a sample."""
    found = [
        fitted_offsets([tile.bands[channel] for tile in sample], coding.quantiser)
        for channel, coding in enumerate(plan.codings)
        if not coding.value_range.constant
    ]
    ones, more = (round(sum(pair[slot] for pair in found) / max(len(found), 1)) for slot in (0, 1))
    header = msgspec.structs.replace(plan.header, offsets=(ones, more))
    return Plan(header, plan.prior, plan.fill)


def sample_psnr(plan: Plan, sample: list[SampleTile]) -> float:
    """Return the PSNR that a step reaches on a sample, really decoded; infinite without any error."""
    squares, count = 0.0, 0
    for tile in sample:
        draft = draft_of(tile.source, tile.bands, plan)
        decoded = []
        for channel, (numbers, coding) in enumerate(zip(draft.numbers, plan.codings, strict=True)):
            values = coding.restored(numbers, plan.header.dtype)
            if tile.source.active is not None:
                states = states_of(tile.source.values[0], tile.source.active, plan.header)
                set_inactive(values, states, plan.header, channel)
            decoded.append(values)
        errors = tile_errors(tile.source, decoded, plan.extent)
        squares, count = squares + errors.active_sum, count + errors.active_count
    found = psnr(squares, count)
    return math.inf if found is None else found


def plan_for_psnr(plan: Plan, sample: list[SampleTile], wanted: float) -> Plan:
    """Return a plan whose step reaches a PSNR on a sample and exceeds it by little."""

    def reached(step: float) -> tuple[float, Plan]:
        tried = with_fitted_offsets(with_step(plan, step), sample)
        return sample_psnr(tried, sample), tried

    return found_step(reached, start_step(wanted), wanted)[1]


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
    return [
        SampleTile(tile, transformed(tile, plan))
        for tile in (source.tile(source.boxes[number]) for number in sample_boxes(source))
    ]
