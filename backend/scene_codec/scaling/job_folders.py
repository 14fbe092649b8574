"""A working folder per job, found again by the same job after an interruption."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import filelock

from scene_codec.errors import SceneCodecError
from scene_codec.scaling.cache import CACHE_VARIABLE, default_cache_folder

KEPT_FOR_S = 14 * 24 * 3600.0
"""Interrupted jobs that nobody came back to are thrown away after two weeks."""

_LOCK = "in-use"


@contextlib.contextmanager
def job_folder(key: str, root: Path | None = None) -> Iterator[Path]:
    """Give the folder of the job `key`, with what an interrupted run left there.

    Removed when the block ends without an exception; otherwise kept for the next run. Two runs of the same
    job at the same time do not meet: the second one gets a folder of its own and leaves nothing behind.
    Raises `SceneCodecError` when the folder cannot be made.
    """
    base = (default_cache_folder().parent if root is None else root) / "jobs"
    folder = base / key
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SceneCodecError(
            f"The folder for unfinished work cannot be made at '{base}': {error.strerror or error}. Set "
            f"{CACHE_VARIABLE} to a folder that can be written."
        ) from error
    _remove_abandoned(base)
    lock = filelock.FileLock(folder / _LOCK, blocking=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        with tempfile.TemporaryDirectory(prefix="second-", dir=base) as other:
            yield Path(other)
        return
    try:
        yield folder
    finally:
        lock.release()
    shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(base: Path) -> None:
    """Remove the folders of jobs that were interrupted long ago."""
    for folder in base.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > KEPT_FOR_S:
                shutil.rmtree(folder, ignore_errors=True)
