"""Finds what predicts a grid best: itself in the frame before, where it was or moved, or another grid."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.volume_parts.channel_range import ChannelRange
from scene_codec.codecs.volume_wavelet.grid_source import SourceTile
from scene_codec.codecs.volume_wavelet.prediction import VELOCITY_CHANNELS, Predictor, weighted
from scene_codec.codecs.volume_wavelet.prediction_syntax import (
    GAIN_ONE,
    LARGEST_GAIN,
    LARGEST_UNIT,
    MAX_SCALE,
    SMALLEST_UNIT,
    Gains,
    GridOf,
    GridPrediction,
    Motion,
    ValueScale,
)
from scene_codec.codecs.volume_wavelet.rate_search import SampleTile
from scene_codec.codecs.volume_wavelet.reference_voxels import (
    MARGIN,
    REACH,
    interpolated,
    numbers_around,
    speeds_in,
    ways,
)
from scene_codec.codecs.volume_wavelet.syntax import LEVELS
from scene_codec.codecs.volume_wavelet.tile_encoding import Plan
from scene_codec.codecs.volume_wavelet.tiles import box_shape, lattice_corner
from scene_codec.codecs.volume_wavelet.topology_reference import agrees
from scene_codec.volumes.lifting_wavelet import FloatArray, Subbands
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

WORTHWHILE = 0.97
"""A prediction must save more than this leaves of the bits, for it takes time to decode."""

_VELOCITY_NAME = re.compile(r"(v|vel|velocity|motion)(_\w+)?", re.IGNORECASE)
_BLOCKS = (1, 4)
"""Sides of the blocks whose motion is looked for, in voxels."""

_FACTORS = (0.7, 1.0, 1.4, 2.0)
_FINE_FACTORS = (0.85, 1.15)


@dataclass(frozen=True)
class Known:
    """What is decoded before a grid.

    grids : the originals of the same volume
    decoded : gives those before the grid as they are decoded
    range_of : of the first channel of those before the grid
    previous : the frame before, decoded
    """

    grids: Sequence[VolumeGrid]
    decoded: Callable[[int], VolumeGrid]
    range_of: Callable[[int], ChannelRange]
    previous: VolumeObject | None

    def earlier_self(self, number: int) -> int:
        """Return the number of the same grid in the frame before; -1 when it is not there, or another."""
        grid = self.grids[number]
        others = () if self.previous is None else self.previous.grids
        for index, other in enumerate(others):
            if other.name == grid.name and _comparable(grid, other):
                return index
        return -1

    def clue(self, number: int) -> VolumeGrid | None:
        """Return the grid in the frame before whose active voxels help with those of a grid."""
        index = self.earlier_self(number)
        if index < 0 or self.previous is None:
            return None
        other = self.previous.grids[index]
        return other if agrees(self.grids[number], other) else None


def best_predictor(known: Known, number: int, plan: Plan, sample: Sequence[SampleTile]) -> Predictor | None:
    """Return what saves most bits of a sample's coefficients; None when nothing saves enough.

    plan : with the step for the wanted quality; without a predictor, as the sample
    """
    cost = WORTHWHILE * _cost([tile.bands.coded for tile in sample], plan)
    best = None
    for candidate in _candidates(known, number, plan, sample):
        sources = [
            candidate.source_bands(
                lattice_corner(plan.header.corner, tile.source.box), box_shape(tile.source.box)
            )
            for tile in sample
        ]
        gains = _fitted_gains([tile.bands.coded for tile in sample], sources)
        left = [
            [
                _less(own, weighted(source, gain))
                for own, source, gain in zip(bands, others, gains, strict=True)
            ]
            for bands, others in zip((tile.bands.coded for tile in sample), sources, strict=True)
        ]
        found = _cost(left, plan)
        if found < cost:
            cost = found
            best = replace(candidate, prediction=msgspec.structs.replace(candidate.prediction, gains=gains))
    return best


def _candidates(known: Known, number: int, plan: Plan, sample: Sequence[SampleTile]) -> Iterator[Predictor]:
    """Yield predictors whose gains are open."""
    earlier = known.earlier_self(number)
    if earlier >= 0 and known.previous is not None:
        scales = tuple(_scale(coding.value_range, coding.background) for coding in plan.codings)
        still = _open(GridOf(previous=True, number=earlier), scales, known.previous.grids[earlier])
        yield still
        moved = _moved(still, known, number, plan, sample)
        if moved is not None:
            yield moved
    other = _most_alike(known.grids, number)
    if other >= 0:
        grid = known.decoded(other)
        yield _open(
            GridOf(previous=False, number=other), (_scale(known.range_of(other), grid.background[0]),), grid
        )


def _open(source: GridOf, scales: tuple[ValueScale, ...], grid: VolumeGrid) -> Predictor:
    """Return a predictor without motion whose gains are open."""
    return Predictor(
        GridPrediction(source=source, scales=scales, motion=None, gains=(), topology=False), grid, None
    )


def _scale(found: ChannelRange, background: float) -> ValueScale:
    """Return the scale on which a range has the extent 1, and the background, if it lies in it, is 0."""
    origin = found.low if math.isnan(background) else min(max(background, found.low), found.high)
    return ValueScale(origin=origin, unit=min(max(found.high - found.low, SMALLEST_UNIT), LARGEST_UNIT))


def _comparable(grid: VolumeGrid, other: VolumeGrid) -> bool:
    """Return whether two grids have the same lattice and like voxels."""
    return (
        grid.channels == other.channels
        and (grid.kind == "level set") == (other.kind == "level set")
        and same_lattice(grid, other)
    )


def same_lattice(grid: VolumeGrid, other: VolumeGrid) -> bool:
    """Return whether the voxels of two grids, if they have some, lie in the same places."""
    return (
        0 not in grid.shape
        and 0 not in other.shape
        and np.allclose(grid.to_object, other.to_object, rtol=1e-6, atol=1e-12)
    )


def _most_alike(grids: Sequence[VolumeGrid], number: int) -> int:
    """Return the earlier grid of a volume whose values go with those of a grid; -1 when none does."""
    grid = grids[number]
    best, chosen = _LEAST_CORRELATION, -1
    for index, other in enumerate(grids[:number]):
        if grid.channels == 1 and grid.kind != "level set" and _comparable(grid, other):
            found = abs(_correlation(grid, other))
            if found > best:
                best, chosen = found, index
    return chosen


_LEAST_CORRELATION = 0.5
_MOST_COMPARED = 1 << 22


def _correlation(grid: VolumeGrid, other: VolumeGrid) -> float:
    """Return how two grids' values go together where both have some, by evenly spaced layers."""
    low = [max(a, b) for a, b in zip(grid.corner, other.corner, strict=True)]
    high = [
        min(a + m, b + n)
        for a, m, b, n in zip(grid.corner, grid.shape, other.corner, other.shape, strict=True)
    ]
    if any(stop <= start for start, stop in zip(low, high, strict=True)):
        return 0.0
    layer = (high[1] - low[1]) * (high[2] - low[2])
    step = max(1, (high[0] - low[0]) * layer // _MOST_COMPARED)
    values = []
    masks = []
    for own in (grid, other):
        x, y, z = (
            slice(start - first, stop - first)
            for start, stop, first in zip(low, high, own.corner, strict=True)
        )
        box = (slice(x.start, x.stop, step), y, z)
        values.append(np.asarray(own.values[box], np.float64).reshape(-1))
        finite = np.isfinite(values[-1])
        masks.append(finite if own.active is None else finite & own.active[box].reshape(-1))
    cared = masks[0] & masks[1]
    if np.count_nonzero(cared) < _FEWEST_COMPARED:
        return 0.0
    first, second = (own[cared] - own[cared].mean() for own in values)
    with np.errstate(over="ignore", invalid="ignore"):
        scale = float(np.sqrt(np.square(first).sum()) * np.sqrt(np.square(second).sum()))
        product = float((first * second).sum())
    return product / scale if np.isfinite(scale) and scale > 0.0 and np.isfinite(product) else 0.0


_FEWEST_COMPARED = 64


def _moved(
    still: Predictor, known: Known, number: int, plan: Plan, sample: Sequence[SampleTile]
) -> Predictor | None:
    """Return the predictor with motion, when there are velocities that explain some of the change."""
    found = _velocity(known, number)
    if found is None:
        return None
    which, velocity = found
    scale = _fitted_scale(still, velocity, max(sample, key=_size).source, plan)
    if scale is None:
        return None
    motion = Motion(velocity=which, scale=scale)
    return Predictor(msgspec.structs.replace(still.prediction, motion=motion), still.source, velocity)


def _size(tile: SampleTile) -> int:
    return tile.source.values[0].size


def _velocity(known: Known, number: int) -> tuple[GridOf, VolumeGrid] | None:
    """Return the newest decoded grid of velocities."""
    for index, grid in enumerate(known.grids[:number]):
        if _is_velocity(grid, known.grids[number]):
            return GridOf(previous=False, number=index), known.decoded(index)
    for index, grid in enumerate(() if known.previous is None else known.previous.grids):
        if _is_velocity(grid, known.grids[number]):
            return GridOf(previous=True, number=index), grid
    return None


def _is_velocity(grid: VolumeGrid, moved: VolumeGrid) -> bool:
    named = grid.kind == "staggered" or _VELOCITY_NAME.fullmatch(grid.name) is not None
    return grid.channels == VELOCITY_CHANNELS and named and same_lattice(grid, moved)


def _fitted_scale(still: Predictor, velocity: VolumeGrid, tile: SourceTile, plan: Plan) -> float | None:
    """Return how many voxels a unit of velocity moves what is in a tile; None when it does not tell."""
    corner, shape = lattice_corner(plan.header.corner, tile.box), box_shape(tile.box)
    largest = float(np.abs(np.nan_to_num(velocity.values, posinf=0.0, neginf=0.0)).max())
    if not largest > REACH / MAX_SCALE:
        return None
    own = [tile.numbers(channel, coding, fill=True) for channel, coding in enumerate(plan.codings)]
    cared = tile.cared_for(0)
    around = numbers_around(still.source, still.prediction.scales, corner, shape, MARGIN)
    inner = (slice(MARGIN, -MARGIN),) * 3
    speeds = speeds_in(velocity, corner, shape)

    def error(scale: float) -> float:
        moved = ways(speeds, scale)
        there = [interpolated(then, moved) for then in around]
        return sum(_product(now - then, now - then, cared) for now, then in zip(own, there, strict=True))

    units = ways(speeds, 1.0 / largest)
    starts = {_flow(own, [then[inner] for then in around], units, size) / largest for size in _BLOCKS}
    tried = {start * factor for start in starts - {0.0} for factor in _FACTORS}
    if not tried:
        return None
    coarse = min(sorted(tried), key=error)
    best = min((coarse, *(coarse * factor for factor in _FINE_FACTORS)), key=error)
    return best if abs(best) <= MAX_SCALE else None


def _flow(own: list[FloatArray], before: list[FloatArray], units: FloatArray, size: int) -> float:
    """Return how many voxels the largest velocity is, as block means and their slopes tell; 0: unknown.

    Optical flow (Lucas and Kanade, 1981) with one unknown; blocks see motion that is longer than structure.
    """
    if min(own[0].shape) < 2 * size:
        return 0.0
    above = below = 0.0
    way = [_block_means(units[..., axis], size) for axis in range(3)]
    for now, then in zip(own, before, strict=True):
        start = _block_means(then, size)
        slope = np.zeros_like(start)
        for axis in range(3):
            slope += way[axis] * np.gradient(start, axis=axis)
        above -= _product(_block_means(now, size) - start, slope, None)
        below += _product(slope, slope, None)
    return float(np.clip(size * above / below, -REACH, REACH)) if below > 0.0 else 0.0


def _block_means(values: FloatArray, size: int) -> FloatArray:
    """Return the means of whole blocks of so many voxels a side."""
    x, y, z = (length // size for length in values.shape)
    blocks = values[: x * size, : y * size, : z * size].reshape(x, size, y, size, z, size)
    means: FloatArray = blocks.mean(axis=(1, 3, 5), dtype=np.float32)
    return means


def _product(first: FloatArray, second: FloatArray, cared: NDArray[np.bool_] | None) -> float:
    """Return the sum of products over the voxels that matter."""
    products = first * second
    return float((products if cared is None else products[cared]).sum(dtype=np.float64))


def _fitted_gains(
    own: Sequence[Sequence[Subbands]], sources: Sequence[Sequence[Subbands]]
) -> tuple[Gains, ...]:
    """Return for each channel the gains that leave least of some tiles."""
    channels = len(own[0])
    above, below = np.zeros((channels, LEVELS + 1)), np.zeros((channels, LEVELS + 1))
    for bands, others in zip(own, sources, strict=True):
        for channel, (band, other) in enumerate(zip(bands, others, strict=True)):
            for level, details in enumerate(band.details):
                for name, values in details.items():
                    above[channel, level] += _product(values, other.details[level][name], None)
                    below[channel, level] += _product(
                        other.details[level][name], other.details[level][name], None
                    )
            above[channel, -1] += _product(band.base, other.base, None)
            below[channel, -1] += _product(other.base, other.base, None)
    gains = np.divide(above, below, out=np.zeros_like(above), where=below > 0.0) * GAIN_ONE
    whole = np.rint(gains).clip(-LARGEST_GAIN, LARGEST_GAIN).astype(int)
    return tuple(tuple(int(gain) for gain in row) for row in whole)


def _less(bands: Subbands, predicted: Subbands) -> Subbands:
    """Return coefficients less the predicted ones."""
    return Subbands(
        bands.base - predicted.base,
        tuple(
            {name: band - other[name] for name, band in level.items()}
            for level, other in zip(bands.details, predicted.details, strict=True)
        ),
    )


def _cost(tiles: Sequence[Sequence[Subbands]], plan: Plan) -> float:
    """Return about how many bits the coefficients of some tiles take: the logarithms of their magnitudes."""
    total = 0.0
    for channels in tiles:
        for bands, coding in zip(channels, plan.codings, strict=True):
            for level, details in enumerate(bands.details):
                for name, band in details.items():
                    steps = np.abs(band) / coding.quantiser.step_of(level, name)
                    total += float(np.log2(1.0 + steps).sum(dtype=np.float64))
            steps = np.abs(bands.base) / np.float32(coding.quantiser.step)
            total += float(np.log2(1.0 + steps).sum(dtype=np.float64))
    return total
