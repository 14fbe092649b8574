"""Files of `torch.save`, read without torch: zip archives, and the rows of pickles in use before 2020.

`torch.load` allocates what the file declares before it looks for the values, also with `weights_only`; here
the pickle is read as inert records, and a tensor's values are looked up when a layer asks for them.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TypeGuard

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from scene_codec.errors import UnsupportedSceneError
from scene_codec.radiance.restricted_pickle import (
    NUMPY_NAMES,
    ORDERED_MAPPING,
    Name,
    Record,
    Reference,
    as_mapping,
    is_count,
    read_pickle,
)
from scene_codec.radiance.stored_layers import unexpected

LEGACY_START = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
"""The first pickle of the older files: a magic number."""

ZIP_START = b"PK\x03\x04"
PICKLE_MEMBER = "data.pkl"

_LEGACY_VERSION = 1001
_LARGEST_DIRECTORY = 1024 * 1024
_SIZES = {
    "Float": 4, "Double": 8, "Half": 2, "BFloat16": 2,
    "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1,
}  # fmt: skip
_FLOATS = {"Half": "f2", "Float": "f4", "Double": "f8"}
_REBUILD = "torch._utils._rebuild_tensor_v2"
_PARAMETER = "torch._utils._rebuild_parameter"
_NAMES = NUMPY_NAMES | {ORDERED_MAPPING, _REBUILD, _PARAMETER} | {f"torch.{kind}Storage" for kind in _SIZES}


_Read = Callable[[str], "bytes | memoryview"]


class TorchArchive:
    """What a file of `torch.save` holds.

    root : the saved dict; its tensors are records, which `array` makes arrays of
    """

    def __init__(self, path: Path, root: object, read: _Read, size: int, *, big_endian: bool = False) -> None:
        entries = as_mapping(root)
        if entries is None:
            raise unexpected(path, "holds no dict")
        self.root: Mapping[object, object] = entries
        self._path = path
        self._order = ">" if big_endian else "<"
        self._read = read
        self._left = 2 * size

    def array(self, name: str, value: object) -> NDArray[np.generic]:
        """Return a tensor of at most two axes by its record.

        Raises `UnsupportedSceneError` calling it `name` when it is no tensor of floats or lacks values.
        """
        if isinstance(value, Record) and value.maker == _PARAMETER and value.arguments:
            value = value.arguments[0]
        if not isinstance(value, Record) or value.maker != _REBUILD or len(value.arguments) < 4:
            raise UnsupportedSceneError(f"'{self._path.name}': {name} is no plain tensor.")
        storage, offset, shape, strides = value.arguments[:4]
        if not is_count(offset) or not _are_counts(shape) or not _are_counts(strides):
            raise UnsupportedSceneError(
                f"'{self._path.name}': {name} has no plain shape of at most two axes."
            )
        kind, key, count = _storage_of(self._path, storage)
        if kind not in _FLOATS:
            raise UnsupportedSceneError(
                f"'{self._path.name}': {name} holds values of the type {kind}. Save it as float32."
            )
        last = sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
        # One storage could be named many times: what is made must not outgrow the file.
        self._left -= math.prod(shape) * _SIZES[kind]
        if 0 in shape or offset + last >= count or math.prod(shape) > count or self._left < 0:
            raise UnsupportedSceneError(
                f"'{self._path.name}' is damaged: {name} has the shape {shape} and {count} values."
            )
        dtype = np.dtype(self._order + _FLOATS[kind])
        raw = self._read(key)
        if len(raw) != count * dtype.itemsize:
            raise UnsupportedSceneError(f"'{self._path.name}' is damaged: values of {name} are missing.")
        values = np.frombuffer(raw, dtype)[offset:]
        steps = tuple(stride * dtype.itemsize for stride in strides)
        return np.ascontiguousarray(as_strided(values, shape, steps, writeable=False))


def read_torch_archive(path: Path) -> TorchArchive:
    """Return what a file of `torch.save` holds.

    Raises `UnsupportedSceneError` for other files, and plain exceptions for damaged ones.
    """
    data = path.read_bytes()
    if data.startswith(ZIP_START):
        return _read_zip(path, data)
    if data.startswith(LEGACY_START):
        return _read_legacy(path, data)
    raise unexpected(path, "is not a file that torch.save wrote")


def zip_names(path: Path) -> list[str]:
    """Return the names in a zip archive; raises ValueError when there are too many for a checkpoint."""
    with _BoundedFile(path) as file, zipfile.ZipFile(file) as archive:
        return archive.namelist()


class _BoundedFile(io.FileIO):
    """A file of which little is read at once: the names in an archive take more memory than their bytes."""

    def read(self, size: int | None = -1) -> bytes:
        most = _LARGEST_DIRECTORY + 1
        data = super().read(most if size is None or size < 0 else min(size, most))
        if len(data) == most:
            raise ValueError("it names more files than a checkpoint needs")
        return data


def _read_zip(path: Path, data: bytes) -> TorchArchive:
    zip_names(path)
    archive = zipfile.ZipFile(BytesIO(data))
    members = {item.filename: item for item in archive.infolist()}
    for item in archive.infolist():
        if item.compress_type != zipfile.ZIP_STORED or item is not members[item.filename]:
            raise unexpected(
                path, "is a zip archive with compressed files or two of one name, unlike torch.save's"
            )
    if sum(item.file_size for item in members.values()) > len(data):
        raise ValueError("its directory declares more bytes than it has")
    pickles = [name for name in members if PurePosixPath(name).name == PICKLE_MEMBER]
    if len(pickles) != 1:
        raise unexpected(path, "is a zip archive without the one pickle that torch.save writes")
    folder = pickles[0].removesuffix(PICKLE_MEMBER)
    root = read_pickle(path, BytesIO(archive.read(pickles[0])), _NAMES)
    order = archive.read(folder + "byteorder") if folder + "byteorder" in members else b"little"

    def read(key: str) -> bytes:
        return archive.read(f"{folder}data/{key}")

    return TorchArchive(path, root, read, len(data), big_endian=order == b"big")


def _read_legacy(path: Path, data: bytes) -> TorchArchive:
    stream = BytesIO(data)
    stream.seek(len(LEGACY_START))
    version, system = (read_pickle(path, stream, ()) for _ in range(2))
    told = as_mapping(system) or {}
    if version != _LEGACY_VERSION or told.get("little_endian") is not True:
        raise unexpected(path, "was saved by a version of torch, or on a machine, that is not known here")
    references: list[Reference] = []
    root = read_pickle(path, stream, _NAMES, references)
    keys = read_pickle(path, stream, ())
    sizes = {}
    for reference in references:
        kind, key, _ = _storage_of(path, reference)
        sizes[key] = _SIZES[kind]
    places = _legacy_places(stream, keys, sizes)

    def read(key: str) -> memoryview:
        start, stop = places[key]
        return memoryview(data)[start:stop]

    return TorchArchive(path, root, read, len(data))


def _legacy_places(stream: BytesIO, keys: object, sizes: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Return where the values of each storage lie: its length as int64 is in front of them."""
    if not isinstance(keys, list):
        raise ValueError("its list of storages is missing")
    end = len(stream.getbuffer())
    places = {}
    for key in keys:
        count = stream.read(8)
        start = stream.tell()
        stop = start + int.from_bytes(count, "little") * sizes[key]
        if len(count) < 8 or stop > end:
            raise ValueError("it ends before its values do")
        places[key] = (start, stop)
        stream.seek(stop, os.SEEK_SET)
    return places


def _storage_of(path: Path, value: object) -> tuple[str, str, int]:
    """Return the kind, the key and the number of values of the storage that a reference names."""
    identity = value.identity if isinstance(value, Reference) else None
    if isinstance(identity, tuple) and len(identity) in (5, 6) and identity[0] == "storage":
        kind, key, _, count = identity[1:5]
        whole = len(identity) == 5 or identity[5] is None
        if (
            isinstance(kind, Name)
            and kind.path.startswith("torch.")
            and isinstance(key, str)
            and is_count(count)
        ):
            name = kind.path.removeprefix("torch.").removesuffix("Storage")
            if whole and name in _SIZES:
                return name, key, count
    raise UnsupportedSceneError(f"'{path.name}' refers to values in a way that is not known here.")


def _are_counts(value: object) -> TypeGuard[tuple[int, ...]]:
    return isinstance(value, tuple) and len(value) <= 2 and all(is_count(item) for item in value)
