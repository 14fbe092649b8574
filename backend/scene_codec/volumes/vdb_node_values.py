"""Values of many OpenVDB nodes at once, to and from the bytes of a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene_codec.volumes.vdb_compression import (
    ACTIVE_MASK,
    ALL_VALUES,
    BACKGROUND,
    MASKED_BACKGROUNDS,
    MASKED_ONE_VALUE,
    MASKED_TWO_VALUES,
    MINUS_BACKGROUND,
    ONE_VALUE,
    WITH_FIRST_VALUE,
    WITH_MASK,
    ValueStorage,
    bits_of,
    chunk_bytes,
    mask_bytes,
    read_chunk,
)
from scene_codec.volumes.vdb_stream import VdbReader

LEAF_VOXELS = 512
LEAF_MASK_BYTES = LEAF_VOXELS // 8
_ORIGIN_BYTES = 12


@dataclass
class _Inactive:
    """What nodes say of their inactive values: (n, channels) twice, (n, bytes) mask, (n,) all stored."""

    first: NDArray[np.generic]
    second: NDArray[np.generic]
    selection: NDArray[np.uint8]
    everything: NDArray[np.bool_]


def read_leaf_values(
    reader: VdbReader, storage: ValueStorage, masks: NDArray[np.uint8]
) -> NDArray[np.generic]:
    """Return the values of the leaves that follow, (n, 512, channels), from their (n, 64) masks."""
    if storage.value_type.number.kind == "b":
        # A leaf of Booleans repeats its mask, says where it is, and has its values as a second mask.
        rows = np.frombuffer(reader.take(len(masks) * (2 * LEAF_MASK_BYTES + _ORIGIN_BYTES)), np.uint8)
        return bits_of(rows.reshape(len(masks), -1)[:, LEAF_MASK_BYTES + _ORIGIN_BYTES :])[..., None]
    active = bits_of(masks)
    inactive = _blank(storage, len(masks), LEAF_VOXELS)
    chunks = []
    for index, count in enumerate(np.count_nonzero(active, axis=1).tolist()):
        reader.take(LEAF_MASK_BYTES)
        if storage.selective:
            stored = _read_inactive(reader, storage, inactive, index, count)
            chunks.append(read_chunk(reader, storage, stored))
        else:
            inactive.everything[index] = True
            reader.take(_ORIGIN_BYTES)
            spare_buffers = reader.byte() - 1
            chunks.append(read_chunk(reader, storage, LEAF_VOXELS))
            for _ in range(spare_buffers):
                read_chunk(reader, storage, LEAF_VOXELS)
    return _combined(storage, active, inactive, b"".join(chunks))


def read_tile_values(
    reader: VdbReader, storage: ValueStorage, active: NDArray[np.bool_], children: NDArray[np.bool_]
) -> NDArray[np.generic]:
    """Return the values of one internal node, (n, channels); those in place of children mean nothing."""
    count = len(active)
    if not storage.selective:
        tiles = np.zeros((count, storage.value_type.channels), storage.value_type.number)
        tiles[~children] = _numbers(storage, read_chunk(reader, storage, int(np.count_nonzero(~children))))
        return tiles
    inactive = _blank(storage, 1, count)
    stored = _read_inactive(reader, storage, inactive, 0, int(np.count_nonzero(active)))
    values = _combined(storage, active[None], inactive, read_chunk(reader, storage, stored))
    return values.reshape(count, -1)


def check_tile_values(
    reader: VdbReader, storage: ValueStorage, active: NDArray[np.bool_], children: NDArray[np.bool_]
) -> bool:
    """Go past the values of one internal node, sound ones; tell if all inactive ones are the background."""
    if not storage.selective:
        read_chunk(reader, storage, int(np.count_nonzero(~children)))
        return False
    inactive = _blank(storage, 1, len(active))
    stored = _read_inactive(reader, storage, inactive, 0, int(np.count_nonzero(active)))
    read_chunk(reader, storage, stored)
    plain = not inactive.everything[0] and not inactive.selection.any()
    return bool(plain and not differ(inactive.first[0], storage.background))


def _blank(storage: ValueStorage, nodes: int, values: int) -> _Inactive:
    backgrounds = np.repeat(storage.background[None], nodes, axis=0)
    return _Inactive(
        backgrounds, backgrounds.copy(), np.zeros((nodes, values // 8), np.uint8), np.zeros(nodes, np.bool_)
    )


def _read_inactive(
    reader: VdbReader, storage: ValueStorage, inactive: _Inactive, index: int, active_count: int
) -> int:
    """Read how the inactive values of a node come about; return how many values are stored."""
    code = reader.byte()
    if code > ALL_VALUES:
        raise reader.damaged(f"a node has the unknown code {code}")
    number, channels = storage.value_type.number, storage.value_type.channels
    if code != BACKGROUND:
        inactive.first[index] = storage.value_type.negative(storage.background)
    if code in WITH_FIRST_VALUE:
        inactive.first[index] = reader.array(number, channels)
        if code == MASKED_TWO_VALUES:
            inactive.second[index] = reader.array(number, channels)
    width = int(inactive.selection.shape[1])
    if code in WITH_MASK:
        inactive.selection[index] = np.frombuffer(reader.take(width), np.uint8)
    if storage.flags & ACTIVE_MASK and code != ALL_VALUES:
        return active_count
    inactive.everything[index] = True
    return width * 8


def _numbers(storage: ValueStorage, data: bytes) -> NDArray[np.generic]:
    return np.frombuffer(data, storage.stored_number).reshape(-1, storage.value_type.channels)


def _combined(
    storage: ValueStorage, active: NDArray[np.bool_], inactive: _Inactive, data: bytes
) -> NDArray[np.generic]:
    """Return (n, values, channels) from the stored values and what was said of the others."""
    second = bits_of(inactive.selection)[..., None]
    values = np.where(second, inactive.second[:, None], inactive.first[:, None])
    values[active | inactive.everything[:, None]] = _numbers(storage, data)
    return values


def encoded_nodes(
    storage: ValueStorage,
    values: NDArray[np.generic],
    active: NDArray[np.bool_],
    children: NDArray[np.bool_] | None = None,
) -> Iterator[bytes]:
    """Yield each node's values as the file stores them, inactive ones left out where two values say them all.

    values : (n, m, channels), representable in the stored type
    active, children : (n, m); what stands in place of a child is not stored
    """
    inactive = ~active if children is None else ~(active | children)
    codes, firsts, seconds, selections = _inactive_codes(storage, values, inactive)
    stored = active | (codes == ALL_VALUES)[:, None]
    data = memoryview(values[stored].astype(storage.stored_number, copy=False).tobytes())
    ends = storage.byte_count(1) * np.cumsum(np.count_nonzero(stored, axis=1))
    masks = mask_bytes(selections)
    start = 0
    for index, (code, end) in enumerate(zip(codes.tolist(), ends.tolist(), strict=True)):
        parts = [bytes((code,))]
        if code in WITH_FIRST_VALUE:
            parts.append(firsts[index].tobytes())
        if code == MASKED_TWO_VALUES:
            parts.append(seconds[index].tobytes())
        if code in WITH_MASK:
            parts.append(masks[index].tobytes())
        parts.append(chunk_bytes(data[start:end], storage))
        yield b"".join(parts)
        start = end


def _inactive_codes(
    storage: ValueStorage, values: NDArray[np.generic], inactive: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.generic], NDArray[np.generic], NDArray[np.bool_]]:
    """Return per node: the code, the values that go with it, and the mask of the second or background value.

    Values are compared by their bits, so that a negative zero or a NaN comes back as it was.
    """
    rows = np.arange(len(values))
    first = values[rows, inactive.argmax(axis=1)]
    others = inactive & differ(values, first[:, None])
    second = values[rows, others.argmax(axis=1)]
    more = np.asarray((others & differ(values, second[:, None])).any(axis=1))
    minus = storage.value_type.negative(storage.background)
    is_background, is_minus = ~differ(first, storage.background), ~differ(first, minus)
    second_background, second_minus = ~differ(second, storage.background), ~differ(second, minus)
    has_one, has_two = np.asarray(inactive.any(axis=1)), np.asarray(others.any(axis=1))
    swapped = has_two & is_background
    between = (is_minus & second_background) | (is_background & second_minus)
    with_background = is_background | second_background
    choices: list[tuple[NDArray[np.bool_], int]] = [
        (more, ALL_VALUES),
        (has_two & between, MASKED_BACKGROUNDS),
        (has_two & with_background, MASKED_ONE_VALUE),
        (has_two, MASKED_TWO_VALUES),
        (~has_one | is_background, BACKGROUND),
        (is_minus, MINUS_BACKGROUND),
    ]
    codes = np.select([case for case, _ in choices], [code for _, code in choices], ONE_VALUE)
    kept = np.where(swapped[:, None], second, first).astype(values.dtype, copy=False)
    selection = np.where(swapped[:, None], inactive & ~others, others)
    return codes, kept, second, selection


def differ(left: NDArray[np.generic], right: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Tell where values (..., channels) of one type differ in any bit."""
    word = np.dtype(f"u{left.dtype.itemsize}")
    return np.asarray((left.view(word) != right.view(word)).any(axis=-1))
