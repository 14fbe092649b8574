"""NRRD files, attached (.nrrd) and detached (.nhdr): raw ones are mapped, gzip, bzip2 and text ones read."""

from __future__ import annotations

import bz2
import gzip
import math
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from scene_codec.bitstream.atomic_file import open_atomically, write_atomically
from scene_codec.errors import UnsupportedSceneError
from scene_codec.volumes.array_storage import map_values, stored_bytes
from scene_codec.volumes.dense_grid import (
    check_writable_type,
    checked_placement,
    checked_shape,
    dense_grid,
    is_big_endian,
    stored_type,
)
from scene_codec.volumes.inflating import Compression, check_expansion, inflate, open_compressed
from scene_codec.volumes.nrrd_header import (
    ENCODING,
    NrrdHeader,
    channel_axis,
    header_bytes,
    header_metadata,
    header_placement,
    read_header,
    texts_to_write,
)
from scene_codec.volumes.volume import VolumeGrid

_TYPE_WORDS = {
    "int8": ("int8", "signed char", "int8_t"),
    "uint8": ("uint8", "uchar", "unsigned char", "uint8_t"),
    "int16": ("int16", "short", "short int", "signed short", "signed short int", "int16_t"),
    "uint16": ("uint16", "ushort", "unsigned short", "unsigned short int", "uint16_t"),
    "int32": ("int32", "int", "signed int", "int32_t"),
    "uint32": ("uint32", "uint", "unsigned int", "uint32_t"),
    "int64": ("int64", "longlong", "long long", "long long int", "signed long long", "int64_t"),
    "uint64": ("uint64", "ulonglong", "unsigned long long", "unsigned long long int", "uint64_t"),
    "float32": ("float",),
    "float64": ("double",),
}
_TYPES = {word: name for name, words in _TYPE_WORDS.items() for word in words}
_COMPRESSIONS: dict[str, Compression] = {"gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
_TEXT_ENCODINGS = ("ascii", "text", "txt")
_DATA_SUFFIXES = {"raw": ".raw", "gzip": ".raw.gz", "bzip2": ".raw.bz2"}
_LARGEST_TEXT = 64 * 1024 * 1024
_LONGEST_NUMBER = 64


def load_nrrd(path: Path) -> VolumeGrid:
    """Return the volume of a .nrrd file, or of a .nhdr file and its data file."""
    with path.open("rb") as stream:
        header = read_header(path, stream)
    dtype = _type(path, header)
    sizes = [int(size) for size in header.fields["sizes"]]
    axis = channel_axis(header)
    checked_shape(path, sizes if axis is None else [*sizes[:axis], *sizes[axis + 1 :], sizes[axis]])
    values = _read_values(path, header, tuple(sizes[::-1]), dtype).T
    encoding = str(header.fields["encoding"]).lower()
    metadata = header_metadata(header)
    metadata[ENCODING] = _COMPRESSIONS.get(encoding, "raw")
    matrix = checked_placement(path, header_placement(header))
    return dense_grid(values if axis is None else np.moveaxis(values, axis, -1), matrix, metadata)


def save_nrrd(grid: VolumeGrid, path: Path) -> None:
    """Write a .nrrd file, or a .nhdr file and a data file of the same name beside it.

    Encoded as the NRRD file that the grid came from, otherwise raw. Raises `UnsupportedSceneError` for types
    that NRRD lacks.
    """
    check_writable_type(path, grid, tuple(_TYPE_WORDS))
    texts, axis = texts_to_write(grid)
    values = grid.values if grid.values.ndim == 3 else np.moveaxis(grid.values, -1, axis)
    encoding = str(grid.metadata.get(ENCODING, "raw"))
    storage = {
        "type": _TYPE_WORDS[grid.values.dtype.name][0],
        "dimension": str(values.ndim),
        "sizes": " ".join(map(str, values.shape)),
        "endian": "big" if is_big_endian(grid) else "little",
        "encoding": encoding,
    }
    if path.suffix.lower() == ".nrrd":
        with open_atomically(path) as stream:
            stream.write(header_bytes(storage, texts))
            _write_values(stream, values.T, stored_type(grid), encoding)
        return
    data_file = path.with_suffix(_DATA_SUFFIXES[encoding])
    if data_file.exists() and not path.exists():
        raise UnsupportedSceneError(
            f"'{path.name}' would put its values into '{data_file.name}', which is there already. Move that "
            "file, or choose another name."
        )
    with open_atomically(data_file) as stream:
        _write_values(stream, values.T, stored_type(grid), encoding)
    write_atomically(path, [header_bytes(storage | {"data file": data_file.name}, texts)])


def data_file_of(path: Path) -> Path | None:
    """Return the file that holds the values of a header, None when they follow it in the same file."""
    with path.open("rb") as stream:
        return _data_file(path, read_header(path, stream))


def _type(path: Path, header: NrrdHeader) -> np.dtype[np.generic]:
    """Return the type of the stored values, with its byte order."""
    word = str(header.fields["type"]).lower()
    if word not in _TYPES:
        raise UnsupportedSceneError(
            f"'{path.name}' holds values of the type '{word[:40]}'; of NRRD's types, "
            f"{', '.join(words[0] for words in _TYPE_WORDS.values())} can be read."
        )
    dtype = np.dtype(_TYPES[word])
    order = str(header.get("endian") or "").lower()
    if dtype.itemsize > 1 and str(header.fields["encoding"]).lower() not in _TEXT_ENCODINGS:
        if order not in ("big", "little"):
            raise UnsupportedSceneError(
                f"'{path.name}' does not say whether its numbers are big or little endian."
            )
        dtype = dtype.newbyteorder(">" if order == "big" else "<")
    return dtype


def _data_file(path: Path, header: NrrdHeader) -> Path | None:
    """Return the file with the values, which must lie in the header's folder or below; None for the same."""
    name = header.get("data file", "datafile")
    if name is None:
        return None
    place = PurePosixPath(str(name).replace("\\", "/"))
    if str(name).split()[0:1] == ["LIST"] or "%" in str(name):
        raise UnsupportedSceneError(
            f"'{path.name}' spreads its values over several files. Write them into one."
        )
    if place.is_absolute() or ".." in place.parts or ":" in str(name):
        raise UnsupportedSceneError(
            f"'{path.name}' takes its values from '{str(name)[:80]}', outside its own folder. Put the data "
            "file beside the header and write its bare name."
        )
    file = path.parent / place
    if not file.is_file():
        raise UnsupportedSceneError(f"The data file '{str(name)[:80]}' of '{path.name}' is missing.")
    return file


def _read_values(
    path: Path, header: NrrdHeader, shape: tuple[int, ...], dtype: np.dtype[np.generic]
) -> NDArray[np.generic]:
    """Return the values, the header's last axis first."""
    detached = _data_file(path, header)
    file = detached or path
    size = math.prod(shape) * dtype.itemsize
    skipped_bytes = int(header.get("byte skip", "byteskip") or 0)
    encoding = str(header.fields["encoding"]).lower()
    with file.open("rb") as stream:
        stream.seek(0 if detached else header.size)
        for _ in range(min(int(header.get("line skip", "lineskip") or 0), file.stat().st_size)):
            stream.readline()
        start = stream.tell()
        available = file.stat().st_size - start
        if encoding == "raw":
            offset = file.stat().st_size - size if skipped_bytes == -1 else start + skipped_bytes
            if offset < start or skipped_bytes < -1:
                raise UnsupportedSceneError(f"'{file.name}' holds fewer bytes than '{path.name}' declares.")
            return map_values(file, offset, shape, dtype)
        if skipped_bytes:
            raise UnsupportedSceneError(f"'{path.name}' skips bytes of encoded values, which cannot be read.")
        if encoding in _TEXT_ENCODINGS:
            return _read_text(file, stream, shape, dtype)
        if encoding not in _COMPRESSIONS:
            raise UnsupportedSceneError(
                f"'{path.name}' has the encoding '{encoding[:40]}'; raw, gzip, bzip2 and ascii can be read."
            )
        compression = _COMPRESSIONS[encoding]
        if compression == "gzip":
            check_expansion(path, size, available)
        return inflate(path, open_compressed(stream, compression), shape, dtype)


def _read_text(
    file: Path, stream: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[np.generic]
) -> NDArray[np.generic]:
    """Return values written as text."""
    text = stream.read(_LARGEST_TEXT + 1)
    words = text.split() if len(text) <= _LARGEST_TEXT else []
    if len(words) != math.prod(shape) or max(map(len, words)) > _LONGEST_NUMBER:
        raise UnsupportedSceneError(
            f"'{file.name}' must hold {math.prod(shape)} numbers as text of at most {_LARGEST_TEXT} bytes. "
            "Write it with the encoding raw or gzip."
        )
    return np.array(words).astype(dtype).reshape(shape)


def _write_values(
    stream: BinaryIO, values: NDArray[np.generic], dtype: np.dtype[np.generic], encoding: str
) -> None:
    """Write values in C order, encoded."""
    chunks = stored_bytes(values, dtype)
    if encoding == "gzip":
        # No name and no date: the same volume gives the same bytes.
        with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=stream, mtime=0) as packed:
            packed.writelines(chunks)
    elif encoding == "bzip2":
        with bz2.BZ2File(stream, "wb") as packed_bzip2:
            packed_bzip2.writelines(chunks)
    else:
        stream.writelines(chunks)
