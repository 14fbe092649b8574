"""Finds the cells that hold something, and of those the ones that anybody can see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scene_codec.errors import UnsupportedSceneError
from scene_codec.networks.radiance_mlp import RadianceMlp
from scene_codec.progress import Progress
from scene_codec.radiance.cameras import Rays
from scene_codec.radiance.fast_rendering import MarchingPlan, render_fast
from scene_codec.radiance.field_space import to_field_space
from scene_codec.radiance.occupancy import Corner, OccupancyGrid, dilated
from scene_codec.radiance.scene_domain import SceneDomain

THINNEST = 0.01
"""Optical depth across a cell below which the cell holds nothing."""

FAINTEST = 2e-3
"""Weight below which a sample does not count as seen."""

_POINTS_AT_ONCE = 65536
_RAYS_AT_ONCE = 8192
_SCAN_CELLS = 80
_SCAN_POINTS = 3
_CELL_POINTS = 4

DrawRays = Callable[[int, torch.Generator], Rays]
"""Returns so many random rays of the cameras that the field is to be seen from."""


@dataclass(frozen=True, kw_only=True)
class VisibilityPlan:
    """How visible cells are looked for.

    cells : along the longest side of the box
    rays : that are tried
    samples : even steps of each
    """

    cells: int = 64
    rays: int = 200_000
    samples: int = 256


def find_visible_cells(
    network: RadianceMlp,
    domain: SceneDomain,
    draw_rays: DrawRays,
    plan: VisibilityPlan,
    generator: torch.Generator,
    progress: Progress,
) -> OccupancyGrid:
    """Return the cells that rays see something in, with their neighbours, in a box just around them.

    Raises `UnsupportedSceneError` when there are none, `Cancelled`.
    """
    device = network.density.weight.device
    with torch.inference_mode():
        scan = _box_grid(domain.low, domain.high, _SCAN_CELLS, device)
        scan = _occupied(network, scan, _SCAN_POINTS, generator, progress.part(0.0, 0.3, "where anything is"))
        grid = _box_grid(*_box_around(scan), plan.cells, device)
        grid = _occupied(network, grid, _CELL_POINTS, generator, progress.part(0.3, 0.6, "occupied cells"))
        look = _Look(network, domain, draw_rays, plan)
        seen = _seen(look, grid, generator, progress.part(0.6, 1.0, "visible cells"))
    if not bool(seen.any()):
        raise UnsupportedSceneError(
            "Nothing of the radiance field can be seen from its cameras. If it is a forward-facing scene, or "
            "its cameras are nearer or farther than usual, say so with the settings 'scene', 'near' and "
            "'far', or name its pictures with 'images'."
        )
    return OccupancyGrid(dilated(seen.view(grid.resolution)), grid.low, grid.high)


def refined(network: RadianceMlp, grid: OccupancyGrid) -> OccupancyGrid:
    """Return a grid of half as large cells: those in occupied cells near which the network has density."""
    coarse = grid.occupied
    for axis in range(3):
        coarse = coarse.repeat_interleave(2, dim=axis)
    fine = OccupancyGrid(coarse, grid.low, grid.high)
    chosen = fine.occupied.reshape(-1).nonzero().squeeze(1)
    dense = torch.zeros_like(fine.occupied.reshape(-1))
    for part in torch.split(chosen, _POINTS_AT_ONCE):
        dense[part] = _density(network, fine.centres(part)) * max(fine.cell) > THINNEST
    return OccupancyGrid(dilated(dense.view_as(fine.occupied)) & fine.occupied, grid.low, grid.high)


def _box_grid(low: Corner, high: Corner, cells: int, device: torch.device) -> OccupancyGrid:
    """Return a grid of cubes, so many along the longest side, that covers a box; all cells are occupied."""
    size = max(b - a for a, b in zip(low, high, strict=True)) / cells
    counts = [max(1, round((b - a) / size + 0.499)) for a, b in zip(low, high, strict=True)]
    # Corners are stored as 32-bit floats: the same numbers are used from the start.
    corners = torch.tensor(
        [low, [a + size * n for a, n in zip(low, counts, strict=True)]], dtype=torch.float32
    )
    start, end = corners.tolist()
    occupied = torch.ones(counts, dtype=torch.bool, device=device)
    return OccupancyGrid(occupied, (start[0], start[1], start[2]), (end[0], end[1], end[2]))


def _occupied(
    network: RadianceMlp, grid: OccupancyGrid, points: int, generator: torch.Generator, progress: Progress
) -> OccupancyGrid:
    """Return the cells of a grid in which one of some random points has density, and their neighbours."""
    device = grid.occupied.device
    cell = torch.tensor(grid.cell, device=device)
    index = torch.arange(grid.occupied.numel(), device=device)
    densest = torch.zeros(len(index), device=device)
    for part in torch.split(index, _POINTS_AT_ONCE):
        progress.update(float(part[0]) / len(index))
        centres = grid.centres(part)
        for _ in range(points):
            moved = torch.rand(centres.shape, generator=generator, device=generator.device).to(device) - 0.5
            found = _density(network, torch.addcmul(centres, moved, cell))
            densest[part] = torch.maximum(densest[part], found)
    dense = densest.view(grid.resolution) * max(grid.cell) > THINNEST
    return OccupancyGrid(dilated(dense), grid.low, grid.high)


def _box_around(grid: OccupancyGrid) -> tuple[Corner, Corner]:
    """Return the corners of the smallest box around the occupied cells."""
    places = grid.occupied.nonzero()
    if len(places) == 0:
        raise UnsupportedSceneError(
            "The network has no density anywhere in its scene's box. Is it trained, and is the box right?"
        )
    cell = torch.tensor(grid.cell, device=places.device)
    low = torch.tensor(grid.low, device=places.device)
    start = (low + places.amin(dim=0) * cell).tolist()
    end = (low + (places.amax(dim=0) + 1) * cell).tolist()
    return (start[0], start[1], start[2]), (end[0], end[1], end[2])


@dataclass(frozen=True)
class _Look:
    """What is looked at, and how."""

    network: RadianceMlp
    domain: SceneDomain
    draw_rays: DrawRays
    plan: VisibilityPlan


def _seen(look: _Look, grid: OccupancyGrid, generator: torch.Generator, progress: Progress) -> Tensor:
    """Return which cells (cells,) have a sample that some ray sees."""
    device = grid.occupied.device
    seen = torch.zeros(grid.occupied.numel(), dtype=torch.bool, device=device)

    def note(positions: Tensor, weights: Tensor) -> None:
        seen[grid.flat_index(positions[weights > FAINTEST])] = True

    plan = MarchingPlan(samples=look.plan.samples)
    for start in range(0, look.plan.rays, _RAYS_AT_ONCE):
        progress.update(start / look.plan.rays)
        rays = look.draw_rays(min(_RAYS_AT_ONCE, look.plan.rays - start), generator).to(device)
        render_fast(look.network, grid, to_field_space(rays, look.domain), look.domain, plan, note)
    return seen


def _density(network: RadianceMlp, positions: Tensor) -> Tensor:
    return network.raw_density(network.features(positions)).relu()
