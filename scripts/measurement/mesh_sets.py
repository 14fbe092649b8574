"""Finds the mesh sets that are measured on; they are not part of the project."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

SUFFIXES = {".obj", ".ply", ".stl", ".glb", ".gltf", ".off"}


def add_set_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose meshes and device."""
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the sets")
    parser.add_argument("--set", required=True, help="the set: a folder below --data, or below its sets/")
    parser.add_argument("--limit", type=int, help="only this many, evenly spaced in the sorted set")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))


def set_files(data: Path, name: str, limit: int | None = None) -> list[Path]:
    """Return the mesh files of set `name` below `data`, sorted; `limit` picks that many, evenly spaced.

    Ends the program with a message when there is no such set.
    """
    folders = [data / name, data / "sets" / name]
    folder = next((folder for folder in folders if folder.is_dir()), None)
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES) if folder else []
    if not files:
        sys.exit(
            f"There is no set '{name}' with mesh files in '{data}'. The sets are not part of the project: "
            f"put meshes into {folders[0]} or {folders[1]}, any folder of meshes will do as a set."
        )
    if limit is None or limit >= len(files):
        return files
    return [files[index * len(files) // limit] for index in range(limit)]
