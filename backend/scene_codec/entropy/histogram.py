"""Probability tables that store how often each symbol occurs, on a logarithmic scale.

Each frequency is kept as a level, a floating-point number with a few mantissa bits; the differences of
neighbouring levels are range coded with a two-sided model of their own. Smooth or sparse histograms thus take
well under half a byte a symbol.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scene_codec.entropy.byte_fields import ByteReader, signed_varint, varint
from scene_codec.entropy.parametric import read_parametric
from scene_codec.entropy.parametric_fit import fit_parametric
from scene_codec.entropy.range_coding import decode_symbols, encode_symbols
from scene_codec.entropy.tables import (
    MAX_ENTRIES,
    SYMBOL_MAX,
    SYMBOL_MIN,
    SymbolTable,
    counts_from_weights,
    histogram_of,
)
from scene_codec.errors import CorruptFileError

HISTOGRAM_HEAD = 0x0F
MAX_MANTISSA_BITS = 5
_MAX_EXPONENT = 31


def fit_histogram(values: NDArray[np.int64], repeats: NDArray[np.int64]) -> SymbolTable | None:
    """Return the best stored histogram for symbols, or None when their range is too wide.

    values : symbols that occur, ascending, at least one
    repeats : how often each occurs
    """
    low = int(values[0])
    size = int(values[-1]) - low + 1
    if size > MAX_ENTRIES:
        return None
    frequencies = np.zeros(size, np.int64)
    frequencies[values - low] = repeats
    tables = []
    for mantissa_bits in range(MAX_MANTISSA_BITS + 1):
        levels = _levels(frequencies, mantissa_bits)
        description = _describe(low, levels, mantissa_bits)
        tables.append(SymbolTable(low, _counts(levels, mantissa_bits), description))
    return min(tables, key=lambda table: 8 * len(table.description) + table.cost_bits(values, repeats))


def read_histogram(reader: ByteReader) -> SymbolTable:
    """Return the table behind its first byte. Raises `CorruptFileError` when it breaks a rule."""
    start = reader.position - 1
    low = reader.signed_varint()
    size = reader.varint() + 1
    mantissa_bits = reader.byte()
    if size > MAX_ENTRIES or not SYMBOL_MIN <= low <= low + size - 1 <= SYMBOL_MAX:
        raise CorruptFileError(
            f"A stored histogram has {size} symbols from {low} on, which is out of bounds."
        )
    if mantissa_bits > MAX_MANTISSA_BITS:
        raise CorruptFileError(
            f"A stored histogram has {mantissa_bits} mantissa bits, at most 5 are possible."
        )
    differences_model = read_parametric(reader.byte(), reader)
    stream = reader.take(reader.varint())
    (differences,) = decode_symbols(stream, [(size, differences_model.table())])
    levels = np.cumsum(differences, dtype=np.int64)
    if int(levels.min()) < 0 or int(levels.max()) > (_MAX_EXPONENT + 1) << mantissa_bits:
        raise CorruptFileError("A stored histogram has a frequency that is out of bounds.")
    if int(levels.max()) == 0:
        raise CorruptFileError("A stored histogram is empty.")
    return SymbolTable(low, _counts(levels, mantissa_bits), reader.since(start))


def _levels(frequencies: NDArray[np.int64], mantissa_bits: int) -> NDArray[np.int64]:
    """Return the levels of frequencies: 0 for 0, else 1 plus exponent and mantissa of the nearest number."""
    exponents = np.frexp(np.maximum(frequencies, 1).astype(np.float64))[1].astype(np.int64) - 1
    # Twice the mantissa, plus one, halved: rounding in integers. Carries run into the exponent by themselves.
    mantissas = ((frequencies << (mantissa_bits + 1) >> exponents) + 1 >> 1) - (1 << mantissa_bits)
    return np.where(frequencies > 0, 1 + (exponents << mantissa_bits) + mantissas, 0)


def _counts(levels: NDArray[np.int64], mantissa_bits: int) -> NDArray[np.int64]:
    """Return the counts that levels stand for, the escape's included."""
    codes = np.maximum(levels - 1, 0)
    mantissas = (codes & (1 << mantissa_bits) - 1) + (1 << mantissa_bits)
    weights = np.where(levels > 0, mantissas << (codes >> mantissa_bits), 0)
    return counts_from_weights(np.append(weights, 0).astype(np.uint64))


def _describe(low: int, levels: NDArray[np.int64], mantissa_bits: int) -> bytes:
    """Return the stored form of a histogram."""
    differences = np.diff(levels, prepend=0)
    model = fit_parametric(*histogram_of(differences))
    stream = encode_symbols([(differences, model.table())])
    head = bytes([HISTOGRAM_HEAD]) + signed_varint(low) + varint(len(levels) - 1) + bytes([mantissa_bits])
    return head + model.to_bytes() + varint(len(stream)) + stream
