"""The plain data that all parts of the volume pipeline exchange: grids of values, named volumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

VALUE_TYPES = (
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
)
"""Types of voxel values, in native byte order."""

MAX_CHANNELS = 4

GridKind = Literal["unknown", "fog volume", "level set", "staggered"]
"""What the values mean, in OpenVDB's words; dense formats are "unknown"."""

MetadataValue = bool | int | float | str | tuple[int, ...] | tuple[float, ...]


def no_metadata() -> Mapping[str, MetadataValue]:
    """Return no metadata."""
    return {}


def identity() -> NDArray[np.float64]:
    """Return the map that leaves everything in its place."""
    return np.eye(4)


@dataclass(frozen=True)
class VolumeGrid:
    """Values on an integer lattice, given in one box of it and constant outside.

    name : unique within its volume
    values : (x, y, z) or (x, y, z, channels), one of `VALUE_TYPES`; may be a memory map larger than memory,
        so that it is read box by box
    active : (x, y, z) bool: the voxels that carry data (OpenVDB's topology); None when all do. Values of
        inactive voxels are the background's, except the inside of a level set, which is minus the background.
    corner : lattice index of `values[0, 0, 0]`
    background : (channels,) value of every voxel outside the box
    to_object : (4, 4) float64, lattice index to object space, column vectors; spacing and origin are in it
    half : the source stores 16-bit floats, and so will what is written from it
    metadata : whatever else the source says of the grid, by its own names
    """

    name: str
    values: NDArray[np.generic]
    active: NDArray[np.bool_] | None = None
    corner: tuple[int, int, int] = (0, 0, 0)
    background: tuple[float, ...] = (0.0,)
    to_object: NDArray[np.float64] = field(default_factory=identity)
    kind: GridKind = "unknown"
    half: bool = False
    metadata: Mapping[str, MetadataValue] = field(default_factory=no_metadata)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along each axis of the box."""
        x, y, z = self.values.shape[:3]
        return int(x), int(y), int(z)

    @property
    def channels(self) -> int:
        """Numbers per voxel."""
        return 1 if self.values.ndim == 3 else int(self.values.shape[3])

    def with_values(self, values: NDArray[np.generic]) -> VolumeGrid:
        """Return the same grid with other values in the same box."""
        return replace(self, values=values)


@dataclass(frozen=True)
class VolumeObject:
    """One named volume, of one or several grids, and where it stands.

    transform : (4, 4) float64, object to world, column vectors
    host : opaque bytes (at most 64 KiB) that the host application needs to put the volume back
    source_bytes : size of the file the volume came from; 0 if unknown
    file_format : name of the format it came from ("npy", "nrrd", "vdb" ...), which decoding writes again
    metadata : what the source says of the whole file
    """

    name: str
    grids: tuple[VolumeGrid, ...]
    transform: NDArray[np.float64] = field(default_factory=identity)
    host: bytes = b""
    source_bytes: int = 0
    file_format: str = "npy"
    metadata: Mapping[str, MetadataValue] = field(default_factory=no_metadata)
