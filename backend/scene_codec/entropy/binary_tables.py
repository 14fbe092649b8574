"""Tables for symbols that are 0 or 1, of one byte each."""

from __future__ import annotations

from functools import cache

import numpy as np

from scene_codec.entropy.parametric import PROBABILITY_BITS, probability_of_byte
from scene_codec.entropy.tables import SymbolTable, counts_from_weights


@cache
def binary_table(code: int) -> SymbolTable:
    """Return the table in which 1 has the probability that a byte stands for."""
    chance = probability_of_byte(code)
    weights = np.array([(1 << PROBABILITY_BITS) - chance, chance, 0], np.uint64)
    counts = counts_from_weights(weights)
    counts.setflags(write=False)  # shared by all who ask
    return SymbolTable(0, counts, bytes([code]))
