"""Compressed values into arrays: never more bytes than the header declares, never more memory than them."""

from __future__ import annotations

import bz2
import gzip
import zlib
from pathlib import Path
from typing import IO, BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import UnsupportedSceneError
from scene_codec.volumes.array_storage import native, read_into, storage

Compression = Literal["gzip", "bzip2"]

MOST_DEFLATE_EXPANSION = 1032
"""A deflate stream gives at most this many bytes for each of its own (zlib's documentation)."""


def open_compressed(stream: IO[bytes], compression: Compression) -> BinaryIO:
    """Return a stream of the bytes that another one holds compressed."""
    opened = gzip.GzipFile(fileobj=stream) if compression == "gzip" else bz2.BZ2File(stream)
    return cast(BinaryIO, opened)


def check_expansion(path: Path, declared: int, compressed: int) -> None:
    """Raise `UnsupportedSceneError` when so few deflated bytes cannot stand for so many."""
    if declared > MOST_DEFLATE_EXPANSION * (compressed + 1):
        raise UnsupportedSceneError(
            f"'{path.name}' is damaged: its header declares {declared} bytes of values, and {compressed} "
            "compressed bytes cannot hold them. Export or copy it again."
        )


def inflate(
    path: Path, stream: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[np.generic]
) -> NDArray[np.generic]:
    """Return the rest of a stream as an array of native byte order in C order.

    Raises `UnsupportedSceneError` when the stream is damaged or holds fewer or more bytes than `shape` takes.
    """
    values = storage(shape, dtype)
    try:
        complete = read_into(stream, values)
        longer = complete and stream.read(1) != b""  # reading past the end also checks the sum
    except (OSError, EOFError, zlib.error) as error:
        raise UnsupportedSceneError(f"'{path.name}' is damaged: {error}. Export or copy it again.") from error
    if not complete or longer:
        word = "more" if longer else "fewer"
        raise UnsupportedSceneError(
            f"'{path.name}' is damaged: it holds {word} bytes than the {values.nbytes} that its header "
            "declares. Export or copy it again."
        )
    return native(values)
