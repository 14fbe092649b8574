"""Grids as they stand in an OpenVDB file: settings, metadata and tree, in bytes."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import InvalidRequestError, UnsupportedSceneError
from scene_codec.volumes.vdb_compression import ACTIVE_MASK, BLOSC, ZIP, ValueStorage
from scene_codec.volumes.vdb_header import (
    CLASS_KEY,
    COMPUTED_KEYS,
    HALF_KEY,
    NAME_KEY,
    GridBytes,
    grid_settings,
)
from scene_codec.volumes.vdb_transforms import is_affine, transform_bytes
from scene_codec.volumes.vdb_tree_writer import stored_values, tree_bytes
from scene_codec.volumes.vdb_value_types import VdbValueType, rounded_to_half, value_type_for
from scene_codec.volumes.volume import MetadataValue, VolumeGrid

VdbCompression = Literal["zip", "blosc", "none"]

_FLAGS = {"zip": ZIP | ACTIVE_MASK, "blosc": BLOSC | ACTIVE_MASK, "none": ACTIVE_MASK}
_FLAG_WORDS = {"zip": "zip + active values", "blosc": "blosc + active values", "none": "active values"}
_FARTHEST = 2**31 - 2**13
"""Lattice indices are 32-bit integers, those of whole root nodes too."""


def grid_bytes(grid: VolumeGrid, compression: VdbCompression) -> GridBytes:
    """Return a grid ready to be put into a file.

    Raises `InvalidRequestError` for an unknown compression, `UnsupportedSceneError` for a grid that OpenVDB
    cannot hold; the message names it.
    """
    if compression not in _FLAGS:
        raise InvalidRequestError(f"Compression '{compression}' is not one of {', '.join(_FLAGS)}.")
    value_type = value_type_for(grid)
    _check_place(grid)
    half = value_type.is_real and (grid.half or grid.values.dtype == np.float16) and _fits_half(grid)
    flags = _FLAGS[compression]
    storage = ValueStorage(value_type, half, flags, True, _background(grid, value_type, half=half))
    topology, values = tree_bytes(grid, storage)
    name = _stored_name(grid)
    metadata: dict[str, MetadataValue] = {
        key: value for key, value in grid.metadata.items() if key not in COMPUTED_KEYS
    }
    metadata |= {NAME_KEY: name, CLASS_KEY: grid.kind, HALF_KEY: half}
    metadata |= _computed_metadata(grid) | {"file_compression": _FLAG_WORDS[compression]}
    settings = grid_settings(flags, metadata, transform_bytes(np.asarray(grid.to_object, np.float64)))
    return GridBytes(name, value_type.grid_type, half, settings, topology, values)


def _check_place(grid: VolumeGrid) -> None:
    """Raise `UnsupportedSceneError` when OpenVDB has no coordinates for the grid."""
    ends = [corner + side for corner, side in zip(grid.corner, grid.shape, strict=True)]
    if min(grid.corner) < -_FARTHEST or max(ends) > _FARTHEST:
        raise UnsupportedSceneError(
            f"Grid '{grid.name}' reaches from {grid.corner} to {tuple(ends)}, beyond OpenVDB's lattice."
        )
    if not is_affine(np.asarray(grid.to_object, np.float64)):
        raise UnsupportedSceneError(f"The transform of grid '{grid.name}' is not affine or has no inverse.")


def _fits_half(grid: VolumeGrid) -> bool:
    """Tell whether no finite value would become infinite with 16 bits; read plane by plane."""
    background = np.array(grid.background, np.float64)
    planes = (np.asarray(grid.values[index], np.float64) for index in range(grid.shape[0]))
    return not any(
        (np.isfinite(plane) & ~np.isfinite(rounded_to_half(plane))).any() for plane in (background, *planes)
    )


def _background(grid: VolumeGrid, value_type: VdbValueType, *, half: bool) -> NDArray[np.generic]:
    """Return the background as (channels,) of the stored type."""
    given = np.array(grid.background)
    if given.shape not in {(1,), (value_type.channels,)}:
        raise InvalidRequestError(f"Grid '{grid.name}' has a background of {given.size} numbers.")
    wide = np.broadcast_to(given, (value_type.channels,))
    with np.errstate(over="ignore", invalid="ignore"):
        background = wide.astype(value_type.number)
    if value_type.number.kind in "bi" and not np.array_equal(background, wide):
        raise UnsupportedSceneError(
            f"The background {grid.background} of grid '{grid.name}' is not of its values' type."
        )
    unrounded = ValueStorage(value_type, half, 0, True, background)
    return stored_values(background, unrounded)


def _stored_name(grid: VolumeGrid) -> str:
    """Return the name the grid had in its file, before it was told apart from others of that name."""
    original = grid.metadata.get(NAME_KEY)
    if isinstance(original, str) and re.fullmatch(re.escape(original) + r"\[\d+\]", grid.name):
        return original
    return grid.name


def _computed_metadata(grid: VolumeGrid) -> dict[str, MetadataValue]:
    """Return box and number of the active voxels, which some programs read before they load a grid."""
    count = int(np.prod(grid.shape)) if grid.active is None else int(np.count_nonzero(grid.active))
    if count == 0:
        return {"file_voxel_count": 0}
    low, high = [], []
    for axis, (corner, side) in enumerate(zip(grid.corner, grid.shape, strict=True)):
        others = tuple(other for other in range(3) if other != axis)
        line = np.ones(side, np.bool_) if grid.active is None else grid.active.any(axis=others)
        places = np.flatnonzero(line)
        low.append(corner + int(places[0]))
        high.append(corner + int(places[-1]))
    return {"file_bbox_min": tuple(low), "file_bbox_max": tuple(high), "file_voxel_count": count}
