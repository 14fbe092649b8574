"""Arrays that may be larger than memory: mapped from their file, kept in a temporary one, walked by slabs."""

from __future__ import annotations

import errno
import math
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import UnsupportedSceneError

SLAB_BYTES = 16 * 1024 * 1024
"""How much of an array is handled at once."""

LARGEST_IN_MEMORY = 256 * 1024 * 1024
"""Arrays above this many bytes are kept in a temporary file, which the system pages in and out."""


def storage(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """Return a writable array of zeros in C order; a large one lies in a temporary file that ends with it.

    Raises `UnsupportedSceneError` when the folder for temporary files has too little room.
    """
    size = math.prod(shape) * dtype.itemsize
    if size <= LARGEST_IN_MEMORY:
        return np.zeros(shape, dtype)
    room = shutil.disk_usage(tempfile.gettempdir()).free
    if size > room:
        raise UnsupportedSceneError(
            f"The values take {size} bytes, and the folder for temporary files, '{tempfile.gettempdir()}', "
            f"has room for {room}. Free some, or set TMPDIR to a folder with more."
        )
    with tempfile.TemporaryFile() as file:  # the map keeps the file alive, and nothing else does
        _reserve(file, size)
        return np.asarray(np.memmap(file, dtype=dtype, mode="w+", shape=shape))


def _reserve(file: IO[bytes], size: int) -> None:
    """Take the room for a map now: a page that finds none later ends the process without a word."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise UnsupportedSceneError(
                f"The folder for temporary files, '{tempfile.gettempdir()}', has no room for {size} bytes of "
                "values. Free some, or set TMPDIR to a folder with more."
            ) from error


def map_values(
    path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype[np.generic], *, exact: bool = True
) -> NDArray[np.generic]:
    """Return the values that lie in a file from `offset`, in C order and native byte order.

    They are mapped, read-only: nothing is read until it is used. Values in foreign byte order are converted
    at once into memory or a temporary file.

    exact : the values must end where the file ends

    Raises `UnsupportedSceneError` when the file holds fewer or more bytes than `shape` takes.
    """
    available = path.stat().st_size - offset
    size = math.prod(shape) * dtype.itemsize
    if exact or size > available:
        check_size(path, size, available)
    return native(np.asarray(np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)))


def check_size(path: Path, declared: int, available: int) -> None:
    """Raise `UnsupportedSceneError` unless a file holds exactly the bytes that its header declares."""
    if declared != available:
        raise UnsupportedSceneError(
            f"'{path.name}' is damaged: its header declares {declared} bytes of values and "
            f"{max(available, 0)} follow. Export or copy it again."
        )


def native(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the values in native byte order: as they are, or converted into a `storage`."""
    if values.dtype.isnative:
        return values
    converted = storage(values.shape, values.dtype.newbyteorder("="))
    for source, target in zip(slabs(values), slabs(converted), strict=True):
        target[...] = source
    return converted


def copied(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return a copy in C order; of a large array, in a temporary file. Raises as `storage` does."""
    copy = storage(values.shape, values.dtype)
    for source, target in zip(ordered_slabs(values), ordered_slabs(copy), strict=True):
        target[...] = source
    return copy


def read_into(stream: BinaryIO, values: NDArray[np.generic]) -> bool:
    """Fill a C-ordered array with the next bytes of a stream; False when the stream ends too early."""
    target = values.reshape(-1).view(np.uint8).data
    filled = 0
    while filled < len(target):
        piece = stream.read(min(SLAB_BYTES, len(target) - filled))
        if not piece:
            return False
        target[filled : filled + len(piece)] = piece
        filled += len(piece)
    return True


def slabs(values: NDArray[np.generic], limit: int = SLAB_BYTES) -> Iterator[NDArray[np.generic]]:
    """Yield views of at most `limit` bytes that cover the array once, in the order it lies in memory."""
    return _releasing(values, _pieces(values, limit, ordered=False))


def ordered_slabs(values: NDArray[np.generic], limit: int = SLAB_BYTES) -> Iterator[NDArray[np.generic]]:
    """Yield views of at most `limit` bytes whose C orders, one after the other, are that of the array."""
    return _releasing(values, _pieces(values, limit, ordered=True))


def release(values: NDArray[np.generic]) -> None:
    """Let the system take back the memory of a mapped array; its values stay as they are.

    The system would do so when it runs short; until then they count as memory of this process.
    """
    base: object = values
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(base, "madvise"):
        base.madvise(mmap.MADV_DONTNEED)


def _releasing(
    values: NDArray[np.generic], pieces: Iterator[NDArray[np.generic]]
) -> Iterator[NDArray[np.generic]]:
    """Yield the pieces of an array, which is released each time as much as may lie in memory was visited."""
    visited = 0
    for piece in pieces:
        yield piece
        visited += piece.nbytes
        if visited > LARGEST_IN_MEMORY:
            release(values)
            visited = 0


def _pieces(values: NDArray[np.generic], limit: int, *, ordered: bool) -> Iterator[NDArray[np.generic]]:
    """Yield slabs across the first axis, or the one whose steps are longest, cut again while too large."""
    axes = [axis for axis, length in enumerate(values.shape) if length > 1]
    if values.nbytes <= limit or not axes:
        yield values
        return
    axis = axes[0] if ordered else max(axes, key=lambda axis: abs(values.strides[axis]))
    length = values.shape[axis]
    count = max(1, limit * length // values.nbytes)
    for start in range(0, length, count):
        part = values[(slice(None),) * axis + (slice(start, start + count),)]
        yield from _pieces(part, limit, ordered=ordered)


def stored_bytes(values: NDArray[np.generic], dtype: np.dtype[np.generic]) -> Iterator[memoryview]:
    """Yield the values as bytes of `dtype` in C order, a slab at a time."""
    for slab in ordered_slabs(values):
        yield np.ascontiguousarray(slab, dtype=dtype).reshape(-1).view(np.uint8).data
