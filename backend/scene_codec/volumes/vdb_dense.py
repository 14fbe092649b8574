"""The box of values that an OpenVDB tree fills."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene_codec.volumes.vdb_compression import bits_of
from scene_codec.volumes.vdb_stream import GridRefusedError, VdbReader
from scene_codec.volumes.vdb_tree import (
    LEAF_SIDE,
    UPPER_SIDE,
    Box,
    VdbTree,
    active_box,
    active_tile_voxels,
    read_node_tiles,
)

MAX_BOX_VOXELS = 2**31
"""Voxels of the largest box that is filled, counted in whole leaves."""

MAX_FILE_BYTES = 2**34
"""Bytes of all boxes of a file together."""

_LARGE_BYTES = 2**29
_EMPTIEST = 1000
"""A large box is filled only if at least one voxel in so many is stored or in an active tile. Zeroes do not
count as filled: they take no memory."""

_CHECKED_FIRST_BYTES = 2**26
_MOSTLY_EMPTY = 16
"""A box with less than one stored voxel in so many may be the work of a damaged byte, so that all values are
read once before the box is allocated; next to filling it that takes no time."""


@dataclass(frozen=True)
class DenseBox:
    """A tree as arrays: (x, y, z) or (x, y, z, channels) values, (x, y, z) active, None when all are.

    allocated : bytes of the arrays, which are views of arrays of whole leaves
    """

    values: NDArray[np.generic]
    active: NDArray[np.bool_] | None
    corner: tuple[int, int, int]
    background: tuple[float, ...]
    allocated: int


def fill_box(reader: VdbReader, tree: VdbTree, name: str, budget: int) -> DenseBox:
    """Return the box around the active voxels, tiles made voxels, inactive values as the tree has them.

    budget : bytes that the arrays may take

    Raises `GridRefusedError` when the box is too large, `UnsupportedSceneError` when the file is damaged.
    """
    box = active_box(tree)
    background = tuple(tree.storage.background.tolist())
    if box is None:
        canvas = _Canvas(tree, (np.zeros(3, np.int64), np.zeros(3, np.int64)))
        return DenseBox(canvas.values, None, (0, 0, 0), background, 0)
    low, high = box
    aligned = (low // LEAF_SIDE * LEAF_SIDE, -(-high // LEAF_SIDE) * LEAF_SIDE)
    allocated = _checked_size(tree, aligned, high - low, name, budget)
    if allocated > _CHECKED_FIRST_BYTES and _voxel_count(high - low) > _MOSTLY_EMPTY * tree.leaf_voxels:
        for _ in tree.leaf_values(reader):
            pass
    try:
        canvas = _Canvas(tree, aligned)
    except MemoryError as error:
        raise GridRefusedError(
            f"grid '{name}' does not fit into memory: {_shape(high - low)} voxels"
        ) from error
    canvas.paint_tiles(reader)
    canvas.paint_leaves(reader)
    inside = tuple(slice(a, b) for a, b in zip(low - aligned[0], high - aligned[0], strict=True))
    all_active = tree.active_leaf_voxels + active_tile_voxels(tree) == _voxel_count(high - low)
    active = None if all_active else canvas.active[inside]
    corner = tuple(low.tolist())
    return DenseBox(canvas.values[inside], active, corner, background, allocated)


def _checked_size(tree: VdbTree, aligned: Box, shape: NDArray[np.int64], name: str, budget: int) -> int:
    """Return the bytes that a box takes. Raises `GridRefusedError` when it is too large or too empty."""
    voxels = _voxel_count(aligned[1] - aligned[0])
    needed = voxels * (tree.storage.value_type.size + 1)
    if voxels > MAX_BOX_VOXELS:
        raise GridRefusedError(
            f"the active box of grid '{name}' has {_shape(shape)} voxels, beyond the limit of "
            f"{MAX_BOX_VOXELS}; resample it or split it"
        )
    if needed > budget:
        raise GridRefusedError(
            f"grid '{name}' of {_shape(shape)} voxels takes {needed} bytes and {budget} are left of the "
            f"{MAX_FILE_BYTES} for a file; split the file"
        )
    filled = tree.storage.background.view(np.uint8).any()
    if (
        filled
        and needed > _LARGE_BYTES
        and voxels > _EMPTIEST * (tree.leaf_voxels + active_tile_voxels(tree))
    ):
        raise GridRefusedError(
            f"grid '{name}' of {_shape(shape)} voxels is almost empty; split it into its parts"
        )
    return needed


def _voxel_count(shape: NDArray[np.int64]) -> int:
    """Return the product of three sides that may be too large for 64 bits."""
    return math.prod(shape.tolist())


def _shape(shape: NDArray[np.int64]) -> str:
    return " x ".join(str(side) for side in shape.tolist())


class _Canvas:
    """Arrays of whole leaves, and views of them as blocks."""

    def __init__(self, tree: VdbTree, box: Box) -> None:
        self._tree, self._low, self._high = tree, *box
        shape = tuple((self._high - self._low).tolist())
        storage = tree.storage
        native = storage.value_type.number.newbyteorder("=")
        channels = storage.value_type.channels
        # Zeroes cost no memory until they are written, which matters for sparse grids.
        self._numbers = np.zeros((*shape, channels), native)
        if storage.background.view(np.uint8).any():
            self._numbers[...] = storage.background
        self.active = np.zeros(shape, np.bool_)

    @property
    def values(self) -> NDArray[np.generic]:
        """The values as (x, y, z) or (x, y, z, channels)."""
        return self._numbers[..., 0] if self._numbers.shape[3] == 1 else self._numbers

    def paint_tiles(self, reader: VdbReader) -> None:
        """Write the values of all tiles that are no inactive background."""
        tiles = self._tree.root_tiles
        self._paint_large(tiles.origins, UPPER_SIDE, tiles.values, tiles.active)
        for node in self._tree.tile_nodes:
            origins, values, active = read_node_tiles(reader, self._tree, node)
            if node.tile_side == LEAF_SIDE:
                self._paint_blocks(origins, values[:, None], active[:, None])
            else:
                self._paint_large(origins, node.tile_side, values, active)

    def paint_leaves(self, reader: VdbReader) -> None:
        """Write the values of all leaves."""
        for some, values in self._tree.leaf_values(reader):
            self._paint_blocks(self._tree.leaf_origins[some], values, bits_of(self._tree.leaf_masks[some]))

    def _paint_blocks(
        self, origins: NDArray[np.int64], values: NDArray[np.generic], active: NDArray[np.bool_]
    ) -> None:
        """Write (n, 1 or 512, channels) values into blocks of a leaf's size, where they lie in the box."""
        inside = ((origins >= self._low) & (origins < self._high)).all(axis=1)
        places = tuple(((origins[inside] - self._low) // LEAF_SIDE).T)
        sides = (1, 1, 1) if values.shape[1] == 1 else (LEAF_SIDE, LEAF_SIDE, LEAF_SIDE)
        channels = values.shape[2]
        _blocks(self._numbers)[places] = values[inside].reshape(-1, *sides, channels)
        _blocks(self.active[..., None])[places] = active[inside].reshape(-1, *sides, 1)

    def _paint_large(
        self, origins: NDArray[np.int64], side: int, values: NDArray[np.generic], active: NDArray[np.bool_]
    ) -> None:
        """Write tiles larger than a leaf, one by one."""
        starts = np.maximum(origins, self._low) - self._low
        ends = np.minimum(origins + side, self._high) - self._low
        for index in np.flatnonzero((starts < ends).all(axis=1)):
            part = tuple(slice(a, b) for a, b in zip(starts[index], ends[index], strict=True))
            self._numbers[part] = values[index]
            self.active[part] = active[index]


def _blocks(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return (x, y, z, channels) seen as (x / 8, y / 8, z / 8, 8, 8, 8, channels)."""
    x, y, z, channels = array.shape
    split = (x // LEAF_SIDE, LEAF_SIDE, y // LEAF_SIDE, LEAF_SIDE, z // LEAF_SIDE, LEAF_SIDE, channels)
    return array.reshape(split).transpose(0, 2, 4, 1, 3, 5, 6)
