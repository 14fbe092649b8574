"""Arrays of .npz files, one at a time, their declared sizes and types checked before memory is taken."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import UnsupportedSceneError
from scene_codec.radiance.archive_names import zip_names
from scene_codec.radiance.pickled_arrays import object_of
from scene_codec.radiance.restricted_pickle import read_pickle
from scene_codec.voxel_fields.stored_entries import foreign, misshapen

_LARGEST_PICKLE = 1 << 26
_LARGEST_MEMBER = 1 << 32
_MOST_MEMBERS = 1000


class NpzMembers:
    """An open .npz file.

    path : what errors name
    content : the file's bytes where they lie in another archive
    title : what errors put in front of an array's name
    """

    def __init__(self, path: Path, content: bytes | None = None, title: str = "") -> None:
        self.path = path
        self._title = title
        if content is None:
            zip_names(path)
            self.size = path.stat().st_size
            self._archive = zipfile.ZipFile(path)
        else:
            self.size = len(content)
            self._archive = zipfile.ZipFile(BytesIO(content))
        self.names = [name.removesuffix(".npy") for name in self._archive.namelist()]
        if len(self.names) > _MOST_MEMBERS or len(set(self.names)) < len(self.names):
            raise foreign(path, "is an archive with too many arrays, or two of one name")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._archive.close()

    def array(self, name: str, types: Collection[str], axes: int, most: int) -> NDArray[np.generic]:
        """Return an array of numbers.

        types : codes that its type may have, as "f4"
        most : values that it may have

        Raises `UnsupportedSceneError` where it is another one, and plain exceptions where it is damaged.
        """
        title = f"{self._title}{name}"
        with self._open(name) as stream:
            shape, fortran, dtype = _read_header(stream)
            if dtype.str[1:] not in types:
                raise UnsupportedSceneError(
                    f"'{self.path.name}': {title} holds values of the type {dtype.str[:20]}, not "
                    f"{' or '.join(types)}."
                )
            count = math.prod(shape)
            if len(shape) != axes or not 0 <= count <= most:
                raise misshapen(self.path, title, shape, f"{axes} axes and at most {most} values")
            raw = stream.read(count * dtype.itemsize)
        if len(raw) != count * dtype.itemsize:
            raise UnsupportedSceneError(f"'{self.path.name}' is damaged: values of {title} are missing.")
        return np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")

    def described(self, name: str, allowed: Collection[str]) -> object:
        """Return what the pickle of a single object describes; see `read_pickle`."""
        with self._open(name) as stream:
            shape, _, dtype = _read_header(stream)
            if dtype != np.dtype(object) or shape != ():
                raise foreign(self.path, f"holds under {self._title}{name} numbers in place of a dict")
            raw = stream.read(_LARGEST_PICKLE + 1)
        if len(raw) > _LARGEST_PICKLE:
            raise foreign(self.path, f"holds under {name} more than a checkpoint needs")
        return object_of(self.path, name, read_pickle(self.path, BytesIO(raw), allowed))

    def _open(self, name: str) -> IO[bytes]:
        if name not in self.names:
            raise foreign(self.path, f"lacks {self._title}{name}")
        item = self._archive.getinfo(f"{name}.npy")
        if item.file_size > _LARGEST_MEMBER:
            raise foreign(self.path, f"declares {item.file_size} bytes of {name}")
        return self._archive.open(item)


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    try:
        version = np.lib.format.read_magic(stream)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read(stream)
    except (ValueError, KeyError) as error:
        raise ValueError("one of its arrays has no header that NumPy writes") from error
    return shape, fortran, dtype


def member_bytes(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """Return the bytes of a member. Raises ValueError where there are more than so many."""
    with archive.open(name) as stream:
        raw = stream.read(most + 1)
    if len(raw) > most:
        raise ValueError(f"{name} has more bytes than a checkpoint needs")
    return raw
