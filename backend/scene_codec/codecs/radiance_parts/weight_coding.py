"""The integers of a network's layers as bytes, each weight coded by how large its row and column are.

    packed : arrays of `entropy.packing`, for all layers together: step exponents, classes, biases
    tables : `entropy.context_tables`, one context for each class of row plus class of column
    stream : the weights, layer after layer, row by row

A class is twice the binary logarithm of a mean magnitude, so that the sum of a row's and a column's says how
widely a weight is distributed, up to a factor of the square root of two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.radiance_parts.row_steps import HIGHEST_EXPONENT, LOWEST_EXPONENT
from scene_codec.entropy.byte_fields import ByteReader, varint
from scene_codec.entropy.context_tables import (
    count_magnitudes,
    encode_pieces,
    fit_context_tables,
    read_context_tables,
)
from scene_codec.entropy.packing import pack_integers, unpack_integers
from scene_codec.entropy.range_coding import SymbolDecoder
from scene_codec.errors import CorruptFileError

CONTEXTS = 40
_MIDDLE = 16
"""Context of weights whose row and column both have a mean magnitude of 1."""

_CLASSES_PER_OCTAVE = 2
_LARGEST_CLASS = 40
_LEAST_MEAN = 1.0 / 64
_ROUNDS = 6


@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """A layer in quantisation steps.

    weights : (rows, columns) int32
    biases : (rows,) int32
    exponents : (rows,) int32, of the step of each row, see `row_steps`
    bias_exponent : of the biases' step
    """

    weights: NDArray[np.int32]
    biases: NDArray[np.int32]
    exponents: NDArray[np.int32]
    bias_exponent: int


@dataclass(frozen=True, eq=False)
class _Classes:
    """Classes of a layer's rows and columns, int32."""

    rows: NDArray[np.int32]
    columns: NDArray[np.int32]

    @property
    def contexts(self) -> NDArray[np.uint8]:
        """The context of every weight, flat."""
        sums = self.rows[:, None] + self.columns[None] + _MIDDLE
        return sums.clip(0, CONTEXTS - 1).astype(np.uint8).reshape(-1)


def encode_layers(layers: Sequence[IntegerLayer]) -> bytes:
    """Return the bytes of a network's layers, the fewest of coding with and without classes."""
    fitted = [_fitted_classes(layer.weights) for layer in layers]
    no_rows = [_Classes(np.zeros_like(own.rows), own.columns + _typical(own.rows)) for own in fitted]
    neither = [_Classes(np.zeros_like(own.rows), np.zeros_like(own.columns)) for own in fitted]
    return min((_encoded(layers, classes) for classes in (fitted, no_rows, neither)), key=len)


def decode_layers(data: bytes, sizes: Sequence[tuple[int, int]]) -> list[IntegerLayer]:
    """Return the layers (rows, columns) of a network. Raises `CorruptFileError` when `data` is damaged."""
    reader = ByteReader(data)
    packed = reader.take(reader.varint())
    rows, columns = sum(size[0] for size in sizes), sum(size[1] for size in sizes)
    count = len(sizes)
    shapes = [(count,), (count,), (rows,), (rows,), (columns,), (rows,)]
    bases, bias_exponents, offsets, row_classes, column_classes, biases = unpack_integers(packed, shapes)
    for array, limit in ((row_classes, _LARGEST_CLASS), (column_classes, _LARGEST_CLASS)):
        if array.size and not -limit <= int(array.min()) <= int(array.max()) <= limit:
            raise CorruptFileError(f"A class of weights lies outside {-limit} to {limit}.")
    tables = read_context_tables(reader, CONTEXTS)
    decoder = SymbolDecoder(reader.rest(), tables.tables)
    layers = []
    row = column = 0
    for index, (height, width) in enumerate(sizes):
        own_rows, own_columns = slice(row, row + height), slice(column, column + width)
        classes = _Classes(row_classes[own_rows], column_classes[own_columns])
        weights = decoder.take(tables.of_context[classes.contexts]).reshape(height, width)
        exponents = bases[index].astype(np.int64) + offsets[own_rows]
        layers.append(
            IntegerLayer(
                weights,
                biases[own_rows],
                _checked(exponents),
                int(_checked(bias_exponents[index : index + 1])[0]),
            )
        )
        row, column = row + height, column + width
    decoder.finish()
    return layers


def _checked(exponents: NDArray[np.integer]) -> NDArray[np.int32]:
    """Return exponents of steps. Raises `CorruptFileError` when one is none."""
    if (
        exponents.size
        and not LOWEST_EXPONENT <= int(exponents.min()) <= int(exponents.max()) <= HIGHEST_EXPONENT
    ):
        raise CorruptFileError("A quantisation step of a network is out of range.")
    return exponents.astype(np.int32)


def _encoded(layers: Sequence[IntegerLayer], classes: Sequence[_Classes]) -> bytes:
    """Return the bytes of layers with given classes."""
    bases = np.array([int(np.median(layer.exponents)) for layer in layers], np.int32)
    packed = pack_integers(
        [
            bases,
            np.array([layer.bias_exponent for layer in layers], np.int32),
            np.concatenate([layer.exponents - base for layer, base in zip(layers, bases, strict=True)]),
            np.concatenate([own.rows for own in classes]),
            np.concatenate([own.columns for own in classes]),
            np.concatenate([layer.biases for layer in layers]),
        ]
    )
    pieces = [(own.contexts, layer.weights.reshape(-1)) for own, layer in zip(classes, layers, strict=True)]
    tables = fit_context_tables(count_magnitudes(pieces, CONTEXTS))
    return varint(len(packed)) + packed + tables.description + encode_pieces(pieces, tables)


def _fitted_classes(weights: NDArray[np.int32]) -> _Classes:
    """Return classes whose sums follow the magnitudes: mean of row times mean of column, fitted in turns."""
    magnitudes = np.abs(weights).astype(np.float64)
    columns = np.ones(weights.shape[1])
    for _ in range(_ROUNDS):
        rows = (magnitudes / columns).mean(axis=1) + _LEAST_MEAN
        columns = (magnitudes / rows[:, None]).mean(axis=0) + _LEAST_MEAN
    # Columns around 1: rows then have the magnitudes, and few classes of columns differ from 0.
    middle = math.exp(float(np.log(columns).mean()))
    return _Classes(_class_of(rows * middle), _class_of(columns / middle))


def _class_of(means: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return the class of each mean magnitude."""
    classes = np.rint(_CLASSES_PER_OCTAVE * np.log2(np.maximum(means, _LEAST_MEAN)))
    limited: NDArray[np.int32] = classes.clip(-_LARGEST_CLASS, _LARGEST_CLASS).astype(np.int32)
    return limited


def _typical(classes: NDArray[np.int32]) -> int:
    """Return the class of most rows."""
    return int(np.median(classes)) if classes.size else 0
