"""What a file says of a grid beside its values, and the checks before anything of its size is allocated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import CorruptFileError, UnsupportedSceneError
from scene_codec.volumes.volume import (
    MAX_CHANNELS,
    VALUE_TYPES,
    GridKind,
    MetadataValue,
    VolumeGrid,
)

MAX_VOXELS = 1 << 36
MAX_GRIDS = 1024
MAX_SIDE = 1 << 20
_MAX_CORNER = 1 << 40

Triple = tuple[int, int, int]
StoredMetadata = dict[str, bool | int | float | str | tuple[int | float, ...]]
Header = TypeVar("Header", bound=msgspec.Struct)


class GridDescription(msgspec.Struct, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One grid without its values; codecs add fields of their own behind these.

    name : unique within its volume
    value_type : one of `VALUE_TYPES`
    vectors : whether values have an axis of channels, even of one
    masked : whether some voxels are inactive
    background : (channels,)
    to_object : (16,) row major, None for the identity
    """

    name: str
    value_type: str
    shape: Triple
    vectors: bool
    masked: bool
    corner: Triple
    background: tuple[float, ...]
    to_object: tuple[float, ...] | None
    kind: GridKind
    half: bool
    metadata: StoredMetadata

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the values."""
        return np.dtype(self.value_type)


class Quality(msgspec.Struct, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What decoding reached when the file was written.

    psnr : dB over the active voxels, against the largest range of the channels; None without any error
    box_psnr : the same over all voxels of the box
    max_error : largest error of a finite active voxel, in units of the values
    """

    psnr: float | None = None
    box_psnr: float | None = None
    max_error: float = 0.0


def grid_details(
    grid: GridDescription, ranges: Sequence[tuple[float, float]], topology: str, quality: Quality
) -> dict[str, Any]:
    """Return what `inspect` says of a grid. `ranges` are the channels' smallest and largest values."""
    return {
        "name": grid.name,
        "type": grid.value_type,
        "voxels": list(grid.shape),
        "channels": len(ranges),
        "range": [list(own) for own in ranges],
        "topology": topology,
        "psnr": quality.psnr,
        "box_psnr": quality.box_psnr,
        "max_error": quality.max_error,
    }


def check_grid(grid: VolumeGrid) -> None:
    """Raise `UnsupportedSceneError` for a grid that cannot be described."""
    if grid.values.dtype.name not in VALUE_TYPES:
        raise UnsupportedSceneError(
            f"Grid '{grid.name}' has values of type {grid.values.dtype}; convert it to one of: "
            f"{', '.join(VALUE_TYPES)}."
        )
    if grid.values.ndim not in (3, 4):
        raise UnsupportedSceneError(f"Grid '{grid.name}' has {grid.values.ndim} axes in place of 3 or 4.")
    if len(grid.background) != grid.channels:
        raise UnsupportedSceneError(
            f"Grid '{grid.name}' has {len(grid.background)} background values for {grid.channels} channels."
        )
    if grid.active is not None and grid.active.shape != grid.shape:
        raise UnsupportedSceneError(f"Grid '{grid.name}' has a mask of another shape than its values.")


def description_of(grid: VolumeGrid) -> dict[str, Any]:
    """Return the fields of a grid's `GridDescription`. Raises as `check_grid` does."""
    check_grid(grid)
    identity = np.array_equal(grid.to_object, np.eye(4))
    return {
        "name": grid.name,
        "value_type": grid.values.dtype.name,
        "shape": grid.shape,
        "vectors": grid.values.ndim == 4,
        "masked": grid.active is not None,
        "corner": grid.corner,
        "background": tuple(float(value) for value in grid.background),
        "to_object": None if identity else tuple(float(value) for value in np.ravel(grid.to_object)),
        "kind": grid.kind,
        "half": grid.half,
        "metadata": dict(grid.metadata),
    }


def grid_of(
    description: GridDescription, values: NDArray[np.generic], active: NDArray[np.bool_] | None
) -> VolumeGrid:
    """Return the grid that a description, values and a mask make up."""
    matrix = np.eye(4) if description.to_object is None else np.array(description.to_object).reshape(4, 4)
    return VolumeGrid(
        name=description.name,
        values=values,
        active=active,
        corner=description.corner,
        background=description.background,
        to_object=matrix,
        kind=description.kind,
        half=description.half,
        metadata=restored_metadata(description.metadata),
    )


def background_value(background: float, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """Return a channel's background as a value of a type; what does not fit is cut off."""
    wide = np.asarray(background, np.float64)
    if dtype.kind in "iu":
        info = np.iinfo(dtype.name)
        wide = np.nan_to_num(wide).clip(float(info.min), float(info.max))
        return np.asarray(min(max(int(wide), int(info.min)), int(info.max))).astype(dtype)
    with np.errstate(over="ignore"):
        return wide.astype(dtype)


def restored_metadata(stored: StoredMetadata) -> Mapping[str, MetadataValue]:
    """Return metadata with tuples of one type: all whole numbers, or all floating-point."""
    restored: dict[str, MetadataValue] = {}
    for key, value in stored.items():
        if not isinstance(value, tuple):
            restored[key] = value
        elif all(isinstance(item, int) for item in value):
            restored[key] = tuple(int(item) for item in value)
        else:
            restored[key] = tuple(float(item) for item in value)
    return restored


def fault_of_grids(grids: tuple[GridDescription, ...]) -> str | None:
    """Return in words what is wrong with the grids of a volume as far as all codecs agree, or None."""
    for grid in grids:
        fault = _fault_of_values(grid) or _fault_of_place(grid)
        if fault is not None:
            return f"grid '{grid.name[:60]}': {fault}"
    return "two grids have the same name" if len({grid.name for grid in grids}) < len(grids) else None


def _fault_of_values(grid: GridDescription) -> str | None:
    if grid.value_type not in VALUE_TYPES:
        return f"values of type {grid.value_type[:20]}"
    if not all(0 <= side <= MAX_SIDE for side in grid.shape) or math.prod(grid.shape) > MAX_VOXELS:
        return f"{' x '.join(map(str, grid.shape))} voxels"
    channels = len(grid.background)
    if not 1 <= channels <= MAX_CHANNELS or (channels > 1 and not grid.vectors):
        return f"{channels} background values"
    return None


def _fault_of_place(grid: GridDescription) -> str | None:
    if grid.to_object is not None and not (
        len(grid.to_object) == 16 and all(map(math.isfinite, grid.to_object))
    ):
        return "a transform that is not made of 16 finite numbers"
    if any(abs(place) > _MAX_CORNER for place in grid.corner):
        return f"the corner {grid.corner}"
    return None


def write_header(header: msgspec.Struct, name: str, fault: str | None) -> bytes:
    """Return a volume's header as MessagePack.

    fault : what is wrong with it, in words, or None
    Raises `UnsupportedSceneError` when it cannot be stored.
    """
    try:
        data = msgspec.msgpack.encode(header)
    except (TypeError, ValueError, OverflowError) as error:
        raise UnsupportedSceneError(
            f"Volume '{name}' has metadata that cannot be stored: {error}."
        ) from error
    if fault is not None:
        raise UnsupportedSceneError(f"Volume '{name}' cannot be coded: {fault}.")
    return data


def read_header(data: bytes, header_type: type[Header], what: str = "description of the volume") -> Header:
    """Return a header of MessagePack; its bounds are the caller's to check. Raises `CorruptFileError`."""
    try:
        return msgspec.msgpack.decode(data, type=header_type)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"The {what} cannot be read: {error}.") from error
