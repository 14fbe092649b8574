"""Finds the mesh sets that are measured on; they are not part of the project."""

from __future__ import annotations

import sys
from pathlib import Path

SUFFIXES = {".obj", ".ply", ".stl", ".glb", ".gltf", ".off"}


def set_files(data: Path, name: str, limit: int | None = None) -> list[Path]:
    """Return the mesh files of set `name` below `data`, sorted; `limit` picks that many, evenly spaced.

    Ends the program with a message when there is no such set.
    """
    folders = [data / name, data / "sets" / name]
    folder = next((folder for folder in folders if folder.is_dir()), None)
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES) if folder else []
    if not files:
        sys.exit(
            f"There is no set '{name}' with mesh files in '{data}'. Name the folder that holds it with "
            f"--data: either {data}/{name} or {data}/sets/{name}. Any folder of meshes will do as a set."
        )
    if limit is None or limit >= len(files):
        return files
    return [files[index * len(files) // limit] for index in range(limit)]
