"""Writing a file so that an interrupted write leaves the old file whole."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from scene_codec.errors import SceneCodecError


def write_atomically(path: Path, chunks: Iterable[bytes]) -> None:
    """Write `chunks` to a temporary file beside `path`, then put it in the place of `path` in one step.

    On any failure the temporary file is removed and the old file stays as it was. Raises `SceneCodecError`
    when the system refuses (no such folder, no permission, disk full).
    """
    target = path.resolve()
    temporary = target.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        with temporary.open("xb") as stream:
            stream.writelines(chunks)
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
