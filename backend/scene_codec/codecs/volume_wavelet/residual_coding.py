"""What is added to decoded values so that they keep a bound or are exact: differences, coded phase by phase.

A difference's context is how large those around it are that are known already, and a class of the place: how
steep the decoded values are there, or, for bit patterns, how large.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.volume_wavelet.neighbourhood import PHASES, BandPhases, known_offsets
from scene_codec.entropy.byte_fields import ByteReader, unpacked_bits, varint
from scene_codec.entropy.context_tables import ContextTables, Piece, without_mark
from scene_codec.entropy.range_coding import SymbolDecoder
from scene_codec.errors import CorruptFileError
from scene_codec.volumes.lifting_wavelet import FloatArray, Shape

PLACES = 8
"""Classes of a place."""

_ACTIVITY_ENDS = np.array([0, 2, 4, 7, 10, 14, 19, 26, 36, 50, 72, 104, 150], np.uint16)
"""Largest mean magnitudes around, in eighths, of the activities."""

CONTEXTS = (len(_ACTIVITY_ENDS) + 2) * PLACES
LARGEST_EXTENT = 2.0**30
"""Multiples of a step up to this many are symbols."""


_LARGEST = 63
_ACTIVITIES = (1 + np.searchsorted(_ACTIVITY_ENDS, np.arange(8 * _LARGEST + 1))).astype(np.uint8)
_LARGEST_BITS = 64

Symbols = NDArray[np.int32]
Classes = NDArray[np.uint8]
Visit = Callable[[NDArray[np.uint8], "Symbols | None"], Symbols]


def largest_bound(dtype: np.dtype[np.generic]) -> float:
    """Return the largest bound with which a type can be calculated."""
    return 2.0**1000 if dtype.kind == "f" else 2.0**40


def suits_steps(dtype: np.dtype[np.generic], low: float, high: float, bound: float) -> bool:
    """Return whether multiples of a step can keep a bound for values of a range; else bit patterns must."""
    if dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            spacing = float(np.spacing(np.asarray(max(abs(low), abs(high)), np.float64).astype(dtype)))
        return math.isfinite(spacing) and bound >= 4.0 * spacing and (high - low) / bound < LARGEST_EXTENT
    return high - low < LARGEST_EXTENT


def steepness(numbers: FloatArray, unit: float) -> Classes:
    """Return how much decoded values change from voxel to voxel, as octaves of a unit: classes of places."""
    total = np.zeros_like(numbers)
    for axis in range(3):
        if numbers.shape[axis] < 2:
            continue
        change = np.abs(np.diff(numbers, axis=axis))
        first, last = (
            (slice(None),) * axis + (part,) for part in (slice(0, numbers.shape[axis] - 1), slice(1, None))
        )
        total[first] += change
        total[last] += change
    classes = np.zeros(numbers.shape, np.uint8)
    for octave in range(PLACES - 1):
        classes += total > np.float32(min(unit, 2.0**60) * 2.0 ** (octave - 1))
    return classes


def residual_pieces(symbols: Symbols, places: Classes, coded: NDArray[np.bool_] | None) -> list[Piece]:
    """Return contexts and symbols of a tile.

    coded : (x, y, z) which voxels have a difference; None for all
    """
    pieces: list[Piece] = []

    def keep(contexts: NDArray[np.uint8], known: Symbols | None) -> Symbols:
        assert known is not None
        pieces.append((contexts, known))
        return known

    _walk(places, coded, keep, symbols)
    return pieces


def decode_residual(
    data: bytes, places: Classes, coded: NDArray[np.bool_] | None, tables: ContextTables
) -> Symbols:
    """Return the symbols of a tile; an empty stream stands for zeros. Raises `CorruptFileError`."""
    if not data:
        return np.zeros(places.shape, np.int32)
    decoder = SymbolDecoder(without_mark(data), tables.tables)
    symbols = _walk(places, coded, lambda contexts, _: decoder.take(tables.of_context[contexts]), None)
    decoder.finish()
    return symbols


def _walk(places: Classes, coded: NDArray[np.bool_] | None, visit: Visit, known: Symbols | None) -> Symbols:
    x, y, z = places.shape
    parts = BandPhases((x, y, z))
    symbols = np.zeros(places.shape, np.int32) if known is None else known
    for index, phase in enumerate(PHASES):
        at = tuple(slice(start, None, 2) for start in phase)
        shape = parts.phase_shape(phase)
        if 0 in shape:
            continue
        contexts = _activities(parts, index, shape) * np.uint8(PLACES) + places[at]
        own = symbols[at]
        if coded is None:
            values = visit(contexts.reshape(-1), None if known is None else own.reshape(-1)).reshape(shape)
        else:
            chosen = coded[at]
            values = np.zeros(shape, np.int32)
            values[chosen] = visit(contexts[chosen], None if known is None else own[chosen])
        if known is None:
            own[...] = values
        parts.put(phase, np.abs(values.clip(-_LARGEST, _LARGEST)).astype(np.uint8))
    return symbols


def _activities(parts: BandPhases, index: int, shape: Shape) -> Classes:
    """Return how large the known differences around each voxel are, 0 where none is known."""
    offsets = known_offsets(index)
    if not offsets:
        return np.zeros(shape, np.uint8)
    total = np.zeros(shape, np.uint16)
    for offset in offsets:
        total += parts.around(PHASES[index], offset)
    activities: Classes = _ACTIVITIES[(total * np.uint16(8)) // np.uint16(len(offsets))]
    return activities


def split_bits(differences: NDArray[np.uint64]) -> tuple[Symbols, NDArray[np.uint64]]:
    """Return differences modulo 2**64 as symbols, sign times number of bits, and their magnitudes."""
    negative = differences >> np.uint64(63) > 0
    magnitudes = np.where(negative, ~differences + np.uint64(1), differences)
    high = (magnitudes >> np.uint64(32)).astype(np.float64)
    low = (magnitudes & np.uint64(0xFFFFFFFF)).astype(np.float64)
    bits = np.where(high > 0, np.frexp(high)[1] + 32, np.frexp(low)[1]).astype(np.int32)
    return np.where(negative, -bits, bits), magnitudes


def joined_bits(symbols: Symbols, planes: bytes) -> NDArray[np.uint64]:
    """Return the differences that symbols (n,) and the bits below their leading ones stand for.

    Raises `CorruptFileError`.
    """
    bits = np.abs(symbols.astype(np.int64))
    if int(bits.max(initial=0)) > _LARGEST_BITS:
        raise CorruptFileError("A difference of voxels has more than 64 bits.")
    magnitudes = np.where(bits > 0, np.uint64(1) << (np.maximum(bits, 1) - 1).astype(np.uint64), np.uint64(0))
    position = 0
    for plane in range(_LARGEST_BITS - 1):
        chosen = bits - 1 > plane
        count = int(chosen.sum())
        if not count:
            break
        data = planes[position : position + -(-count // 8)]
        magnitudes[chosen] |= unpacked_bits(data, count).astype(np.uint64) << np.uint64(plane)
        position += len(data)
    if position != len(planes):
        raise CorruptFileError("The differences of a tile have bytes too many.")
    return np.where(symbols < 0, ~magnitudes + np.uint64(1), magnitudes)


def bit_planes(symbols: Symbols, magnitudes: NDArray[np.uint64]) -> bytes:
    """Return the bits below the leading ones, plane by plane."""
    bits = np.abs(symbols)
    planes = []
    for plane in range(int(bits.max(initial=0)) - 1):
        chosen = magnitudes[bits - 1 > plane] >> np.uint64(plane) & np.uint64(1)
        planes.append(np.packbits(chosen.astype(np.uint8)).tobytes())
    return b"".join(planes)


def with_planes(stream: bytes, planes: bytes) -> bytes:
    """Return a stream and the planes that belong to it."""
    return varint(len(stream)) + stream + planes


def without_planes(data: bytes) -> tuple[bytes, bytes]:
    """Return stream and planes. Raises `CorruptFileError`."""
    reader = ByteReader(data)
    stream = reader.take(reader.varint())
    return stream, reader.rest()
