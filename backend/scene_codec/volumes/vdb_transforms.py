"""Transforms of OpenVDB grids: OpenVDB's maps to 4 x 4 matrices and back.

OpenVDB multiplies row vectors with its matrices, this package matrices with column vectors.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from scene_codec.volumes.vdb_stream import GridRefusedError, VdbReader, name_bytes

_MATRIX_MAPS = ("AffineMap", "UnitaryMap")
_SCALE_MAPS = ("ScaleMap", "UniformScaleMap")
_SCALE_TRANSLATE_MAPS = ("ScaleTranslateMap", "UniformScaleTranslateMap")
_DERIVED = 12  # voxel size, inverse, squared inverse, half inverse: three numbers each


def read_transform(reader: VdbReader, grid_name: str) -> NDArray[np.float64]:
    """Return the map that follows as lattice index to object space, (4, 4), column vectors.

    Raises `GridRefusedError` for a frustum and for maps that are unknown or not invertible.
    """
    kind = reader.name()
    matrix = np.eye(4)
    if kind in _MATRIX_MAPS:
        matrix = np.array(reader.doubles(16)).reshape(4, 4).T.copy()
    elif kind == "TranslationMap":
        matrix[:3, 3] = reader.doubles(3)
    elif kind in _SCALE_MAPS:
        matrix[range(3), range(3)] = reader.doubles(3)
        reader.skip(8 * _DERIVED)
    elif kind in _SCALE_TRANSLATE_MAPS:
        matrix[:3, 3] = reader.doubles(3)
        matrix[range(3), range(3)] = reader.doubles(3)
        reader.skip(8 * _DERIVED)
    else:
        raise GridRefusedError(f"grid '{grid_name}' has a transform that is not affine ({kind})")
    if not is_affine(matrix):
        raise GridRefusedError(f"the transform of grid '{grid_name}' has no inverse")
    return matrix


def is_affine(matrix: NDArray[np.float64]) -> bool:
    """Tell whether a (4, 4) matrix is finite, keeps parallels parallel and has an inverse."""
    if not np.isfinite(matrix).all() or not np.array_equal(matrix[3], (0.0, 0.0, 0.0, 1.0)):
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        determinant = float(np.linalg.det(matrix[:3, :3]))
    return bool(np.isfinite(determinant)) and determinant != 0.0


def transform_bytes(matrix: NDArray[np.float64]) -> bytes:
    """Return an affine (4, 4) matrix as OpenVDB's simplest map that equals it."""
    scale, translation = np.diag(matrix)[:3], matrix[:3, 3]
    if np.count_nonzero(matrix[:3, :3] - np.diag(scale)):
        return name_bytes("AffineMap") + struct.pack("<16d", *matrix.T.ravel())
    uniform = "Uniform" if scale[0] == scale[1] == scale[2] else ""
    moved = bool(translation.any())
    if moved and (scale == 1.0).all():
        return name_bytes("TranslationMap") + struct.pack("<3d", *translation)
    with np.errstate(over="ignore"):
        derived = np.concatenate([scale, np.abs(scale), 1.0 / scale, 1.0 / scale**2, 0.5 / scale])
    numbers = np.concatenate([translation, derived]) if moved else derived
    kind = f"{uniform}Scale{'Translate' if moved else ''}Map"
    return name_bytes(kind) + struct.pack(f"<{len(numbers)}d", *numbers)
