"""Numbers to integer steps and back, exactly alike on every machine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene_codec.entropy.byte_fields import ByteReader
from scene_codec.entropy.tables import SYMBOL_MAX
from scene_codec.errors import CorruptFileError

_MANTISSA_BITS = 8
_LOWEST_MANTISSA = 1 << _MANTISSA_BITS - 1
_HIGHEST_MANTISSA = (1 << _MANTISSA_BITS) - 1
_EXPONENT_OFFSET = 128
_LOWEST_EXPONENT, _HIGHEST_EXPONENT = -128, 96


@dataclass(frozen=True)
class QuantisationStep:
    """A step size that two bytes hold exactly: `mantissa * 2**exponent`, mantissa from 128 to 255.

    The exponent runs from -128 to 96, so that steps lie between 4e-37 and 2e31.
    """

    mantissa: int
    exponent: int

    @classmethod
    def nearest(cls, value: float) -> QuantisationStep:
        """Return the step closest to `value`, at most 0.4 % away.

        Raises `ValueError` when `value` is not positive or out of range.
        """
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"a quantisation step must be positive, not {value}")
        fraction, exponent = math.frexp(value)
        mantissa = round(fraction * (1 << _MANTISSA_BITS))
        exponent -= _MANTISSA_BITS
        if mantissa > _HIGHEST_MANTISSA:
            mantissa, exponent = _LOWEST_MANTISSA, exponent + 1
        if not _LOWEST_EXPONENT <= exponent <= _HIGHEST_EXPONENT:
            raise ValueError(f"a quantisation step of {value} is out of range")
        return cls(mantissa, exponent)

    @property
    def value(self) -> float:
        """The step as a number."""
        return math.ldexp(self.mantissa, self.exponent)

    def to_bytes(self) -> bytes:
        """Return the two bytes: the mantissa, and the exponent plus 128."""
        return bytes([self.mantissa, self.exponent + _EXPONENT_OFFSET])


def read_step(reader: ByteReader) -> QuantisationStep:
    """Return the step whose two bytes come next. Raises `CorruptFileError` when they are no step."""
    mantissa, exponent = reader.byte(), reader.byte() - _EXPONENT_OFFSET
    if mantissa < _LOWEST_MANTISSA or exponent > _HIGHEST_EXPONENT:
        raise CorruptFileError(f"A quantisation step of {mantissa} * 2**{exponent} is not possible.")
    return QuantisationStep(mantissa, exponent)


def quantise(
    values: NDArray[np.floating], step: QuantisationStep, limit: int | None = None
) -> NDArray[np.int32]:
    """Return the nearest multiples of `step` as integers, ties to the even one.

    limit : clamp the integers to -limit ... limit
    Raises `ValueError` when a value is not finite or the result does not fit 32 bits.
    """
    steps = np.rint(np.asarray(values, dtype=np.float64) / step.value)
    if not np.isfinite(steps).all():
        raise ValueError("only finite values can be quantised")
    if limit is not None:
        steps = np.clip(steps, -limit, limit)
    if steps.size and float(np.abs(steps).max()) > SYMBOL_MAX:
        raise ValueError(f"a value is more than {SYMBOL_MAX} quantisation steps from zero")
    return steps.astype(np.int32)


def dequantise(symbols: NDArray[np.integer], step: QuantisationStep) -> NDArray[np.float32]:
    """Return `symbols * step` rounded to float32 once: the product is exact, so all machines agree."""
    return (np.asarray(symbols, dtype=np.float64) * step.value).astype(np.float32)
