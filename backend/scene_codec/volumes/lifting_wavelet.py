"""Separable CDF 9/7 wavelet of boxes of any shape, by lifting with symmetric extension.

Every step is one multiplication or addition of arrays in float32, correctly rounded wherever it runs: the
same coefficients give the same voxels, bit for bit, on every machine.

Source: Daubechies and Sweldens, "Factoring wavelet transforms into lifting steps", 1998, section 7.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Shape = tuple[int, int, int]

_PREDICT_1 = np.float32(-1.586134342059924)
_UPDATE_1 = np.float32(-0.052980118572961)
_PREDICT_2 = np.float32(0.882911075530934)
_UPDATE_2 = np.float32(0.443506852043971)
_GAIN = np.float32(1.149604398860241)
_INVERSE_GAIN = np.float32(1.0 / 1.149604398860241)

SHORTEST_SPLIT = 4
"""Axes shorter than this are not split any more."""

ORIENTATIONS = ("LLH", "LHL", "HLL", "LHH", "HLH", "HHL", "HHH")
"""Detail bands of a level; a letter per axis, H where the band holds the fine structure along it."""


@dataclass(frozen=True)
class Subbands:
    """A decomposed box.

    base : the coarsest band
    details : per level, finest first, the bands by orientation; an axis too short to be split counts as L
    """

    base: FloatArray
    details: tuple[dict[str, FloatArray], ...]


def decompose(box: FloatArray, levels: int) -> Subbands:
    """Return the subbands of a box (x, y, z); fewer levels when the axes get too short."""
    details = []
    base = box
    for _ in range(levels):
        bands = {"": base}
        for axis in range(3):
            bands = _split_all(bands, axis)
        base = bands.pop("LLL")
        if not bands:
            break
        details.append(bands)
    return Subbands(base, tuple(details))


def reconstruct(subbands: Subbands) -> FloatArray:
    """Return the box that `decompose` made the subbands of, within float32 rounding."""
    base = subbands.base
    for details in reversed(subbands.details):
        bands = {"LLL": base, **details}
        for axis in (2, 1, 0):
            stems = sorted({name[:axis] for name in bands})
            bands = {stem: _join(bands[stem + "L"], bands.get(stem + "H"), axis) for stem in stems}
        base = bands[""]
    return base


def band_shapes(shape: Shape, levels: int) -> tuple[Shape, tuple[dict[str, Shape], ...]]:
    """Return the shapes that `decompose` gives the bands of a box: the base's, and per level the details'."""
    details = []
    for _ in range(levels):
        lengths = [
            {"L": -(-length // 2), "H": length // 2} if length >= SHORTEST_SPLIT else {"L": length}
            for length in shape
        ]
        level = {
            a + b + c: (lengths[0][a], lengths[1][b], lengths[2][c])
            for a in lengths[0]
            for b in lengths[1]
            for c in lengths[2]
        }
        shape = level.pop("LLL")
        if not level:
            break
        details.append(level)
    return shape, tuple(details)


LOW_NORMS = (0.991440, 1.015186, 1.025716, 1.028821, 1.029638, 1.029845, 1.029897, 1.029910)
HIGH_NORMS = (1.020018, 0.983471, 1.019621, 1.036880, 1.042036, 1.043397, 1.043743, 1.043830)
"""L2 norms of the one-dimensional synthesis functions by level, finest first. Constants, because they decide
the steps in files, which must be the same on every machine."""


def band_norm(level: int, orientation: str) -> float:
    """Return the L2 norm of what one coefficient of a band (level 0 is the finest) adds to the box.

    The error of a voxel is that of a coefficient times this norm; it is the product of those along the axes.
    """
    norm = 1.0
    for letter in orientation:
        norm *= HIGH_NORMS[level] if letter == "H" else LOW_NORMS[level]
    return norm


def _split_all(bands: dict[str, FloatArray], axis: int) -> dict[str, FloatArray]:
    """Split all bands along an axis, if it is long enough."""
    result = {}
    for name, band in bands.items():
        if band.shape[axis] < SHORTEST_SPLIT:
            result[name + "L"] = band
        else:
            result[name + "L"], result[name + "H"] = _split(band, axis)
    return result


def _split(box: FloatArray, axis: int) -> tuple[FloatArray, FloatArray]:
    """Return the low and the high half of a box along one axis."""
    even, odd = box[_along(axis, 0, None, 2)].copy(), box[_along(axis, 1, None, 2)].copy()
    odd += _sum_after(even, odd.shape[axis], axis, _PREDICT_1)
    even += _sum_before(odd, even.shape[axis], axis, _UPDATE_1)
    odd += _sum_after(even, odd.shape[axis], axis, _PREDICT_2)
    even += _sum_before(odd, even.shape[axis], axis, _UPDATE_2)
    even *= _GAIN
    odd *= _INVERSE_GAIN
    return even, odd


def _join(low: FloatArray, high: FloatArray | None, axis: int) -> FloatArray:
    """Return the box whose halves along one axis are given; the low half itself where nothing was split."""
    if high is None:
        return low
    even, odd = low * _INVERSE_GAIN, high * _GAIN
    even -= _sum_before(odd, even.shape[axis], axis, _UPDATE_2)
    odd -= _sum_after(even, odd.shape[axis], axis, _PREDICT_2)
    even -= _sum_before(odd, even.shape[axis], axis, _UPDATE_1)
    odd -= _sum_after(even, odd.shape[axis], axis, _PREDICT_1)
    shape = list(even.shape)
    shape[axis] += odd.shape[axis]
    box = np.zeros(shape, np.float32)
    box[_along(axis, 0, None, 2)] = even
    box[_along(axis, 1, None, 2)] = odd
    return box


def _sum_after(even: FloatArray, count: int, axis: int, factor: np.float32) -> FloatArray:
    """Return factor * (even[i] + even[i + 1]) for each odd i, mirrored at the end."""
    have = min(count, even.shape[axis] - 1)
    result = _places(even, count, axis)
    inner = result[_along(axis, 0, have)]
    np.add(even[_along(axis, 0, have)], even[_along(axis, 1, have + 1)], out=inner)
    if have < count:
        last = even[_along(axis, have, count)]
        np.add(last, last, out=result[_along(axis, have, count)])
    result *= factor
    return result


def _sum_before(odd: FloatArray, count: int, axis: int, factor: np.float32) -> FloatArray:
    """Return factor * (odd[i - 1] + odd[i]) for each even i, mirrored at both ends."""
    have = odd.shape[axis]
    result = _places(odd, count, axis)
    first, last = odd[_along(axis, 0, 1)], odd[_along(axis, have - 1, have)]
    np.add(first, first, out=result[_along(axis, 0, 1)])
    np.add(odd[_along(axis, 0, have - 1)], odd[_along(axis, 1, have)], out=result[_along(axis, 1, have)])
    if have < count:
        np.add(last, last, out=result[_along(axis, have, count)])
    result *= factor
    return result


def _places(half: FloatArray, count: int, axis: int) -> FloatArray:
    """Return room for `count` planes like those of a half."""
    shape = list(half.shape)
    shape[axis] = count
    return np.zeros(shape, np.float32)


def _along(axis: int, start: int, stop: int | None, step: int = 1) -> tuple[slice, ...]:
    """Return an index that slices one axis."""
    return (*(slice(None) for _ in range(axis)), slice(start, stop, step))
