"""How far a grid is from its original, in numbers, and where along an axis there is something to see."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene_codec.pictures.grid_pair import GridPair, Mask, Region, Triple, Values

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class GridDifference:
    """What two grids have in common, measured as `inspect` says it.

    low, high : of the finite active values of the original, all channels together; 0 when there is none
    psnr : dB over the active voxels, against the largest range of a channel; None without any error, and
        where all values are the same
    box_psnr : the same over all voxels of the box
    max_error : of a finite active voxel; `max_error_at` is its lattice index, None without any error
    exact : every active voxel is the same, NaN and infinities too, and the same voxels are active
    topology_differences : voxels that are active in one of the grids alone
    not_finite_differences : voxels where a NaN or infinity has changed, appeared or gone
    content : for each slice along the axis, how much the original varies in it; 0 in an empty one
    """

    active_voxels: int
    low: float
    high: float
    psnr: float | None
    box_psnr: float | None
    max_error: float
    max_error_at: Triple | None
    exact: bool
    topology_differences: int
    not_finite_differences: int
    content: Numbers


def measure(pair: GridPair, axis: int, watch: Callable[[float], None]) -> GridDifference:
    """Measure a pair of grids in two passes over their voxels.

    axis : along which `content` is wanted
    watch : is told the part that is done
    """
    ranges = _Ranges(pair)
    _walk(pair, ranges.add, lambda part: watch(0.4 * part))
    errors = _Errors(pair, axis, ranges)
    _walk(pair, errors.add, lambda part: watch(0.4 + 0.6 * part))
    return GridDifference(
        active_voxels=ranges.active,
        low=min((low for low, _ in ranges.found), default=0.0),
        high=max((high for _, high in ranges.found), default=0.0),
        psnr=errors.psnr(errors.active),
        box_psnr=errors.psnr(errors.box),
        max_error=errors.largest,
        max_error_at=errors.largest_at,
        exact=not errors.unequal and not errors.topology,
        topology_differences=errors.topology,
        not_finite_differences=errors.not_finite,
        content=errors.content(),
    )


def difference(before: Values, after: Values) -> Numbers:
    """Return after - before as float64: 0 for what is equal, NaN where one is no finite number."""
    with np.errstate(invalid="ignore", over="ignore"):
        wide = after.astype(np.float64) - before.astype(np.float64)
        same = (before == after) | ((before != before) & (after != after))
    finite = np.isfinite(before) & np.isfinite(after)
    # The difference of two large floats may be none that float64 has, that of two large integers become zero.
    limited = np.clip(np.where(wide == 0.0, 1.0, wide), -sys.float_info.max, sys.float_info.max)
    return np.where(same, 0.0, np.where(finite, limited, np.nan))


def active_voxels(region: Region) -> Mask:
    """Return which voxels of a region are active."""
    return np.ones(region.values.shape[:3], bool) if region.active is None else region.active


def _walk(
    pair: GridPair,
    add: Callable[[tuple[int, ...], Region, Region], None],
    watch: Callable[[float], None],
) -> None:
    """Hand over both grids part by part, each with the index of its first voxel."""
    done = 0
    for box in pair.boxes():
        original, decoded = pair.regions(box)
        add(tuple(part.start for part in box), original, decoded)
        done += math.prod(part.stop - part.start for part in box)
        watch(done / pair.voxels)


class _Ranges:
    """Smallest and largest finite active value of each channel of the original."""

    def __init__(self, pair: GridPair) -> None:
        self.active = 0
        self._low = [math.inf] * pair.original.channels
        self._high = [-math.inf] * pair.original.channels

    @property
    def found(self) -> list[tuple[float, float]]:
        """The ranges of the channels that have finite values."""
        return [pair for pair in zip(self._low, self._high, strict=True) if pair[0] <= pair[1]]

    @property
    def half_extent(self) -> float:
        """Half the largest range: the whole one may be none that float64 has."""
        return max((0.5 * high - 0.5 * low for low, high in self.found), default=0.0)

    def add(self, _start: tuple[int, ...], original: Region, _decoded: Region) -> None:
        """Take in one part."""
        active = active_voxels(original)
        self.active += int(active.sum())
        chosen = original.values[active]
        for channel in range(chosen.shape[1]):
            own = chosen[:, channel]
            finite = own[np.isfinite(own)] if own.dtype.kind == "f" else own
            if finite.size:
                self._low[channel] = min(self._low[channel], float(finite.min()))
                self._high[channel] = max(self._high[channel], float(finite.max()))


@dataclass
class _Squares:
    """Squared errors in units of the range, and how many."""

    total: float = 0.0
    count: int = 0


class _Errors:
    """Errors of all parts, added up."""

    def __init__(self, pair: GridPair, axis: int, ranges: _Ranges) -> None:
        self.active, self.box = _Squares(), _Squares()
        self.largest = 0.0
        self.largest_at: Triple | None = None
        self.unequal = self.topology = self.not_finite = 0
        self._pair, self._axis = pair, axis
        self._half = ranges.half_extent
        self._middle = [0.5 * low + 0.5 * high for low, high in ranges.found]
        self._sums = np.zeros((2, pair.shape[axis], pair.original.channels))

    def add(self, start: tuple[int, ...], original: Region, decoded: Region) -> None:
        """Take in one part."""
        active = active_voxels(original)
        errors = difference(original.values, decoded.values)
        finite = np.isfinite(errors)
        self.not_finite += int(np.count_nonzero(active & ~finite.all(axis=-1)))
        self.unequal += int((errors != 0.0)[active].sum())
        self.topology += int((active != active_voxels(decoded)).sum())
        magnitudes = np.where(finite, np.abs(errors), 0.0)
        cared = active[..., None] & finite & np.isfinite(original.values)
        if self._half > 0.0:
            squares = np.square(0.5 * magnitudes / self._half)
            self.box.total += float(squares.sum())
            self.active.total += float(squares[cared].sum())
        self.box.count += int((finite & np.isfinite(original.values)).sum())
        self.active.count += int(cared.sum())
        self._note_largest(start, np.where(cared, magnitudes, 0.0))
        self._note_content(start, original.values)

    def _note_largest(self, start: tuple[int, ...], magnitudes: Numbers) -> None:
        place = np.unravel_index(int(magnitudes.argmax()), magnitudes.shape)
        if magnitudes[place] > self.largest:
            self.largest = float(magnitudes[place])
            x, y, z = (
                int(first + begin + index)
                for first, begin, index in zip(self._pair.low, start, place[:3], strict=True)
            )
            self.largest_at = x, y, z

    def _note_content(self, start: tuple[int, ...], values: Values) -> None:
        """Add up the values and their squares in each slice, from -1 to 1 across the range."""
        if not self._half > 0.0:
            return
        middle = self._middle[0] if len(self._middle) == 1 else 0.0
        wide = values.astype(np.float64)
        scaled = np.where(np.isfinite(wide), np.clip((wide - middle) / self._half, -2.0, 2.0), 0.0)
        others = tuple(axis for axis in range(3) if axis != self._axis)
        where = slice(start[self._axis], start[self._axis] + values.shape[self._axis])
        self._sums[0, where] += scaled.sum(axis=others)
        self._sums[1, where] += np.square(scaled).sum(axis=others)

    def content(self) -> Numbers:
        """Return the deviation within each slice, over all channels."""
        across = max(self._pair.voxels // max(self._pair.shape[self._axis], 1), 1)
        mean, square = self._sums / across
        variance: Numbers = np.maximum(square - np.square(mean), 0.0).sum(axis=-1)
        variance[variance < 1e-12] = 0.0
        return np.sqrt(variance)

    def psnr(self, squares: _Squares) -> float | None:
        """Return dB, None without any error."""
        return -10.0 * math.log10(squares.total / squares.count) if squares.total > 0.0 else None
