"""The plain data that all parts of the mesh pipeline exchange: triangle meshes and named, placed objects."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TriangleMesh:
    """Triangles in space.

    vertices : (v, 3) float64, scene units
    faces : (f, 3) int64, indices into `vertices`, counter-clockwise seen from outside
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]

    @property
    def binary_bytes(self) -> int:
        """Size as plain binary, 12 bytes a vertex and 12 a face: the canonical uncompressed size."""
        return 12 * len(self.vertices) + 12 * len(self.faces)


def identity_transform() -> NDArray[np.float64]:
    """Return the transform that leaves an object where its vertices say."""
    return np.eye(4)


@dataclass(frozen=True)
class SceneObject:
    """One named mesh and where it stands.

    transform : (4, 4) float64, object to world, column vectors (Blender's `matrix_world`)
    host : opaque bytes (at most 64 KiB) that the host application needs to put the object back; never
        interpreted here
    source_bytes : size of the file the mesh came from, shared evenly between its objects; 0 if unknown
    """

    name: str
    mesh: TriangleMesh
    transform: NDArray[np.float64] = field(default_factory=identity_transform)
    host: bytes = b""
    source_bytes: int = 0
