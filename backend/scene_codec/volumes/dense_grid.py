"""What all dense file formats share: checked shapes, types and placements, and the one grid of a file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import UnsupportedSceneError
from scene_codec.volumes.volume import MAX_CHANNELS, VALUE_TYPES, MetadataValue, VolumeGrid, VolumeObject

MAX_AXIS = 1 << 24
MAX_VALUES = 1 << 40
"""Most voxels along an axis, and most numbers of a volume: beyond, a header is nonsense."""

_FLATTEST = 1e-6
"""Least volume of the box that the three axes span, each taken as one long."""

BYTE_ORDER = "byte_order"
"""Metadata: "big" when the source stores big-endian numbers; absent otherwise."""

AXES = "axes"
"""Metadata: "zyx" when the source stores the x axis last; absent otherwise."""

UNITS = "units"
"""Metadata: the unit of lengths, such as "mm", as the source writes it."""

ORIENTATION = "orientation"
"""Metadata: what the axes of a patient's space point to, "RAS", "LAS" or "LPS"."""


def checked_shape(path: Path, shape: Sequence[int]) -> tuple[int, ...]:
    """Return (x, y, z) or (x, y, z, channels), or raise `UnsupportedSceneError`."""
    sizes = tuple(int(size) for size in shape)
    words = " x ".join(map(str, sizes)) or "no axes"
    if len(sizes) not in (3, 4):
        raise _unsupported(
            path, f"holds an array of {words}; a volume has three axes, and a fourth for channels"
        )
    if min(sizes) < 1:
        raise _unsupported(path, f"is empty: {words} voxels")
    if max(sizes) > MAX_AXIS or math.prod(sizes) > MAX_VALUES:
        raise _unsupported(path, f"declares {words} voxels, more than any volume has")
    if len(sizes) == 4 and sizes[3] > MAX_CHANNELS:
        raise _unsupported(
            path,
            f"has {sizes[3]} numbers per voxel; at most {MAX_CHANNELS} can be held. Split it into volumes",
        )
    return sizes


def checked_type(path: Path, dtype: np.dtype[np.generic]) -> np.dtype[np.generic]:
    """Return a type that voxels may have, or raise `UnsupportedSceneError`."""
    if dtype.kind not in "biuf" or dtype.name not in VALUE_TYPES:
        raise _unsupported(path, f"holds values of type {dtype}; they must be {', '.join(VALUE_TYPES)}")
    return dtype


def byte_order_metadata(dtype: np.dtype[np.generic]) -> dict[str, MetadataValue]:
    """Return the note that the source is big-endian, where it is."""
    return {BYTE_ORDER: "big"} if dtype.newbyteorder("=") != dtype and dtype.str[0] == ">" else {}


def stored_type(grid: VolumeGrid) -> np.dtype[np.generic]:
    """Return the type of the values in the byte order that the file gets: little-endian unless noted."""
    return grid.values.dtype.newbyteorder(">" if is_big_endian(grid) else "<")


def is_big_endian(grid: VolumeGrid) -> bool:
    """Tell whether the source stores big-endian numbers."""
    return grid.metadata.get(BYTE_ORDER) == "big"


def reversed_axes(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the view with x and z exchanged, channels left last: x, y, z <-> z, y, x."""
    return values.transpose(2, 1, 0, *range(3, values.ndim))


def single_channel_dropped(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return (x, y, z) for values with one channel on an axis of its own."""
    return values[..., 0] if values.ndim == 4 and values.shape[3] == 1 else values


def placement(spacing: Sequence[float], origin: Sequence[float] = (0.0, 0.0, 0.0)) -> NDArray[np.float64]:
    """Return the (4, 4) map from lattice index to object space of an unturned grid."""
    matrix = np.diag([*(float(step) for step in spacing), 1.0])
    matrix[:3, 3] = origin
    return matrix


def checked_placement(path: Path, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the map from index to object space, or raise `UnsupportedSceneError` when it flattens space."""
    if not np.isfinite(matrix).all():
        raise _unsupported(path, "has a spacing, an origin or axes that are not finite numbers")
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if lengths.min() == 0 or abs(np.linalg.det(matrix[:3, :3] / lengths)) < _FLATTEST:
        raise _unsupported(path, "has a spacing of zero or axes that lie in one plane")
    return matrix


def plain_spacing(matrix: NDArray[np.float64]) -> tuple[float, float, float] | None:
    """Return the spacing of a grid that is neither turned nor mirrored, None for others."""
    x, y, z = (float(step) for step in np.diag(matrix)[:3])
    unturned = np.array_equal(matrix[:3, :3], np.diag((x, y, z)))
    return (x, y, z) if unturned and min(x, y, z) > 0 else None


def dense_grid(
    values: NDArray[np.generic], to_object: NDArray[np.float64], metadata: Mapping[str, MetadataValue]
) -> VolumeGrid:
    """Return the grid of a dense file. Its name is the one that Blender's materials look for."""
    channels = 1 if values.ndim == 3 else values.shape[3]
    return VolumeGrid(
        name="density" if channels == 1 else "color",
        values=values,
        background=(0.0,) * channels,
        to_object=to_object,
        metadata=dict(metadata),
    )


def only_grid(volume: VolumeObject, path: Path) -> VolumeGrid:
    """Return the grid of a volume that a dense file can hold, its corner and transform put into `to_object`.

    Raises `UnsupportedSceneError` for several grids, for inactive voxels, and for level sets and staggered
    grids: a dense file has no place for what they mean.
    """
    if len(volume.grids) != 1:
        names = ", ".join(f"'{grid.name}'" for grid in volume.grids) or "none"
        raise _cannot_hold(path, f"several grids or none (there are: {names})")
    (grid,) = volume.grids
    if grid.active is not None and not grid.active.all():
        raise _cannot_hold(path, "which voxels are active")
    if grid.kind in ("level set", "staggered"):
        raise _cannot_hold(path, f"that the grid is a {grid.kind}")
    checked_shape(path, grid.values.shape)
    matrix = grid.to_object
    if any(grid.corner):
        matrix = matrix @ placement((1, 1, 1), grid.corner)
    if not np.array_equal(volume.transform, np.eye(4)):
        matrix = volume.transform @ matrix
    return VolumeGrid(
        grid.name, grid.values, to_object=checked_placement(path, matrix), metadata=grid.metadata
    )


def check_writable_type(path: Path, grid: VolumeGrid, types: Sequence[str]) -> None:
    """Raise `UnsupportedSceneError` unless the format holds values of the grid's type."""
    name = grid.values.dtype.name
    if name not in types:
        raise UnsupportedSceneError(
            f"'{path.name}' cannot hold {name} values; its format has {', '.join(types)}. "
            "Choose another suffix."
        )


def _cannot_hold(path: Path, what: str) -> UnsupportedSceneError:
    return UnsupportedSceneError(f"'{path.name}' cannot hold {what}. Write a .vdb file instead.")


def _unsupported(path: Path, what: str) -> UnsupportedSceneError:
    return UnsupportedSceneError(f"'{path.name}' {what}.")
