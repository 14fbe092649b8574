"""A grid's channel as slabs of whole block layers, in the order in which its values lie in their source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from scene_codec.volumes.blocks import BLOCK_SIDE, block_counts

SLAB_VOXELS = 1 << 22
"""Voxels of a slab if a single layer of blocks does not have more; what lies in memory at a time."""

Shape3 = tuple[int, int, int]
Values = NDArray[np.generic]
Number = TypeVar("Number", bound=np.generic)


def is_reverse(values: Values) -> bool:
    """Return whether layers along z lie closer together than layers along x."""
    return abs(values.strides[2]) > abs(values.strides[0])


def slab_shape(shape: Shape3, *, reverse: bool) -> Shape3:
    """Return a shape with the axis along which slabs are cut first."""
    return (shape[2], shape[1], shape[0]) if reverse else shape


def layers_at_once(shape: Shape3) -> int:
    """Return how many block layers along the first axis a slab has."""
    _, count_y, count_z = block_counts(shape)
    return max(1, SLAB_VOXELS // (BLOCK_SIDE**3 * max(count_y * count_z, 1)))


def channel_view(values: Values, channel: int, *, reverse: bool) -> Values:
    """Return one channel of values (x, y, z) or (x, y, z, channels) with the slabs' axis first."""
    single = values[..., channel] if values.ndim == 4 else values
    return single.transpose(2, 1, 0) if reverse else single


def mask_view(mask: NDArray[np.bool_], *, reverse: bool) -> NDArray[np.bool_]:
    """Return a mask (x, y, z) with the slabs' axis first."""
    return mask.transpose(2, 1, 0) if reverse else mask


def block_axes(blocks: NDArray[Number], *, reverse: bool) -> NDArray[Number]:
    """Return blocks (a, b, c, s, s, s) with each block's own axes turned from the slabs' order to x, y, z.

    The inverse of itself.
    """
    return blocks.transpose(0, 1, 2, 5, 4, 3) if reverse else blocks


def slab_rows(shape: Shape3, layers: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of rows along the first axis that the slabs cover."""
    for start in range(0, shape[0], BLOCK_SIDE * layers):
        yield start, min(start + BLOCK_SIDE * layers, shape[0])


def slab_count(shape: Shape3, layers: int) -> int:
    """Return the number of slabs; none for a volume without voxels."""
    return 0 if 0 in shape else -(-block_counts(shape)[0] // layers)
