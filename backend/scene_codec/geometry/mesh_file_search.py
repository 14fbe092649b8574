"""Which files a list of files and folders stands for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from scene_codec.errors import InvalidRequestError
from scene_codec.geometry.mesh_files import READABLE_SUFFIXES


def find_mesh_files(paths: Iterable[Path | str]) -> list[Path]:
    """Return the mesh files that `paths` name: files as they are, folders searched with all their subfolders.

    In the order given, folders sorted by path, each file once, hidden ones left out: the same on every
    machine, so that the same call gives objects the same names.

    Raises `InvalidRequestError` for a path that is not there and for a folder without a mesh file.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            found.update(dict.fromkeys(_search(path)))
        elif path.exists():
            found[path] = None
        else:
            raise InvalidRequestError(f"There is no file or folder '{path}'.")
    return list(found)


def _search(folder: Path) -> list[Path]:
    """Return the mesh files below `folder`."""
    files = [
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in READABLE_SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]
    if not files:
        raise InvalidRequestError(
            f"The folder '{folder}' holds no mesh file ({', '.join(READABLE_SUFFIXES)})."
        )
    return sorted(files, key=lambda file: file.relative_to(folder).as_posix())
