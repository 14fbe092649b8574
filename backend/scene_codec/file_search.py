"""Which files a list of files and folders stands for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from scene_codec.errors import InvalidRequestError


def find_files(paths: Iterable[Path | str], suffixes: Sequence[str], kind: str) -> list[Path]:
    """Return the files that `paths` name: files as they are, folders searched with all their subfolders.

    suffixes : endings of the names to look for in folders, in lower case, such as ".obj" or ".nii.gz"
    kind : what such a file is called in messages, such as "mesh"

    In the order given, folders sorted by path, each file once, hidden ones left out: the same on every
    machine, so that the same call gives objects the same names.

    Raises `InvalidRequestError` for a path that is not there and for a folder without such a file.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            below = files_below(path, suffixes)
            if not below:
                raise InvalidRequestError(
                    f"The folder '{path}' holds no {kind} file ({', '.join(suffixes)})."
                )
            found.update(dict.fromkeys(below))
        elif path.exists():
            found[path] = None
        else:
            raise InvalidRequestError(f"There is no file or folder '{path}'.")
    return list(found)


def files_below(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return the files in a folder and its subfolders whose names end in one of the suffixes.

    In the order of `find_files`, hidden ones left out; none is no error.
    """
    files = [
        file
        for file in folder.rglob("*")
        if file.name.lower().endswith(tuple(suffixes))
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]
    return sorted(files, key=lambda file: file.relative_to(folder).as_posix())
