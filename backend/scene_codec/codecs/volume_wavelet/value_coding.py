"""Voxels of one channel to wavelet symbols and back, the same for encoder, search and decoder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.volume_parts.channel_range import ChannelRange
from scene_codec.codecs.volume_wavelet.prior import Prior
from scene_codec.codecs.volume_wavelet.quantiser import Quantiser
from scene_codec.codecs.volume_wavelet.syntax import LEVELS, GridHeader
from scene_codec.codecs.volume_wavelet.tile_coding import TileSymbols, decode_tile
from scene_codec.entropy.context_tables import ContextTables
from scene_codec.volumes.lifting_wavelet import FloatArray, Shape, Subbands, band_shapes, reconstruct

Values = NDArray[np.generic]


@dataclass(frozen=True)
class ChannelCoding:
    """How one channel becomes numbers for the wavelet.

    value_range : of the finite active values
    background : value of inactive voxels
    quantiser : its step in units of the channel's own range
    """

    value_range: ChannelRange
    background: float
    quantiser: Quantiser

    @cached_property
    def origin(self) -> np.float32:
        """The background as a part of the range; the wavelet sees differences from it."""
        return np.float32(self.value_range.normalised(np.array([self.background]))[0])

    def normalised(self, values: Values) -> FloatArray:
        """Return values as parts of the range, less the origin."""
        result = self.value_range.normalised(values)
        result -= self.origin
        return result

    def restored(self, numbers: FloatArray, dtype: np.dtype[np.generic]) -> Values:
        """Return values of a type."""
        return self.value_range.restored(numbers + self.origin, dtype)


def channel_codings(header: GridHeader) -> list[ChannelCoding]:
    """Return how each channel of a grid is coded."""
    ranges = [channel.value_range for channel in header.channels]
    # Halves, because the difference of the largest float64 numbers is none.
    extents = [0.5 * found.high - 0.5 * found.low for found in ranges]
    largest = max(extents)
    return [
        ChannelCoding(
            found,
            background,
            Quantiser(header.step * (largest / extent) if extent else header.step, header.offsets),
        )
        for found, extent, background in zip(ranges, extents, header.background, strict=True)
    ]


def decode_coefficients(
    data: bytes, shape: Shape, coding: ChannelCoding, prior: Prior, tables: ContextTables
) -> Subbands | None:
    """Return the coefficients of a tile's channel; None for an empty stream, which stands for zeros.

    Raises `CorruptFileError`.
    """
    if not data:
        return None
    levels = len(band_shapes(shape, LEVELS)[1])
    return coding.quantiser.coefficients(decode_tile(data, shape, levels, prior, tables))


def numbers_of(coded: Subbands | None, predicted: Subbands | None, shape: Shape) -> FloatArray:
    """Return the numbers of a tile's channel from its coefficients, less the prediction, and that."""
    if coded is not None and predicted is not None:
        details = tuple(
            {name: band + other[name] for name, band in own.items()}
            for own, other in zip(coded.details, predicted.details, strict=True)
        )
        return reconstruct(Subbands(coded.base + predicted.base, details))
    only = predicted if coded is None else coded
    return np.zeros(shape, np.float32) if only is None else reconstruct(only)


def is_zero(symbols: TileSymbols) -> bool:
    """Return whether there is nothing to code."""
    return not symbols.base.any() and not any(
        band.any() for level in symbols.details for band in level.values()
    )
