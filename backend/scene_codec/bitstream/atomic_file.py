"""Writing a file so that an interrupted write leaves the old file whole."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from scene_codec.errors import SceneCodecError


def write_atomically(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Write `chunks` to a temporary file beside `path`, then put it in the place of `path` in one step.

    On any failure the temporary file is removed and the old file stays as it was. Raises `SceneCodecError`
    when the system refuses (no such folder, no permission, disk full).
    """
    with open_atomically(path) as stream:
        stream.writelines(chunks)


@contextlib.contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """Give a stream whose bytes take the place of `path` in one step when the block ends without an error.

    For libraries that write into a stream; otherwise as `write_atomically`.
    """
    target = path.resolve()
    temporary = target.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        with temporary.open("x+b") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)
    except OSError as error:
        _remove(temporary)
        raise SceneCodecError(
            f"Could not write {path}: {error.strerror or error}. What was there before is unchanged."
        ) from error
    except BaseException:
        _remove(temporary)
        raise


def _remove(temporary: Path) -> None:
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)
