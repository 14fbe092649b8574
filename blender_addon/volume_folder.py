"""Where decoded .vdb files go: first beside their place, then into it all together, or not at all. No bpy."""

from __future__ import annotations

import contextlib
import filecmp
import shutil
import uuid
from collections.abc import Generator
from pathlib import Path

from .jobs import Step
from .numbered_files import free_name

STAGING_PREFIX = ".scene_codec-"


class VolumeFolder:
    """The folder of the user that gets decoded files; it may not exist yet.

    Nothing of the user's is overwritten. `discard` takes back all that was made, folders too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.staging = path / f"{STAGING_PREFIX}{uuid.uuid4().hex}"
        # Known before the backend makes them on the way to the staging folder.
        self._new_folders = [folder for folder in (path, *path.parents) if not folder.exists()]
        self._staged: set[Path] = set()
        self._placed: list[Path] = []

    def check_staged(self, path: str) -> Path:
        """Return the path of a file of the staging folder; ValueError for others, and the second time."""
        resolved = Path(path).resolve()
        if resolved.parent != self.staging.resolve() or not resolved.is_file() or resolved in self._staged:
            raise ValueError(f"{path} is no file of {self.staging}, or that of another volume.")
        self._staged.add(resolved)
        return resolved

    def place(self, staged: Path, wanted: str) -> Path:
        """Move one file to the name `wanted`, or a free one beside it; the same file is kept as it is."""
        target = self.path / wanted
        if target.is_file() and filecmp.cmp(staged, target, shallow=False):
            staged.unlink()
            return target
        target = self.path / free_name(wanted, _names_in(self.path))
        self._move(staged, target)
        return target

    def place_frames(self, staged: dict[str, Path], wanted: tuple[str, ...]) -> Generator[Step, None, Path]:
        """Move a sequence's files, by their names, into a folder of their own; return that folder.

        It is the folder `wanted`, below this one, if nothing but these very files is there. Comparing them
        with what is there takes long, so that it is done in steps.
        """
        target = self.path.joinpath(*wanted)
        if not (yield from self._fits(staged, target)):
            target = target.with_name(free_name(target.name, _names_in(target.parent)))
        missing = [folder for folder in (target, *target.parents) if not folder.exists()]
        target.mkdir(parents=True, exist_ok=True)
        self._new_folders[:0] = [folder for folder in missing if folder not in self._new_folders]
        for name, path in staged.items():
            if (target / name).exists():
                path.unlink()
            else:
                self._move(path, target / name)
        return target

    def close(self) -> None:
        """Remove the staging folder; what was placed stays."""
        shutil.rmtree(self.staging, ignore_errors=True)
        self._remove_empty()

    def discard(self) -> None:
        """Remove what was placed and the folders that were made for it."""
        for path in self._placed:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        self._placed.clear()
        self.close()

    def _fits(self, staged: dict[str, Path], target: Path) -> Generator[Step, None, bool]:
        """Return whether the frames can go there: one side is part of the other, what both have is equal."""
        if not target.exists():
            return True
        there = set(_names_in(target)) if target.is_dir() else {""}
        shared = there & staged.keys()
        if shared not in (there, staged.keys()):
            return False
        for name in shared:
            yield Step.MORE
            if not filecmp.cmp(staged[name], target / name, shallow=False):
                return False
        return True

    def _move(self, source: Path, target: Path) -> None:
        source.rename(target)
        self._placed.append(target)

    def _remove_empty(self) -> None:
        for folder in self._new_folders:
            with contextlib.suppress(OSError):
                folder.rmdir()  # stays, with an error, when there is something in it


def _names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []
