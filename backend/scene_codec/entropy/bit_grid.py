"""Dense grids of booleans to bytes: cells in diagonal layers, each told from those near it in earlier layers.

A layer is all cells of the same `4 x + 2 y + z`. No cell stands in the template of another of its layer, so
that a layer is coded at once. What is known of a cell:

    template   58 cells near it in earlier layers, occupied or not; cells outside the grid are not
    memories   the log odds of the cells so far with the same nearest cells of the template, of 9 and of 16

Their sum with integer weights falls into a class, an octave of odds wide, and how often cells of the class
were occupied so far is the probability. Cells whose template is empty, or full, have classes of their own.
The weights are fitted to the grid and stored; all else adapts, in integers, so that no tables are stored.

    byte 0     0: no cell is occupied; 1: all are; 2: usual weights; 3: weights come first in the stream
    stream     range coder: the weights, all under one table; the cells, layer by layer; 16 bits of a CRC-32

The checksum is there since with probabilities that adapt almost any bytes, cut ones too, stand for some grid.

Templates and context counts as in JBIG (ITU-T T.82), in three dimensions; mixing of log odds and a last table
that adapts as in context mixing (M. Mahoney, PAQ), but layer by layer and with weights that stay.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from scene_codec.entropy.binary_tables import binary_table
from scene_codec.entropy.logistic_fit import fit_logistic
from scene_codec.entropy.parametric import PROBABILITY_BITS, ParametricModel, probability_of_byte
from scene_codec.entropy.range_coding import SymbolDecoder, SymbolEncoder
from scene_codec.entropy.tables import SymbolTable
from scene_codec.errors import CorruptFileError

Shape = tuple[int, int, int]

_EMPTY, _FULL, _USUAL, _FITTED = (bytes([head]) for head in range(4))
_STEPS = (4, 2, 1)
_REACH = 3
_TEMPLATE_STEPS = 4
"""Most steps along axes from a cell to one of its template, at most `_REACH` of them along one axis."""

_MEMORY_CELLS = (9, 16)

_OCTAVE_BITS = 10
_TEMPLATE_UNIT = 1 << 8
_MEMORY_UNIT = 1 << 2
"""What weights of one add to the sum: for an occupied cell, for a sixteenth of an octave of a memory."""

_CLASSES = 24
_QUIET_EMPTY, _QUIET_FULL = _CLASSES, _CLASSES + 1
_SEEN = 16
"""What a cell adds to the counts of its class."""

_CLASS_PRIOR = 128
_QUIET_PRIOR = (128, 1)
_FIRST_ODDS = 92682
"""The root of 2 in units of 2**-16: the middle of the first class above even odds."""

_FEW = 5
_MOST_COUNTED = 1 << 21
_FRACTION_BITS = 19
"""Mantissa bits of float32 that are dropped from a logarithm, to leave sixteenths."""

_CODES = (*range(0, 128, 2), *range(129, 256, 2))
"""Every second code of a probability, symmetric about one half."""

_EVEN = _CODES.index(126)
_WEIGHT_TABLE = len(_CODES)
_WEIGHT_MODEL = ParametricModel(ratio=140)
_LARGEST_WEIGHT = 1000
_USUAL_MEMORY_WEIGHT = 8
_SAMPLES = 24000
_SURE = 80
"""Log odds of the first memory, in sixteenths of an octave, from which cells say little about weights."""

_OCTAVES_PER_NAT = 1.4426950408889634
_CHECK_BITS = 16
_SIMPLE_BYTES = 400
"""Grids that take fewer bytes than this are tried with the usual weights as well."""

_Bits = NDArray[np.uint8]
_Ints = NDArray[np.int64]
_Codes = NDArray[np.uint16]
_Visit = Callable[[_Ints, _Codes], _Bits]
"""Takes the places of a layer and what code each one's probability has; returns which are occupied."""


def encode_bit_grid(occupied: NDArray[np.bool_]) -> bytes:
    """Return the bytes of a grid.

    occupied : (x, y, z) bool
    """
    if not occupied.any():
        return _EMPTY
    if occupied.all():
        return _FULL
    fitted = _encoded(occupied, _fitted_weights(occupied))
    if len(fitted) >= _SIMPLE_BYTES:
        return fitted
    return min(fitted, _encoded(occupied, None), key=len)


def decode_bit_grid(data: bytes, shape: Shape) -> NDArray[np.bool_]:
    """Return the grid (x, y, z) of which `data` are the bytes.

    Allocates in proportion to `shape`, whatever the data. Raises `CorruptFileError` when no grid of this
    shape has these bytes, as far as 16 bits of checksum and the range coder can tell.
    """
    head = data[:1]
    if data in (_EMPTY, _FULL):
        return np.full(shape, data == _FULL)
    if head not in (_USUAL, _FITTED):
        raise CorruptFileError(f"A grid of {len(data)} bytes is cut off, or coded in an unknown way.")
    decoder = SymbolDecoder(data[1:], _tables())
    weights = _usual_weights()
    if head == _FITTED:
        weights = decoder.take(np.full(len(weights), _WEIGHT_TABLE)).astype(np.int64)
        if int(np.abs(weights).max()) > _LARGEST_WEIGHT:
            raise CorruptFileError(f"A weight of a grid is above {_LARGEST_WEIGHT}.")
    walk = _Walk(shape)
    cells = np.zeros(walk.padded, np.uint8)

    def take(places: _Ints, codes: _Codes) -> _Bits:
        bits = decoder.take(codes)
        if bits.size and not 0 <= int(bits.min()) <= int(bits.max()) <= 1:
            raise CorruptFileError("A grid is damaged: a cell is neither empty nor occupied.")
        cells.reshape(-1)[places] = bits
        return bits.astype(np.uint8)

    _code_cells(walk, weights, take)
    occupied: NDArray[np.bool_] = cells[(slice(_REACH, -_REACH),) * 3] > 0
    check = _check_bits(occupied)
    if not np.array_equal(decoder.take(np.full(len(check), _EVEN)), check):
        raise CorruptFileError("A grid is damaged: its cells do not match their checksum.")
    decoder.finish()
    if occupied.all() or not occupied.any():
        raise CorruptFileError("A grid whose cells are all alike is spelt as one whose cells differ.")
    return occupied


def _encoded(occupied: NDArray[np.bool_], weights: _Ints | None) -> bytes:
    """Return the bytes with some weights, or with the usual ones."""
    encoder = SymbolEncoder(_tables())
    if weights is not None:
        encoder.put(weights, np.full(len(weights), _WEIGHT_TABLE))
    cells = _padded_cells(occupied)

    def put(places: _Ints, codes: _Codes) -> _Bits:
        bits = cells.take(places)
        encoder.put(bits, codes)
        return bits

    x, y, z = occupied.shape
    _code_cells(_Walk((x, y, z)), _usual_weights() if weights is None else weights, put)
    check = _check_bits(occupied)
    encoder.put(check, np.full(len(check), _EVEN))
    return (_USUAL if weights is None else _FITTED) + encoder.finish()


def _check_bits(occupied: NDArray[np.bool_]) -> _Bits:
    """Return the last bits of the CRC-32 of a grid's cells, (16,)."""
    checksum = zlib.crc32(np.packbits(occupied).tobytes())
    return (checksum >> np.arange(_CHECK_BITS) & 1).astype(np.uint8)


def _code_cells(walk: _Walk, weights: _Ints, visit: _Visit) -> None:
    """Go through the cells in coding order; encoder and decoder are what `visit` does with a layer."""
    sums_of_bytes = _sums_of_bytes(weights)
    memory_weights = (weights[-len(_MEMORY_CELLS) :] * _MEMORY_UNIT).tolist()
    counts = _first_counts()
    for places in walk.layers:
        templates = walk.templates.take(places)
        quiet = (templates == 0) | (templates == walk.full)
        busy = np.flatnonzero(~quiet)
        classes = np.where(templates == 0, np.int64(_QUIET_EMPTY), np.int64(_QUIET_FULL))
        templates = templates.take(busy)
        if busy.size:
            sums = sums_of_bytes[0][templates & 0xFF]
            for place, of_byte in enumerate(sums_of_bytes[1:], start=1):
                sums += of_byte[templates >> 8 * place & 0xFF]
            for weight, log_odds in zip(memory_weights, walk.remembered(templates), strict=True):
                sums += weight * log_odds
            classes[busy] = ((sums >> _OCTAVE_BITS) + _CLASSES // 2).clip(0, _CLASSES - 1)
        bits = visit(places, _codes(counts).take(classes))
        walk.learn(places[bits > 0], templates, bits.take(busy))
        seen = np.bincount(2 * classes + bits, minlength=counts.size)
        counts += _SEEN * seen.reshape(counts.shape)


class _Walk:
    """The layers of a grid, and what is known of their cells.

    A place is an index into the grid with a margin of `_REACH` cells, flat.

    layers : places of the cells of each layer, ascending
    templates : for each place, a bit for each cell of its template, the nearest one lowest
    full : the template with all cells occupied
    """

    def __init__(self, shape: Shape) -> None:
        self.padded = tuple(side + 2 * _REACH for side in shape)
        strides = np.array([self.padded[1] * self.padded[2], self.padded[2], 1], np.int64)
        axes = [np.arange(side) for side in shape]
        x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
        last = 4 * shape[0] + 2 * shape[1] + shape[2]
        layer = (_STEPS[0] * x + _STEPS[1] * y + _STEPS[2] * z).astype(np.min_scalar_type(last)).reshape(-1)
        places = (strides[0] * (x + _REACH) + strides[1] * (y + _REACH) + (z + _REACH)).reshape(-1)
        sizes = np.bincount(layer)
        ordered = places[np.argsort(layer, kind="stable")]
        self.layers = np.split(ordered, np.cumsum(sizes[sizes > 0])[:-1])
        self.templates = np.zeros(int(np.prod(self.padded)), np.int64)
        self.full = (1 << len(_template())) - 1
        self._away = (np.array(_template(), np.int64) @ strides)[:, None]
        self._flags = np.int64(1) << np.arange(len(_template()), dtype=np.int64)
        self._memories = [np.zeros(2 << cells, np.int64) for cells in _MEMORY_CELLS]

    def remembered(self, templates: _Ints) -> list[_Ints]:
        """Return for each memory the log odds (n,) of these templates, in sixteenths of an octave."""
        return [
            _logarithms(memory.take(keys + 1)) - _logarithms(memory.take(keys))
            for memory, keys in zip(self._memories, _memory_keys(templates), strict=True)
        ]

    def learn(self, occupied: _Ints, templates: _Ints, bits: _Bits) -> None:
        """Take in a layer: places of its occupied cells; templates and bits (n,) of cells to remember."""
        targets = (occupied - self._away).reshape(-1)
        np.add.at(self.templates, targets, np.repeat(self._flags, occupied.size))
        for memory, keys in zip(self._memories, _memory_keys(templates), strict=True):
            np.add.at(memory, keys + bits, 1)


def _memory_keys(templates: _Ints) -> list[_Ints]:
    """Return where in each memory the counts of empty cells stand; those of occupied ones come next."""
    return [(templates & (1 << cells) - 1) << 1 for cells in _MEMORY_CELLS]


def _logarithms(counts: _Ints) -> _Ints:
    """Return the logarithms of counts, in sixteenths of an octave, linear within an octave."""
    # Whole numbers below 2**24 are exact in float32: its exponent and the first bits of its mantissa.
    numbers = (_FEW * np.minimum(counts, _MOST_COUNTED) + 1).astype(np.float32)
    return (numbers.view(np.int32) >> _FRACTION_BITS).astype(np.int64)


@cache
def _template() -> tuple[Shape, ...]:
    """Return the offsets of the template's cells, the nearest first."""
    near = range(-_REACH, _REACH + 1)
    found = [
        (x, y, z)
        for x, y, z in product(near, repeat=3)
        if _STEPS[0] * x + _STEPS[1] * y + _STEPS[2] * z < 0 and abs(x) + abs(y) + abs(z) <= _TEMPLATE_STEPS
    ]
    return tuple(sorted(found, key=lambda offset: (sum(step * step for step in offset), offset)))


def _usual_weights() -> _Ints:
    """Return weights for grids too small for their own: of one, the template, the memories."""
    template = [0] * (1 + len(_template()))
    return np.array(template + [_USUAL_MEMORY_WEIGHT] * len(_MEMORY_CELLS), np.int64)


def _sums_of_bytes(weights: _Ints) -> list[_Ints]:
    """Return what each byte of a template adds to the sum, (256,) for each of its places."""
    own = weights[1 : 1 + len(_template())] * _TEMPLATE_UNIT
    own = np.concatenate([own, np.zeros(-len(own) % 8, np.int64)]).reshape(-1, 8)
    bits = np.arange(256)[:, None] >> np.arange(8) & 1
    sums = [bits @ of_byte for of_byte in own]
    return [sums[0] + weights[0] * _TEMPLATE_UNIT, *sums[1:]]


def _fitted_weights(occupied: NDArray[np.bool_]) -> _Ints:
    """Return the weights that suit a grid."""
    x, y, z = occupied.shape
    walk, cells = _Walk((x, y, z)), _padded_cells(occupied)
    seen: list[tuple[_Ints, list[_Ints], _Bits]] = []
    for places in walk.layers:
        bits, templates = cells.take(places), walk.templates.take(places)
        busy = np.flatnonzero((templates != 0) & (templates != walk.full))
        templates = templates.take(busy)
        seen.append((templates, walk.remembered(templates), bits.take(busy)))
        walk.learn(places[bits > 0], templates, bits.take(busy))
    templates = np.concatenate([own for own, _, _ in seen])
    odds = np.concatenate([np.stack(own) for _, own, _ in seen], axis=1)
    picked = np.flatnonzero(np.abs(odds[0]) <= _SURE)
    picked = picked[:: 1 + picked.size // _SAMPLES]
    features = np.ones((len(_usual_weights()), picked.size), np.float32)
    features[1 : -len(_MEMORY_CELLS)] = templates[picked] >> np.arange(len(_template()))[:, None] & 1
    features[-len(_MEMORY_CELLS) :] = odds[:, picked]
    weights = fit_logistic(features, np.concatenate([bits for _, _, bits in seen])[picked])
    units = np.where(np.arange(len(weights)) <= len(_template()), _TEMPLATE_UNIT, _MEMORY_UNIT)
    whole = np.rint(weights * (_OCTAVES_PER_NAT * (1 << _OCTAVE_BITS)) / units)
    return whole.clip(-_LARGEST_WEIGHT, _LARGEST_WEIGHT).astype(np.int64)


def _padded_cells(occupied: NDArray[np.bool_]) -> _Bits:
    """Return the cells by their places."""
    return np.pad(occupied, _REACH).view(np.uint8).reshape(-1)


def _first_counts() -> _Ints:
    """Return the counts (classes, 2) of empty and occupied cells before the first layer."""
    above = []
    for index in range(_CLASSES // 2):
        odds = _FIRST_ODDS << index
        empty = max(1, (_CLASS_PRIOR << 16) // ((1 << 16) + odds))
        above.append((empty, _CLASS_PRIOR - empty))
    below = [pair[::-1] for pair in reversed(above)]
    return np.array([*below, *above, _QUIET_PRIOR, _QUIET_PRIOR[::-1]], np.int64)


def _codes(counts: _Ints) -> _Codes:
    """Return for each class the index of the code that is nearest to its share of occupied cells."""
    chances = (counts[:, 1] << PROBABILITY_BITS) // counts.sum(axis=1)
    codes: _Codes = np.searchsorted(_limits(), chances).astype(np.uint16)
    return codes


@cache
def _limits() -> _Ints:
    """Return the probabilities halfway between those of neighbouring codes."""
    chances = np.array([probability_of_byte(code) for code in _CODES], np.int64)
    return (chances[:-1] + chances[1:]) >> 1


@cache
def _tables() -> tuple[SymbolTable, ...]:
    """Return the tables by their code, that of the weights last."""
    return (*(binary_table(code) for code in _CODES), _WEIGHT_MODEL.table())
