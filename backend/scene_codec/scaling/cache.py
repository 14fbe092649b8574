"""Keeps finished results on disk under the hash of everything they depend on.

A key that is present is never computed again: that is what makes a long run resumable after its driver died.
A damaged entry is noticed by its checksum, thrown away and computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "SCENE_CODEC_CACHE"
DEFAULT_MAX_BYTES = 2 * 1024**3

_SUFFIX = ".result"
_TEMPORARY_SUFFIX = ".tmp"
_ABANDONED_AFTER_S = 3600.0
_DIGEST_BYTES = 32


def result_key(code_version: str, recipe: bytes | str, inputs: Iterable[bytes | memoryview]) -> str:
    """Return the key of a result: the hash of the code's version, the settings and the input bytes.

    code_version : changes whenever the same recipe and inputs would give another result
    recipe : canonical text or bytes of all settings, the seed among them
    """
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in (code_version.encode(), recipe.encode() if isinstance(recipe, str) else recipe, *inputs):
        view = memoryview(part).cast("B")
        digest.update(
            view.nbytes.to_bytes(8, "little")
        )  # so that moving a byte between parts changes the key
        digest.update(view)
    return digest.hexdigest()


def default_cache_folder() -> Path:
    """Return the folder named by the variable SCENE_CODEC_CACHE, or else the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return (
        Path(chosen) if chosen else platformdirs.user_cache_path("scene_codec", appauthor=False) / "results"
    )


class ResultCache:
    """Results by key in a folder that processes may share; the least recently used ones leave first."""

    def __init__(self, folder: Path | None = None, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.folder = default_cache_folder() if folder is None else folder
        self.max_bytes = max_bytes
        self._known_bytes: int | None = None

    def get(self, key: str) -> bytes | None:
        """Return the result stored under `key`, or None if there is none or it is damaged."""
        path = self._path(key)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        payload = content[_DIGEST_BYTES:]
        if content[:_DIGEST_BYTES] != _checksum(key, payload):
            path.unlink(missing_ok=True)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # most recently used now
        return payload

    def put(self, key: str, payload: bytes) -> None:
        """Store `payload` under `key`. Raises OSError if the folder cannot be written."""
        if _DIGEST_BYTES + len(payload) > self.max_bytes:
            return
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=_TEMPORARY_SUFFIX)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(_checksum(key, payload))
                stream.write(payload)
                stream.flush()
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        self._make_room(_DIGEST_BYTES + len(payload))

    def _path(self, key: str) -> Path:
        if not (key.isascii() and key.isalnum() and len(key) >= 8):
            raise ValueError(f"not a key made by result_key: {key!r}")
        return self.folder / key[:2] / f"{key}{_SUFFIX}"

    def _entries(self) -> list[tuple[Path, int, float]]:
        entries = []
        for path in self.folder.glob(f"*/*{_SUFFIX}"):
            with contextlib.suppress(OSError):  # another process removed it meanwhile
                status = path.stat()
                entries.append((path, status.st_size, status.st_mtime))
        return entries

    def _remove_abandoned(self) -> None:
        """Remove temporary files of writers that were killed long ago."""
        for path in self.folder.glob(f"*/*{_TEMPORARY_SUFFIX}"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _ABANDONED_AFTER_S:
                    path.unlink()

    def _make_room(self, added: int) -> None:
        """Remove the least recently used entries when the folder has grown beyond its bound."""
        if self._known_bytes is not None and self._known_bytes + added <= self.max_bytes:
            self._known_bytes += added
            return
        self._remove_abandoned()
        entries = sorted(self._entries(), key=lambda entry: entry[2])
        total = sum(size for _, size, _ in entries)
        for path, size, _ in entries:
            if total <= self.max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size
        self._known_bytes = total


def _checksum(key: str, payload: bytes) -> bytes:
    # The key is part of it, so that a file copied to another name does not pass.
    return hashlib.blake2b(payload, digest_size=_DIGEST_BYTES, key=key.encode()[:64]).digest()
