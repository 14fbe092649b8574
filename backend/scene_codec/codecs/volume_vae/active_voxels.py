"""Which voxels carry data, exactly: leaves of 8 x 8 x 8 that are all off, all on or mixed."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.volume_vae.block_maps import decode_classes, encode_classes
from scene_codec.entropy.byte_fields import ByteReader
from scene_codec.errors import CorruptFileError
from scene_codec.volumes.blocks import BLOCK_SIDE, Counts, cut_blocks, join_blocks

_LEAF_BYTES = BLOCK_SIDE**3 // 8
_OFF, _ON, _MIXED = 0, 1, 2


def encode_active(active: NDArray[np.bool_]) -> bytes:
    """Return the coded mask (x, y, z)."""
    leaves = cut_blocks(active, 0)
    counts = leaves.shape[:3]
    flat = leaves.reshape(*counts, -1)
    every, some = flat.all(axis=-1), flat.any(axis=-1)
    classes = np.where(every, _ON, np.where(some, _MIXED, _OFF)).astype(np.int64)
    return encode_classes(classes) + zlib.compress(np.packbits(flat[classes == _MIXED]).tobytes(), 9)


def decode_active(data: bytes, shape: tuple[int, int, int], counts: Counts) -> NDArray[np.bool_]:
    """Return the mask (x, y, z) of coded bytes. Raises `CorruptFileError`."""
    reader = ByteReader(data)
    classes = decode_classes(reader, counts)
    if int(classes.max(initial=0)) > _MIXED:
        raise CorruptFileError("A leaf of active voxels is of an unknown sort.")
    mixed = classes == _MIXED
    size = int(mixed.sum()) * _LEAF_BYTES
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(reader.rest(), size + 1)
    except zlib.error as error:
        raise CorruptFileError(f"The active voxels cannot be inflated: {error}.") from error
    if len(raw) != size or not inflater.eof:
        raise CorruptFileError(f"The active voxels do not have the {size} bytes they need.")
    leaves = np.zeros((*counts, BLOCK_SIDE**3), np.float32)
    leaves[classes == _ON] = 1.0
    leaves[mixed] = np.unpackbits(np.frombuffer(raw, np.uint8)).reshape(-1, BLOCK_SIDE**3)
    return join_blocks(leaves.reshape(*counts, *(BLOCK_SIDE,) * 3), shape, 0) > 0.5
