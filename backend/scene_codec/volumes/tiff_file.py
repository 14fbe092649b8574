"""TIFF files of one volume: a page for each z, or the images of an ImageJ stack. Imports tifffile.

Uncompressed files whose pages follow each other are mapped; others are read page by page.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from scene_codec.bitstream.atomic_file import open_atomically
from scene_codec.errors import UnsupportedSceneError
from scene_codec.volumes.array_storage import map_values, native, storage
from scene_codec.volumes.dense_grid import (
    BYTE_ORDER,
    ORIENTATION,
    UNITS,
    checked_placement,
    checked_shape,
    checked_type,
    dense_grid,
    is_big_endian,
    reversed_axes,
    single_channel_dropped,
    stored_type,
)
from scene_codec.volumes.tiff_description import (
    DESCRIPTION,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    image_notes,
    image_placement,
    orientation_of,
)
from scene_codec.volumes.volume import MetadataValue, VolumeGrid

COMPRESSED = "tiff:compressed"
"""Metadata: the source's values were compressed, and will be."""

_PHOTOMETRIC = "tiff:white_is_zero"
_TEXT_TAGS = {305: "tiff:software", 306: "tiff:datetime"}
_FURTHER_TEXT_TAGS = {
    269: "tiff:document_name",
    271: "tiff:make",
    272: "tiff:model",
    315: "tiff:artist",
    316: "tiff:host_computer",
    33432: "tiff:copyright",
}
_LONGEST_TEXT = 1 << 20
_DATETIME = re.compile(r"\d{4}:\d\d:\d\d \d\d:\d\d:\d\d")

_NONE, _DEFLATE, _PACKBITS, _LZW = 1, (8, 32946), 32773, 5
_MOST_EXPANSION = {8: 1032, 32946: 1032, _PACKBITS: 64, _LZW: 2048}
"""Bytes that one compressed byte can give at most."""

_PALETTE, _WHITE_IS_ZERO = 3, 0
_LARGEST_CLASSIC = 2**32 - 2**25
_TEXT_TYPE = 2


@contextlib.contextmanager
def open_tiff(path: Path) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF file for the length of a block; raises `UnsupportedSceneError` at its end if it is damaged.

    Kinds that take images from other files are read as plain pages of their own.
    """
    damage = _Damage()
    logger = logging.getLogger("tifffile")
    logger.addHandler(damage)
    try:
        with tifffile.TiffFile(path, is_ome=False, is_mmstack=False, is_ndtiff=False) as file:
            yield file
    finally:
        logger.removeHandler(damage)
    if damage.reasons:
        raise _damaged(path, damage.reasons[0])


class _Damage(logging.Handler):
    """Collects what tifffile only logs: pages and tags that it leaves out since they cannot be read."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.reasons: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the messages of this thread, where the file is read."""
        if record.thread == self._thread:
            self.reasons.append(record.getMessage()[:200])


def load_tiff(path: Path) -> VolumeGrid:
    """Return the volume of a TIFF file: its pages along z, rows along y."""
    with open_tiff(path) as file:
        values = read_pages(path, file)
        metadata = page_metadata(file)
    return tiff_grid(path, reversed_axes(values), metadata)


def tiff_grid(path: Path, values: NDArray[np.generic], metadata: dict[str, MetadataValue]) -> VolumeGrid:
    """Return the grid of values placed by the metadata of their first page."""
    matrix, unit = image_placement(metadata)
    if matrix.shape != (4, 4):
        raise UnsupportedSceneError(f"'{path.name}' has a description whose to_object is no (4, 4) map.")
    orientation = orientation_of(str(metadata.get(DESCRIPTION, "")))
    if unit:
        metadata[UNITS] = unit
    if orientation:
        metadata[ORIENTATION] = orientation
    return dense_grid(values, checked_placement(path, matrix), metadata)


def save_tiff(grid: VolumeGrid, path: Path) -> None:
    """Write one page for each z, compressed if the source was."""
    values = reversed_axes(single_channel_dropped(grid.values))
    check_bits(path, values.dtype, values.ndim)
    with open_atomically(path) as stream:
        write_pages(stream, values, grid)


def read_pages(path: Path, file: tifffile.TiffFile) -> NDArray[np.generic]:
    """Return the images of a file as (z, y, x) or (z, y, x, channels).

    Raises `UnsupportedSceneError` for images of several sizes, several series, palettes and compressions that
    are unknown or would expand beyond what the pages declare.
    """
    series = file.series
    if len(series) != 1:
        raise UnsupportedSceneError(f"'{path.name}' holds {len(series)} kinds of images; all must be alike.")
    pages = [page for page in series[0].pages if page is not None]
    keyframe = series[0].keyframe
    dtype = checked_type(path, np.dtype(series[0].dtype))
    order, shape = _axes(path, str(series[0].axes), tuple(map(int, series[0].shape)))
    checked_shape(path, [shape[2], shape[1], shape[0], *shape[3:]])
    check_bits(path, dtype, len(shape))
    if keyframe.photometric == _PALETTE:
        raise UnsupportedSceneError(f"'{path.name}' has a palette. Save it in grey values or colours.")
    size = math.prod(shape) * dtype.itemsize
    offset = series[0].dataoffset
    if offset is not None and keyframe.compression == _NONE and dtype.kind != "b":
        stored = map_values(
            path, int(offset), tuple(series[0].shape), dtype.newbyteorder(file.byteorder), exact=False
        )
    else:
        if sum(page.nbytes for page in pages) != size:
            raise UnsupportedSceneError(
                f"'{path.name}' is damaged: its pages do not add up to its declared shape."
            )
        for page in pages:
            _check_segments(path, file, page, keyframe)
        target = storage((len(pages), *keyframe.shape), dtype)
        for index, page in enumerate(pages):
            target[index] = page.asarray()
        stored = target.reshape(series[0].shape)
    present = stored.reshape(
        [n for n, axis in zip(stored.shape, series[0].axes, strict=True) if n > 1 or axis in "YX"]
    )
    return native(present).transpose(order).reshape(shape)


def page_metadata(file: tifffile.TiffFile) -> dict[str, MetadataValue]:
    """Return what the first page of a file says beyond its values."""
    page = file.pages.first
    metadata: dict[str, MetadataValue] = {}
    if file.byteorder == ">":
        metadata[BYTE_ORDER] = "big"
    if page.compression != _NONE:
        metadata[COMPRESSED] = True
    if page.photometric == _WHITE_IS_ZERO:
        metadata[_PHOTOMETRIC] = True
    for code, name in {270: DESCRIPTION, **_TEXT_TAGS, **_FURTHER_TEXT_TAGS}.items():
        text = page.tags.valueof(code)
        if isinstance(text, str) and 0 < len(text) <= _LONGEST_TEXT:
            metadata[name] = text
    for code, name in ((282, X_RESOLUTION), (283, Y_RESOLUTION)):
        rational = page.tags.valueof(code)
        if isinstance(rational, tuple) and len(rational) == 2:
            metadata[name] = (int(rational[0]), int(rational[1]))
    unit = page.tags.valueof(296)
    if unit is not None:
        metadata[RESOLUTION_UNIT] = int(unit)
    return metadata


def write_pages(stream: BinaryIO, values: NDArray[np.generic], grid: VolumeGrid) -> None:
    """Write (z, y, x[, channels]) values of a grid as a TIFF file into a stream."""
    dtype = stored_type(grid)
    notes = image_notes(grid, values.shape)
    byteorder: Literal["<", ">"] = ">" if is_big_endian(grid) else "<"
    with tifffile.TiffWriter(stream, bigtiff=values.nbytes > _LARGEST_CLASSIC, byteorder=byteorder) as writer:
        writer.write(
            _pages(values, dtype),
            shape=values.shape,
            dtype=dtype,
            compression="zlib" if grid.metadata.get(COMPRESSED) else None,
            description=str(notes[DESCRIPTION]).encode() if DESCRIPTION in notes else None,
            metadata=None,
            **_channel_arguments(values, bool(grid.metadata.get(_PHOTOMETRIC))),
            **_resolution_arguments(notes),
            **_text_arguments(grid),
        )


def check_bits(path: Path, dtype: np.dtype[np.generic], axes: int) -> None:
    """Raise `UnsupportedSceneError` for single bits in several channels, which tifffile packs wrongly."""
    if dtype.kind == "b" and axes == 4:
        raise UnsupportedSceneError(f"'{path.name}' cannot hold bool values in several channels. Use uint8.")


def _axes(path: Path, axes: str, shape: tuple[int, ...]) -> tuple[list[int], tuple[int, ...]]:
    """Return the order of the axes longer than one that gives z, y, x, channels, and that shape."""
    present = [(axis, size) for axis, size in zip(axes, shape, strict=True) if size > 1 or axis in "YX"]
    letters = [axis for axis, _ in present]
    channels = [axis for axis in letters if axis in "SC"]
    pages = [axis for axis in letters if axis not in "SCYX"]
    if len(pages) > 1 or len(channels) > 1 or letters.count("Y") != 1 or letters.count("X") != 1:
        words = " x ".join(f"{axis} {size}" for axis, size in present)
        raise UnsupportedSceneError(
            f"'{path.name}' has the axes {words}. A volume has pages, rows, columns and channels; split a "
            "series into volumes."
        )
    sizes = dict(present)
    order = [letters.index(axis) for axis in (*pages, "Y", "X", *channels)]
    page_count = sizes[pages[0]] if pages else 1
    return order, (page_count, sizes["Y"], sizes["X"], *(sizes[axis] for axis in channels))


def _check_segments(
    path: Path, file: tifffile.TiffFile, page: tifffile.TiffPage | tifffile.TiffFrame, like: tifffile.TiffPage
) -> None:
    """Raise `UnsupportedSceneError` unless the strips or tiles of a page hold what they must and no more.

    like : the page whose tags the page shares
    """
    compression = int(like.compression)
    if compression != _NONE and compression not in _MOST_EXPANSION:
        raise UnsupportedSceneError(
            f"'{path.name}' has the compression {like.compression!r}, which is not read. "
            "Save it uncompressed or with deflate."
        )
    if compression == _LZW and not _can_read_lzw():
        raise UnsupportedSceneError(
            f"'{path.name}' has LZW compression, which needs the package imagecodecs. "
            "Install it, or save the file uncompressed or with deflate."
        )
    needed = math.prod(like.shape) * int(like.bitspersample) // 8
    if sum(page.databytecounts) * _MOST_EXPANSION.get(compression, 1) < needed:
        raise _damaged(path, "its pages hold fewer bytes than they declare")
    largest = math.prod(like.chunks) * np.dtype(like.dtype).itemsize
    inflated = 0
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        if offset + count > file.filehandle.size:
            raise _damaged(path, "it ends within its pages")
        if compression in _DEFLATE:
            file.filehandle.seek(offset)
            piece = zlib.decompressobj().decompress(file.filehandle.read(count), largest + 1)
            inflated += len(piece)
            if len(piece) > largest:
                raise _damaged(path, "a strip holds more bytes than it declares")
        elif count > 2 * largest + 1024:
            raise _damaged(path, "a strip holds more bytes than it declares")
    if compression in _DEFLATE and inflated < needed:
        raise _damaged(path, "its pages hold fewer bytes than they declare")


def _can_read_lzw() -> bool:
    """Tell whether tifffile found a decoder for LZW."""
    return bool(5 in tifffile.TIFF.DECOMPRESSORS)


def _damaged(path: Path, reason: str) -> UnsupportedSceneError:
    return UnsupportedSceneError(f"'{path.name}' is damaged: {reason}. Export or copy it again.")


def _pages(values: NDArray[np.generic], dtype: np.dtype[np.generic]) -> Iterator[NDArray[np.generic]]:
    """Yield the pages in the file's byte order."""
    for page in values:
        yield np.ascontiguousarray(page, dtype=dtype)


def _channel_arguments(values: NDArray[np.generic], white_is_zero: bool) -> dict[str, Any]:
    """Return tifffile's arguments for what the channels mean: colours for three and four of them."""
    channels = values.shape[3] if values.ndim == 4 else 1
    if channels == 1:
        return {"photometric": "miniswhite" if white_is_zero else "minisblack"}
    arguments: dict[str, Any] = {
        "photometric": "rgb" if channels > 2 else "minisblack",
        "planarconfig": "contig",
    }
    if channels == 4:
        arguments["extrasamples"] = ["unassalpha"]
    return arguments


def _resolution_arguments(notes: dict[str, MetadataValue]) -> dict[str, Any]:
    """Return tifffile's arguments for pixels per unit."""
    arguments: dict[str, Any] = {"resolutionunit": notes.get(RESOLUTION_UNIT, 1)}
    if X_RESOLUTION in notes and Y_RESOLUTION in notes:
        arguments["resolution"] = (notes[X_RESOLUTION], notes[Y_RESOLUTION])
    return arguments


def _text_arguments(grid: VolumeGrid) -> dict[str, Any]:
    """Return tifffile's arguments for the texts that the source had, and none of tifffile's own."""
    texts = {code: grid.metadata[name] for code, name in _FURTHER_TEXT_TAGS.items() if name in grid.metadata}
    date = str(grid.metadata.get("tiff:datetime", ""))
    software = str(grid.metadata.get("tiff:software", ""))
    return {
        "software": software.encode() or False,
        "datetime": date if _DATETIME.fullmatch(date) else None,
        "extratags": [(code, _TEXT_TYPE, 0, str(text).encode(), True) for code, text in texts.items()],
    }
