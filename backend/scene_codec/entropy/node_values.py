"""Integers on the held nodes of a grid to bytes: each told from its neighbours and its node's earlier ones.

    mean        weighted mean of the same channel in the neighbours that are known (`node_order`)
    expected    mean * a, in sixteenths; its nearest integer is subtracted
    spread      b0 + b1 * what the neighbours were off by + b2 * what earlier channels of the node were off by
                + b3 * |expected|
    class       half octaves of the spread; with the fraction of the expected value it selects a table

Weights a and b are fitted for every channel and kind of turn, and stored in 32nds; all sums are of integers.
Where a node knows no neighbour, mean and what they were off by are zero, with weights of their own.

    weights     of each channel and kind a, b0, b1, b2, b3, as varints; a is signed
    tables      `entropy.context_tables`, a context for each class and fraction
    stream      range coder: turn by turn, in each channel by channel
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene_codec.entropy.byte_fields import ByteReader, signed_varint, varint
from scene_codec.entropy.context_tables import LARGEST_COUNTED, ContextTables, read_context_tables
from scene_codec.entropy.node_order import KINDS, Turn, coding_turns
from scene_codec.entropy.parametric_fit import fit_skewed
from scene_codec.entropy.range_coding import SymbolDecoder, SymbolEncoder
from scene_codec.entropy.symmetric_fit import fit_symmetric
from scene_codec.entropy.tables import SymbolTable, histogram_of
from scene_codec.errors import CorruptFileError

_UNIT = 16
_WEIGHT_UNIT = 32
_MOST_WEIGHT = 1 << 12
_SPREADS = np.array(
    [1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256, 362, 512, 724, 1024, 2048, 4096]
)
_CLASSES = len(_SPREADS) + 1
_FRACTIONS = (2, 5)
"""Sixteenths up to which the expected value counts as near an integer, and as halfway to the next one."""

_FRACTION_MATTERS = 32
"""Spread below which it does."""

_CONTEXTS = (len(_FRACTIONS) + 1) * _CLASSES
_FEW = 150
"""Symbols below which contexts share a table."""

_LARGEST_VALUE = 1 << 24
_ROUNDS = 3

_Ints = NDArray[np.int64]
_Take = Callable[[_Ints, _Ints], _Ints]
"""Takes the contexts (n,) and, when encoding, the residuals (n,); returns the residuals."""

_Note = Callable[[_Ints, int, _Ints, _Ints], None]
"""Is told rows (n,) and channel of a piece, what is expected there and its spread (n,) in sixteenths."""


@dataclass(frozen=True, eq=False)
class _Weights:
    """What is fitted.

    mean : (channels, KINDS) a
    spread : (channels, KINDS, 4) b
    """

    mean: _Ints
    spread: _Ints

    def to_bytes(self) -> bytes:
        """Return the stored form."""
        pairs = zip(self.mean.reshape(-1).tolist(), self.spread.reshape(-1, 4).tolist(), strict=True)
        return b"".join(signed_varint(mean) + b"".join(map(varint, spread)) for mean, spread in pairs)


def _read_weights(reader: ByteReader, channels: int) -> _Weights:
    """Return the weights that come next. Raises `CorruptFileError`."""
    mean = np.zeros((channels, KINDS), np.int64)
    spread = np.zeros((channels, KINDS, 4), np.int64)
    for place in np.ndindex(channels, KINDS):
        found = [reader.signed_varint(), *(reader.varint() for _ in range(4))]
        if max(map(abs, found)) > _MOST_WEIGHT:
            raise CorruptFileError("A weight of values on a grid is out of range.")
        mean[place], spread[place] = found[0], found[1:]
    return _Weights(mean, spread)


def encode_node_values(values: NDArray[np.int32], held: NDArray[np.bool_]) -> bytes:
    """Return the bytes of integers on the held nodes of a grid.

    values : (rows, channels) below 2**24 in magnitude, rows in the order of the grid
    held : (x, y, z) bool
    """
    channels = values.shape[1]
    if not values.size:
        return b""
    turns = list(coding_turns(held))
    full = np.concatenate([values, np.zeros((1, channels), np.int32)]).astype(np.int64)
    weights = _fitted(turns, full)
    pieces: list[tuple[_Ints, _Ints]] = []

    def collect(contexts: _Ints, residuals: _Ints) -> _Ints:
        pieces.append((contexts, residuals))
        return residuals

    _walk(turns, weights, full, collect)
    tables = _fit_tables(pieces)
    encoder = SymbolEncoder(tables.tables)
    for contexts, residuals in pieces:
        encoder.put(residuals, tables.of_context[contexts])
    return weights.to_bytes() + tables.description + encoder.finish()


def decode_node_values(data: bytes, held: NDArray[np.bool_], channels: int) -> NDArray[np.int32]:
    """Return the integers (rows, channels) on the held nodes of a grid (x, y, z).

    Allocates in proportion to the grid and the values. Raises `CorruptFileError`.
    """
    rows = int(held.sum())
    if rows == 0 or channels == 0:
        if data:
            raise CorruptFileError("Values of a grid without held nodes are followed by something.")
        return np.zeros((rows, channels), np.int32)
    reader = ByteReader(data)
    weights = _read_weights(reader, channels)
    tables = read_context_tables(reader, _CONTEXTS)
    decoder = SymbolDecoder(reader.rest(), tables.tables)
    full = np.zeros((rows + 1, channels), np.int64)

    def take(contexts: _Ints, _: _Ints) -> _Ints:
        residuals = decoder.take(tables.of_context[contexts]).astype(np.int64)
        if int(np.abs(residuals).max(initial=0)) > 2 * _LARGEST_VALUE:
            raise CorruptFileError("A value on a grid is out of range.")
        return residuals

    def check(rows: _Ints, channel: int, own: _Ints, off: _Ints) -> None:
        if int(np.abs(own).max(initial=0)) > 2 * _UNIT * _LARGEST_VALUE:
            raise CorruptFileError("A value on a grid is out of range.")

    _walk(coding_turns(held), weights, full, take, check)
    decoder.finish()
    if int(np.abs(full).max()) > _LARGEST_VALUE:
        raise CorruptFileError("A value on a grid is out of range.")
    return full[:-1].astype(np.int32)


def predictions(
    values: NDArray[np.int32], held: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what the coder would expect of each value (rows, channels), and how far it thinks to be off.

    For those who choose values by what they cost; others than `values` change what is expected of them.
    """
    expected, spread = (np.zeros(values.shape, np.float32) for _ in range(2))
    if not values.size:
        return expected, spread
    turns = list(coding_turns(held))
    full = np.concatenate([values, np.zeros((1, values.shape[1]), np.int32)]).astype(np.int64)

    def note(rows: _Ints, channel: int, own: _Ints, off: _Ints) -> None:
        expected[rows, channel] = own / _UNIT
        spread[rows, channel] = off / _UNIT

    _walk(turns, _fitted(turns, full), full, lambda _, residuals: residuals, note)
    return expected, spread


def _walk(
    turns: Iterable[Turn], weights: _Weights, values: _Ints, take: _Take, note: _Note | None = None
) -> None:
    """Go through the nodes in coding order; encoder and decoder are what `take` does with a piece.

    values : (rows + 1, channels), the last row zero; filled in with what `take` returns
    """
    off = np.zeros_like(values)
    for turn in turns:
        known = turn.known()
        kind = np.where(known > 0, turn.kind, 0)
        expected = weights.mean[:, kind].T * _means(turn, values, known) // _WEIGHT_UNIT
        around = _means(turn, off, known)
        before = np.zeros(len(turn.rows), np.int64)
        for channel in range(values.shape[1]):
            own = expected[:, channel]
            base, towards, outside, size = weights.spread[channel, kind].T
            earlier = before // max(channel, 1)
            spread = base + towards * around[:, channel] + outside * earlier + size * np.abs(own)
            spread //= _WEIGHT_UNIT
            if note is not None:
                note(turn.rows, channel, own, spread)
            centre = (own + _UNIT // 2) // _UNIT
            contexts, sign = _contexts(spread, own - _UNIT * centre)
            residual = take(contexts, sign * (values[turn.rows, channel] - centre))
            values[turn.rows, channel] = centre + sign * residual
            off[turn.rows, channel] = np.abs(residual)
            before += _UNIT * np.abs(residual)


def _means(turn: Turn, values: _Ints, known: _Ints) -> _Ints:
    """Return the weighted means (n, c) of known neighbours, in sixteenths."""
    total = np.maximum(known, 1)[:, None]
    means: _Ints = (_UNIT * turn.sums(values) + total // 2) // total
    return means


def _contexts(spread: _Ints, fraction: _Ints) -> tuple[_Ints, _Ints]:
    """Return contexts (n,), and by which sign residuals are multiplied so that fractions are positive."""
    classes = np.searchsorted(_SPREADS, spread, side="right")
    bucket = np.searchsorted(_FRACTIONS, np.abs(fraction), side="left")
    bucket = np.where(spread < _FRACTION_MATTERS, bucket, 0)
    return bucket * _CLASSES + classes, np.where(fraction < 0, -1, 1)


def _fit_tables(pieces: list[tuple[_Ints, _Ints]]) -> ContextTables:
    """Return tables for the contexts; those with few symbols share one with their neighbours."""
    contexts = np.concatenate([own for own, _ in pieces])
    residuals = np.concatenate([own for _, own in pieces])
    counts = np.bincount(contexts, minlength=_CONTEXTS)
    of_context = np.zeros(_CONTEXTS, np.uint8)
    index, seen = 0, 0
    for context in range(_CONTEXTS):
        left = counts[context:].sum()
        if context and seen >= _FEW and left >= _FEW and (counts[context] or context % _CLASSES == 0):
            index, seen = index + 1, 0
        of_context[context] = index
        seen += counts[context]
    chosen = of_context[contexts]
    even = of_context[_CLASSES - 1]  # the last table of fractions near zero, around which all is symmetric
    tables = tuple(_fit(residuals[chosen == number], number <= even) for number in range(index + 1))
    return ContextTables(tables, of_context)


def _fit(residuals: _Ints, symmetric: bool) -> SymbolTable:
    """Return the table of residuals (n,)."""
    if symmetric:
        return fit_symmetric(np.bincount(np.minimum(np.abs(residuals), LARGEST_COUNTED)))
    return fit_skewed(*histogram_of(residuals)).table()


def _fitted(turns: list[Turn], values: _Ints) -> _Weights:
    """Return the weights that suit values (rows + 1, channels)."""
    channels = values.shape[1]
    means = np.zeros((len(values) - 1, channels), np.int64)
    kinds = np.zeros(len(values) - 1, np.int64)
    for turn in turns:
        known = turn.known()
        means[turn.rows] = _means(turn, values, known)
        kinds[turn.rows] = np.where(known > 0, turn.kind, 0)
    mean = np.zeros((channels, KINDS), np.int64)
    for kind in range(1, KINDS):
        own = kinds == kind
        x, y = means[own] / _UNIT, values[:-1][own]
        squares = (x * x).sum(axis=0)
        mean[:, kind] = np.rint(_WEIGHT_UNIT * (x * y).sum(axis=0) / np.maximum(squares, 1e-9)).clip(-32, 48)
    expected = mean[:, kinds].T * means // _WEIGHT_UNIT
    off = np.zeros_like(values)
    off[:-1] = np.abs(values[:-1] - (expected + _UNIT // 2) // _UNIT)
    around = np.zeros_like(means)
    for turn in turns:
        around[turn.rows] = _means(turn, off, turn.known())
    spread = np.zeros((channels, KINDS, 4), np.int64)
    earlier = np.zeros(len(means), np.int64)
    for channel in range(channels):
        for kind in range(KINDS):
            own = kinds == kind
            columns = (around[own, channel], earlier[own] // max(channel, 1), np.abs(expected[own, channel]))
            spread[channel, kind] = _fitted_spread(off[:-1][own, channel] * _UNIT, columns)
        earlier += _UNIT * off[:-1, channel]
    return _Weights(mean, spread)


def _fitted_spread(wanted: _Ints, columns: tuple[_Ints, ...]) -> _Ints:
    """Return b0 to b3 in 32nds: relative errors count, so that small spreads are as good as large ones."""
    if not len(wanted):
        return np.zeros(4, np.int64)
    from scipy.optimize import nnls  # takes long to load, and decoding does without

    design = np.stack([np.ones(len(wanted)), *columns], axis=1).astype(np.float64)
    target = wanted.astype(np.float64)
    found = np.array([target.mean(), 0.0, 0.0, 0.0])
    for _ in range(_ROUNDS):
        weight = 1.0 / (design @ found + 1.0)
        rows = design * weight[:, None]
        gram, towards = rows.T @ rows + 1e-9 * np.eye(4), rows.T @ (target * weight)
        factor = np.linalg.cholesky(gram).T
        found, _ = nnls(factor, np.linalg.solve(factor.T, towards))
    scaled: _Ints = np.rint(_WEIGHT_UNIT * found).astype(np.int64).clip(0, _MOST_WEIGHT)
    return scaled
