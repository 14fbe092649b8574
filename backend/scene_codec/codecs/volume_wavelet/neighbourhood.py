"""What is known about a coefficient before it is coded: magnitudes around it, in its parent and its siblings.

A band is coded in eight phases, the positions of equal parity (2 x 2 x 2), each phase at once. A coefficient
then knows the neighbours of the phases before it. Magnitudes are eighths of octaves, so that all features are
small integers whatever the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from scene_codec.volumes.lifting_wavelet import ORIENTATIONS, Shape

Offset = tuple[int, int, int]
Magnitudes = NDArray[np.uint8]

PHASES: tuple[Offset, ...] = (
    (0, 0, 0), (1, 1, 1), (1, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0),
)  # fmt: skip
"""Order of coding: each phase lies far from those just before it, so that all soon have known neighbours."""

STEPS_PER_OCTAVE = 8
LARGEST_FEATURE = 127
_TABLE_SIZE = 1 << 16


def _magnitude_table() -> Magnitudes:
    """Return round(8 log2(1 + m)) for every m below 65536, from integers alone."""
    table = np.zeros(_TABLE_SIZE, np.uint8)
    for feature in range(1, LARGEST_FEATURE + 1):
        # The smallest m with 8 log2(1 + m) >= feature - 1/2, that is (1 + m)**16 >= 2**(2 feature - 1).
        low, high = 0, _TABLE_SIZE
        while low < high:
            middle = (low + high) // 2
            if (1 + middle) ** (2 * STEPS_PER_OCTAVE) >= 1 << (2 * feature - 1):
                high = middle
            else:
                low = middle + 1
        table[low:] = feature
    return table


_MAGNITUDES = _magnitude_table()


def magnitudes(symbols: NDArray[np.int32]) -> Magnitudes:
    """Return the features of symbols of any shape."""
    # The magnitude of the smallest number has no room in int32, but its bits are right.
    return _MAGNITUDES[np.minimum(np.abs(symbols).view(np.uint32), np.uint32(_TABLE_SIZE - 1))]


class BandPhases:
    """The magnitudes of one band, apart by phase, with a margin of zeros; filled while the band is coded."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        half = tuple(-(-length // 2) for length in shape)
        self._half: Shape = (half[0], half[1], half[2])
        padded = tuple(length + 2 for length in half)
        self._parts = {phase: np.zeros(padded, np.uint8) for phase in PHASES}
        self._means: dict[Offset, Magnitudes] = {}

    def phase_shape(self, phase: Offset) -> Shape:
        """Return how many positions a phase has along each axis."""
        return _phase_shape(self.shape, phase)

    def put(self, phase: Offset, values: Magnitudes) -> None:
        """Keep the magnitudes of a phase, in its shape."""
        x, y, z = values.shape
        self._parts[phase][1 : 1 + x, 1 : 1 + y, 1 : 1 + z] = values

    def around(self, phase: Offset, offset: Offset) -> Magnitudes:
        """Return, for each position of a phase, the magnitude at `offset` from it; zero outside."""
        target, window = _window(self.shape, phase, offset)
        return self._parts[target][window]

    def face_means(self, phase: Offset) -> Magnitudes:
        """Return, for each position of a phase, the mean of its six neighbours; of a finished band."""
        if phase not in self._means:
            total = np.zeros(self.phase_shape(phase), np.uint16)
            for offset in FACES:
                total += self.around(phase, offset)
            self._means[phase] = (total // np.uint16(6)).astype(np.uint8)
        return self._means[phase]

    def as_parent(self) -> Magnitudes:
        """Return the magnitudes of the band with a margin that repeats them, for the next level.

        One before the first; two behind the last, where windows of an odd axis reach farther.
        """
        result = np.zeros(self.shape, np.uint8)
        for phase in PHASES:
            x, y, z = self.phase_shape(phase)
            start = tuple(slice(begin, None, 2) for begin in phase)
            result[start] = self._parts[phase][1 : 1 + x, 1 : 1 + y, 1 : 1 + z]
        return np.pad(result, (1, 2), mode="edge")


@lru_cache(maxsize=4096)
def _phase_shape(shape: Shape, phase: Offset) -> Shape:
    x, y, z = ((length - start + 1) // 2 for length, start in zip(shape, phase, strict=True))
    return x, y, z


@lru_cache(maxsize=1 << 15)
def _window(shape: Shape, phase: Offset, offset: Offset) -> tuple[Offset, tuple[slice, ...]]:
    """Return in which part, and where in it, the neighbours of a phase at an offset lie."""
    x, y, z = ((start + step) & 1 for start, step in zip(phase, offset, strict=True))
    window = tuple(
        slice(1 + ((start + step) >> 1), 1 + ((start + step) >> 1) + length)
        for start, step, length in zip(phase, offset, _phase_shape(shape, phase), strict=True)
    )
    return (x, y, z), window


FACES: tuple[Offset, ...] = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))


@cache
def known_offsets(phase_index: int) -> tuple[Offset, ...]:
    """Return the offsets within one step whose phases are coded before the given one."""
    phase = PHASES[phase_index]
    known = set(PHASES[:phase_index])
    offsets = [(x, y, z) for x, y, z in product((-1, 0, 1), repeat=3)]
    return tuple(
        offset
        for offset in offsets
        if tuple((start + step) & 1 for start, step in zip(phase, offset, strict=True)) in known
    )


def siblings_before(orientation: str) -> tuple[str, ...]:
    """Return the orientations of the same level that are coded earlier."""
    return ORIENTATIONS[: ORIENTATIONS.index(orientation)]


def feature_count(orientation: str, phase_index: int) -> int:
    """Return the number of features of a phase: own neighbours, parent (3), two for each sibling."""
    return len(known_offsets(phase_index)) + 3 + 2 * len(siblings_before(orientation))


def features(
    orientation: str, phase_index: int, bands: Mapping[str, BandPhases], parent: Magnitudes | None
) -> NDArray[np.uint8]:
    """Return what is known about the positions of a phase, (features, positions).

    bands : those of this level, the one being coded included
    parent : magnitudes of the same orientation one level coarser, of `as_parent`; None at the coarsest
    """
    own, phase = bands[orientation], PHASES[phase_index]
    offsets, siblings = known_offsets(phase_index), siblings_before(orientation)
    rows = np.zeros((feature_count(orientation, phase_index), *own.phase_shape(phase)), np.uint8)
    for row, offset in zip(rows, offsets, strict=False):
        row[...] = own.around(phase, offset)
    if parent is not None:
        _put_parent(rows[len(offsets) : len(offsets) + 3], parent, phase)
    for index, name in enumerate(siblings, start=1):
        sibling = bands.get(name)
        if sibling is not None:
            pair = rows[len(offsets) + 1 + 2 * index :][:2]
            _put_fitting(pair[0], sibling.around(phase, (0, 0, 0)))
            _put_fitting(pair[1], sibling.face_means(phase))
    return rows.reshape(len(rows), -1)


def _put_parent(rows: Magnitudes, parent: Magnitudes, phase: Offset) -> None:
    """Fill in the parent, and means of its neighbours on the near and on the far side of the child."""
    # A child at 2 i + p belongs to the parent at i; a parent's axis that was not split is as long as its own.
    shape = rows.shape[1:]
    rows[0] = _shifted(parent, 0, 0, shape)
    for row, far in ((rows[1], False), (rows[2], True)):
        x, y, z = (_shifted(parent, axis, 1 if (phase[axis] == 1) != far else -1, shape) for axis in range(3))
        total = np.add(x, y, dtype=np.uint16)
        total += z
        total //= np.uint16(3)
        row[...] = total


def _shifted(padded: Magnitudes, axis: int, step: int, shape: tuple[int, ...]) -> Magnitudes:
    """Return a window of `shape` of a padded parent, moved by a step along an axis, ends repeated."""
    offsets = [1, 1, 1]
    offsets[axis] += step
    window = padded[
        tuple(slice(offset, offset + length) for offset, length in zip(offsets, shape, strict=True))
    ]
    if window.shape == shape:
        return window
    missing = [(0, length - have) for length, have in zip(shape, window.shape, strict=True)]
    return np.pad(window, missing, mode="edge")


def _put_fitting(row: Magnitudes, found: Magnitudes) -> None:
    """Fill in a sibling's row: halves of an odd axis differ by one; what is missing stays zero."""
    part = tuple(slice(0, min(pair)) for pair in zip(row.shape, found.shape, strict=True))
    row[part] = found[part]
