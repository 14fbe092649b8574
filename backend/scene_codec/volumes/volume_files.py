"""Volume files to volumes and back; the suffix says the format.

Each format is an adapter of its own, imported when a file asks for it, so that none of their libraries is
loaded without need.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from scene_codec.errors import InvalidRequestError, SceneCodecError, UnsupportedSceneError
from scene_codec.volumes.dense_grid import only_grid
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

_ADAPTERS = {
    ".npy": ("npy_file", "npy"),
    ".npz": ("npy_file", "npz"),
    ".raw": ("raw_file", "raw"),
    ".nrrd": ("nrrd_file", "nrrd"),
    ".nhdr": ("nrrd_file", "nrrd"),
    ".nii": ("nifti_file", "nifti"),
    ".nii.gz": ("nifti_file", "nifti"),
    ".tif": ("tiff_file", "tiff"),
    ".tiff": ("tiff_file", "tiff"),
}
"""Module and name of the functions `load_...` and `save_...` for each suffix of a dense format."""

_VDB = ".vdb"
READABLE_SUFFIXES = (*_ADAPTERS, _VDB)
WRITABLE_SUFFIXES = READABLE_SUFFIXES

FOLDER_FORMAT = "tiff folder"
"""`VolumeObject.file_format` of a folder of TIFF slices; of a file it is the suffix without its dot."""


def volume_suffix(path: Path) -> str:
    """Return the suffix that names a volume format, in lower case (".nii.gz" is one); "" for others."""
    name = path.name.lower()
    return max((suffix for suffix in READABLE_SUFFIXES if name.endswith(suffix)), key=len, default="")


def volume_name(path: Path) -> str:
    """Return what the volume in a file or a folder of slices is called."""
    suffix = "" if path.is_dir() else volume_suffix(path)
    return path.name[: len(path.name) - len(suffix)]


def load_volume(path: Path | str) -> VolumeObject:
    """Return the volume in a file, or in a folder of numbered single-slice TIFF files, named after it.

    .npy, .raw, uncompressed .nrrd and .nii, and contiguous .tif files are mapped: their values are read when
    they are used, and the file must stay as it is until then.

    Raises `UnsupportedSceneError` naming the file and the reason.
    """
    path = Path(path)
    suffix = volume_suffix(path)
    try:
        if path.is_dir():
            return _load_folder(path)
        size = _file_size(path, suffix)
        if suffix == _VDB:
            return cast(VolumeObject, _function("vdb_file", "load_vdb")(path))
        module, name = _ADAPTERS[suffix]
        grid = cast(VolumeGrid, _function(module, f"load_{name}")(path))
    except SceneCodecError:
        raise
    except Exception as error:  # the parsers raise dozens of types on damaged files
        raise _unreadable(path, error) from error
    return VolumeObject(
        name=volume_name(path),
        grids=(grid,),
        source_bytes=size + _size_beside(path, suffix),
        file_format=suffix[1:],
    )


def save_volume(volume: VolumeObject, path: Path | str) -> None:
    """Write a volume; the suffix says the format, and no suffix a folder of TIFF slices.

    What the volume's own format holds beyond values and placement is in its metadata and written again when
    it is written in that format. The old file stays whole until the new one is complete.

    Raises `InvalidRequestError` for another suffix, and `UnsupportedSceneError` naming what the format cannot
    hold: a type of values, several grids, inactive voxels, and spacing in .npy files.
    """
    path = Path(path)
    suffix = volume_suffix(path)
    if suffix == _VDB:
        _function("vdb_file", "save_vdb")(volume, path)
    elif suffix:
        module, name = _ADAPTERS[suffix]
        _function(module, f"save_{name}")(only_grid(volume, path), path)
    elif volume.file_format == FOLDER_FORMAT and not path.suffix:
        _function("tiff_folder", "save_tiff_folder")(only_grid(volume, path), path)
    else:
        raise InvalidRequestError(
            f"Cannot write '{path.name}': the format must be one of {', '.join(WRITABLE_SUFFIXES)}."
        )


def volume_path(volume: VolumeObject, folder: Path) -> Path:
    """Return where in `folder` a volume goes by its name and the format it came from."""
    if volume.file_format == FOLDER_FORMAT:
        return folder / volume.name
    return folder / f"{volume.name}.{volume.file_format}"


def _function(module: str, name: str) -> Callable[..., Any]:
    """Return a function of one of this package's adapters, loaded now."""
    return cast(Callable[..., Any], getattr(importlib.import_module(f"scene_codec.volumes.{module}"), name))


def _load_folder(folder: Path) -> VolumeObject:
    """Return the volume in a folder of slices."""
    grid = cast(VolumeGrid, _function("tiff_folder", "load_tiff_folder")(folder))
    size = sum(file.stat().st_size for file in _function("tiff_folder", "slice_files")(folder))
    return VolumeObject(folder.name, (grid,), source_bytes=size, file_format=FOLDER_FORMAT)


def _file_size(path: Path, suffix: str) -> int:
    """Return the size of a readable volume file, or refuse it."""
    if not suffix:
        raise UnsupportedSceneError(
            f"'{path.name}' is not a volume file: the suffix must be one of {', '.join(READABLE_SUFFIXES)}."
        )
    if not path.is_file():
        raise UnsupportedSceneError(f"There is no file '{path}'.")
    size = path.stat().st_size
    if size == 0:
        raise UnsupportedSceneError(f"'{path.name}' is empty.")
    return size


def _size_beside(path: Path, suffix: str) -> int:
    """Return the size of the second file of formats that take two."""
    second = None
    if suffix == ".raw":
        second = cast(Path, _function("raw_file", "header_file")(path))
    elif suffix == ".nhdr":
        second = cast(Path | None, _function("nrrd_file", "data_file_of")(path))
    return second.stat().st_size if second is not None and second.is_file() else 0


def _unreadable(path: Path, error: Exception) -> UnsupportedSceneError:
    if isinstance(error, PermissionError):
        return UnsupportedSceneError(f"'{path}' cannot be read: {error.strerror}.")
    reason = (str(error).strip() or type(error).__name__)[:200].rstrip(".")
    return UnsupportedSceneError(
        f"'{path.name}' cannot be read: {reason}. The file is damaged or of another kind."
    )
