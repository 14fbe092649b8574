"""The one thing the range coder knows of a probability model: integer counts that sum to 2**24.

Counts come from integer weights in integer arithmetic, so that encoder and decoder agree on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TOTAL_BITS = 24
TOTAL = 1 << TOTAL_BITS
MAX_ENTRIES = 1 << 16
"""Most symbols of a table, the escape not counted."""

SYMBOL_MIN = -(1 << 31)
SYMBOL_MAX = (1 << 31) - 1
ESCAPE_CLASS_BITS = 6
"""Bits for side and magnitude of an escaped symbol, before its mantissa."""

_WEIGHT_BITS = 40


@dataclass(frozen=True, eq=False)
class SymbolTable:
    """Probabilities of the symbols from `low` to `high`, and of an escape for all other 32-bit symbols.

    counts : (n + 1,) int64, each at least 1, sum 2**24; the last one is the escape
    description : the bytes from which `read_table` makes this table again
    """

    low: int
    counts: NDArray[np.int64]
    description: bytes

    @property
    def high(self) -> int:
        """The last symbol that is no escape."""
        return self.low + len(self.counts) - 2

    def cost_bits(self, symbols: NDArray[np.integer], repeats: NDArray[np.integer] | None = None) -> float:
        """Return the information content of `symbols` under this table.

        repeats : how often each symbol is counted, once by default
        A coded stream is longer by two bytes at most, and by about 0.0002 bits a symbol.
        """
        values = np.asarray(symbols, dtype=np.int64).ravel()
        outside = np.maximum(self.low - values, values - self.high)
        escaped = outside > 0
        index = np.where(escaped, len(self.counts) - 1, values - self.low)
        bits = TOTAL_BITS - np.log2(self.counts)[index]
        if escaped.any():
            # The exponent of frexp is one more than the number of mantissa bits of the distance.
            bits[escaped] += ESCAPE_CLASS_BITS - 1 + np.frexp(outside[escaped].astype(np.float64))[1]
        return float(bits.sum() if repeats is None else bits @ np.asarray(repeats, dtype=np.float64).ravel())


def counts_from_weights(weights: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return counts of at least 1 that sum to 2**24, in proportion to integer weights.

    weights : (n,) uint64, n from 2 to 65537, sum below 2**64; integer arithmetic only
    """
    total = int(weights.sum())
    shift = max(0, total.bit_length() - _WEIGHT_BITS)
    ends = np.cumsum(weights >> np.uint64(shift), dtype=np.uint64)
    if ends[-1] == 0:
        raise ValueError("all weights are zero")
    shares = ends * np.uint64(TOTAL - len(weights)) // ends[-1]
    counts: NDArray[np.int64] = np.diff(shares.astype(np.int64), prepend=0) + 1
    return counts


def histogram_of(symbols: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the symbols that occur, ascending, and how often. Raises `ValueError` outside 32 bits."""
    values = np.asarray(symbols).ravel()
    if values.size == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    low, high = int(values.min()), int(values.max())
    if low < SYMBOL_MIN or high > SYMBOL_MAX:
        raise ValueError(f"symbols from {low} to {high} do not fit 32 bits")
    if high - low <= max(MAX_ENTRIES, values.size):
        repeats = np.bincount(values.astype(np.int64) - low)
        present = np.flatnonzero(repeats)
        return present + low, repeats[present]
    unique, repeats = np.unique(values, return_counts=True)
    return unique.astype(np.int64), repeats
