"""Decides whether a mesh can be encoded, and removes what carries no surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import UnsupportedSceneError
from scene_codec.geometry.scene_object import TriangleMesh

SMALLEST_EXTENT = 1e-30
"""Below this the frame's scale leaves the normal range of float32."""

LARGEST_COORDINATE = 1e30

RELATIVE_RESOLUTION = 2.0**-40
"""Smallest extent relative to the largest coordinate; below it float64 has too few bits for the shape."""


def prepare_mesh(mesh: TriangleMesh, name: str) -> TriangleMesh:
    """Return the mesh without zero-area faces and unreferenced vertices, or refuse it with a reason.

    Nothing is merged and no coordinate is changed: the surface is exactly the input's. Open,
    self-intersecting and multi-part meshes pass, at any size and place that float64 can tell apart.

    Raises `UnsupportedSceneError` naming the mesh: no faces, indices out of range, coordinates that are not
    finite, only zero-area faces, an extent of zero or one too small for its distance from the origin.
    """
    vertices = np.ascontiguousarray(mesh.vertices, dtype=np.float64)
    faces = np.ascontiguousarray(mesh.faces, dtype=np.int64)
    _check_arrays(vertices, faces, name)
    prepared = without_degenerate_faces(TriangleMesh(vertices, faces))
    if len(prepared.faces) == 0:
        raise UnsupportedSceneError(
            f"Mesh '{name}' has only faces without area. Check that it was not scaled to zero along an axis."
        )
    _check_extent(prepared.vertices, name)
    return prepared


def without_degenerate_faces(mesh: TriangleMesh) -> TriangleMesh:
    """Return the mesh without faces of no area and without vertices that no remaining face uses."""
    faces = mesh.faces[_faces_with_area(mesh.vertices, mesh.faces)]
    used = np.zeros(len(mesh.vertices), dtype=bool)
    used[faces.ravel()] = True
    new_index = np.cumsum(used) - 1
    return TriangleMesh(mesh.vertices[used], new_index[faces])


def _check_arrays(vertices: NDArray[np.float64], faces: NDArray[np.int64], name: str) -> None:
    """Refuse wrong shapes, missing faces, bad indices and coordinates that no frame can hold."""
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        raise UnsupportedSceneError(
            f"Mesh '{name}' needs vertices of shape (v, 3) and faces of shape (f, 3), "
            f"not {vertices.shape} and {faces.shape}."
        )
    if len(faces) == 0:
        raise UnsupportedSceneError(
            f"Mesh '{name}' has no faces. Point clouds and loose edges cannot be encoded; "
            "give it a surface first."
        )
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise UnsupportedSceneError(
            f"Mesh '{name}' has a face that refers to vertex {_worst_index(faces, len(vertices))}, "
            f"but it has {len(vertices)} vertices. The mesh is damaged; export it again."
        )
    used = vertices[np.unique(faces)]
    bad = ~np.isfinite(used).all(axis=1)
    if bad.any():
        raise UnsupportedSceneError(
            f"Mesh '{name}' has {int(bad.sum())} vertices with coordinates that are not finite numbers. "
            "Remove or repair them."
        )
    if np.abs(used).max() > LARGEST_COORDINATE:
        raise UnsupportedSceneError(
            f"Mesh '{name}' has coordinates beyond {LARGEST_COORDINATE:g}. Scale it down."
        )


def _worst_index(faces: NDArray[np.int64], count: int) -> int:
    """Return one index that is out of range, for the message."""
    lowest = int(faces.min())
    return lowest if lowest < 0 else int(faces[faces >= count][0])


def _faces_with_area(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which faces span an area, judged against their own size so that tiny meshes are not lost."""
    corners = vertices[faces]
    first = corners[:, 1] - corners[:, 0]
    second = corners[:, 2] - corners[:, 0]
    longest = np.maximum(np.abs(first).max(axis=1), np.abs(second).max(axis=1))
    # Scaled to unit size before the product, which would underflow for a mesh of 1e-200.
    scale = np.where(longest > 0, longest, 1.0)[:, None]
    twice_area = np.linalg.norm(np.cross(first / scale, second / scale), axis=1)
    has_area: NDArray[np.bool_] = (longest > 0) & (twice_area > 1e-14)
    return has_area


def _check_extent(vertices: NDArray[np.float64], name: str) -> None:
    """Refuse a mesh whose size is zero, or lost in the rounding of its distance from the origin."""
    extent = float(np.ptp(vertices, axis=0).max())
    furthest = float(np.abs(vertices).max())
    if extent < SMALLEST_EXTENT:
        raise UnsupportedSceneError(
            f"Mesh '{name}' has an extent of {extent:g}, too small to encode. Scale it up."
        )
    if extent < furthest * RELATIVE_RESOLUTION:
        raise UnsupportedSceneError(
            f"Mesh '{name}' has an extent of {extent:g} at a distance of {furthest:g} from the origin; its "
            "shape is lost in the rounding of its coordinates. Move it closer to the origin."
        )
