"""Probability tables from a few bytes: two-sided, falling from a centre, computed by integer recurrences.

Weights fall from the centre by a ratio a step, and the ratio itself changes as the shape says:

    shape 7          ratio constant               two-sided geometric (Laplace)
    shapes 8 to 14   ratio falls geometrically    towards discrete Gaussian and flatter tops
    shapes 0 to 6    ratio rises                  heavy tails (discrete generalised Pareto)

A ratio of its own for the left side covers centres between two integers, a probability of its own for the
centre covers sparse data. Everything is specified to the bit in docs/FORMAT.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from scene_codec.entropy.byte_fields import ByteReader, signed_varint, varint
from scene_codec.entropy.tables import SymbolTable, counts_from_weights
from scene_codec.errors import CorruptFileError

SHAPE_GEOMETRIC = 7
SHAPE_COUNT = 15
HEAVINESS_IN_16THS = (16, 12, 8, 6, 4, 2, 1)
"""Shapes 0 to 6: how fast the ratio rises."""

FALL_IN_8THS = (2, 4, 6, 8, 12, 16, 24)
"""Shapes 8 to 14: how fast the ratio falls."""

MAX_REACH = 4096
"""Most symbols on either side of the centre."""

MAX_CENTRE = 1 << 30
WEIGHT_BITS = 32
SMALLEST_WEIGHT = 1 << 8
PROBABILITY_BITS = 20

_HAS_CENTRE_PROBABILITY = 0x10
_HAS_LEFT_RATIO = 0x20
_HAS_CENTRE = 0x40
_HAS_LIMIT = 0x80
_RATIO_BITS = 32
_ONE = 1 << _RATIO_BITS


@dataclass(frozen=True)
class ParametricModel:
    """The stored parameters of a two-sided model.

    ratio, left_ratio, centre_probability : bytes, made into probabilities by `probability_of_byte`
    shape : 0 to 14
    left_ratio : None means the same as on the right
    centre_probability : None means what the ratios give
    limit : no symbols farther than this from `centre`, 0 to 4096; None lets the tails run out
    """

    ratio: int
    shape: int = SHAPE_GEOMETRIC
    centre_probability: int | None = None
    left_ratio: int | None = None
    centre: int = 0
    limit: int | None = None

    def to_bytes(self) -> bytes:
        """Return the stored form, 2 bytes and one or two for each parameter that is not None or zero."""
        head = self.shape
        fields = bytearray([self.ratio])
        if self.centre_probability is not None:
            head |= _HAS_CENTRE_PROBABILITY
            fields.append(self.centre_probability)
        if self.left_ratio is not None:
            head |= _HAS_LEFT_RATIO
            fields.append(self.left_ratio)
        if self.centre:
            head |= _HAS_CENTRE
            fields += signed_varint(self.centre)
        if self.limit is not None:
            head |= _HAS_LIMIT
            fields += varint(self.limit)
        return bytes([head]) + bytes(fields)

    def table(self) -> SymbolTable:
        """Return the table that these parameters stand for."""
        low, counts = _counts_around_zero(replace(self, centre=0))
        return SymbolTable(low + self.centre, counts, self.to_bytes())


def read_parametric(head: int, reader: ByteReader) -> ParametricModel:
    """Return the parameters behind their first byte `head`.

    Raises `CorruptFileError` when they break a rule.
    """
    ratio = reader.byte()
    model = ParametricModel(
        ratio=ratio,
        shape=head & 0x0F,
        centre_probability=reader.byte() if head & _HAS_CENTRE_PROBABILITY else None,
        left_ratio=reader.byte() if head & _HAS_LEFT_RATIO else None,
        centre=reader.signed_varint() if head & _HAS_CENTRE else 0,
        limit=reader.varint() if head & _HAS_LIMIT else None,
    )
    if abs(model.centre) > MAX_CENTRE or (model.limit or 0) > MAX_REACH:
        raise CorruptFileError(
            f"A probability table has centre {model.centre} and limit {model.limit}; "
            f"allowed are {MAX_CENTRE} and {MAX_REACH}."
        )
    return model


def probability_of_byte(code: int) -> int:
    """Return the probability, in units of 2**-20, that a byte stands for.

    Bytes below 128 are small floating-point numbers of 3 mantissa bits from 2**-17 to 0.47; the others mirror
    them about one half.
    """
    if code >= 128:
        return (1 << PROBABILITY_BITS) - probability_of_byte(255 - code)
    return (8 + (code & 7)) << (code >> 3)


def byte_of_probability(probability: float) -> int:
    """Return the byte whose probability comes closest."""
    scaled = probability * (1 << PROBABILITY_BITS)
    return int(np.abs(_probabilities() - scaled).argmin())


@cache
def _probabilities() -> NDArray[np.float64]:
    return np.array([probability_of_byte(code) for code in range(256)], np.float64)


@lru_cache(maxsize=256)
def _counts_around_zero(model: ParametricModel) -> tuple[int, NDArray[np.int64]]:
    right, right_tail = side_weights(model.ratio, model.shape, model.limit)
    left, left_tail = right, right_tail
    if model.left_ratio is not None:
        left, left_tail = side_weights(model.left_ratio, model.shape, model.limit)
    sides = sum(left) + sum(right)
    middle = 1 << WEIGHT_BITS
    if model.centre_probability is not None and sides > 0:
        probability = probability_of_byte(model.centre_probability)
        middle = sides * probability // ((1 << PROBABILITY_BITS) - probability)
    weights = np.array([*reversed(left), middle, *right, left_tail + right_tail], dtype=np.uint64)
    counts = counts_from_weights(weights)
    counts.setflags(write=False)  # shared by all tables of this form
    return -len(left), counts


@lru_cache(maxsize=1024)
def side_weights(ratio_code: int, shape: int, limit: int | None) -> tuple[tuple[int, ...], int]:
    """Return the weights of one side, where the centre has 2**32, and the weight of the tail behind them."""
    ratio = probability_of_byte(ratio_code) << (_RATIO_BITS - PROBABILITY_BITS)
    gap = _ONE - ratio
    heaviness = HEAVINESS_IN_16THS[shape] if shape < SHAPE_GEOMETRIC else 0
    fall = FALL_IN_8THS[shape - SHAPE_GEOMETRIC - 1] if shape > SHAPE_GEOMETRIC else 0
    decay = max(0, _ONE - gap * fall // 8)
    weights = []
    weight = 1 << WEIGHT_BITS
    for step in range(1, 1 + (MAX_REACH if limit is None else limit)):
        following = weight * ratio >> _RATIO_BITS
        if following < SMALLEST_WEIGHT:
            break
        weight = following
        weights.append(weight)
        if fall:
            ratio = ratio * decay >> _RATIO_BITS
        elif heaviness:
            ratio = _ONE - (gap << 28) // ((1 << 28) + (heaviness * gap * step >> 8))
    tail = 0 if limit is not None else weight * ratio // (_ONE - ratio)
    return tuple(weights), tail
