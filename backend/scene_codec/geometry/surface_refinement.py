"""Moves the surface of a deformable grid onto the input by gradient descent, with its topology held fixed.

The paper's Algorithm 1 compares rendered depth and masks from random cameras. Here the two surfaces are
compared directly, both ways: vertices of the extracted surface with their closest input points, and input
points with their closest places on the extracted surface. Nothing is hidden, no rasteriser is needed, and
because signs never change the marching-cubes table is consulted once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from scene_codec.geometry.deformable_grid import DEFORMATION_CELLS, TsdfGrid, cell_width
from scene_codec.geometry.marching_cubes import GridCrossings, find_crossings, interpolate_crossings
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.signed_distance import SurfaceDistance
from scene_codec.progress import Progress

QUANTISER_STEPS = 128
"""Steps per unit of the paper's quantiser (257 levels from -1 to 1)."""


class RefinementSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long and how strongly `refine_grid` moves values and vertices."""

    iterations: int = 60
    """Gradient steps; 0 leaves the grid as it is."""

    refresh: int = 5
    """Steps between two searches for closest points."""

    learning_rate: float = 0.08
    """First step size, in stored units; falls to a tenth by the last step."""

    deformation_weight: float = 0.1
    """Pull of every displacement to zero per step, as part of the learning rate (the paper's L1 term)."""

    damping: float = 0.1
    """Gradients below this take small steps: where the surface already fits, nothing moves."""

    huber_cells: float = 0.1
    """Residuals beyond this count linearly, so that far outliers do not pull the rest."""

    quantised: bool = True
    """Whether values and displacements are fitted, and returned, on the paper's 257 levels."""


@dataclass(frozen=True)
class _ActiveVertices:
    """The grid vertices at the ends of crossed edges, in cell units.

    first, second : (v,) int64, rows of each surface vertex's two ends
    regular : (u, 3) undisplaced positions
    flat : (u,) indices into the padded grid
    free : (u,) whether the vertex lies in the grid, not in the padding
    """

    crossings: GridCrossings
    first: torch.Tensor
    second: torch.Tensor
    regular: torch.Tensor
    flat: NDArray[np.int64]
    free: torch.Tensor


@dataclass(frozen=True)
class _Residuals:
    """Signed distances to drive to zero: `direction . (sum of weighted surface vertices - anchor)`."""

    vertices: torch.Tensor
    weights: torch.Tensor
    anchor: torch.Tensor
    direction: torch.Tensor
    importance: torch.Tensor

    def loss(self, positions: torch.Tensor, huber: float) -> torch.Tensor:
        """Return the summed Huber loss."""
        places = (positions[self.vertices] * self.weights.unsqueeze(-1)).sum(dim=1)
        distance = ((places - self.anchor) * self.direction).sum(dim=-1)
        size = distance.abs()
        cost = torch.where(size < huber, 0.5 * size * size / huber, size - 0.5 * huber)
        return (cost * self.importance).sum()


def refine_grid(
    surface: SurfaceDistance,
    grid: TsdfGrid,
    samples: NDArray[np.float64],
    settings: RefinementSettings,
    progress: Progress,
) -> TsdfGrid:
    """Return the grid with values and displacements of its crossed edges fitted to `surface`.

    samples : (n, 3) points on the surface that the extracted mesh should pass through
    The grid must carry a deformation. Raises `Cancelled`.
    """
    active = _active_vertices(grid)
    if active is None:
        return grid
    with _one_thread():
        return _refine(surface, grid, active, samples, settings, progress)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Run torch on one thread: the tensors are small, and sums are the same on any number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _refine(
    surface: SurfaceDistance,
    grid: TsdfGrid,
    active: _ActiveVertices,
    samples: NDArray[np.float64],
    settings: RefinementSettings,
    progress: Progress,
) -> TsdfGrid:
    """Take the gradient steps and put the result back into the grid."""
    assert grid.deformation is not None
    padded_values = np.pad(grid.values, 1, constant_values=1.0).ravel()
    padded_deformation = np.pad(grid.deformation, ((1, 1), (1, 1), (1, 1), (0, 0))).reshape(-1, 3)
    value = torch.from_numpy(padded_values[active.flat].astype(np.float32)).requires_grad_()
    offset = torch.from_numpy(padded_deformation[active.flat].astype(np.float32)).requires_grad_()
    sign = torch.where(value.detach() < 0.0, -1.0, 1.0)
    optimiser = torch.optim.Adam(
        [value, offset], lr=settings.learning_rate, betas=(0.8, 0.95), eps=settings.damping
    )
    residuals: list[_Residuals] = []
    for step in range(settings.iterations):
        rate = settings.learning_rate * 0.1 ** (step / max(settings.iterations - 1, 1))
        positions = _surface_positions(active, value, offset, sign, settings.quantised)
        if step % settings.refresh == 0:
            progress.update(step / settings.iterations, "refining the surface")
            residuals = _correspondences(surface, active, positions.detach(), samples, grid.resolution)
        loss = sum((part.loss(positions, settings.huber_cells) for part in residuals), torch.zeros(()))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.param_groups[0]["lr"] = rate
        optimiser.step()
        with torch.no_grad():
            shrunk = (offset.abs() - rate * settings.deformation_weight).clamp(0.0, 1.0)
            offset.copy_(torch.sign(offset) * shrunk * active.free.unsqueeze(-1))
            value.copy_(
                torch.where(active.free, sign * (value * sign).clamp(1.0 / QUANTISER_STEPS, 1.0), 1.0)
            )
    final_value, final_offset = _stored(value, offset, sign, settings.quantised)
    padded_values[active.flat] = final_value.detach().numpy()
    # Displacing a vertex without crossed edges changes nothing, and would only have to be stored.
    padded_deformation = np.zeros_like(padded_deformation)
    padded_deformation[active.flat] = final_offset.detach().numpy()
    size = grid.resolution + 2
    return TsdfGrid(
        np.ascontiguousarray(padded_values.reshape(size, size, size)[1:-1, 1:-1, 1:-1]),
        np.ascontiguousarray(padded_deformation.reshape(size, size, size, 3)[1:-1, 1:-1, 1:-1]),
    )


def _active_vertices(grid: TsdfGrid) -> _ActiveVertices | None:
    """Return the ends of all crossed edges, or None when nothing is crossed."""
    padded = np.pad(grid.values, 1, constant_values=1.0)
    crossings = find_crossings(padded)
    if len(crossings.faces) == 0:
        return None
    flat, row = np.unique(np.concatenate([crossings.first, crossings.second]), return_inverse=True)
    index = np.stack(np.unravel_index(flat, padded.shape), axis=-1)
    free = ((index >= 1) & (index <= grid.resolution)).all(axis=1)
    count = len(crossings.first)
    return _ActiveVertices(
        crossings,
        torch.from_numpy(row[:count]),
        torch.from_numpy(row[count:]),
        torch.from_numpy((index - 1).astype(np.float32)),
        flat,
        torch.from_numpy(free),
    )


def _stored(
    value: torch.Tensor, offset: torch.Tensor, sign: torch.Tensor, quantised: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a file would hold, with the gradient passed straight through the rounding."""
    if not quantised:
        return value, offset
    with torch.no_grad():
        # At least one step from zero, or the sign and with it the topology would be lost.
        rounded = sign * (value * sign * QUANTISER_STEPS).round().clamp(min=1.0) / QUANTISER_STEPS
        rounded_offset = (offset * QUANTISER_STEPS).round() / QUANTISER_STEPS
    return value + (rounded - value).detach(), offset + (rounded_offset - offset).detach()


def _surface_positions(
    active: _ActiveVertices, value: torch.Tensor, offset: torch.Tensor, sign: torch.Tensor, quantised: bool
) -> torch.Tensor:
    """Return the surface vertices (v, 3) in cell units."""
    stored_value, stored_offset = _stored(value, offset, sign, quantised)
    places = active.regular + stored_offset * DEFORMATION_CELLS
    return interpolate_crossings(
        stored_value[active.first], places[active.first], stored_value[active.second], places[active.second]
    )


def _correspondences(
    surface: SurfaceDistance,
    active: _ActiveVertices,
    positions: torch.Tensor,
    samples: NDArray[np.float64],
    resolution: int,
) -> list[_Residuals]:
    """Return what is to be brought to zero, from closest points in both directions."""
    cell = cell_width(resolution)
    vertices = positions.numpy().astype(np.float64)
    faces = active.crossings.faces
    nearest = surface.closest(vertices * cell - 1.0)
    contact = (nearest.points + 1.0) / cell
    identity = torch.arange(len(vertices)).unsqueeze(-1)
    importance = _vertex_areas(vertices, faces)
    to_input = _residuals(identity, np.ones((len(vertices), 1)), contact, vertices, importance)
    extracted = SurfaceDistance(TriangleMesh(vertices, faces))
    targets = (samples + 1.0) / cell
    landing = extracted.closest(targets)
    corners = faces[landing.faces]
    weights = _barycentric(vertices[corners], landing.points)
    # A part that this topology lacks must not drag the rest of the surface towards it.
    reachable = (landing.distances < 1.5).astype(np.float64)
    share = reachable * (importance.sum() / max(len(samples), 1))
    to_samples = _residuals(torch.from_numpy(corners), weights, targets, landing.points, share)
    return [to_input, to_samples]


def _residuals(
    vertices: torch.Tensor,
    weights: NDArray[np.float64],
    anchor: NDArray[np.float64],
    place: NDArray[np.float64],
    importance: NDArray[np.float64],
) -> _Residuals:
    """Measure along the line from anchor to place, so that the surface may slide along itself."""
    offset = place - anchor
    length = np.linalg.norm(offset, axis=1, keepdims=True)
    direction = np.divide(offset, length, out=np.zeros_like(offset), where=length > 1e-6)
    as_tensor = [
        torch.from_numpy(part.astype(np.float32)) for part in (weights, anchor, direction, importance)
    ]
    return _Residuals(vertices, *as_tensor)


def _vertex_areas(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the surface area around each vertex, in square cells."""
    corners = vertices[faces]
    areas = 0.5 * np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    shares = np.repeat(areas / 3.0, 3)
    around: NDArray[np.float64] = np.bincount(faces.ravel(), weights=shares, minlength=len(vertices)).astype(
        np.float64
    )
    return around


def _barycentric(corners: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of three corners (n, 3, 3) that give points (n, 3) in their planes."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    offset = points - corners[:, 0]
    d00, d01, d11 = (
        np.einsum("ij,ij->i", a, b) for a, b in ((first, first), (first, second), (second, second))
    )
    d20, d21 = np.einsum("ij,ij->i", offset, first), np.einsum("ij,ij->i", offset, second)
    determinant = d00 * d11 - d01 * d01
    safe = np.where(determinant > 1e-12, determinant, 1.0)
    v = np.where(determinant > 1e-12, (d11 * d20 - d01 * d21) / safe, 0.0).clip(0.0, 1.0)
    w = np.where(determinant > 1e-12, (d00 * d21 - d01 * d20) / safe, 0.0).clip(0.0, 1.0)
    return np.stack([1.0 - v - w, v, w], axis=1)
