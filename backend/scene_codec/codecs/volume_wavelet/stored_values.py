"""Values as they are, for grids that are no signals: labels, codes, few different numbers."""

from __future__ import annotations

import lzma

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import CorruptFileError

Values = NDArray[np.generic]

_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 24}]


def pack_values(values: Values) -> bytes:
    """Return values (n,), the first bytes of all before the second ones; empty for none."""
    if not values.size:
        return b""
    stored = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"))
    planes = np.ascontiguousarray(stored.view(np.uint8).reshape(-1, stored.itemsize).T)
    return lzma.compress(planes.tobytes(), lzma.FORMAT_RAW, filters=_FILTERS)


def unpack_values(data: bytes, count: int, dtype: np.dtype[np.generic]) -> Values:
    """Return `count` values of `pack_values`. Raises `CorruptFileError`."""
    if not count:
        if data:
            raise CorruptFileError("A tile without values has stored ones.")
        return np.zeros(0, dtype)
    size = count * dtype.itemsize
    inflater = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
    try:
        raw = inflater.decompress(data, size + 1)
    except lzma.LZMAError as error:
        raise CorruptFileError(f"The stored values of a tile cannot be unpacked: {error}.") from error
    if len(raw) != size or not inflater.eof or inflater.unused_data:
        raise CorruptFileError(f"The stored values of a tile do not have the {size} bytes that they need.")
    planes = np.frombuffer(raw, np.uint8).reshape(dtype.itemsize, count)
    stored = np.ascontiguousarray(planes.T).reshape(-1).view(dtype.newbyteorder("<"))
    if dtype.kind == "b" and int(planes.max(initial=0)) > 1:
        raise CorruptFileError("The stored values of a tile are no truth values.")
    return stored.astype(dtype)
