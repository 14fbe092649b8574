"""Surface of a deformable distance grid: marching cubes whose vertices follow the displaced grid vertices.

The 256-case topology comes from PyMCubes on the undisplaced grid. Every vertex it returns lies on one grid
edge (a, b); its place is then interpolated again between the displaced ends, `(f_b x_a - f_a x_b) / (f_b -
f_a)` (paper, deformable marching cubes). Faces are counter-clockwise seen from outside, where values are
positive.
"""

from __future__ import annotations

from dataclasses import dataclass

import mcubes
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from scene_codec.geometry.deformable_grid import DEFORMATION_CELLS, TsdfGrid, cell_width
from scene_codec.geometry.mesh_checks import without_degenerate_faces
from scene_codec.geometry.scene_object import TriangleMesh

SMALLEST_MAGNITUDE = 1e-4
"""Values nearer to zero are moved away from it, zero itself outwards: a crossing exactly at a grid vertex
would collapse all triangles around it. This moves the surface by at most 2e-4 cells."""


@dataclass(frozen=True)
class GridCrossings:
    """Topology of an extracted surface: the grid edge that each vertex lies on, and the faces.

    first, second : (v,) int64, flat indices of the two ends of each vertex's edge
    faces : (f, 3) int64
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    faces: NDArray[np.int64]


def extract(grid: TsdfGrid, *, remove_degenerate: bool = False) -> TriangleMesh:
    """Return the zero surface of a grid in frame coordinates; an empty mesh where no value changes sign.

    Space beyond the grid counts as outside, so the surface is closed. `remove_degenerate` drops triangles
    without area, which may leave pin-holes of no width.
    """
    values = torch.from_numpy(grid.values.astype(np.float64))
    deformation = None if grid.deformation is None else torch.from_numpy(grid.deformation.astype(np.float64))
    with torch.no_grad():
        vertices, faces = extract_surface(values, deformation)
    mesh = TriangleMesh(vertices.numpy(), faces)
    return without_degenerate_faces(mesh) if remove_degenerate else mesh


def extract_surface(
    values: torch.Tensor, deformation: torch.Tensor | None
) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """Return the surface of a grid, differentiable in values and deformation.

    values : (K, K, K) float tensor; deformation : (K, K, K, 3) or None, units as in `TsdfGrid`
    Returns vertices (v, 3) in frame coordinates with gradient, and faces (f, 3), which are a constant.
    """
    resolution = values.shape[0]
    margin = 0
    if _inside_at_border(values):
        margin = 1
        values = F.pad(values, (1,) * 6, value=1.0)
        deformation = None if deformation is None else F.pad(deformation, (0, 0, *(1,) * 6))
    crossings = find_crossings(values.detach().cpu().numpy())
    cell = cell_width(resolution)
    flat = values.reshape(-1)
    ends = []
    for index in (crossings.first, crossings.second):
        at = torch.from_numpy(index).to(values.device)
        regular = (np.stack(np.unravel_index(index, tuple(values.shape)), axis=-1) - margin) * cell - 1.0
        position = torch.from_numpy(regular).to(values)
        if deformation is not None:
            position = position + deformation.reshape(-1, 3)[at] * (DEFORMATION_CELLS * cell)
        ends.append((flat[at], position))
    return interpolate_crossings(*ends[0], *ends[1]), crossings.faces


def interpolate_crossings(
    value_first: torch.Tensor,
    position_first: torch.Tensor,
    value_second: torch.Tensor,
    position_second: torch.Tensor,
) -> torch.Tensor:
    """Return where the value is zero on each edge, (v, 3), from the values and positions of its ends."""
    start, end = _torch_away_from_zero(value_first), _torch_away_from_zero(value_second)
    weight = (start / (start - end)).unsqueeze(-1)
    return position_first + weight * (position_second - position_first)


def find_crossings(values: NDArray[np.floating]) -> GridCrossings:
    """Return the marching-cubes topology of (K, L, M) values and the grid edge of every vertex."""
    field = values.astype(np.float64)
    nudged = np.where(field < 0.0, -SMALLEST_MAGNITUDE, SMALLEST_MAGNITUDE)
    np.copyto(field, nudged, where=np.abs(field) < SMALLEST_MAGNITUDE)
    if not field.min(initial=1.0) < 0.0 < field.max(initial=-1.0):
        none = np.zeros(0, dtype=np.int64)
        return GridCrossings(none, none, np.zeros((0, 3), dtype=np.int64))
    places, triangles = mcubes.marching_cubes(field, 0.0)
    # A vertex has two whole coordinates; the third lies strictly between two grid vertices.
    axis = np.abs(places - np.rint(places)).argmax(axis=1)
    lower = np.rint(places).astype(np.int64)
    row = np.arange(len(places))
    lower[row, axis] = np.floor(places[row, axis]).astype(np.int64)
    first = np.ravel_multi_index(tuple(lower.T), field.shape)
    strides = np.array([field.shape[1] * field.shape[2], field.shape[2], 1], dtype=np.int64)
    # PyMCubes orients towards lower values; here lower is inside.
    faces = triangles.astype(np.int64)[:, ::-1]
    return GridCrossings(first, first + strides[axis], np.ascontiguousarray(faces))


def _torch_away_from_zero(values: torch.Tensor) -> torch.Tensor:
    """Apply the same nudge as `find_crossings`, letting the gradient through unchanged."""
    with torch.no_grad():
        sign = torch.where(values < 0.0, -1.0, 1.0).to(values)
        correction = sign * (SMALLEST_MAGNITUDE - values.abs()).clamp(min=0.0)
    return values + correction


def _inside_at_border(values: torch.Tensor) -> bool:
    """Tell whether a vertex on the border of the grid is inside."""
    with torch.no_grad():
        return any(bool((values.select(axis, side) < 0.0).any()) for axis in range(3) for side in (0, -1))
