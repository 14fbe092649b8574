"""Chooses the probability table for given symbols, and reads stored tables back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scene_codec.entropy.byte_fields import ByteReader
from scene_codec.entropy.histogram import HISTOGRAM_HEAD, fit_histogram, read_histogram
from scene_codec.entropy.parametric import SHAPE_COUNT, read_parametric
from scene_codec.entropy.parametric_fit import fit_parametric
from scene_codec.entropy.tables import SymbolTable, histogram_of
from scene_codec.errors import CorruptFileError


def fit_table(symbols: NDArray[np.integer]) -> SymbolTable:
    """Return the table that codes `symbols` in the fewest bytes, its own description counted.

    Raises `ValueError` when a symbol does not fit 32 bits.
    """
    values, repeats = histogram_of(symbols)
    table = fit_parametric(values, repeats).table()
    if len(values) == 0:
        return table
    parametric_bits = 8 * len(table.description) + table.cost_bits(values, repeats)
    if not _histogram_may_win(values, repeats, parametric_bits):
        return table
    stored = fit_histogram(values, repeats)
    if stored is None or 8 * len(stored.description) + stored.cost_bits(values, repeats) >= parametric_bits:
        return table
    return stored


def read_table(reader: ByteReader) -> SymbolTable:
    """Return the table whose description comes next. Raises `CorruptFileError` when there is none."""
    head = reader.byte()
    if head == HISTOGRAM_HEAD:
        return read_histogram(reader)
    if head & 0x0F >= SHAPE_COUNT:
        raise CorruptFileError(f"A probability table is of the unknown family {head:#04x}.")
    return read_parametric(head, reader).table()


def _histogram_may_win(values: NDArray[np.int64], repeats: NDArray[np.int64], parametric_bits: float) -> bool:
    """Return whether the entropy leaves room for a stored histogram: six bytes and a bit for each symbol."""
    description_bits = 8 * 6 + len(values)
    entropy_bits = float(-(repeats * np.log2(repeats / repeats.sum())).sum())
    return entropy_bits + description_bits < parametric_bits
