"""Symbols to bytes and back: a range coder over any number of arrays, each with its own table.

A stream is a binary fraction, most significant byte first, with trailing zero bytes left out. The encoder
takes, from the interval that identifies the symbols, the number with the most trailing zero bytes, so that a
stream is at most two bytes longer than the information in it. The decoder accepts that one spelling only: it
encodes what it decoded once more and compares, at a fraction of the cost. That refuses foreign bytes
at the end and most damage; finding all damage is the work of the container's checksums.

Range coder: constriction (R. Bamler, arXiv 2201.01741), 64-bit state, 32-bit words. Specified in
docs/FORMAT.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from scene_codec.entropy.tables import (
    ESCAPE_CLASS_BITS,
    SYMBOL_MAX,
    SYMBOL_MIN,
    SymbolTable,
)
from scene_codec.errors import CorruptFileError

_WORD_BYTES = 4
_STATE_BITS = 64
_MANTISSA_CHUNK_BITS = 16
_MAX_DISTANCE_BITS = 32

_models = constriction.stream.model
_queue = constriction.stream.queue


def encode_symbols(parts: Sequence[tuple[NDArray[np.integer], SymbolTable]]) -> bytes:
    """Return one stream of several arrays of 32-bit symbols, each coded with its table.

    Raises `ValueError` when a symbol does not fit 32 bits.
    """
    encoder = _queue.RangeEncoder()
    for symbols, table in parts:
        _encode_part(encoder, np.asarray(symbols).ravel(), table, _model(table))
    return _shortest_bytes(encoder)


def decode_symbols(data: bytes, parts: Sequence[tuple[int, SymbolTable]]) -> list[NDArray[np.int32]]:
    """Return the arrays of a whole stream: `parts` says how many symbols each has, and with which table.

    Allocates in proportion to these counts, whatever the data. Raises `CorruptFileError` when `data` is not
    exactly what `encode_symbols` makes of some symbols.
    """
    decoder, again = _decoder_of(data), _queue.RangeEncoder()
    try:
        arrays = [_decode_part(decoder, again, count, table, _model(table)) for count, table in parts]
    except AssertionError as error:
        raise CorruptFileError("A range-coded stream is damaged: it stands for no symbols.") from error
    if _shortest_bytes(again) != data:
        raise _foreign_spelling(data)
    return arrays


def _foreign_spelling(data: bytes) -> CorruptFileError:
    return CorruptFileError(
        f"A range-coded stream of {len(data)} bytes is damaged: it is not what its symbols are coded to."
    )


class SymbolEncoder:
    """Codes symbols piece by piece, for models whose contexts depend on the pieces before."""

    def __init__(self, tables: Sequence[SymbolTable]) -> None:
        self._tables = tables
        self._models = [_model(table) for table in tables]
        self._encoder = _queue.RangeEncoder()

    def put(self, symbols: NDArray[np.integer], contexts: NDArray[np.integer]) -> None:
        """Code one piece (n,); each symbol with the table that its context (n,) selects."""
        order, parts = _grouped(contexts, len(self._tables))
        ordered = symbols[order]
        for context, part in parts:
            _encode_part(self._encoder, ordered[part], self._tables[context], self._models[context])

    def finish(self) -> bytes:
        """Return the stream of all pieces, of the shortest spelling."""
        return _shortest_bytes(self._encoder)


class SymbolDecoder:
    """Reads what a `SymbolEncoder` wrote, in the same pieces; `finish` tells whether that was all of it."""

    def __init__(self, data: bytes, tables: Sequence[SymbolTable]) -> None:
        self._data = data
        self._tables = tables
        self._models = [_model(table) for table in tables]
        self._decoder = _decoder_of(data)
        self._again = _queue.RangeEncoder()

    def take(self, contexts: NDArray[np.integer]) -> NDArray[np.int32]:
        """Return the next piece (n,), given the contexts it was coded with. Raises `CorruptFileError`."""
        symbols, ordered = (np.zeros(contexts.size, np.int32) for _ in range(2))
        order, parts = _grouped(contexts, len(self._tables))
        try:
            for context, part in parts:
                table, model = self._tables[context], self._models[context]
                count = part.stop - part.start
                ordered[part] = _decode_part(self._decoder, self._again, count, table, model)
        except AssertionError as error:
            raise CorruptFileError("A range-coded stream is damaged: it stands for no symbols.") from error
        symbols[order] = ordered
        return symbols

    def finish(self) -> None:
        """Raise `CorruptFileError` unless the data are what the symbols taken so far are coded to."""
        if _shortest_bytes(self._again) != self._data:
            raise _foreign_spelling(self._data)


def encode_with_contexts(
    symbols: NDArray[np.integer], contexts: NDArray[np.integer], tables: Sequence[SymbolTable]
) -> bytes:
    """Return one stream of symbols of which each is coded with the table that its context selects.

    contexts : same size as `symbols`, indices into `tables`, known to the decoder beforehand (such as the
        channel)
    """
    values = np.asarray(symbols).ravel()
    groups = _positions_by_context(contexts, len(tables))
    if values.size != sum(map(len, groups)):
        raise ValueError("symbols and contexts differ in number")
    return encode_symbols([(values[group], table) for group, table in zip(groups, tables, strict=True)])


def decode_with_contexts(
    data: bytes, contexts: NDArray[np.integer], tables: Sequence[SymbolTable]
) -> NDArray[np.int32]:
    """Return the symbols of a stream of `encode_with_contexts` in their original order, flat."""
    groups = _positions_by_context(contexts, len(tables))
    arrays = decode_symbols(data, [(len(group), table) for group, table in zip(groups, tables, strict=True)])
    values = np.zeros(sum(map(len, groups)), np.int32)
    for group, array in zip(groups, arrays, strict=True):
        values[group] = array
    return values


def _positions_by_context(contexts: NDArray[np.integer], count: int) -> list[NDArray[np.intp]]:
    """Return for each context the positions where it stands, ascending."""
    flat = np.asarray(contexts).ravel()
    if flat.size and not 0 <= int(flat.min()) <= int(flat.max()) < count:
        raise ValueError(f"a context lies outside the {count} tables")
    order = np.argsort(flat, kind="stable")
    return np.split(order, np.cumsum(np.bincount(flat, minlength=count))[:-1]) if count else []


def _grouped(contexts: NDArray[np.integer], count: int) -> tuple[NDArray[np.intp], list[tuple[int, slice]]]:
    """Return an order that sorts positions by context, and where in it each that occurs stands, ascending."""
    if contexts.size == 0:
        return np.zeros(0, np.intp), []
    counts = np.bincount(contexts, minlength=count).tolist()
    if len(counts) > count:
        raise ValueError(f"a context lies outside the {count} tables")
    ends = accumulate(counts)
    parts = [
        (context, slice(end - own, end))
        for context, (own, end) in enumerate(zip(counts, ends, strict=True))
        if own
    ]
    if len(parts) == 1:
        return np.arange(contexts.size), parts
    return np.argsort(contexts, kind="stable"), parts


def _decoder_of(data: bytes) -> Any:  # noqa: ANN401 - constriction has no type stubs
    padding = bytes(-len(data) % _WORD_BYTES)
    return _queue.RangeDecoder(np.frombuffer(data + padding, dtype=">u4").astype(np.uint32))


def _model(table: SymbolTable) -> Any:  # noqa: ANN401 - constriction has no type stubs
    # constriction turns weights into probabilities by scaling and adding 1 to each; with these weights the
    # scale is exactly 1, so that its probabilities are the counts themselves (checked by a test against a
    # plain decoder).
    return _models.Categorical((table.counts - 1).astype(np.float64), perfect=False)


def _encode_part(encoder: Any, symbols: NDArray[np.integer], table: SymbolTable, model: Any) -> None:  # noqa: ANN401
    if symbols.size == 0:
        return
    low, high = int(symbols.min()), int(symbols.max())
    if low < SYMBOL_MIN or high > SYMBOL_MAX:
        raise ValueError("a symbol does not fit 32 bits")
    if table.low <= low and high <= table.high:
        encoder.encode(symbols.astype(np.int32) - np.int32(table.low), model)
        return
    values = symbols.astype(np.int64)
    escaped = (values < table.low) | (values > table.high)
    encoder.encode(np.where(escaped, len(table.counts) - 1, values - table.low).astype(np.int32), model)
    if not escaped.any():
        return
    outside = values[escaped]
    below = outside < table.low
    distances = np.where(below, table.low - outside, outside - table.high)
    widths = _bit_lengths(distances) - 1
    encoder.encode((2 * widths + below).astype(np.int32), _models.Uniform(1 << ESCAPE_CLASS_BITS))
    for start in range(0, _MAX_DISTANCE_BITS, _MANTISSA_CHUNK_BITS):
        has_bits, sizes = _mantissa_chunk(widths, start)
        if has_bits.any():
            chunk = distances[has_bits] >> start & (sizes - 1)
            encoder.encode(chunk.astype(np.int32), _models.Uniform(), sizes.astype(np.int32))


def _decode_part(
    decoder: Any,  # noqa: ANN401 - constriction has no type stubs
    again: Any,  # noqa: ANN401
    count: int,
    table: SymbolTable,
    model: Any,  # noqa: ANN401
) -> NDArray[np.int32]:
    """Return symbols; the encoder `again` codes them anew, as `_encode_part` does."""
    if count == 0:
        return np.zeros(0, np.int32)
    indices: NDArray[np.int32] = decoder.decode(model, count)
    again.encode(indices, model)
    if int(indices.max()) < len(table.counts) - 1:
        return indices + np.int32(table.low)
    values = indices.astype(np.int64) + table.low
    escaped = indices == len(table.counts) - 1
    if escaped.any():
        classes = decoder.decode(_models.Uniform(1 << ESCAPE_CLASS_BITS), int(escaped.sum()))
        again.encode(classes, _models.Uniform(1 << ESCAPE_CLASS_BITS))
        widths = classes.astype(np.int64) >> 1
        distances = np.int64(1) << widths
        for start in range(0, _MAX_DISTANCE_BITS, _MANTISSA_CHUNK_BITS):
            has_bits, sizes = _mantissa_chunk(widths, start)
            if has_bits.any():
                chunk = decoder.decode(_models.Uniform(), sizes.astype(np.int32))
                again.encode(chunk, _models.Uniform(), sizes.astype(np.int32))
                distances[has_bits] |= chunk.astype(np.int64) << start
        values[escaped] = np.where(classes & 1, table.low - distances, table.high + distances)
        if int(values.min()) < SYMBOL_MIN or int(values.max()) > SYMBOL_MAX:
            raise CorruptFileError("A range-coded stream is damaged: a symbol does not fit 32 bits.")
    return values.astype(np.int32)


def _mantissa_chunk(widths: NDArray[np.int64], start: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which escapes have bits from bit `start` on, and for those two to the number of bits."""
    bits = np.clip(widths - start, 0, _MANTISSA_CHUNK_BITS)
    has_bits = bits > 0
    return has_bits, np.int64(1) << bits[has_bits]


def _bit_lengths(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bit length of positive numbers below 2**53."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)


def _shortest_bytes(encoder: Any) -> bytes:  # noqa: ANN401
    """Return, without its trailing zero bytes, the number in the final interval that has most of them."""
    position, (lower, width) = encoder.pos()
    words = encoder.get_compressed().astype(">u4").tobytes()
    size = _WORD_BYTES * position + _STATE_BITS // 8
    inside = int.from_bytes(words.ljust(size, b"\0"), "big")
    # The encoder's state holds the last 64 bits of the interval's start, without what they carry into the
    # words before.
    start = inside - ((inside - lower) % (1 << _STATE_BITS))
    for zero_bits in range(_STATE_BITS, -1, -8):
        shortest: int = -(-start >> zero_bits) << zero_bits
        if shortest < start + width:
            break
    return shortest.to_bytes(size, "big").rstrip(b"\0")
