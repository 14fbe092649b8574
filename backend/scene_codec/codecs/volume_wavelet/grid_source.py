"""A grid that is being encoded: ranges of its channels and its tiles, read one at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.volume_parts.channel_range import ChannelRange
from scene_codec.codecs.volume_wavelet.exact_values import pattern_union, spare_bits
from scene_codec.codecs.volume_wavelet.parallel import mapped_in_order
from scene_codec.codecs.volume_wavelet.tiles import Box, Tiling, filled_smoothly
from scene_codec.codecs.volume_wavelet.topology_reference import reference_states
from scene_codec.codecs.volume_wavelet.value_coding import ChannelCoding
from scene_codec.volumes.array_storage import LARGEST_IN_MEMORY, release
from scene_codec.volumes.lifting_wavelet import FloatArray
from scene_codec.volumes.volume import VolumeGrid

Values = NDArray[np.generic]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class SourceTile:
    """The original voxels of a tile.

    values : one array (x, y, z) per channel
    active : (x, y, z), None when all voxels are
    reference : (x, y, z) states in the grid that helps, see `reference_states`; None without one
    """

    box: Box
    values: tuple[Values, ...]
    active: Mask | None
    reference: NDArray[np.uint8] | None

    def part(self, box: Box) -> SourceTile:
        """Return the voxels of a box, which is counted from the first voxel of the tile."""
        x, y, z = (
            slice(side.start + inner.start, side.start + inner.stop)
            for side, inner in zip(self.box, box, strict=True)
        )
        return SourceTile(
            (x, y, z),
            tuple(np.ascontiguousarray(own[box]) for own in self.values),
            None if self.active is None else self.active[box],
            None if self.reference is None else self.reference[box],
        )

    def cared_for(self, channel: int) -> Mask | None:
        """Return which voxels have a value that matters and is a finite number, None when all do."""
        own = self.values[channel]
        finite = np.isfinite(own) if own.dtype.kind == "f" else None
        if finite is not None and finite.all():
            finite = None
        if self.active is None or finite is None:
            return self.active if finite is None else finite
        return self.active & finite

    def numbers(
        self, channel: int, coding: ChannelCoding, *, fill: bool, less: FloatArray | None = None
    ) -> FloatArray:
        """Return a channel as numbers for the wavelet.

        fill : make up smooth values for voxels that do not matter, in place of the background
        less : what is predicted, to be taken off
        """
        numbers = coding.normalised(self.values[channel])
        cared = self.cared_for(channel)
        if less is not None:
            numbers -= less
            if cared is not None and not fill:
                numbers[~cared] = 0.0
        if cared is None:
            return numbers
        if fill:
            return filled_smoothly(numbers, cared)
        finite = np.isfinite(self.values[channel])
        return numbers if finite.all() else np.where(finite, numbers, np.float32(0.0))


@dataclass(frozen=True)
class _TileFacts:
    """What is worth knowing of a tile before any is coded.

    bounds : the smallest and the largest finite active value of each channel; None where there are none
    active : how many voxels are
    mixed : whether some voxels are active and some are not
    """

    bounds: list[tuple[float, float] | None]
    active: int
    mixed: bool


_SCRAMBLE = 0x9E3779B1
"""Knuth's multiplicative hash: neighbours in a list of tiles become strangers."""


class GridSource:
    """Reads a grid tile by tile."""

    def __init__(self, grid: VolumeGrid, tile: int, helper: VolumeGrid | None = None) -> None:
        """Take a grid, and another one whose active voxels resemble its own."""
        self.grid = grid
        self._helper = helper
        self.tiling = Tiling(grid.shape, tile)
        self.boxes = self.tiling.boxes()
        self._read_bytes = 0

    def tile(self, box: Box) -> SourceTile:
        """Return the voxels of a box."""
        values = self.grid.values
        channels = [values[..., index] for index in range(values.shape[3])] if values.ndim == 4 else [values]
        native = values.dtype.newbyteorder("=")
        own = tuple(np.ascontiguousarray(channel[box], native) for channel in channels)
        active = None if self.grid.active is None else np.asarray(self.grid.active[box])
        self._read_bytes += sum(array.nbytes for array in own)
        if self._read_bytes > LARGEST_IN_MEMORY:
            self._read_bytes = 0
            release(values)
        reference = None
        if self._helper is not None and self._helper.active is not None:
            reference = reference_states(self._helper.active, self._helper.corner, box, self.grid.corner)
        return SourceTile(box, own, active, reference)

    @cached_property
    def ranges(self) -> tuple[ChannelRange, ...]:
        """Ranges of the finite active values of each channel."""
        ranges = []
        for channel in range(self.grid.channels):
            bounds = [own for tile in self._facts if (own := tile.bounds[channel]) is not None]
            low, high = (
                min((own[0] for own in bounds), default=0.0),
                max((own[1] for own in bounds), default=0.0),
            )
            ranges.append(ChannelRange(low, high))
        return tuple(ranges)

    @cached_property
    def spare_bits(self) -> int:
        """How many of the lowest bits are zero in all active values."""
        dtype = self.grid.values.dtype
        if dtype.kind != "f":
            return 0
        unions = mapped_in_order(self._tile_union, self.boxes)
        return spare_bits(reduce(or_, unions, 0), dtype)

    def _tile_union(self, box: Box) -> int:
        tile = self.tile(box)
        chosen = (own if tile.active is None else own[tile.active] for own in tile.values)
        return reduce(or_, (pattern_union(own) for own in chosen if own.size), 0)

    @cached_property
    def lively(self) -> list[int]:
        """Numbers of the tiles that are not the same everywhere, those of the largest extent first.

        Among equals in an order that has nothing to do with where they lie.
        """
        extents = [0.5 * own.high - 0.5 * own.low or 1.0 for own in self.ranges]
        found = []
        for number, facts in enumerate(self._facts):
            spans = (
                0.0 if own is None else (0.5 * own[1] - 0.5 * own[0]) / extent
                for own, extent in zip(facts.bounds, extents, strict=True)
            )
            span = max(spans)
            if span > 0.0 or facts.mixed:
                found.append((-span, number * _SCRAMBLE & 0xFFFFFFFF, number))
        return [number for _, _, number in sorted(found)]

    @cached_property
    def quiet_db(self) -> float:
        """How much better the PSNR of the grid is than that of its lively tiles; others have no errors."""
        lively = sum(self._facts[number].active for number in self.lively)
        whole = sum(facts.active for facts in self._facts)
        return 10.0 * math.log10(whole / lively) if lively else 0.0

    @cached_property
    def _facts(self) -> list[_TileFacts]:
        return list(mapped_in_order(self._facts_of, self.boxes))

    def _facts_of(self, box: Box) -> _TileFacts:
        tile = self.tile(box)
        bounds: list[tuple[float, float] | None] = []
        for channel, own in enumerate(tile.values):
            cared = tile.cared_for(channel)
            chosen = own if cared is None else own[cared]
            bounds.append((float(chosen.min()), float(chosen.max())) if chosen.size else None)
        voxels = tile.values[0].size
        active = voxels if tile.active is None else int(np.count_nonzero(tile.active))
        return _TileFacts(bounds, active, 0 < active < voxels)
