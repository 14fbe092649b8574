"""The order in which nodes of a grid are coded, coarse to fine, and which neighbours are known by then.

Nodes whose places are multiples of 8 come first. Then, for a stride of 4, 2 and 1, those that the halved
stride adds, in seven turns: the middles of cells, those of faces along each axis, those of edges. A node's
neighbours are the up to 26 at one stride that came in earlier turns, so that most lie between known ones on
several sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

KINDS = 4
"""Turns of the same kind share what is fitted: without neighbours, cells, faces, edges."""

_STRIDES = (4, 2, 1)
_PARITIES = (7, 3, 5, 6, 1, 2, 4)
_KIND_OF_ODD_AXES = {3: 1, 2: 2, 1: 3}
_WEIGHT_OF_STEPS = {1: 6, 2: 3, 3: 2}
"""By how many axes a neighbour differs: about the inverse of the squared distance."""


@dataclass(frozen=True, eq=False)
class Turn:
    """Nodes that are coded together.

    rows : (n,) int64, ascending; rows count the held nodes in the order of the grid
    neighbours : (n, k) int32, rows of earlier turns, or -1 where nothing is held
    weights : (k,) int64
    kind : below `KINDS`
    """

    rows: NDArray[np.int64]
    neighbours: NDArray[np.int32]
    weights: NDArray[np.int64]
    kind: int

    def known(self) -> NDArray[np.int64]:
        """Return the weight (n,) of the neighbours that are held."""
        total: NDArray[np.int64] = (self.neighbours >= 0) @ self.weights
        return total

    def sums(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the weighted sums (n, c) over neighbours of values (rows + 1, c), whose last row is zero."""
        total = np.zeros((len(self.rows), values.shape[1]), np.int64)
        for column, weight in zip(self.neighbours.T, self.weights, strict=True):
            total += weight * values[column]
        return total


def coding_turns(held: NDArray[np.bool_]) -> Iterator[Turn]:
    """Make the turns in which the held nodes of a grid (x, y, z) are coded, those without nodes left out.

    Allocates in proportion to the grid; a turn is made when the one before has been used.
    """
    places = np.argwhere(held)
    row = np.full(held.shape, -1, np.int32)
    row[held] = np.arange(len(places), dtype=np.int32)
    top = 2 * _STRIDES[0]
    first = np.flatnonzero((places % top == 0).all(axis=1))
    if len(first):
        yield _turn(first, places, row, 0, 0, ())
    for stride in _STRIDES:
        on_lattice = (places % stride == 0).all(axis=1)
        code = ((places // stride) & 1) @ np.array([4, 2, 1])
        earlier: tuple[int, ...] = (0,)
        for parity in _PARITIES:
            chosen = np.flatnonzero(on_lattice & (code == parity))
            if len(chosen):
                yield _turn(chosen, places, row, stride, parity, earlier)
            earlier += (parity,)


def _turn(
    rows: NDArray[np.int64],
    places: NDArray[np.int64],
    row: NDArray[np.int32],
    stride: int,
    parity: int,
    earlier: tuple[int, ...],
) -> Turn:
    """Return a turn of nodes of one parity at a stride; those of the parities in `earlier` are known."""
    own = places[rows]
    found, weights = [], []
    for offset in product((-1, 0, 1), repeat=3):
        moved = sum(bit for bit, step in zip((4, 2, 1), offset, strict=True) if step)
        if not moved or parity ^ moved not in earlier:
            continue
        there = own + np.array(offset) * stride
        inside = ((there >= 0) & (there < row.shape)).all(axis=1)
        clipped = np.where(inside[:, None], there, 0)
        found.append(np.where(inside, row[tuple(clipped.T)], np.int32(-1)))
        weights.append(_WEIGHT_OF_STEPS[sum(map(abs, offset))])
    neighbours = np.stack(found, axis=1) if found else np.zeros((len(rows), 0), np.int32)
    kind = _KIND_OF_ODD_AXES.get(parity.bit_count(), 0)
    return Turn(rows, neighbours, np.array(weights, np.int64), kind)
