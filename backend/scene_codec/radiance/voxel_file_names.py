"""Which of the public voxel fields a file is, by the names in it; nothing is loaded, and no torch.

What is in these files is read by `scene_codec.voxel_fields`.
"""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath
from typing import Literal

from scene_codec.radiance.archive_names import LEGACY_START, PICKLE_MEMBER, ZIP_START, zip_names

VoxelFileKind = Literal["dvgo", "plenoxels", "tensorf", "vqrf"]

VQRF_FOLDER = "extreme_saving"
"""What VQRF calls the folder of a compressed field."""

_BYTES_READ = 1 << 22
"""Of a pickle; those of voxel fields have a few thousand bytes, their values lie elsewhere."""

_VQRF_MEMBERS = frozenset({"metadata.npz", "non_prune_mask.npz", "codebook.npz", "vq_indexs.npz"})
_ENOUGH = 3
"""Of these members; other folders have none of them."""

_SVOX2_MEMBERS = ({"radius.npy", "center.npy", "links.npy"}, {"density_data.npy", "data.npy"})
_DVGO_NAMES = (b"model_kwargs", b"model_state_dict", b"xyz_min")
_TENSORF_NAMES = (b"kwargs", b"state_dict", b"density_n_comp")


def voxel_file_kind(path: Path) -> VoxelFileKind | None:
    """Return whose voxel field a file or folder seems to be; None for anything else.

    One of which a part is missing is still one, so that it is not taken for something else.
    """
    try:
        if path.is_dir():
            present = {name for name in _VQRF_MEMBERS if (path / name).is_file()}
            return "vqrf" if len(present) >= _ENOUGH else None
        with path.open("rb") as stream:
            start = stream.read(len(LEGACY_START))
            if start.startswith(LEGACY_START):
                return _kind_of_pickle(stream.read(_BYTES_READ))
            if not start.startswith(ZIP_START):
                return None
            content = stream.read(_BYTES_READ)
        return _kind_of_zip(path) or _kind_of_incomplete_zip(content)
    except Exception:  # a missing or damaged file is none
        return None


def _kind_of_zip(path: Path) -> VoxelFileKind | None:
    try:
        names = zip_names(path)
    except zipfile.BadZipFile:
        return None
    present = {PurePosixPath(name).name for name in names}
    if present >= _VQRF_MEMBERS:
        return "vqrf"
    needed, either = _SVOX2_MEMBERS
    if present >= needed and present & either:
        return "plenoxels"
    pickles = [name for name in names if PurePosixPath(name).name == PICKLE_MEMBER]
    if len(pickles) != 1:
        return None
    with zipfile.ZipFile(path) as archive, archive.open(pickles[0]) as stream:
        return _kind_of_pickle(stream.read(_BYTES_READ))


def _kind_of_incomplete_zip(content: bytes) -> VoxelFileKind | None:
    """Return whose field the beginning of an archive is: it names each member in front of its content."""
    if any(name.encode() in content for name in (*_VQRF_MEMBERS, VQRF_FOLDER)):
        return "vqrf"
    if all(name.encode() in content for name in _SVOX2_MEMBERS[0]):
        return "plenoxels"
    return _kind_of_pickle(content)


def _kind_of_pickle(pickled: bytes) -> VoxelFileKind | None:
    if all(name in pickled for name in _DVGO_NAMES):
        return "dvgo"
    return "tensorf" if all(name in pickled for name in _TENSORF_NAMES) else None
