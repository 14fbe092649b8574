"""Lists of integer arrays as one self-describing piece of bytes: their tables, then one stream."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scene_codec.entropy.byte_fields import ByteReader
from scene_codec.entropy.fitting import fit_table, read_table
from scene_codec.entropy.range_coding import decode_symbols, encode_symbols


def pack_integers(arrays: Sequence[NDArray[np.integer]]) -> bytes:
    """Return the arrays, each coded with the table that suits it best; their shapes are not stored.

    Raises `ValueError` when a symbol does not fit 32 bits.
    """
    parts = [(array, fit_table(array)) for array in arrays]
    return b"".join(table.description for _, table in parts) + encode_symbols(parts)


def unpack_integers(data: bytes, shapes: Sequence[tuple[int, ...]]) -> list[NDArray[np.int32]]:
    """Return the arrays of `pack_integers`, given their shapes.

    Raises `CorruptFileError` when `data` is damaged.
    """
    reader = ByteReader(data)
    tables = [read_table(reader) for _ in shapes]
    arrays = decode_symbols(
        reader.rest(), [(math.prod(shape), table) for shape, table in zip(shapes, tables, strict=True)]
    )
    return [array.reshape(shape) for array, shape in zip(arrays, shapes, strict=True)]
