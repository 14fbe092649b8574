"""Paths the user typed: made absolute, given their suffix, and tried before hours of work depend on them."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import bpy

from .jobs import JobFailedError

SUFFIX = ".nscene"

PATH_OPTIONS = {"PATH_SUPPORTS_BLEND_RELATIVE"} if bpy.app.version >= (4, 5, 0) else set()
"""Options of properties that hold a path; without it, later Blenders paint `//` paths red."""


def absolute(filepath: str) -> Path:
    """Return a Blender path ("//beside/the.blend" too) as an absolute one, or raise `JobFailedError`."""
    if not filepath.strip():
        raise JobFailedError("Choose a file first.")
    if filepath.startswith("//") and not bpy.data.filepath:
        raise JobFailedError(
            f"{filepath} lies beside the .blend file, which was never saved. Save it, or choose a full path."
        )
    return Path(bpy.path.abspath(filepath)).absolute()


def blender_path(path: Path) -> str:
    """Return a path as Blender keeps it: beside a saved .blend file, relative if the user likes that."""
    if bpy.data.filepath and bpy.context.preferences.filepaths.use_relative_paths:
        with contextlib.suppress(ValueError):  # on another drive
            return bpy.path.relpath(str(path))
    return str(path)


def with_suffix(filepath: str) -> Path:
    """Return the absolute path of an output file, `.nscene` added where it is missing."""
    path = absolute(filepath)
    return path if path.suffix.lower() == SUFFIX else path.with_name(path.name + SUFFIX)


def existing_folder(path: str) -> Path:
    """Return a Blender path to a folder as an absolute one, or raise `JobFailedError`."""
    folder = absolute(path)
    if not folder.is_dir():
        raise JobFailedError(f"There is no folder {folder}.")
    return folder


def check_writable(path: Path) -> None:
    """Raise `JobFailedError` when the file could not be written at the end of the job."""
    if path.is_dir():
        raise JobFailedError(f"{path} is a folder. Choose a file name.")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as problem:
        raise JobFailedError(
            f"Nothing can be written to {path.parent}: {problem.strerror or problem}. Choose another folder."
        ) from problem


def check_readable(path: Path) -> None:
    """Raise `JobFailedError` when there is no such file, or it cannot be opened."""
    try:
        with path.open("rb"):
            pass
    except OSError as problem:
        raise JobFailedError(f"{path} cannot be read: {problem.strerror or problem}.") from problem
