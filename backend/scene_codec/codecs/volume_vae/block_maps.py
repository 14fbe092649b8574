"""One small integer per block, coded over the whole arrangement of blocks from coarse to fine.

Classes (how much there is in a block) are coded as a tree of maxima: where a coarse cell is empty, nothing
more is coded for all the blocks in it. Means are coded as differences from what the blocks around, which are
known already, suggest.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.volume_vae.tables import fitted_table
from scene_codec.entropy.byte_fields import ByteReader, varint
from scene_codec.entropy.fitting import read_table
from scene_codec.entropy.range_coding import (
    decode_symbols,
    decode_with_contexts,
    encode_symbols,
    encode_with_contexts,
)
from scene_codec.entropy.tables import SymbolTable
from scene_codec.errors import CorruptFileError

CLASS_COUNT = 16
COARSEST_CELLS = 64
"""Most values that are coded without anything coarser to go by."""

_MEAN_LEVELS = 3
_LARGEST_MEAN = 1 << 30

Map = NDArray[np.int64]
Shape3 = tuple[int, int, int]


def encode_classes(classes: Map) -> bytes:
    """Return the coded classes (bx, by, bz), each from 0 to 15."""
    levels = [classes]
    while levels[-1].size > COARSEST_CELLS:
        levels.append(_maxima(levels[-1]))
    top = int(levels[-1].max())
    parts = []
    for fine, coarse in pairwise(levels):
        parents = _spread(coarse, fine.shape)
        inside = parents > 0
        parts.append((fine[inside], parents[inside]))
    symbols = np.concatenate([levels[-1].ravel()[:0], *(values for values, _ in parts)])
    contexts = np.concatenate([levels[-1].ravel()[:0], *(parents for _, parents in parts)])
    tables = [fitted_table(symbols[contexts == parent]) for parent in range(1, top + 1)]
    root_table = fitted_table(levels[-1])
    streams = [encode_symbols([(levels[-1].ravel(), root_table)])]
    streams += [encode_with_contexts(values, parents - 1, tables) for values, parents in reversed(parts)]
    head = bytes([top]) + b"".join(table.description for table in [root_table, *tables])
    return head + b"".join(varint(len(stream)) + stream for stream in streams)


def decode_classes(reader: ByteReader, shape: Shape3) -> Map:
    """Return the classes (bx, by, bz) that come next. Raises `CorruptFileError`."""
    shapes = [shape]
    while np.prod(shapes[-1]) > COARSEST_CELLS:
        x, y, z = (-(-size // 2) for size in shapes[-1])
        shapes.append((x, y, z))
    top = reader.byte()
    if top >= CLASS_COUNT:
        raise CorruptFileError(f"A block is of class {top}, at most {CLASS_COUNT - 1} is possible.")
    root_table, *tables = (read_table(reader) for _ in range(top + 1))
    (root,) = decode_symbols(reader.take(reader.varint()), [(int(np.prod(shapes[-1])), root_table)])
    level = _checked(root.astype(np.int64), top).reshape(shapes[-1])
    for size in reversed(shapes[:-1]):
        parents = _spread(level, size)
        inside = parents > 0
        values = decode_with_contexts(reader.take(reader.varint()), parents[inside] - 1, tables)
        level = np.zeros(size, np.int64)
        level[inside] = _checked(values.astype(np.int64), top)
    return level


def encode_means(means: Map, occupied: NDArray[np.bool_]) -> bytes:
    """Return the coded means (bx, by, bz), below 2**30 in magnitude; `occupied` blocks are apart."""
    residuals = [_anchors(means).ravel()]
    residuals += [(means[step.target] - _predicted(means, step)).ravel() for step in _steps(means.shape)]
    symbols, contexts = np.concatenate(residuals), _mean_contexts(occupied)
    tables = [fitted_table(symbols[contexts == context]) for context in range(2 * _MEAN_LEVELS)]
    stream = encode_with_contexts(symbols, contexts, tables)
    return b"".join(table.description for table in tables) + varint(len(stream)) + stream


def decode_means(reader: ByteReader, occupied: NDArray[np.bool_]) -> Map:
    """Return the means (bx, by, bz) that come next. Raises `CorruptFileError`."""
    tables: list[SymbolTable] = [read_table(reader) for _ in range(2 * _MEAN_LEVELS)]
    stream = reader.take(reader.varint())
    residuals = decode_with_contexts(stream, _mean_contexts(occupied), tables).astype(np.int64)
    means = np.zeros(occupied.shape, np.int64)
    anchors = _anchors(means)
    anchors[...] = residuals[: anchors.size].reshape(anchors.shape)
    position = anchors.size
    for step in _steps(means.shape):
        shape = means[step.target].shape
        count = int(np.prod(shape))
        means[step.target] = residuals[position : position + count].reshape(shape) + _predicted(means, step)
        position += count
    if means.size and int(np.abs(means).max()) > _LARGEST_MEAN:
        raise CorruptFileError("The mean of a block is out of bounds.")
    return means


class _Step(NamedTuple):
    """One refinement: which blocks it adds, between which ones along `axis`, `stride` blocks away."""

    target: tuple[slice, slice, slice]
    axis: int
    stride: int
    known: tuple[slice, slice, slice]


def _steps(shape: tuple[int, ...]) -> Iterator[_Step]:
    """Yield the refinements from the anchors to all blocks."""
    stride = _anchor_stride(shape) // 2
    while stride:
        for axis in range(3):
            if shape[axis] <= stride:
                continue
            target = [slice(0, None, stride if other < axis else 2 * stride) for other in range(3)]
            known = list(target)
            target[axis] = slice(stride, None, 2 * stride)
            known[axis] = slice(0, None, 2 * stride)
            yield _Step((target[0], target[1], target[2]), axis, stride, (known[0], known[1], known[2]))
        stride //= 2


def _predicted(means: Map, step: _Step) -> Map:
    """Return the mean of the blocks on both sides, or the one before where there is none behind."""
    known = np.moveaxis(means[step.known], step.axis, 0)
    count = len(range(step.stride, means.shape[step.axis], 2 * step.stride))
    before = known[:count]
    behind = known[1 : count + 1]
    if len(behind) < count:
        behind = np.concatenate([behind, before[-1:]])
    return np.moveaxis((before + behind) >> 1, 0, step.axis)


def _anchor_stride(shape: tuple[int, ...]) -> int:
    stride = 1
    while np.prod([-(-size // stride) for size in shape]) > COARSEST_CELLS:
        stride *= 2
    return stride


def _anchors(means: Map) -> Map:
    stride = _anchor_stride(means.shape)
    return means[::stride, ::stride, ::stride]


def _mean_contexts(occupied: NDArray[np.bool_]) -> Map:
    """Return for each residual, in coding order, twice its level plus whether its block is occupied."""
    numbers = occupied.astype(np.int64)
    stride = _anchor_stride(occupied.shape)
    parts = [2 * (_MEAN_LEVELS - 1) + numbers[::stride, ::stride, ::stride].ravel()]
    for step in _steps(occupied.shape):
        level = min(step.stride.bit_length() - 1, _MEAN_LEVELS - 1)
        parts.append(2 * level + numbers[step.target].ravel())
    return np.concatenate(parts)


def _maxima(values: Map) -> Map:
    """Return the largest of every 2 x 2 x 2 values."""
    padded = np.pad(values, [(0, size % 2) for size in values.shape])
    x, y, z = (size // 2 for size in padded.shape)
    largest: Map = padded.reshape(x, 2, y, 2, z, 2).max(axis=(1, 3, 5))
    return largest


def _spread(coarse: Map, shape: tuple[int, ...]) -> Map:
    """Return each coarse value for the 2 x 2 x 2 finer ones below it."""
    fine = coarse.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    return fine[: shape[0], : shape[1], : shape[2]]


def _checked(classes: Map, top: int) -> Map:
    if classes.size and not 0 <= int(classes.min()) <= int(classes.max()) <= top:
        raise CorruptFileError(f"A block is of a class that is not between 0 and {top}.")
    return classes
