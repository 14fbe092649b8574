"""Trained voxel fields of the public implementations: which files are one, and what is in them.

Read are DirectVoxGO (.tar), Plenoxels in the layout of svox2 (.npz), TensoRF (.th) and VQRF's compressed
folder. Most hold pickles; they are read as data, and nothing in them is run.
"""

from __future__ import annotations

from pathlib import Path

from scene_codec.errors import SceneCodecError, UnsupportedSceneError
from scene_codec.radiance.damaged_files import damaged_file
from scene_codec.radiance.torch_archive import read_torch_archive
from scene_codec.radiance.voxel_file_names import voxel_file_kind
from scene_codec.voxel_fields.dvgo_checkpoint import read_dvgo
from scene_codec.voxel_fields.stored_entries import EXPECTED_FILES, foreign
from scene_codec.voxel_fields.svox2_checkpoint import BLENDER_SCALE, read_svox2
from scene_codec.voxel_fields.tensorf_checkpoint import read_tensorf
from scene_codec.voxel_fields.voxel_checkpoint import VoxelCheckpoint
from scene_codec.voxel_fields.vqrf_archive import read_vqrf

LARGEST_FILE = 1 << 32
"""Bytes; a grid of 256 nodes along each axis with the optimiser's state takes 2.6e9."""


def load_voxel_field(path: Path, *, scale: float = BLENDER_SCALE) -> VoxelCheckpoint:
    """Return the field in a file, or in the folder that VQRF writes.

    scale : units of the world per unit of a file of svox2, which trains in a space of its own; other files
        are in units of the world

    Raises `UnsupportedSceneError` naming the file and the reason.
    """
    path = Path(path)
    if not path.exists():
        raise UnsupportedSceneError(f"There is no file or folder '{path}'.")
    try:
        return _load(path, scale)
    except SceneCodecError:
        raise
    except Exception as error:  # damaged pickles and archives raise a dozen types
        raise damaged_file(f"'{path.name}'", error, EXPECTED_FILES) from error


def looks_like_voxel_field(path: Path) -> bool:
    """Tell by names in it whether a file or folder may be a trained voxel field; nothing is loaded."""
    return voxel_file_kind(path) is not None


def _load(path: Path, scale: float) -> VoxelCheckpoint:
    if path.is_file() and not 0 < path.stat().st_size <= LARGEST_FILE:
        raise foreign(path, f"has {path.stat().st_size} bytes; a voxel field has 1 to {LARGEST_FILE}")
    kind = voxel_file_kind(path)
    if kind == "vqrf":
        return read_vqrf(path)
    if kind == "plenoxels":
        return read_svox2(path, scale)
    if kind is None:
        raise foreign(path, "holds no trained voxel field")
    archive = read_torch_archive(path)
    return read_dvgo(path, archive) if kind == "dvgo" else read_tensorf(path, archive)
