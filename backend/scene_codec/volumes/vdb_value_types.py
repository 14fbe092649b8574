"""The types of OpenVDB grids that are read and written, by the names they have in a file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import UnsupportedSceneError
from scene_codec.volumes.volume import VolumeGrid

HALF_SUFFIX = "_HalfFloat"
_TREE_PREFIX, _TREE_SUFFIX = "Tree_", "_5_4_3"


@dataclass(frozen=True)
class VdbValueType:
    """How one voxel is stored.

    name : OpenVDB's word for it
    number : little-endian type of each number
    channels : numbers per voxel
    """

    name: str
    number: np.dtype[np.generic]
    channels: int

    @property
    def size(self) -> int:
        """Bytes of a value."""
        return self.number.itemsize * self.channels

    @property
    def is_real(self) -> bool:
        """Whether OpenVDB can store it as 16-bit floats."""
        return self.number.kind == "f" and self.number.itemsize > 2

    @property
    def grid_type(self) -> str:
        """Name of the tree type in a file."""
        return f"{_TREE_PREFIX}{self.name}{_TREE_SUFFIX}"

    def negative(self, value: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return what OpenVDB calls minus a value; of a Boolean, the other one."""
        opposite: NDArray[np.generic] = (
            np.logical_not(value) if self.number.kind == "b" else np.negative(value)
        )
        return opposite


_TYPES = (
    VdbValueType("float", np.dtype("<f4"), 1),
    VdbValueType("double", np.dtype("<f8"), 1),
    VdbValueType("half", np.dtype("<f2"), 1),
    VdbValueType("bool", np.dtype("?"), 1),
    VdbValueType("int32", np.dtype("<i4"), 1),
    VdbValueType("int64", np.dtype("<i8"), 1),
    VdbValueType("vec3s", np.dtype("<f4"), 3),
    VdbValueType("vec3d", np.dtype("<f8"), 3),
    VdbValueType("vec3i", np.dtype("<i4"), 3),
)
VALUE_TYPES = {entry.grid_type: entry for entry in _TYPES}
"""By the name of the tree type, without the suffix of 16-bit storage."""

_BY_NAME = {entry.name: entry for entry in _TYPES}
_NARROW_INTEGERS = ("int8", "uint8", "int16", "uint16", "int32")
_SCALARS = {
    "bool": "bool",
    **dict.fromkeys(_NARROW_INTEGERS, "int32"),
    **dict.fromkeys(("uint32", "int64"), "int64"),
    **dict.fromkeys(("float16", "float32"), "float"),
    "float64": "double",
}
_VECTORS = {
    **dict.fromkeys(_NARROW_INTEGERS, "vec3i"),
    **dict.fromkeys(("float16", "float32"), "vec3s"),
    "float64": "vec3d",
}


def value_type_for(grid: VolumeGrid) -> VdbValueType:
    """Return the narrowest OpenVDB type that holds every value of the grid exactly.

    Raises `UnsupportedSceneError` when OpenVDB has none.
    """
    by_channels = {1: _SCALARS, 3: _VECTORS}.get(grid.channels, {})
    name = by_channels.get(grid.values.dtype.name)
    if name is None:
        raise UnsupportedSceneError(
            f"Grid '{grid.name}' has {grid.channels} {grid.values.dtype.name} numbers per voxel. OpenVDB has "
            f"one ({', '.join(_SCALARS)}) or three ({', '.join(_VECTORS)}); convert it or use another format."
        )
    return _BY_NAME[name]


def rounded_to_half(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return floats as 16-bit floats, rounded the way OpenVDB does: by way of 32 bits."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32).astype("<f2")
