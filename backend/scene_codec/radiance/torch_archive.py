"""Files of `torch.save`, read without torch: zip archives, and the rows of pickles in use before 2020.

`torch.load` allocates what the file declares before it looks for the values, also with `weights_only`; here
the pickle is read as inert records, and a tensor's values are looked up when a layer asks for them.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable, Collection, Mapping
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TypeGuard

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from scene_codec.errors import UnsupportedSceneError
from scene_codec.radiance.archive_names import LEGACY_START, PICKLE_MEMBER, ZIP_START, zip_names
from scene_codec.radiance.pickled_arrays import is_pickled_array, pickled_array
from scene_codec.radiance.restricted_pickle import (
    NUMPY_NAMES,
    ORDERED_MAPPING,
    Name,
    Record,
    Reference,
    as_bytes,
    as_mapping,
    is_count,
    read_pickle,
)
from scene_codec.radiance.stored_layers import unexpected

_LEGACY_VERSION = 1001
_SIZES = {
    "Float": 4, "Double": 8, "Half": 2, "BFloat16": 2,
    "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1,
}  # fmt: skip
FLOATS = ("Half", "Float", "Double")
_TYPES = {
    "Half": "f2", "Float": "f4", "Double": "f8",
    "Long": "i8", "Int": "i4", "Short": "i2", "Char": "i1", "Byte": "u1", "Bool": "u1",
}  # fmt: skip
NUMBERS = tuple(_TYPES)
_REBUILD = "torch._utils._rebuild_tensor_v2"
_PARAMETER = "torch._utils._rebuild_parameter"
_NESTED = "torch.storage._load_from_bytes"
"""How a tensor says where its values are when it is pickled by other means than torch.save."""

_PLAIN = {"torch.Size", "torch.device"}
_NAMES = (
    NUMPY_NAMES
    | {ORDERED_MAPPING, _REBUILD, _PARAMETER}
    | _PLAIN
    | {f"torch.{kind}Storage" for kind in _SIZES}
)
PICKLED_TENSOR_NAMES = _NAMES | {_NESTED}
"""What pickles of tensors name that torch.save did not write."""


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

    def array(
        self, name: str, value: object, *, axes: int = 2, kinds: Collection[str] = FLOATS
    ) -> NDArray[np.generic]:
        """Return a tensor, or an array of NumPy, by its record.

        axes : how many it may have
        kinds : of values that a tensor may hold, as `FLOATS` or `NUMBERS`; truth values become uint8

        Raises `UnsupportedSceneError` calling it `name` when it is no such tensor or lacks values.
        """
        if isinstance(value, Record) and value.maker == _PARAMETER and value.arguments:
            value = value.arguments[0]
        if is_pickled_array(value):
            return pickled_array(self._path, name, value, axes)
        if not isinstance(value, Record) or value.maker != _REBUILD or len(value.arguments) < 4:
            raise UnsupportedSceneError(f"'{self._path.name}': {name} is no plain tensor.")
        storage, offset, shape, strides = value.arguments[:4]
        if not is_count(offset) or not _are_counts(shape, axes) or not _are_counts(strides, axes):
            raise UnsupportedSceneError(
                f"'{self._path.name}': {name} has no plain shape of at most {axes} axes."
            )
        kind, count, read = self._storage(storage)
        if kind not in kinds:
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
        dtype = np.dtype(self._order + _TYPES[kind])
        raw = read()
        if len(raw) != count * dtype.itemsize:
            raise UnsupportedSceneError(f"'{self._path.name}' is damaged: values of {name} are missing.")
        values = np.frombuffer(raw, dtype)[offset:]
        steps = tuple(stride * dtype.itemsize for stride in strides)
        return np.ascontiguousarray(as_strided(values, shape, steps, writeable=False))

    def _storage(self, value: object) -> tuple[str, int, Callable[[], bytes | memoryview]]:
        """Return the kind of values in a storage, how many there are, and what reads them."""
        if isinstance(value, Record) and value.maker == _NESTED:
            data = as_bytes(value.arguments[0]) if value.arguments else None
            if data is None or not data.startswith(LEGACY_START):
                raise ValueError("values of a tensor are missing")
            stored, read = _read_legacy_values(self._path, data)
        else:
            stored, read = value, self._read
        kind, key, count = _storage_of(self._path, stored)
        return kind, count, lambda: read(key)


def read_torch_archive(path: Path) -> TorchArchive:
    """Return what a file of `torch.save` holds.

    Raises `UnsupportedSceneError` for other files, and plain exceptions for damaged ones.
    """
    with path.open("rb") as stream:
        start = stream.read(len(LEGACY_START))
    if start.startswith(ZIP_START):
        return _read_zip(path)
    if start.startswith(LEGACY_START):
        data = path.read_bytes()
        root, read = _read_legacy_values(path, data)
        return TorchArchive(path, root, read, len(data))
    raise unexpected(path, "is not a file that torch.save wrote")


def pickled_tensors(path: Path, root: object, size: int) -> TorchArchive:
    """Return what a pickle of `PICKLED_TENSOR_NAMES` describes: a dict with tensors that hold their values.

    size : bytes of the pickle
    """

    def read(_: str) -> bytes:
        raise ValueError("values of a tensor are missing")

    return TorchArchive(path, root, read, size)


def _read_zip(path: Path) -> TorchArchive:
    zip_names(path)
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        members = {item.filename: item for item in archive.infolist()}
        for item in archive.infolist():
            if item.compress_type != zipfile.ZIP_STORED or item is not members[item.filename]:
                raise unexpected(
                    path, "is a zip archive with compressed files or two of one name, unlike torch.save's"
                )
        if sum(item.file_size for item in members.values()) > size:
            raise ValueError("its directory declares more bytes than it has")
        pickles = [name for name in members if PurePosixPath(name).name == PICKLE_MEMBER]
        if len(pickles) != 1:
            raise unexpected(path, "is a zip archive without the one pickle that torch.save writes")
        folder = pickles[0].removesuffix(PICKLE_MEMBER)
        root = read_pickle(path, BytesIO(archive.read(pickles[0])), _NAMES)
        order = archive.read(folder + "byteorder") if folder + "byteorder" in members else b"little"

    def read(key: str) -> bytes:
        with zipfile.ZipFile(path) as archive:
            return archive.read(f"{folder}data/{key}")

    return TorchArchive(path, root, read, size, big_endian=order == b"big")


def _read_legacy_values(path: Path, data: bytes | bytearray) -> tuple[object, _Read]:
    """Return what a file in the older layout describes, and what reads the values of a storage by its key."""
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

    return root, read


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


def _are_counts(value: object, axes: int) -> TypeGuard[tuple[int, ...]]:
    return isinstance(value, tuple) and len(value) <= axes and all(is_count(item) for item in value)
