"""The density of a radiance field as a grid of values, and its surface as a mesh.

Source: the surface extraction of the released NeRF code, which takes the density 50 as the surface, on 257^3
points in [-1.2, 1.2]^3. The grid is evaluated plane by plane and the surface is put together from slabs of
it, so that memory follows from one slab and the mesh, not from the whole grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scene_codec.errors import InvalidRequestError, UnsupportedSceneError
from scene_codec.geometry.marching_cubes import find_crossings, interpolate_crossings
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.progress import Progress

if TYPE_CHECKING:
    from scene_codec.radiance.field import RadianceField
    from scene_codec.radiance.scene_domain import SceneDomain

Corner = tuple[float, float, float]

DEFAULT_RESOLUTION = 256
MAX_RESOLUTION = 2048
STEPS_OF_A_RAY = 200
"""Where the density absorbs within 1/200 of a ray's way what leaves 1/e, there is a surface: 50 for the usual
way of 4 (near 2, far 6), and 100 in normalised device coordinates, in which a way is 2 long."""

FARTHEST = 100.0
"""Largest depth in a forward-facing scene, whose nearest thing is at 4/3; its space has no end."""

_LOOK_RESOLUTION = 96
_POINTS_AT_ONCE = 1 << 16
_SLAB_POINTS = 1 << 21


@dataclass(frozen=True, eq=False)
class DensityGrid:
    """Densities at the points of a grid, in the field's space.

    values : (x, y, z) float32, not negative
    low, high : places of the first and the last point
    """

    values: NDArray[np.float32]
    low: Corner
    high: Corner

    @property
    def spacing(self) -> Corner:
        """Distance between points along each axis."""
        x, y, z = (
            (high - low) / (count - 1)
            for low, high, count in zip(self.low, self.high, self.values.shape, strict=True)
        )
        return x, y, z


def surface_density(domain: SceneDomain) -> float:
    """Return the density that counts as the surface when nobody chose one, see `STEPS_OF_A_RAY`."""
    return STEPS_OF_A_RAY / (domain.far - domain.near if domain.ndc is None else 2.0)


def field_box(domain: SceneDomain) -> tuple[Corner, Corner]:
    """Return the part of a field's box that has a place in the world."""
    if domain.ndc is None:
        return domain.low, domain.high
    farthest = 1.0 - 2.0 / FARTHEST
    low, high = domain.low, domain.high
    return (low[0], low[1], max(low[2], -1.0)), (high[0], high[1], min(high[2], farthest))


def density_grid(
    field: RadianceField,
    resolution: int = DEFAULT_RESOLUTION,
    low: Corner | None = None,
    high: Corner | None = None,
    progress: Progress | None = None,
) -> DensityGrid:
    """Return densities at the points of a grid of cubic cells, as far as they fit the box.

    resolution : cells along the longest side of the box; there is one point more
    low, high : corners of the box in the field's space; by default that of the field, see `field_box`

    Raises `InvalidRequestError`, `Cancelled`.
    """
    box = _box(field, low, high)
    points = _points(resolution, *box)
    values = np.zeros([len(axis) for axis in points], np.float32)
    progress = progress or Progress()
    for plane in range(len(values)):
        progress.update(plane / len(values))
        values[plane] = _planes(field, points, plane, plane + 1)[0]
    progress.update(1.0)
    return DensityGrid(values, *box)


def density_mesh(
    field: RadianceField,
    resolution: int = DEFAULT_RESOLUTION,
    threshold: float | None = None,
    progress: Progress | None = None,
    *,
    low: Corner | None = None,
    high: Corner | None = None,
) -> TriangleMesh:
    """Return the closed surface at a density, in the world of the field's cameras.

    Faces are counter-clockwise seen from outside. The box counts as empty outside, so that what reaches its
    border is closed there. Vertices of a forward-facing scene are mapped back from normalised device
    coordinates, straight edges between them included, up to the depth `FARTHEST`.

    resolution : cells along the longest side of the box
    threshold : density of the surface; by default `surface_density`, or half of the largest density that a
        coarse look finds where that is less, as in fields on coarse grids
    low, high : corners of the box in the field's space; by default a box around all that a coarse look at
        the field finds

    Raises `UnsupportedSceneError` when there is no surface, `InvalidRequestError`, `Cancelled`.
    """
    surface = _usual_surface(field, low, high) if threshold is None else threshold
    if not 0.0 < surface < float("inf"):
        raise InvalidRequestError(f"The density of the surface must be a positive number, not {surface}.")
    progress = progress or Progress()
    box = _box(field, low, high)
    if low is None and high is None:
        box = _box_around(field, surface, box, progress.part(0.0, 0.1, "looking"))
    points = _points(resolution, *box)
    mesh = _surface(field, points, surface, progress.part(0.1, 1.0, "surface"))
    if not len(mesh.faces):
        raise UnsupportedSceneError(
            f"The field has no surface at the density {surface:g} within its box. Choose a lower one."
        )
    progress.update(1.0)
    return _in_world(mesh, field.domain)


def _usual_surface(field: RadianceField, low: Corner | None, high: Corner | None) -> float:
    """Return the density at which a field has its surface when nobody says it."""
    usual = surface_density(field.domain)
    points = _points(_LOOK_RESOLUTION // 2, *_box(field, low, high))
    largest = max(
        (float(_planes(field, points, at, at + 1).max()) for at in range(len(points[0]))), default=0.0
    )
    return min(usual, 0.5 * largest) if largest > 0.0 else usual


def _box(field: RadianceField, low: Corner | None, high: Corner | None) -> tuple[Corner, Corner]:
    """Return the corners of a box, those that are not given from the field."""
    own_low, own_high = field_box(field.domain)
    box = (low or own_low, high or own_high)
    if not all(a < b for a, b in zip(*box, strict=True)):
        raise InvalidRequestError(f"The box from {box[0]} to {box[1]} is empty.")
    return box


def _points(resolution: int, low: Corner, high: Corner) -> list[NDArray[np.float64]]:
    """Return the places of a grid's points along each axis."""
    if not 2 <= resolution <= MAX_RESOLUTION:
        raise InvalidRequestError(f"The resolution must be between 2 and {MAX_RESOLUTION}, not {resolution}.")
    cell = max(b - a for a, b in zip(low, high, strict=True)) / resolution
    counts = (max(1, round((b - a) / cell)) + 1 for a, b in zip(low, high, strict=True))
    return [np.linspace(a, b, count) for a, b, count in zip(low, high, counts, strict=True)]


@torch.inference_mode()
def _planes(
    field: RadianceField, points: list[NDArray[np.float64]], start: int, stop: int
) -> NDArray[np.float32]:
    """Return densities in planes of a grid, (stop - start, y, z)."""
    x, y, z = (torch.from_numpy(axis).float().to(field.device) for axis in points)
    x = x[start:stop]
    total = len(x) * len(y) * len(z)
    parts = []
    for first in range(0, total, _POINTS_AT_ONCE):
        index = torch.arange(first, min(first + _POINTS_AT_ONCE, total), device=field.device)
        place: list[Tensor] = [
            x[index.div(len(y) * len(z), rounding_mode="floor")],
            y[index.div(len(z), rounding_mode="floor") % len(y)],
            z[index % len(z)],
        ]
        parts.append(field.density(torch.stack(place, dim=1)).cpu())
    return torch.cat(parts).view(len(x), len(y), len(z)).numpy()


def _box_around(
    field: RadianceField, surface: float, box: tuple[Corner, Corner], progress: Progress
) -> tuple[Corner, Corner]:
    """Return the part of a box in which a coarse grid meets the surface, with a margin."""
    grid = density_grid(field, _LOOK_RESOLUTION, *box, progress)
    # Thin things may pass between the points, with less than the full density at them.
    found = np.argwhere(grid.values > 0.2 * surface)
    if not len(found):
        return box
    spacing = np.array(grid.spacing)
    inner = [
        np.clip(np.array(grid.low) + (index + side * 2) * spacing, *box)
        for index, side in ((found.min(axis=0), -1), (found.max(axis=0), 1))
    ]
    (x0, y0, z0), (x1, y1, z1) = inner
    return (float(x0), float(y0), float(z0)), (float(x1), float(y1), float(z1))


def _surface(
    field: RadianceField, points: list[NDArray[np.float64]], surface: float, progress: Progress
) -> TriangleMesh:
    """Return the surface in the field's space, slab by slab; one more point all around counts as empty."""
    padded = [_padded(axis) for axis in points]
    plane_shape = (len(padded[1]), len(padded[2]))
    plane_points = plane_shape[0] * plane_shape[1]
    # At least two new planes a slab, however large they are.
    step = max(2, _SLAB_POINTS // plane_points)
    keys: list[NDArray[np.int64]] = []
    places: list[NDArray[np.float64]] = []
    faces: list[NDArray[np.int64]] = []
    count = 0
    last = np.full((1, *plane_shape), surface)
    for start in range(1, len(padded[0]), step):
        progress.update(start / len(padded[0]))
        stop = min(start + step, len(padded[0]))
        slab = np.concatenate([last, _slab(field, points, surface, (start, stop))])
        last = slab[-1:]
        crossings = find_crossings(slab)
        # Flat indices of the whole grid: the first axis is the slowest.
        shift = (start - 1) * plane_points
        keys.append(np.stack([crossings.first + shift, crossings.second + shift], axis=1))
        places.append(_places(slab, crossings.first, crossings.second, padded, start - 1))
        faces.append(crossings.faces + count)
        count += len(crossings.first)
    # Vertices on the plane between two slabs are found in both.
    ends = np.concatenate(keys)
    axis = np.searchsorted([1, plane_shape[1], plane_points], ends[:, 1] - ends[:, 0])
    _, first, inverse = np.unique(ends[:, 0] * 3 + axis, return_index=True, return_inverse=True)
    return TriangleMesh(np.concatenate(places)[first], inverse.reshape(-1)[np.concatenate(faces)])


def _slab(
    field: RadianceField, points: list[NDArray[np.float64]], surface: float, padded: tuple[int, int]
) -> NDArray[np.float64]:
    """Return planes of the padded grid, counted from its border, as values that are negative inside."""
    start, stop = padded[0] - 1, padded[1] - 1
    inner = min(stop, len(points[0]))
    values = np.full((stop - start, len(points[1]) + 2, len(points[2]) + 2), surface)
    if inner > start:
        values[: inner - start, 1:-1, 1:-1] -= _planes(field, points, start, inner)
    return values


def _places(
    slab: NDArray[np.float64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    points: list[NDArray[np.float64]],
    plane: int,
) -> NDArray[np.float64]:
    """Return where the surface crosses edges of a slab that begins at a plane, (v, 3)."""
    ends = []
    for index in (first, second):
        x, y, z = np.unravel_index(index, slab.shape)
        place = np.stack([points[0][x + plane], points[1][y], points[2][z]], axis=1)
        ends += [torch.from_numpy(slab.reshape(-1)[index]), torch.from_numpy(place)]
    crossing: NDArray[np.float64] = interpolate_crossings(*ends).numpy()
    return crossing


def _padded(axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an axis with one more point at each end.

    They lie a thousandth of a cell outside, so that surfaces are closed at the border of the box, and not
    half a cell behind it.
    """
    margin = 1e-3 * (axis[1] - axis[0])
    return np.concatenate([axis[:1] - margin, axis, axis[-1:] + margin])


def _in_world(mesh: TriangleMesh, domain: SceneDomain) -> TriangleMesh:
    """Return a mesh of a field's space in the world of its cameras.

    The inverse of Mildenhall et al. 2020, appendix C, with the near plane at 1: z = 2 / (z' - 1),
    x = -x' z / a with a = 2 f / width, and y likewise.
    """
    if domain.ndc is None:
        return mesh
    across, up = domain.ndc
    x, y, z = mesh.vertices.T
    depth = 2.0 / (np.minimum(z, 1.0 - 1e-6) - 1.0)
    vertices = np.stack([-x * depth / across, -y * depth / up, depth], axis=1)
    # The map mirrors: what is far has the largest z' and the smallest z.
    return TriangleMesh(vertices, np.ascontiguousarray(mesh.faces[:, ::-1]))
