"""Quantisation steps on a logarithmic scale: quarter octaves, so that one costs a few bits.

A step is `2 ** (exponent / 4)`: a constant of the four below times a power of two, the same on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EXPONENTS_PER_OCTAVE = 4
LOWEST_EXPONENT, HIGHEST_EXPONENT = -4 * 60, 4 * 60

_FOURTH_ROOTS = np.array([1.0, 1.189207115002721, 1.4142135623730951, 1.681792830507429])


def step_values(exponents: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the steps (n,) of exponents from `LOWEST_EXPONENT` to `HIGHEST_EXPONENT`."""
    whole = np.asarray(exponents, np.int64)
    values: NDArray[np.float64] = np.ldexp(
        _FOURTH_ROOTS[whole % EXPONENTS_PER_OCTAVE], whole // EXPONENTS_PER_OCTAVE
    )
    return values


def in_steps_to_values(steps: NDArray[np.integer], exponents: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return float32 values (rows, ...) of integers, each row with its exponent (rows,).

    The product is rounded once to double and once to single precision, alike on all machines.
    """
    scale = step_values(exponents).reshape(-1, *(1,) * (steps.ndim - 1))
    return (steps.astype(np.float64) * scale).astype(np.float32)
