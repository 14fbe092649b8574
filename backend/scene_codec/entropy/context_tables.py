"""A table for each of many contexts that are ordered by spread; those of few symbols share one.

A table costs about four bytes in the file. Whether two neighbouring contexts are worth a table each is
decided by the entropies of their histograms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene_codec.entropy.byte_fields import ByteReader, unpacked_bits
from scene_codec.entropy.fitting import read_table
from scene_codec.entropy.range_coding import SymbolEncoder
from scene_codec.entropy.symmetric_fit import fit_symmetric
from scene_codec.entropy.tables import SymbolTable

LARGEST_COUNTED = 4096
"""Magnitudes above are counted as this one."""

_COUNTED_AT_ONCE = 1 << 20
_DESCRIPTION_BITS = 30.0
_FINE_BINS = 16
_BINS_PER_OCTAVE = 4


@dataclass(frozen=True, eq=False)
class ContextTables:
    """Tables, and which of them each context uses.

    of_context : (contexts,) uint8, index into `tables`, ascending in steps of 0 or 1
    """

    tables: tuple[SymbolTable, ...]
    of_context: NDArray[np.uint8]

    @property
    def description(self) -> bytes:
        """The bytes from which `read_context_tables` makes these tables again."""
        starts = np.diff(self.of_context.astype(np.int64)) > 0
        return np.packbits(starts).tobytes() + b"".join(table.description for table in self.tables)


def read_context_tables(reader: ByteReader, contexts: int) -> ContextTables:
    """Return the tables of so many contexts that come next. Raises `CorruptFileError`."""
    starts = unpacked_bits(reader.take(-(-(contexts - 1) // 8)), contexts - 1)
    of_context = np.concatenate([[0], np.cumsum(starts)]).astype(np.uint8)
    return ContextTables(tuple(read_table(reader) for _ in range(int(of_context[-1]) + 1)), of_context)


Piece = tuple[NDArray[np.uint8], NDArray[np.int32]]


def count_magnitudes(pieces: Iterable[Piece], contexts: int) -> NDArray[np.int64]:
    """Return how often each magnitude occurs in each context, (contexts, LARGEST_COUNTED + 1).

    pieces : contexts (n,) and symbols (n,)
    """
    width = LARGEST_COUNTED + 1
    total = np.zeros(contexts * width, np.int64)
    waiting: list[NDArray[np.int32]] = []
    for own, symbols in pieces:
        magnitudes = np.abs(symbols.clip(-LARGEST_COUNTED, LARGEST_COUNTED))
        waiting.append(own.astype(np.int32) * np.int32(width) + magnitudes)
        # One count of many pieces: the bins are more than the symbols of most.
        if sum(map(len, waiting)) >= _COUNTED_AT_ONCE:
            total += np.bincount(np.concatenate(waiting), minlength=contexts * width)
            waiting = []
    if waiting:
        total += np.bincount(np.concatenate(waiting), minlength=contexts * width)
    return total.reshape(contexts, width)


def fit_context_tables(counts: NDArray[np.int64]) -> ContextTables:
    """Return tables for contexts of which neighbours are alike.

    counts : (contexts, magnitudes) how often each magnitude from 0 on occurs
    """
    groups = _merged(counts)
    tables = tuple(fit_symmetric(counts[start:stop].sum(axis=0)) for start, stop in groups)
    sizes = [stop - start for start, stop in groups]
    return ContextTables(tables, np.repeat(np.arange(len(groups)), sizes).astype(np.uint8))


def encode_pieces(pieces: Iterable[Piece], tables: ContextTables) -> bytes:
    """Return the stream of pieces, contexts and symbols each; a `SymbolDecoder` reads it piece by piece."""
    encoder = SymbolEncoder(tables.tables)
    for contexts, symbols in pieces:
        encoder.put(symbols, tables.of_context[contexts])
    return encoder.finish()


def with_mark(stream: bytes) -> bytes:
    """Return a stream with something in it, where an empty one has a meaning of its own."""
    return stream or _EMPTY


def without_mark(data: bytes) -> bytes:
    """Undo `with_mark`."""
    return b"" if data == _EMPTY else data


_EMPTY = b"\0"
"""No stream ends with a zero byte."""


def _merged(counts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return ranges of contexts that share a table, merging the pair that gains most as long as one does."""
    rows = list(_coarse(counts))
    groups = [(index, index + 1) for index in range(len(rows))]
    costs = [_entropy_bits(row) for row in rows]
    gains = [_gain(rows[at : at + 2], costs[at : at + 2]) for at in range(len(rows) - 1)]
    while gains and max(gains) > 0.0:
        at = int(np.argmax(gains))
        rows[at : at + 2] = [rows[at] + rows[at + 1]]
        groups[at : at + 2] = [(groups[at][0], groups[at + 1][1])]
        costs[at : at + 2] = [_entropy_bits(rows[at])]
        del gains[at]
        for side in (at - 1, at):
            if 0 <= side < len(gains):
                gains[side] = _gain(rows[side : side + 2], costs[side : side + 2])
    return groups


def _gain(rows: Sequence[NDArray[np.float64]], costs: Sequence[float]) -> float:
    """Return the bits that a common table for two histograms saves."""
    return costs[0] + costs[1] + _DESCRIPTION_BITS - _entropy_bits(rows[0] + rows[1])


def _coarse(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return histograms over magnitudes with bins that widen, four to the octave."""
    width = counts.shape[1]
    octaves = np.arange(_BINS_PER_OCTAVE * 64) / _BINS_PER_OCTAVE
    wide = np.unique((_FINE_BINS * 2.0 ** octaves[octaves < 48]).astype(np.int64))
    starts = np.concatenate([np.arange(min(_FINE_BINS, width)), wide[wide < width]])
    return np.add.reduceat(counts, starts, axis=1).astype(np.float64)


def _entropy_bits(row: NDArray[np.float64]) -> float:
    """Return the ideal code length of a histogram, corrected for having been fitted to it (Miller-Madow)."""
    present = row[row > 0.0]
    total = float(present.sum())
    if total == 0.0:
        return 0.0
    correction = 0.5 * (len(present) - 1) / np.log(2.0)
    return float(total * np.log2(total) - present @ np.log2(present) + correction)
