"""Values as they are, for grids that are no signals: labels, codes, few different numbers.

Packed with LZMA2 in the order of voxels, and of their bytes, that suits them; each tile says which.
"""

from __future__ import annotations

import lzma
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import CorruptFileError

Values = NDArray[np.generic]
Mask = NDArray[np.bool_]

ORDERS = tuple(permutations(range(3)))
"""Orders of the axes, the one that changes fastest last."""

BY_BYTES = len(ORDERS)
"""Added to the number of an order: the first bytes of all values, then the second ones, and so on."""

_DICTIONARY, _SMALLEST_DICTIONARY = 1 << 24, 1 << 12
_TRIED_BYTES = 1 << 17
_THOROUGH_BYTES = 1 << 20
"""Orders are compared on so many bytes of a tile; so many are packed with the most effort."""

_FAST, _USUAL, _THOROUGH = 0, 6, 9 | lzma.PRESET_EXTREME


def pack_values(values: Values, coded: Mask) -> bytes:
    """Return the values of the coded voxels of a tile, both (x, y, z): a mode, LZMA2; empty for no voxel."""
    if not coded.any():
        return b""
    itemsize = values.dtype.itemsize
    effort = _THOROUGH if coded.sum() * itemsize <= _THOROUGH_BYTES else _USUAL
    # Little effort does not tell whether bytes should lie apart: what repeats from afar is missed.
    packed = (
        bytes([mode]) + _compressed(_ordered_bytes(values, coded, mode), itemsize, mode, effort)
        for mode in _likely_modes(values, coded)
    )
    return min(packed, key=len)


def quick_size(values: Values, coded: Mask) -> int:
    """Return what little effort reaches: up to twice the bytes of `pack_values`, in a tenth of the time."""
    if not coded.any():
        return 0
    return min(_quick_size(values, coded, mode) for mode in _likely_modes(values, coded))


def unpack_values(data: bytes, coded: Mask, dtype: np.dtype[np.generic]) -> Values:
    """Return a tile (x, y, z) of `pack_values`, zero where no voxel is coded. Raises `CorruptFileError`."""
    if not data:
        return _unpacked(data, coded, dtype, 0)
    if data[0] >= (2 if dtype.itemsize > 1 else 1) * len(ORDERS):
        raise CorruptFileError(f"The stored values of a tile are ordered in the unknown way {data[0]}.")
    return _unpacked(data[1:], coded, dtype, data[0])


def unpack_bytes_apart(data: bytes, coded: Mask, dtype: np.dtype[np.generic]) -> Values:
    """Return a tile as payload version 1 stored it: row-major, by bytes, without a mode."""
    return _unpacked(data, coded, dtype, BY_BYTES)


def _likely_modes(values: Values, coded: Mask) -> list[int]:
    """Return the order of axes that suits the middle of a tile with bytes together, and with bytes apart."""
    middle = _middle(values, coded)
    if not coded[middle].any():
        middle = (slice(None),) * 3
    own, mask = values[middle], coded[middle]
    return [
        min(range(first, first + len(ORDERS)), key=lambda mode: _quick_size(own, mask, mode))
        for first in ((0, BY_BYTES) if values.dtype.itemsize > 1 else (0,))
    ]


def _quick_size(values: Values, coded: Mask, mode: int) -> int:
    raw = _ordered_bytes(values, coded, mode)
    return len(_compressed(raw, values.dtype.itemsize, mode, _FAST))


def _middle(values: Values, coded: Mask) -> tuple[slice, ...]:
    """Return the box in the middle of a tile that has about as many bytes as are tried."""
    share = min(1.0, (_TRIED_BYTES / values.nbytes) ** (1.0 / 3.0))
    sides = [max(1, round(share * length)) for length in coded.shape]
    starts = [(length - side) // 2 for length, side in zip(coded.shape, sides, strict=True)]
    return tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))


def _ordered_bytes(values: Values, coded: Mask, mode: int) -> bytes:
    """Return the values of the coded voxels in the order of a mode."""
    order = ORDERS[mode % BY_BYTES]
    chosen = values.transpose(order)[coded.transpose(order)]
    stored = chosen.astype(values.dtype.newbyteorder("<"))
    if mode < BY_BYTES:
        return stored.tobytes()
    return np.ascontiguousarray(stored.view(np.uint8).reshape(-1, stored.itemsize).T).tobytes()


def _compressed(raw: bytes, itemsize: int, mode: int, effort: int) -> bytes:
    """Return bytes as LZMA2 that knows where in a value each byte stands."""
    position = 0 if mode >= BY_BYTES else itemsize.bit_length() - 1
    # A dictionary larger than what there is costs time alone.
    dictionary = min(_DICTIONARY, max(_SMALLEST_DICTIONARY, len(raw)))
    own: dict[str, Any] = {"id": lzma.FILTER_LZMA2, "preset": effort, "dict_size": dictionary}
    own |= {"lc": min(3, 4 - position), "lp": position, "pb": position}
    return lzma.compress(raw, lzma.FORMAT_RAW, filters=[own])


def _unpacked(data: bytes, coded: Mask, dtype: np.dtype[np.generic], mode: int) -> Values:
    count = int(coded.sum())
    raw = np.frombuffer(_inflated(data, count * dtype.itemsize), np.uint8)
    if dtype.kind == "b" and int(raw.max(initial=0)) > 1:
        raise CorruptFileError("The stored values of a tile are no truth values.")
    if mode >= BY_BYTES:
        raw = np.ascontiguousarray(raw.reshape(dtype.itemsize, count).T).reshape(-1)
    order = ORDERS[mode % BY_BYTES]
    values = np.zeros(coded.shape, dtype)
    values.transpose(order)[coded.transpose(order)] = raw.view(dtype.newbyteorder("<")).astype(dtype)
    return values


def _inflated(data: bytes, size: int) -> bytes:
    """Return exactly `size` bytes of LZMA2, none of no data. Raises `CorruptFileError`."""
    if not data and not size:
        return b""
    inflater = lzma.LZMADecompressor(
        lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": _DICTIONARY}]
    )
    try:
        raw = inflater.decompress(data, size + 1)
    except lzma.LZMAError as error:
        raise CorruptFileError(f"The stored values of a tile cannot be unpacked: {error}.") from error
    if not size or len(raw) != size or not inflater.eof or inflater.unused_data:
        raise CorruptFileError(f"The stored values of a tile do not have the {size} bytes that they need.")
    return raw
