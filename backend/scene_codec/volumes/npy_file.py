"""NumPy files: one array (.npy), which is mapped, or an archive with spacing and origin (.npz).

The first axis of a stored array is x, except in an archive with `spacing_zyx`, whose array is z, y, x.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from scene_codec.bitstream.atomic_file import open_atomically
from scene_codec.errors import UnsupportedSceneError
from scene_codec.volumes.array_storage import check_size, map_values, stored_bytes
from scene_codec.volumes.dense_grid import (
    AXES,
    ORIENTATION,
    UNITS,
    byte_order_metadata,
    checked_placement,
    checked_shape,
    checked_type,
    dense_grid,
    placement,
    plain_spacing,
    reversed_axes,
    stored_type,
)
from scene_codec.volumes.inflating import check_expansion, inflate
from scene_codec.volumes.volume import MetadataValue, VolumeGrid

_FORTRAN = "npy:fortran_order"
_KEY = "npz:key"
_STORED = "npz:stored"
_GIVEN = "npz:given"
"""Metadata: which of spacing and origin the archive has, even where they are 1 and 0."""

_NOTE = "npz:"
_GEOMETRY = ("spacing", "spacing_zyx", "origin", "to_object", UNITS, ORIENTATION)
_LARGEST_NOTE = 64 * 1024
"""Bytes of an array in an archive that is kept as metadata."""

_FIRST_DATE = (1980, 1, 1, 0, 0, 0)
"""The date in every archive, so that the same volume gives the same bytes."""


def load_npy(path: Path) -> VolumeGrid:
    """Return the array of a .npy file, mapped."""
    with path.open("rb") as stream:
        shape, fortran, dtype = _read_array_header(path, stream)
        offset = stream.tell()
    checked_shape(path, shape)
    checked_type(path, dtype)
    values = map_values(path, offset, shape[::-1] if fortran else shape, dtype)
    metadata = byte_order_metadata(dtype)
    if fortran:
        metadata[_FORTRAN] = True
    return dense_grid(values.T if fortran else values, np.eye(4), metadata)


def save_npy(grid: VolumeGrid, path: Path) -> None:
    """Write the values alone; raises `UnsupportedSceneError` when spacing or origin would be lost."""
    if not np.array_equal(grid.to_object, np.eye(4)):
        raise UnsupportedSceneError(
            f"'{path.name}' cannot hold the volume's spacing and origin. Write a .npz file instead."
        )
    with open_atomically(path) as stream:
        _write_array(stream, grid.values, stored_type(grid), bool(grid.metadata.get(_FORTRAN)))


def load_npz(path: Path) -> VolumeGrid:
    """Return the volume of an archive: its array `vol`, or its only one with three or four axes.

    `spacing` and `origin` are in the order of the axes, x first; `spacing_zyx` says that the array is z, y, x
    (the origin stays x, y, z); `to_object` (4, 4) places turned grids. Other small arrays are metadata.
    """
    with zipfile.ZipFile(path) as archive:
        members = {item.filename.removesuffix(".npy"): item for item in archive.infolist()}
        headers = {key: _member_header(path, archive, item) for key, item in members.items()}
        key = _volume_key(path, {key: shape for key, (shape, _, _) in headers.items()})
        notes = {
            other: _read_note(path, archive, members[other])
            for other in members
            if other != key and members[other].file_size <= _LARGEST_NOTE
        }
        values, metadata = _read_member(path, archive, members[key])
    metadata[_KEY] = key
    given = " ".join(name for name in ("spacing", "origin") if name in notes)
    if given:
        metadata[_GIVEN] = given
    if members[key].compress_type == zipfile.ZIP_STORED:
        metadata[_STORED] = True
    if "spacing_zyx" in notes:
        metadata[AXES] = "zyx"
        values = reversed_axes(values)
    metadata |= {name: str(notes[name]) for name in (UNITS, ORIENTATION) if name in notes}
    for name, note in sorted(notes.items()):
        value = _as_metadata(note)
        if name not in _GEOMETRY and value is not None:
            metadata[_NOTE + name] = value
    return dense_grid(values, checked_placement(path, _placement(path, notes)), metadata)


def save_npz(grid: VolumeGrid, path: Path) -> None:
    """Write an archive with the values and, where they are not trivial, spacing, origin or `to_object`."""
    metadata = grid.metadata
    turned = metadata.get(AXES) == "zyx"
    arrays = {
        name.removeprefix(_NOTE): np.asarray(value)
        for name, value in metadata.items()
        if name.startswith(_NOTE) and name not in (_KEY, _STORED, _GIVEN)
    }
    arrays |= _placing_arrays(grid, turned)
    arrays |= {name: np.asarray(metadata[name]) for name in (UNITS, ORIENTATION) if name in metadata}
    method = zipfile.ZIP_STORED if metadata.get(_STORED) else zipfile.ZIP_DEFLATED
    values = reversed_axes(grid.values) if turned else grid.values
    with open_atomically(path) as stream, zipfile.ZipFile(stream, "w") as archive:
        with _new_member(archive, str(metadata.get(_KEY, "vol")), method) as member:
            _write_array(member, values, stored_type(grid), bool(metadata.get(_FORTRAN)))
        for name, array in sorted(arrays.items()):
            with _new_member(archive, name, zipfile.ZIP_STORED) as member:
                _write_array(member, array, array.dtype, False)


def _placing_arrays(grid: VolumeGrid, turned: bool) -> dict[str, NDArray[Any]]:
    """Return spacing and origin, or `to_object`, as far as they say something or the source had them."""
    given = str(grid.metadata.get(_GIVEN, "")).split()
    spacing, origin = plain_spacing(grid.to_object), grid.to_object[:3, 3]
    arrays: dict[str, NDArray[Any]] = {}
    if turned:
        arrays["spacing_zyx"] = np.asarray((spacing or (1.0, 1.0, 1.0))[::-1])
    if spacing is None:
        return arrays | {"to_object": grid.to_object}
    if not turned and ("spacing" in given or spacing != (1.0, 1.0, 1.0)):
        arrays["spacing"] = np.asarray(spacing)
    if "origin" in given or origin.any():
        arrays["origin"] = origin
    return arrays


def _read_array_header(path: Path, stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether the first axis varies fastest, and type; the stream is at the values then."""
    version = np.lib.format.read_magic(cast(BinaryIO, stream))
    if version not in ((1, 0), (2, 0)):
        raise UnsupportedSceneError(f"'{path.name}' holds records, not numbers (.npy version {version[0]}).")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(cast(BinaryIO, stream))
    if dtype.hasobject:
        raise UnsupportedSceneError(
            f"'{path.name}' holds Python objects, which could run code when they are read. Save numbers."
        )
    return shape, fortran, dtype


def _write_array(
    stream: IO[bytes], values: NDArray[np.generic], dtype: np.dtype[np.generic], fortran: bool
) -> None:
    """Write an array as `numpy.save` does."""
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": fortran,
        "shape": values.shape,
    }
    np.lib.format.write_array_header_1_0(cast(BinaryIO, stream), header)
    stream.writelines(stored_bytes(values.T if fortran else values, dtype))


def _new_member(archive: zipfile.ZipFile, key: str, method: int) -> IO[bytes]:
    """Open an array of an archive for writing."""
    item = zipfile.ZipInfo(f"{key}.npy", _FIRST_DATE)
    item.compress_type = method
    item.external_attr = 0o600 << 16
    return archive.open(item, "w", force_zip64=True)


def _member_header(
    path: Path, archive: zipfile.ZipFile, item: zipfile.ZipInfo
) -> tuple[tuple[int, ...], int, np.dtype[Any]]:
    """Return shape, length of the header and type of an array in an archive, its declared size checked."""
    if not item.filename.endswith(".npy"):
        raise UnsupportedSceneError(f"'{path.name}' holds '{item.filename[:40]}', which is no array.")
    with archive.open(item) as stream:
        shape, _, dtype = _read_array_header(path, stream)
        length = stream.tell()
    check_size(path, math.prod(shape) * dtype.itemsize, item.file_size - length)
    if item.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        check_expansion(path, item.file_size, item.compress_size)
    return shape, length, dtype


def _volume_key(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return which array of an archive is the volume."""
    candidates = [key for key, shape in shapes.items() if len(shape) in (3, 4)]
    if "vol" in candidates:
        return "vol"
    if len(candidates) != 1:
        names = ", ".join(f"'{key[:40]}'" for key in list(shapes)[:10])
        raise UnsupportedSceneError(
            f"'{path.name}' must hold an array 'vol', or a single one with three axes; it holds {names}."
        )
    return candidates[0]


def _read_member(
    path: Path, archive: zipfile.ZipFile, item: zipfile.ZipInfo
) -> tuple[NDArray[np.generic], dict[str, MetadataValue]]:
    """Return the volume of an archive and how it was stored."""
    with archive.open(item) as stream:
        shape, fortran, dtype = _read_array_header(path, stream)
        checked_shape(path, shape)
        checked_type(path, dtype)
        values = inflate(path, cast(BinaryIO, stream), shape[::-1] if fortran else shape, dtype)
    metadata = byte_order_metadata(dtype)
    if fortran:
        metadata[_FORTRAN] = True
    return values.T if fortran else values, metadata


def _read_note(path: Path, archive: zipfile.ZipFile, item: zipfile.ZipInfo) -> NDArray[Any]:
    """Return a small array of an archive."""
    with archive.open(item) as stream:
        shape, fortran, dtype = _read_array_header(path, stream)
        array = np.frombuffer(stream.read(), dtype)
    return array.reshape(shape, order="F" if fortran else "C")


def _as_metadata(note: NDArray[Any]) -> MetadataValue | None:
    """Return numbers of at most one axis, or a text, as metadata; None for what metadata cannot be."""
    if note.ndim > 1 or note.dtype.kind not in "biufU" or (note.ndim and note.dtype.kind not in "iuf"):
        return None
    value = note.tolist()
    return tuple(value) if isinstance(value, list) else value


def _placement(path: Path, notes: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Return the map from index to object space that an archive gives."""
    if "spacing" in notes and "spacing_zyx" in notes:
        raise UnsupportedSceneError(f"'{path.name}' has both spacing and spacing_zyx; only one can be right.")
    if "to_object" in notes:
        return _numbers(path, notes["to_object"], "to_object", (4, 4))
    spacing = np.ones(3)
    if "spacing" in notes:
        spacing = _numbers(path, np.broadcast_to(notes["spacing"], 3), "spacing", (3,))
    elif "spacing_zyx" in notes:
        spacing = _numbers(path, np.broadcast_to(notes["spacing_zyx"], 3), "spacing_zyx", (3,))[::-1]
    origin = _numbers(path, notes["origin"], "origin", (3,)) if "origin" in notes else np.zeros(3)
    return placement(spacing.tolist(), origin.tolist())


def _numbers(path: Path, note: NDArray[Any], key: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return an array of the archive as float64 of the wanted shape."""
    if note.shape != shape or note.dtype.kind not in "iuf":
        raise UnsupportedSceneError(f"'{path.name}' must give {key} as numbers of the shape {shape}.")
    return note.astype(np.float64)
