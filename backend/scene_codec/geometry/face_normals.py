"""Directions of triangles, the same on all machines.

Contexts of entropy coding hang on them, so each operation is one that IEEE 754 rounds correctly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scene_codec.geometry.scene_object import TriangleMesh


def face_normals(mesh: TriangleMesh) -> NDArray[np.float64]:
    """Return unit normals (f, 3), zero where a face has no area."""
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.sqrt(row_products(normals, normals))[:, None]
    units: NDArray[np.float64] = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0.0)
    return units


def face_areas(mesh: TriangleMesh) -> NDArray[np.float64]:
    """Return areas (f,)."""
    corners = mesh.vertices[mesh.faces]
    doubled = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas: NDArray[np.float64] = 0.5 * np.sqrt(row_products(doubled, doubled))
    return areas


def row_products(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scalar products of the rows of two arrays (n, 3)."""
    product = first * second
    sums: NDArray[np.float64] = (product[:, 0] + product[:, 1]) + product[:, 2]
    return sums


def signed_volume(corners: NDArray[np.float64]) -> float:
    """Return what closed surfaces enclose; less than nothing if their faces look inwards.

    corners : (f, 3, 3), of each face
    """
    a, b, c = corners.transpose(1, 0, 2)
    return float(row_products(a, np.cross(b, c)).sum()) / 6.0
