"""Which mesh files a list of files and folders stands for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from scene_codec.file_search import find_files
from scene_codec.geometry.mesh_files import READABLE_SUFFIXES


def find_mesh_files(paths: Iterable[Path | str]) -> list[Path]:
    """Return the mesh files that `paths` name, as `file_search.find_files` does."""
    return find_files(paths, READABLE_SUFFIXES, "mesh")
