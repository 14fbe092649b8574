"""A box of values as an OpenVDB tree, in the bytes of a file.

Blocks of 8^3 voxels with an active voxel, or with inactive voxels that are not all alike, become leaves;
blocks of one inactive value other than the background (the inside of a level set) become tiles, of 128^3
voxels where they fill them. Everything else is background and takes no place.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scene_codec.volumes.vdb_compression import ValueStorage, mask_bytes
from scene_codec.volumes.vdb_node_values import LEAF_VOXELS, differ, encoded_nodes
from scene_codec.volumes.vdb_tree import LEAF_SIDE, LOWER_SIDE, LOWER_WIDTH, UPPER_SIDE, UPPER_WIDTH
from scene_codec.volumes.vdb_value_types import rounded_to_half
from scene_codec.volumes.volume import VolumeGrid

_LOWER_TILES, _UPPER_TILES = LOWER_WIDTH**3, UPPER_WIDTH**3


def tree_bytes(grid: VolumeGrid, storage: ValueStorage) -> tuple[bytes, bytes]:
    """Return the topology and the leaves' values of a grid's tree.

    The box is walked through in nodes of 128^3 voxels, so that a memory map may be larger than memory.
    """
    low = np.array(grid.corner, np.int64)
    high = low + grid.shape
    topology, leaves = [], []
    count = 0
    for origin in _origins(low, high, UPPER_SIDE):
        upper = _UpperNode(storage)
        for child in _origins(np.maximum(low, origin), np.minimum(high, origin + UPPER_SIDE), LOWER_SIDE):
            upper.add(child - origin, _lower_node(_Blocks(grid, storage, child), storage))
        if not upper.is_background:
            count += 1
            topology += [struct.pack("<3i", *origin), upper.topology()]
            leaves += upper.leaves
    # One buffer, the background, no tiles of the root.
    head = struct.pack("<i", 1) + storage.background.tobytes() + struct.pack("<II", 0, count)
    return head + b"".join(topology), b"".join(leaves)


def stored_values(values: NDArray[np.generic], storage: ValueStorage) -> NDArray[np.generic]:
    """Return values in the grid's type and with the precision that the file keeps."""
    if storage.half:
        return rounded_to_half(values).astype(storage.value_type.number)
    return values.astype(storage.value_type.number, copy=False)


def _origins(low: NDArray[np.int64], high: NDArray[np.int64], side: int) -> Iterator[NDArray[np.int64]]:
    """Yield the origins of the nodes of a size that overlap a box, in the order of their offsets."""
    axes = [range(a // side * side, b, side) for a, b in zip(low.tolist(), high.tolist(), strict=True)]
    for origin in itertools.product(*axes):
        yield np.array(origin, np.int64)


class _Blocks:
    """What the grid has in a node of 128^3 voxels, as blocks of 8^3.

    offsets : (n,) of the blocks in the node, ascending; blocks that are not listed are background
    values : (n, 512, channels)
    active : (n, 512)
    """

    def __init__(self, grid: VolumeGrid, storage: ValueStorage, origin: NDArray[np.int64]) -> None:
        corner = np.array(grid.corner, np.int64)
        low = np.maximum(origin, corner)
        high = np.minimum(origin + LOWER_SIDE, corner + grid.shape)
        start = low // LEAF_SIDE * LEAF_SIDE
        shape = tuple((-(-high // LEAF_SIDE) * LEAF_SIDE - start).tolist())
        source = tuple(slice(a, b) for a, b in zip(low - corner, high - corner, strict=True))
        target = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
        values = np.zeros((*shape, storage.value_type.channels), storage.value_type.number)
        values[...] = storage.background
        part = stored_values(np.asarray(grid.values[source]), storage)
        values[target] = part.reshape(*part.shape[:3], -1)
        active = np.zeros((*shape, 1), np.bool_)
        active[target] = True if grid.active is None else grid.active[source][..., None]
        self.origin = origin
        self.values = _as_blocks(values)
        self.active = _as_blocks(active)[..., 0].astype(np.bool_, copy=False)
        first = (start - origin) // LEAF_SIDE
        places = np.indices(tuple(side // LEAF_SIDE for side in shape)).reshape(3, -1) + first[:, None]
        self.offsets = np.ravel_multi_index(tuple(places), (LOWER_WIDTH,) * 3)


def _as_blocks(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return (x, y, z, channels) as (n, 512, channels)."""
    x, y, z, channels = array.shape
    split = array.reshape(
        x // LEAF_SIDE, LEAF_SIDE, y // LEAF_SIDE, LEAF_SIDE, z // LEAF_SIDE, LEAF_SIDE, channels
    )
    return split.transpose(0, 2, 4, 1, 3, 5, 6).reshape(-1, LEAF_VOXELS, channels)


@dataclass(frozen=True)
class _LowerNode:
    """A node of 128^3 voxels: a tile of one value, or topology and leaves; neither when it is background."""

    tile: NDArray[np.generic] | None = None
    topology: bytes = b""
    leaves: tuple[bytes, ...] = ()


def _lower_node(blocks: _Blocks, storage: ValueStorage) -> _LowerNode:
    first = blocks.values[:, 0]
    uneven = differ(blocks.values, first[:, None]).any(axis=1)
    is_leaf = np.asarray(uneven | blocks.active.any(axis=1))
    is_tile = ~is_leaf & differ(first, storage.background)
    if not is_leaf.any():
        if not is_tile.any():
            return _LowerNode()
        if np.count_nonzero(is_tile) == _LOWER_TILES and not differ(first, first[:1]).any():
            return _LowerNode(tile=first[0])
    children = np.zeros(_LOWER_TILES, np.bool_)
    children[blocks.offsets[is_leaf]] = True
    tiles = np.repeat(storage.background[None], _LOWER_TILES, axis=0)
    tiles[blocks.offsets[is_tile]] = first[is_tile]
    masks = mask_bytes(blocks.active[is_leaf])
    return _LowerNode(
        topology=_node_topology(storage, children, tiles) + masks.tobytes(),
        leaves=tuple(_leaf_bytes(blocks, is_leaf, masks, storage)),
    )


def _node_topology(storage: ValueStorage, children: NDArray[np.bool_], tiles: NDArray[np.generic]) -> bytes:
    """Return an internal node's masks and values; no tile is active."""
    active = np.zeros_like(children)
    values = next(encoded_nodes(storage, tiles[None], active[None], children[None]))
    return mask_bytes(children).tobytes() + mask_bytes(active).tobytes() + values


def _leaf_bytes(
    blocks: _Blocks, is_leaf: NDArray[np.bool_], masks: NDArray[np.uint8], storage: ValueStorage
) -> Iterator[bytes]:
    """Yield the leaves of a node as they stand among the values of a file."""
    values, active = blocks.values[is_leaf], blocks.active[is_leaf]
    if storage.value_type.number.kind == "b":
        places = np.stack(np.unravel_index(blocks.offsets[is_leaf], (LOWER_WIDTH,) * 3), axis=-1)
        origins = (blocks.origin + LEAF_SIDE * places).astype("<i4")
        for mask, origin, bits in zip(masks, origins, mask_bytes(values[..., 0]), strict=True):
            yield mask.tobytes() + origin.tobytes() + bits.tobytes()
        return
    for mask, stored in zip(masks, encoded_nodes(storage, values, active), strict=True):
        yield mask.tobytes() + stored


@dataclass
class _UpperNode:
    """A node of 4096^3 voxels as it grows, child by child in the order of their offsets."""

    storage: ValueStorage
    leaves: list[bytes] = field(default_factory=list)
    _below: list[bytes] = field(default_factory=list)
    _children: list[int] = field(default_factory=list)
    _tiles: list[tuple[int, NDArray[np.generic]]] = field(default_factory=list)

    @property
    def is_background(self) -> bool:
        """Whether nothing was added that is worth a node."""
        return not self._children and not self._tiles

    def add(self, place: NDArray[np.int64], node: _LowerNode) -> None:
        """Put a child at a place counted in voxels from this node's origin."""
        offset = int(np.ravel_multi_index(tuple(place // LOWER_SIDE), (UPPER_WIDTH,) * 3))
        if node.tile is not None:
            self._tiles.append((offset, node.tile))
        elif node.topology:
            self._children.append(offset)
            self._below.append(node.topology)
            self.leaves += node.leaves

    def topology(self) -> bytes:
        """Return this node's masks and tiles, then its children's."""
        children = np.zeros(_UPPER_TILES, np.bool_)
        children[self._children] = True
        tiles = np.repeat(self.storage.background[None], _UPPER_TILES, axis=0)
        for offset, value in self._tiles:
            tiles[offset] = value
        return _node_topology(self.storage, children, tiles) + b"".join(self._below)
