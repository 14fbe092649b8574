"""Trained radiance fields that are still files: which files belong together, and what each field is called.

Importing this module loads no torch; the files are read by the codec, when their turn comes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import InvalidRequestError
from scene_codec.radiance.radiance_object import identity
from scene_codec.radiance.voxel_file_names import VQRF_FOLDER, VoxelFileKind, voxel_file_kind

TORCH_SUFFIXES = (".tar", ".ckpt", ".pt", ".pth", ".th")
_LOOKED_INTO = (".npz", ".zip")
CHECKPOINT_SUFFIXES = (*TORCH_SUFFIXES, ".npy", *_LOOKED_INTO)
"""Files that are looked into; a .npy file is a checkpoint when it holds objects in place of numbers, and .npz
and .zip files are when they hold a voxel field."""

_NPY_START = b"\x93NUMPY"
_HEADER_BYTES = 256
_OBJECTS = re.compile(rb"""['"]descr['"]\s*:\s*['"]\|O['"]""")
_KERAS_PAIR = re.compile(r"(?P<start>.*?)(?P<fine>fine_)?(?P<step>\d{1,15})", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")
_OPTIMISER = "optimizer"
_FIRST_STAGE, _LAST_STAGE = "coarse_last.tar", "fine_last.tar"
"""Of DirectVoxGO; the first only says where the last has to look."""

_SAYS_NOTHING = re.compile(
    r"(?:checkpoints?|ckpt|extreme_saving|models?|nerf|networks?|weights?|state|epoch|iter|step|coarse|fine|last|latest|best"
    r"|final|\d+|[-_. ])*",
    re.IGNORECASE,
)
"""Names that every training run gives its files; the run's folder is what tells runs apart."""


@dataclass(frozen=True)
class CheckpointFile:
    """A trained radiance field in one file or in two, under a name and in a place of its own.

    paths : one file or folder, or both files of a layout that has one for each network
    transform : (4, 4) float64, object to world, column vectors
    host : opaque bytes (at most 64 KiB) that the host application needs to put the field back
    """

    name: str
    paths: tuple[Path, ...]
    transform: NDArray[np.float64] = field(default_factory=identity)
    host: bytes = b""

    @property
    def voxels(self) -> VoxelFileKind | None:
        """Whose voxel field it seems to be by the names in its file; None for networks alone, as a NeRF."""
        return voxel_file_kind(self.paths[0]) if len(self.paths) == 1 else None


def is_checkpoint_file(path: Path) -> bool:
    """Tell by its suffix, and otherwise by its header or names, whether a file is given as a trained field.

    So is the folder that VQRF writes.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return _holds_objects(path)
    if path.is_dir() or suffix in _LOOKED_INTO:
        return voxel_file_kind(path) is not None
    return suffix in TORCH_SUFFIXES


def checkpoint_files(inputs: Iterable[Path | str]) -> list[CheckpointFile]:
    """Return the trained fields that files and folders stand for, in their order, each once.

    Of two files with one network each (model_200000.npy and model_fine_200000.npy) one is enough where the
    other lies beside it. In folders, searched with all their subfolders, the last step of a training run is
    taken. A field is called as its file, or as the file's folder where all files are called so
    (checkpoint155000, 200000, model_fine_200000, last).

    Raises `InvalidRequestError` for a path that is not there and for a folder without a trained field.
    """
    found: dict[tuple[Path, ...], None] = {}
    given: list[Path] = []
    for path in map(Path, inputs):
        if path.is_dir() and not is_checkpoint_file(path):
            given += _search(path)
        elif path.exists():
            given.append(path)
        else:
            raise InvalidRequestError(f"There is no file or folder '{path}'.")
    for path in given:
        found[_with_partner(path, given)] = None
    return [CheckpointFile(_name(paths[-1]), paths) for paths in found]


def checkpoints_below(folder: Path) -> list[Path]:
    """Return what is a trained field below a folder by what is in it, hidden files left out.

    Of the folder that VQRF writes and the archive of it beside it, the folder.
    """
    files = [
        file
        for file in folder.rglob("*")
        if not file.name.lower().startswith(_OPTIMISER)
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]
    found = [file for file in files if file.is_dir() and voxel_file_kind(file)]
    packed = {file.with_name(f"{file.name}.zip") for file in found}
    for file in files:
        if file.suffix.lower() in CHECKPOINT_SUFFIXES and file.is_file() and is_checkpoint_file(file):
            if file in packed:
                continue
            if voxel_file_kind(file) or _looks_like_networks(file):
                found.append(file)
    return sorted(found, key=lambda file: file.relative_to(folder).as_posix())


def _looks_like_networks(file: Path) -> bool:
    """Tell by what is in a file whether it may be a trained NeRF."""
    from scene_codec.radiance.checkpoints import looks_like_checkpoint  # loads torch, which few need

    return looks_like_checkpoint(file)


def _search(folder: Path) -> list[Path]:
    """Return the last checkpoint of every training run below a folder."""
    last: dict[tuple[Path, str], Path] = {}
    files = checkpoints_below(folder)
    for file in files:
        if file.name == _FIRST_STAGE and file.with_name(_LAST_STAGE) in files:
            continue
        run = (file.parent, _NUMBER.sub("#", file.name))
        if run not in last or _numbers(file) >= _numbers(last[run]):
            last[run] = file
    if not last:
        raise InvalidRequestError(
            f"The folder '{folder}' holds no trained radiance field ({', '.join(CHECKPOINT_SUFFIXES)}, "
            f"{VQRF_FOLDER}/)."
        )
    return list(last.values())


def _numbers(file: Path) -> list[int]:
    return [int(number) for number in _NUMBER.findall(file.name)]


def _with_partner(path: Path, given: Sequence[Path]) -> tuple[Path, ...]:
    """Return a file, in front of it or behind it the other network's: the fine network is last."""
    match = _KERAS_PAIR.fullmatch(path.stem) if path.suffix.lower() == ".npy" else None
    if match is None:
        return (path,)
    other = match["start"] + ("" if match["fine"] else "fine_") + match["step"] + path.suffix
    beside = path.with_name(other)
    partners = [beside] if beside.is_file() else [file for file in given if file.name == other]
    if len(partners) != 1:
        return (path,)
    return (partners[0], path) if match["fine"] else (path, partners[0])


def _name(path: Path) -> str:
    """Return what the field in a file is called."""
    if _SAYS_NOTHING.fullmatch(path.stem):
        return path.absolute().parent.name or path.stem
    return path.stem


def _holds_objects(path: Path) -> bool:
    """Tell by its header whether a .npy file is an array of Python objects."""
    try:
        with path.open("rb") as stream:
            start = stream.read(_HEADER_BYTES)
    except OSError:  # missing: said where the file is needed
        return False
    return start.startswith(_NPY_START) and _OBJECTS.search(start) is not None
