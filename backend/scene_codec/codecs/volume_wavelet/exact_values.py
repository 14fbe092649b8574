"""Decoded values corrected by residuals: multiples of a step, or differences of bit patterns.

Multiples keep a bound: of whole numbers every (2 e + 1)th is reached, which makes e = 0 exact; floating-point
numbers are reached to within the bound but for rounding, and where rounding breaks it the value is stored.
Bit patterns, ordered as the numbers are, give back every value of any type.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.volume_wavelet.residual_coding import (
    PLACES,
    bit_planes,
    decode_residual,
    joined_bits,
    residual_pieces,
    split_bits,
    steepness,
    with_planes,
    without_planes,
)
from scene_codec.codecs.volume_wavelet.stored_values import pack_values, unpack_bytes_apart, unpack_values
from scene_codec.codecs.volume_wavelet.syntax import STORED, GridHeader
from scene_codec.codecs.volume_wavelet.value_coding import ChannelCoding
from scene_codec.entropy.context_tables import ContextTables, Piece, encode_pieces, with_mark
from scene_codec.volumes.lifting_wavelet import FloatArray

Values = NDArray[np.generic]
Mask = NDArray[np.bool_]

_SLACK = 1.0 - 2.0**-16
_EXACT_WHOLE = 1 << 53
_LARGEST_CHANGE = 1 << 62
_MANTISSAS = {2: 10, 4: 23, 8: 52}


class Corrector(Protocol):
    """The residuals of one channel of a tile: how they are found, coded and put on decoded values."""

    def pieces(self, original: Values) -> tuple[list[Piece], bytes]:
        """Return contexts and symbols that bring the decoded values to the original ones, and the rest."""

    def encoded(self, pieces: list[Piece], rest: bytes, tables: ContextTables | None) -> bytes:
        """Return the stream; empty when nothing is to be corrected."""

    def corrected(self, data: bytes, tables: ContextTables | None) -> Values:
        """Return the values that a stream makes of the decoded ones. Raises `CorruptFileError`."""


def corrector_of(
    header: GridHeader, coding: ChannelCoding, numbers: FloatArray, coded: Mask | None
) -> Corrector:
    """Return what corrects the decoded numbers of a tile; `coded` are the voxels it is for, None for all."""
    if header.residual in STORED:
        chosen = coded if coded is not None else np.ones(numbers.shape, np.bool_)
        return _Stored(header.dtype, chosen, modes=header.residual == "packed")
    return _Differences(header, coding, numbers, coded)


class _Stored:
    """Values in place of differences.

    modes : whether each tile says how its values are ordered, as all do since payload version 2
    """

    def __init__(self, dtype: np.dtype[np.generic], coded: Mask, *, modes: bool) -> None:
        self._dtype, self._coded, self._modes = dtype, coded, modes

    def pieces(self, original: Values) -> tuple[list[Piece], bytes]:
        assert self._modes
        return [], pack_values(original, self._coded)

    def encoded(self, pieces: list[Piece], rest: bytes, tables: ContextTables | None) -> bytes:
        return rest

    def corrected(self, data: bytes, tables: ContextTables | None) -> Values:
        unpack = unpack_values if self._modes else unpack_bytes_apart
        return unpack(data, self._coded, self._dtype)


class _Differences:
    """Differences from decoded values."""

    def __init__(
        self, header: GridHeader, coding: ChannelCoding, numbers: FloatArray, coded: Mask | None
    ) -> None:
        self._header, self._coding, self._coded = header, coding, coded
        self._dtype = header.dtype
        self._wide = coding.value_range.wide(numbers + coding.origin)
        if header.residual == "steps":
            unit = self._step / max(coding.value_range.high - coding.value_range.low, 1e-300)
            self._places = steepness(numbers, unit)
        else:
            self._places = self._sizes()

    @property
    def _step(self) -> float:
        if self._dtype.kind == "f":
            return 2.0 * self._header.bound * _SLACK
        return 2.0 * math.floor(self._header.bound) + 1.0

    def pieces(self, original: Values) -> tuple[list[Piece], bytes]:
        if self._header.residual == "steps":
            return residual_pieces(self._steps_to(original), self._places, self._coded), b""
        differences = self._ordered(original) - self._predicted()
        symbols, magnitudes = split_bits(self._folded(differences))
        chosen = ... if self._coded is None else self._coded
        planes = bit_planes(symbols[chosen].reshape(-1), magnitudes[chosen].reshape(-1))
        return residual_pieces(symbols, self._places, self._coded), planes

    def encoded(self, pieces: list[Piece], rest: bytes, tables: ContextTables | None) -> bytes:
        assert tables is not None
        if not any(symbols.any() for _, symbols in pieces):
            return b""
        stream = with_mark(encode_pieces(pieces, tables))
        return with_planes(stream, rest) if self._header.residual == "bits" else stream

    def corrected(self, data: bytes, tables: ContextTables | None) -> Values:
        assert tables is not None
        if self._header.residual == "steps":
            return self._by_steps(decode_residual(data, self._places, self._coded, tables))
        stream, planes = without_planes(data) if data else (b"", b"")
        symbols = decode_residual(stream, self._places, self._coded, tables)
        differences = np.zeros(symbols.shape, np.uint64)
        chosen = np.ones(symbols.shape, np.bool_) if self._coded is None else self._coded
        differences[chosen] = joined_bits(symbols[chosen], planes)
        return self._from_ordered(self._predicted() + differences)

    def _steps_to(self, original: Values) -> NDArray[np.int32]:
        """Return the multiples nearest to the original values; zero where those are no numbers."""
        if self._dtype.kind == "f":
            with np.errstate(invalid="ignore", over="ignore"):
                steps = np.rint((original.astype(np.float64) - self._wide) / self._step)
            return np.where(np.isfinite(steps), steps.clip(-(2.0**30), 2.0**30), 0.0).astype(np.int32)
        half = math.floor(self._header.bound)
        differences = original.astype(np.int64) - self._whole()
        return ((differences + half) // (2 * half + 1)).clip(-(2**30), 2**30).astype(np.int32)

    def _by_steps(self, steps: NDArray[np.int32]) -> Values:
        found = self._coding.value_range
        if self._dtype.kind == "f":
            return (self._wide + steps * self._step).clip(found.low, found.high).astype(self._dtype)
        step = int(self._step)
        if max(abs(found.low), abs(found.high)) >= _EXACT_WHOLE:
            # The range itself was rounded: that of the type takes its place.
            return self._saturated(steps, step)
        most = _LARGEST_CHANGE // step
        whole = self._whole() + steps.astype(np.int64).clip(-most, most) * step
        clipped: Values = whole.clip(int(found.low), int(found.high)).astype(self._dtype)
        return clipped

    def _saturated(self, steps: NDArray[np.int32], step: int) -> Values:
        """Return the predicted values plus multiples of a step, as far as the type reaches."""
        bits = 8 * self._dtype.itemsize
        sign = np.uint64(1 << (bits - 1) if self._dtype.kind == "i" else 0)
        every = np.uint64((1 << bits) - 1)
        # Patterns without a sign: the distances to both ends of the type fit them.
        place = self._whole().view(np.uint64) & every ^ sign
        count = np.abs(steps.astype(np.int64)).astype(np.uint64)
        change = np.where(count > every // np.uint64(step), every, count * np.uint64(step))
        up, down = place + np.minimum(change, every - place), place - np.minimum(change, place)
        patterns: NDArray[np.uint64] = np.where(steps < 0, down, up) ^ sign
        return patterns.astype(np.dtype(f"uint{bits}")).view(self._dtype)

    def _whole(self) -> NDArray[np.int64]:
        return self._coding.value_range.cast(self._wide, self._dtype).astype(np.int64)

    def _predicted(self) -> NDArray[np.uint64]:
        """Return the decoded values as ordered bit patterns."""
        return self._ordered(self._coding.value_range.cast(self._wide, self._dtype))

    def _ordered(self, values: Values) -> NDArray[np.uint64]:
        """Return bit patterns, without bits that no value has, as numbers that grow with the values."""
        bits = 8 * self._dtype.itemsize
        plain = np.ascontiguousarray(values).view(np.dtype(f"uint{bits}")).astype(np.uint64)
        sign = np.uint64(1 << (bits - 1))
        if self._dtype.kind == "f":
            every = np.uint64((1 << bits) - 1)
            plain = np.where(plain & sign, plain ^ every, plain | sign)
        elif self._dtype.kind == "i":
            plain = plain ^ sign
        return plain >> np.uint64(self._header.spare_bits)

    def _from_ordered(self, ordered: NDArray[np.uint64]) -> Values:
        bits = 8 * self._dtype.itemsize
        every = np.uint64((1 << bits) - 1)
        sign = np.uint64(1 << (bits - 1))
        spare = np.uint64(self._header.spare_bits)
        plain = ordered << spare & every
        if self._dtype.kind == "f":
            # Below the middle patterns are inverted, and with them the bits that no value has.
            low_bits = np.uint64((1 << self._header.spare_bits) - 1)
            plain = np.where(plain & sign, plain ^ sign, (plain | low_bits) ^ every)
        elif self._dtype.kind == "i":
            plain = plain ^ sign
        return plain.astype(np.dtype(f"uint{bits}")).view(self._dtype)

    def _folded(self, differences: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Return differences as 64-bit two's complement of the shortest way round the circle of patterns."""
        bits = 8 * self._dtype.itemsize - self._header.spare_bits
        shift = np.uint64(64 - bits)
        return ((differences << shift).view(np.int64) >> np.int64(64 - bits)).view(np.uint64)

    def _sizes(self) -> NDArray[np.uint8]:
        """Return classes of places for bit patterns: octaves of the decoded values below the largest."""
        found = self._coding.value_range
        largest = max(abs(found.low), abs(found.high))
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            exponents = np.frexp(np.abs(self._wide))[1]
        below = math.frexp(largest)[1] - exponents
        return np.where(self._wide == 0.0, PLACES - 1, below.clip(0, PLACES - 1)).astype(np.uint8)


def pattern_union(values: Values) -> int:
    """Return the bits that are set in any of some floating-point values."""
    bits = 8 * values.dtype.itemsize
    return int(np.bitwise_or.reduce(np.ascontiguousarray(values).view(np.dtype(f"uint{bits}")), axis=None))


def spare_bits(union: int, dtype: np.dtype[np.generic]) -> int:
    """Return how many of the lowest bits are zero in all values of a `pattern_union`."""
    if dtype.kind != "f":
        return 0
    lowest = (union & -union).bit_length() - 1 if union else 8 * dtype.itemsize
    return min(lowest, _MANTISSAS[dtype.itemsize])
