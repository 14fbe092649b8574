"""Which voxels of a tile are active, coded from coarse to fine with what is known around each.

Every second voxel along all axes is coded first, in the same way, and so on; the seven phases between them
follow. How likely a voxel is active is a sum of integer weights, fitted to the grid: of known neighbours by
their parity, of the decoded value's distance from the background, of the same voxel in an earlier grid. The
sum is a context of the range coder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.volume_wavelet.neighbourhood import BandPhases, Offset
from scene_codec.entropy.binary_tables import binary_table
from scene_codec.entropy.byte_fields import ByteReader
from scene_codec.entropy.logistic_fit import fit_logistic
from scene_codec.entropy.parametric import byte_of_probability
from scene_codec.entropy.range_coding import SymbolDecoder, SymbolEncoder
from scene_codec.entropy.tables import SymbolTable
from scene_codec.errors import CorruptFileError
from scene_codec.volumes.lifting_wavelet import Shape

States = NDArray[np.uint8]

OUTSIDE, ACTIVE, INSIDE = 0, 1, 2
"""States of a voxel: inactive with the background's value, active, inactive with minus the background."""

COARSEST_STRIDE = 16
ORDER: tuple[Offset, ...] = (
    (0, 0, 0), (1, 1, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1),
)  # fmt: skip
"""Phases of a lattice in coding order; the first one is the next coarser lattice."""

FINEST = len(ORDER) - 1
"""The weights of the finest lattice come behind those of all others; it has none for its first phase."""

GROUPS = (*range(len(ORDER)), *range(1, len(ORDER)))
"""Phase that each group of weights is for."""

DISTANCES = 7
"""Classes of distances from the background, see `TileClues`."""

WEIGHT_ONE = 8
"""Integer weight of one unit of log odds."""

CLASSES = 40
_SUM_PER_CLASS = 4
_TABLES = CLASSES + 6
_ALL_ACTIVE, _CODED = b"\x01", b"\x02"
_SAMPLES = 60000

Bits = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class TileClues:
    """What decoder and encoder know of a tile before its topology.

    distances : (x, y, z) class of the decoded value's distance from the background, below `DISTANCES`
    inside : (x, y, z) whether the decoded value is nearer to minus the background; None but for level sets
    reference : (x, y, z) state in an earlier grid: 0 unknown, 1 inactive, 2 active; None without one
    """

    distances: Bits
    inside: NDArray[np.bool_] | None
    reference: Bits | None

    def at(self, place: tuple[slice, ...]) -> TileClues:
        """Return the clues of some of the voxels."""
        return TileClues(
            self.distances[place],
            None if self.inside is None else self.inside[place],
            None if self.reference is None else self.reference[place],
        )


@dataclass(frozen=True, eq=False)
class TopologyModel:
    """Weights and probabilities of a grid's topology.

    weights : for each of `GROUPS`, int8 (features,)
    probabilities : bytes of `probability_of_byte`: active by class of the sum, inside by `_sides`
    """

    weights: tuple[NDArray[np.int8], ...]
    probabilities: bytes

    def to_bytes(self) -> bytes:
        """Return what `read_topology_model` reads."""
        return b"".join(own.tobytes() for own in self.weights) + self.probabilities


def read_topology_model(reader: ByteReader) -> TopologyModel:
    """Return the model that comes next. Raises `CorruptFileError`."""
    weights = [np.frombuffer(reader.take(_feature_count(phase)), np.int8) for phase in GROUPS]
    return TopologyModel(tuple(weights), reader.take(_TABLES))


def fit_topology_model(tiles: Iterable[tuple[States, TileClues]]) -> TopologyModel:
    """Return the model that suits some tiles."""
    collected: dict[int, list[tuple[Floats, Bits]]] = {}
    inner = np.ones((_SIDES, 2), np.int64)
    for states, clues in tiles:
        if _uniform(states) is not None:
            continue
        for piece in _walk(clues, _nothing, states):
            collected.setdefault(piece.group, []).append((piece.features, piece.symbols == ACTIVE))
            if clues.inside is not None:
                off = piece.symbols != ACTIVE
                pairs = 2 * piece.sides[off].astype(np.int64) + (piece.symbols[off] == INSIDE)
                inner += np.bincount(pairs, minlength=2 * _SIDES).reshape(_SIDES, 2)
    weights = []
    counts = np.zeros((CLASSES, 2), np.int64)
    for group, phase in enumerate(GROUPS):
        parts = collected.get(group)
        if parts is None:
            weights.append(np.zeros(_feature_count(phase), np.int8))
            continue
        features = np.concatenate([rows for rows, _ in parts], axis=1)
        active = np.concatenate([symbols for _, symbols in parts])
        own = _fitted_weights(features, active)
        weights.append(own)
        classes = _classes(own, features)
        counts += np.stack([np.bincount(classes[active == value], minlength=CLASSES) for value in (0, 1)], 1)
    chances = [*((counts[:, 1] + 0.4) / (counts.sum(axis=1) + 0.8)), *(inner[:, 1] / inner.sum(axis=1))]
    return TopologyModel(tuple(weights), bytes(byte_of_probability(float(chance)) for chance in chances))


def _fitted_weights(features: Floats, active: Bits) -> NDArray[np.int8]:
    """Return integer weights of a logistic model of one phase."""
    step = max(1, features.shape[1] // _SAMPLES)
    weights = fit_logistic(features[:, ::step], active[::step])
    return np.rint(weights * WEIGHT_ONE).clip(-127, 127).astype(np.int8)


def encode_states(states: States, clues: TileClues, model: TopologyModel) -> bytes:
    """Return the stream of a tile's states; empty when all voxels are outside."""
    uniform = _uniform(states)
    if uniform is not None and uniform != INSIDE:
        return b"" if uniform == OUTSIDE else _ALL_ACTIVE
    encoder = SymbolEncoder(_tables(model))
    for piece in _walk(clues, _nothing, states):
        active = piece.symbols == ACTIVE
        encoder.put(active.astype(np.int32), _classes(model.weights[piece.group], piece.features))
        if clues.inside is not None:
            inner = piece.symbols[~active] == INSIDE
            encoder.put(inner.astype(np.int32), CLASSES + piece.sides[~active])
    return _CODED + encoder.finish()


def decode_states(data: bytes, shape: Shape, clues: TileClues, model: TopologyModel) -> States:
    """Return the states of a tile. Raises `CorruptFileError`."""
    if not data:
        return np.full(shape, OUTSIDE, np.uint8)
    if data == _ALL_ACTIVE:
        return np.full(shape, ACTIVE, np.uint8)
    if data[:1] != _CODED:
        raise CorruptFileError(f"The active voxels of a tile are coded in the unknown way {data[0]}.")
    decoder = SymbolDecoder(data[1:], _tables(model))

    def take(group: int, features: Floats, sides: Bits) -> States:
        found = decoder.take(_classes(model.weights[group], features))
        if found.size and int(found.max()) > ACTIVE:
            raise CorruptFileError("The active voxels of a tile are damaged: a state is unknown.")
        symbols = found.astype(np.uint8)
        if clues.inside is not None:
            off = symbols != ACTIVE
            inner = decoder.take(CLASSES + sides[off])
            symbols[off] = np.where(inner > 0, INSIDE, OUTSIDE)
        return symbols

    states = np.zeros(shape, np.uint8)
    for _ in _walk(clues, take, states):
        pass
    decoder.finish()
    return states


def _nothing(group: int, features: Floats, sides: Bits) -> None:
    """Visit states that are known."""


def _uniform(states: States) -> int | None:
    first = int(states.flat[0])
    return first if bool((states == first).all()) else None


def _tables(model: TopologyModel) -> list[SymbolTable]:
    return [binary_table(code) for code in model.probabilities]


def _classes(weights: NDArray[np.int8], features: Floats) -> Bits:
    """Return the contexts of voxels: their sums of weights, in halves of log odds."""
    # Integers below 2**24 in float32: exact in any order of summation.
    sums = weights.astype(np.float32) @ features
    return (np.floor(sums / _SUM_PER_CLASS) + CLASSES // 2).clip(0, CLASSES - 1).astype(np.uint8)


@dataclass(frozen=True)
class _Piece:
    """The voxels of one phase of a lattice: group of weights, features (f, n), sides and states (n,)."""

    group: int
    features: Floats
    sides: Bits
    symbols: States


Visit = Callable[[int, Floats, Bits], States | None]
"""Takes group, features and sides of a phase; returns its states (n,), None when they are known."""


def _walk(clues: TileClues, visit: Visit, states: States) -> Iterator[_Piece]:
    """Go through a tile in coding order, phase by phase; what `visit` returns is put into `states`."""
    stride = COARSEST_STRIDE
    while stride >= 1:
        at = (slice(None, None, stride),) * 3
        yield from _walk_lattice(clues.at(at), visit, states[at], stride)
        stride //= 2


def _walk_lattice(clues: TileClues, visit: Visit, lattice: States, stride: int) -> Iterator[_Piece]:
    """Go through the phases of a lattice; that of even voxels is known but on the coarsest one."""
    x, y, z = lattice.shape
    parts = BandPhases((x, y, z))
    inactive = None if clues.inside is None else BandPhases((x, y, z))
    for index, phase in enumerate(ORDER):
        place = tuple(slice(start, None, 2) for start in phase)
        own = lattice[place]
        if own.size and (index > 0 or stride == COARSEST_STRIDE):
            group = index + (FINEST if stride == 1 else 0)
            here = clues.at(place)
            features, sides = _features(parts, index, here), _sides(inactive, index, here)
            piece = _Piece(group, features, sides, own.reshape(-1))
            found = visit(group, features, sides)
            if found is not None:
                own[...] = found.reshape(own.shape)
                piece = replace(piece, symbols=found)
            yield piece
        parts.put(phase, (own == ACTIVE).astype(np.uint8))
        if inactive is not None:
            inactive.put(phase, _INACTIVE_MARKS[own])


_INACTIVE_MARKS = np.array([1, 0, 32], np.uint8)
"""Marks of the states, of which 26 can be added up: outside, active, inside."""

_SIDES = 6


def _sides(inactive: BandPhases | None, index: int, clues: TileClues) -> Bits:
    """Return contexts for inactive voxels of level sets: what most known neighbours are, and the clue."""
    if inactive is None or clues.inside is None:
        return np.zeros(0, np.uint8)
    marks = np.zeros(clues.inside.shape, np.uint16)
    for other in ORDER[:index]:
        for offset in _neighbours(ORDER[index], other):
            marks += inactive.around(ORDER[index], offset)
    inner, outer = marks >> np.uint16(5), marks & np.uint16(31)
    most = np.where(marks == 0, np.uint8(0), np.where(inner > outer, np.uint8(2), np.uint8(1)))
    return (2 * most + clues.inside).astype(np.uint8).reshape(-1)


def _neighbours(phase: Offset, other: Offset) -> list[Offset]:
    """Return the offsets within one step from one phase to another."""
    return [
        (x, y, z)
        for x, y, z in product((-1, 0, 1), repeat=3)
        if ((phase[0] + x) & 1, (phase[1] + y) & 1, (phase[2] + z) & 1) == other and (x, y, z) != (0, 0, 0)
    ]


def _feature_count(index: int) -> int:
    """Return how many features a phase has: one, phases before, distances, two of the reference."""
    return 1 + index + (DISTANCES - 1) + 2


def _features(parts: BandPhases, index: int, clues: TileClues) -> Floats:
    """Return what is known of the voxels of a phase, (features, n)."""
    features = np.zeros((_feature_count(index), clues.distances.size), np.float32)
    features[0] = 1.0
    for row, other in enumerate(ORDER[:index], start=1):
        for offset in _neighbours(ORDER[index], other):
            features[row] += parts.around(ORDER[index], offset).reshape(-1)
    for distance in range(1, DISTANCES):
        features[index + distance] = (clues.distances == distance).reshape(-1)
    if clues.reference is not None:
        features[-2] = (clues.reference == 1).reshape(-1)
        features[-1] = (clues.reference == 2).reshape(-1)
    return features
