"""The tree of an OpenVDB grid: which nodes there are and where, read before any voxel is.

A root has tiles and nodes of 4096 voxels a side; these have 32^3 tiles or nodes of 128 voxels a side, which
have 16^3 tiles or leaves of 8 voxels a side. Offsets within a node count z first, then y, then x.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene_codec.volumes.vdb_compression import ValueStorage, bits_of
from scene_codec.volumes.vdb_node_values import (
    LEAF_MASK_BYTES,
    LEAF_VOXELS,
    check_tile_values,
    differ,
    read_leaf_values,
    read_tile_values,
)
from scene_codec.volumes.vdb_stream import VdbReader
from scene_codec.volumes.vdb_value_types import VdbValueType

LEAF_SIDE, LOWER_SIDE, UPPER_SIDE = 8, 128, 4096
"""Voxels along a leaf, a node of leaves, and a node of those."""

LOWER_WIDTH, UPPER_WIDTH = LOWER_SIDE // LEAF_SIDE, UPPER_SIDE // LOWER_SIDE
"""Children along a node."""

_LEAVES_AT_ONCE = 4096

_BITS_SET = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.uint8)

Box = tuple[NDArray[np.int64], NDArray[np.int64]]
"""First lattice index of a box and the first one after it, (3,) each."""


@dataclass(frozen=True)
class TileNode:
    """An internal node with tiles that are not all inactive background.

    tile_side : voxels along a tile
    width : tiles along the node
    masks : which tiles are nodes instead, then which are active, a bit each
    position : of its values in the file
    """

    origin: NDArray[np.int64]
    tile_side: int
    width: int
    masks: bytes
    position: int


@dataclass(frozen=True)
class RootTiles:
    """The tiles of the root: (n, 3) origins, (n, channels) values, (n,) whether active."""

    origins: NDArray[np.int64]
    values: NDArray[np.generic]
    active: NDArray[np.bool_]


@dataclass(frozen=True)
class VdbTree:
    """A tree without its voxels' values.

    leaf_origins : (n, 3), in the order of the file
    leaf_masks : (n, 64) bytes, the active voxels
    leaves_position : where the leaves' values begin in the file
    """

    storage: ValueStorage
    root_tiles: RootTiles
    tile_nodes: list[TileNode]
    leaf_origins: NDArray[np.int64]
    leaf_masks: NDArray[np.uint8]
    leaves_position: int

    @property
    def leaf_voxels(self) -> int:
        """Voxels of all leaves."""
        return LEAF_VOXELS * len(self.leaf_masks)

    @property
    def active_leaf_voxels(self) -> int:
        """Active voxels of all leaves."""
        return int(_BITS_SET[self.leaf_masks].sum(dtype=np.int64))

    def leaf_values(self, reader: VdbReader) -> Iterator[tuple[slice, NDArray[np.generic]]]:
        """Yield leaves, some thousands at once, with their values (n, 512, channels), in file order."""
        reader.seek(self.leaves_position)
        for start in range(0, len(self.leaf_masks), _LEAVES_AT_ONCE):
            some = slice(start, min(start + _LEAVES_AT_ONCE, len(self.leaf_masks)))
            yield some, read_leaf_values(reader, self.storage, self.leaf_masks[some])


def read_tree(
    reader: VdbReader, value_type: VdbValueType, *, half: bool, flags: int, selective: bool
) -> VdbTree:
    """Return the tree that follows; its leaves' values come after. `ValueStorage` explains the settings."""
    reader.skip(4)  # number of buffers, always 1
    background = reader.array(value_type.number, value_type.channels)
    storage = ValueStorage(value_type, half and value_type.is_real, flags, selective, background)
    tile_count, child_count = reader.uint32(), reader.uint32()
    tiles = _read_root_tiles(reader, value_type, tile_count)
    topology = _Topology(reader, storage)
    for _ in range(child_count):  # a false count runs into the end of the file
        topology.read_upper_node()
    keys = np.concatenate([tiles.origins, np.array(topology.root_keys, np.int64).reshape(-1, 3)])
    if len(np.unique(keys, axis=0)) != len(keys) or (keys % UPPER_SIDE).any():
        raise reader.damaged("two parts of a grid overlap, or one is out of place")
    masks = np.frombuffer(b"".join(topology.leaf_masks), np.uint8).reshape(-1, LEAF_MASK_BYTES)
    origins = np.concatenate([np.zeros((0, 3), np.int64), *topology.leaf_origins])
    return VdbTree(storage, tiles, topology.tile_nodes, origins, masks, reader.position)


def _read_root_tiles(reader: VdbReader, value_type: VdbValueType, count: int) -> RootTiles:
    row = np.dtype(
        [("origin", "<i4", 3), ("value", value_type.number, (value_type.channels,)), ("active", "u1")]
    )
    rows: NDArray[np.void] = reader.array(row, count)  # type: ignore[assignment]
    return RootTiles(rows["origin"].astype(np.int64), rows["value"], rows["active"] != 0)


class _Topology:
    """Nodes collected while a tree is walked through, depth first."""

    def __init__(self, reader: VdbReader, storage: ValueStorage) -> None:
        self._reader = reader
        self._storage = storage
        self.root_keys: list[NDArray[np.int64]] = []
        self.tile_nodes: list[TileNode] = []
        self.leaf_origins: list[NDArray[np.int64]] = []
        self.leaf_masks: list[bytes] = []

    def read_upper_node(self) -> None:
        """Read a child of the root and all below it."""
        origin = self._reader.array(np.dtype("<i4"), 3).astype(np.int64)
        self.root_keys.append(origin)
        for child in self._read_node(origin, UPPER_WIDTH, LOWER_SIDE):
            leaves = self._read_node(child, LOWER_WIDTH, LEAF_SIDE)
            self.leaf_origins.append(leaves)
            self.leaf_masks.append(self._reader.take(LEAF_MASK_BYTES * len(leaves)))

    def _read_node(self, origin: NDArray[np.int64], width: int, side: int) -> NDArray[np.int64]:
        """Read a node's masks and pass its values; return its children's origins, (n, 3)."""
        masks = self._reader.take(2 * width**3 // 8)
        children, active = bits_of(np.frombuffer(masks, np.uint8).reshape(2, -1))
        position = self._reader.position
        plain = check_tile_values(self._reader, self._storage, active, children)
        if not plain or active.any():
            self.tile_nodes.append(TileNode(origin, side, width, masks, position))
        offsets = np.flatnonzero(children)
        return origin + side * _places(offsets, width)


def read_node_tiles(
    reader: VdbReader, tree: VdbTree, node: TileNode
) -> tuple[NDArray[np.int64], NDArray[np.generic], NDArray[np.bool_]]:
    """Return the tiles of a node that are no inactive background: (n, 3) origins, values, whether active."""
    reader.seek(node.position)
    children, active = bits_of(np.frombuffer(node.masks, np.uint8).reshape(2, -1))
    values = read_tile_values(reader, tree.storage, active, children)
    told = ~children & (active | differ(values, tree.storage.background))
    offsets = np.flatnonzero(told)
    return node.origin + node.tile_side * _places(offsets, node.width), values[told], active[told]


def active_tile_voxels(tree: VdbTree) -> int:
    """Return how many voxels are in active tiles."""
    count = UPPER_SIDE**3 * int(np.count_nonzero(tree.root_tiles.active))
    for node in tree.tile_nodes:
        children, active = bits_of(np.frombuffer(node.masks, np.uint8).reshape(2, -1))
        count += node.tile_side**3 * int(np.count_nonzero(active & ~children))
    return count


def active_box(tree: VdbTree) -> Box | None:
    """Return the smallest box around all active voxels and tiles, None when there are none."""
    boxes = [_boxes_of_leaves(tree.leaf_origins, tree.leaf_masks)]
    tiles = tree.root_tiles.origins[tree.root_tiles.active]
    boxes.append((tiles, tiles + UPPER_SIDE))
    for node in tree.tile_nodes:
        children, active = bits_of(np.frombuffer(node.masks, np.uint8).reshape(2, -1))
        low, high = _extent((active & ~children)[None], node.width)
        boxes.append((node.origin + node.tile_side * low, node.origin + node.tile_side * high))
    lows, highs = (np.concatenate(ends) for ends in zip(*boxes, strict=True))
    return (lows.min(axis=0), highs.max(axis=0)) if len(lows) else None


def _places(offsets: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Return (n, 3) places within a node of `width` entries a side."""
    return np.stack(np.unravel_index(offsets, (width, width, width)), axis=-1)


def _boxes_of_leaves(origins: NDArray[np.int64], masks: NDArray[np.uint8]) -> Box:
    """Return one box around the active voxels of each leaf that has any."""
    lows, highs = [np.zeros((0, 3), np.int64)], [np.zeros((0, 3), np.int64)]
    filled = masks.any(axis=1)
    origins, masks = origins[filled], masks[filled]
    for start in range(0, len(masks), _LEAVES_AT_ONCE):
        some = slice(start, start + _LEAVES_AT_ONCE)
        low, high = _extent(bits_of(masks[some]), LEAF_SIDE)
        lows.append(origins[some] + low)
        highs.append(origins[some] + high)
    return np.concatenate(lows), np.concatenate(highs)


def _extent(bits: NDArray[np.bool_], width: int) -> Box:
    """Return (m, 3) first and after-last index of the bits set in each of (n, width^3) that has any."""
    cubes = bits[bits.any(axis=1)].reshape(-1, width, width, width)
    lows, highs = [], []
    for others in ((2, 3), (1, 3), (1, 2)):
        line = np.asarray(cubes.any(axis=others))
        lows.append(line.argmax(axis=1))
        highs.append(width - line[:, ::-1].argmax(axis=1))
    return np.stack(lows, axis=-1), np.stack(highs, axis=-1)
