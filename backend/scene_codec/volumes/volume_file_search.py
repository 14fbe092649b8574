"""Which volume files a list of files and folders stands for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from scene_codec.file_search import find_files
from scene_codec.volumes.volume_files import READABLE_SUFFIXES

_TIFF_SUFFIXES = (".tif", ".tiff")


def find_volume_files(paths: Iterable[Path | str]) -> list[Path]:
    """Return the volumes that `paths` name, as `file_search.find_files` does.

    A folder of numbered single-slice TIFF files is one volume and stands for itself. In folders, the values
    of a .nhdr header are not a volume of their own.
    """
    found: dict[Path, None] = {}
    folders: dict[Path, bool] = {}
    for path in map(Path, paths):
        for file in find_files([path], READABLE_SUFFIXES, "volume"):
            if file == path:
                found[file] = None
            elif _is_slice(file, folders):
                found[file.parent] = None
            elif not _holds_values_of_header(file):
                found[file] = None
    return list(found)


def _is_slice(file: Path, folders: dict[Path, bool]) -> bool:
    """Tell whether a file is a slice of the volume in its folder; `folders` remembers the answers."""
    if file.suffix.lower() not in _TIFF_SUFFIXES:
        return False
    if file.parent not in folders:
        from scene_codec.volumes.tiff_folder import is_slice_folder  # loads tifffile, which few need

        folders[file.parent] = is_slice_folder(file.parent)
    return folders[file.parent]


def _holds_values_of_header(file: Path) -> bool:
    """Tell whether a .raw file stands beside a .nhdr header of the same name."""
    return file.suffix.lower() == ".raw" and file.with_suffix(".nhdr").is_file()
