"""Names of files: numbered frames, and names that every system takes. No bpy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

VDB_SUFFIX = ".vdb"
LONGEST_STEM_BYTES = 180  # file systems take 255 bytes for a name, and a number and a suffix follow

_NUMBERED = re.compile(r"(.*?)([0-9]+)", re.DOTALL)
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class FrameName:
    """A name that ends in a number: "smoke_0007" has the prefix "smoke_", 4 digits and the number 7."""

    prefix: str
    digits: int
    number: int

    def of_frame(self, number: int) -> str:
        """Return the name of another frame of the same sequence, as Blender looks for it."""
        return f"{self.prefix}{number:0{self.digits}d}"


def frame_name(stem: str) -> FrameName | None:
    """Return the parts of a file's name without its suffix, or None when it does not end in a number."""
    match = _NUMBERED.fullmatch(stem)
    if match is None or len(match[2]) > 9:
        return None
    return FrameName(match[1], len(match[2]), int(match[2]))


@dataclass(frozen=True)
class FileSequence:
    """Frames of one sequence on disk, in order; a single file that is no sequence has `name` None.

    folder : names of the folders between the one that was searched and the files
    """

    folder: tuple[str, ...]
    name: FrameName | None
    files: tuple[Path, ...]


def find_sequences(root: Path) -> list[FileSequence]:
    """Return all .vdb files below `root`: numbered ones of one name and folder together, in order."""
    groups: dict[tuple[Path, str | None], list[Path]] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() == VDB_SUFFIX and path.is_file():
            name = frame_name(path.stem)
            groups.setdefault((path.parent, name.prefix if name else None), []).append(path)
    found = []
    for (parent, prefix), paths in groups.items():
        folder = parent.relative_to(root).parts
        if prefix is None:
            found += [FileSequence(folder, None, (path,)) for path in paths]
        else:
            found += [FileSequence(folder, *frames) for frames in _frames_of(paths)]
    return sorted(found, key=lambda item: (item.folder, item.files[0].name))


def _frames_of(paths: list[Path]) -> Iterator[tuple[FrameName | None, tuple[Path, ...]]]:
    """Split numbered files into those that Blender would take for one sequence: of one padding."""
    rest = {path: frame_name(path.stem) for path in paths}
    while rest:
        first = min(rest.values(), key=lambda name: (name.digits, name.number))
        frames = [
            (name.number, path) for path, name in rest.items() if path.stem == first.of_frame(name.number)
        ]
        yield first if len(frames) > 1 else None, tuple(path for _, path in sorted(frames))
        rest = {path: name for path, name in rest.items() if (name.number, path) not in frames}


def safe_stem(name: str) -> str:
    """Return a name for a file, without suffix, that every file system takes, as near to `name` as may be."""
    stem = _FORBIDDEN.sub("_", name).strip().rstrip(". ")
    stem = stem.encode("utf-8", "replace")[:LONGEST_STEM_BYTES].decode("utf-8", "ignore").rstrip(". ")
    return f"_{stem}" if not stem or _RESERVED.fullmatch(stem) else stem


def free_name(wanted: str, taken: Iterable[str]) -> str:
    """Return `wanted`, or with " (2)" and so on before the suffix when it is taken, whatever the case."""
    used = {name.casefold() for name in taken}
    path = Path(wanted)
    candidate, number = wanted, 1
    while candidate.casefold() in used:
        number += 1
        candidate = f"{path.stem} ({number}){path.suffix}"
    return candidate
