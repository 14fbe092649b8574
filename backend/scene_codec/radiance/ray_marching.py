"""Samples along rays at even distances, in occupied cells alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scene_codec.radiance.field_space import FieldRays
from scene_codec.radiance.occupancy import OccupancyGrid
from scene_codec.radiance.scene_domain import SceneDomain


@dataclass(frozen=True, eq=False)
class Samples:
    """Packed samples, sorted by ray and distance.

    ray : (n,) int64, ascending
    distance : (n,) along the ray
    """

    ray: Tensor
    distance: Tensor

    def __len__(self) -> int:
        return len(self.ray)

    def select(self, chosen: Tensor) -> Samples:
        """Return the samples that an index or mask selects."""
        return Samples(self.ray[chosen], self.distance[chosen])

    def positions(self, rays: FieldRays) -> Tensor:
        """Return where the samples are, (n, 3)."""
        return torch.addcmul(
            rays.origins.index_select(0, self.ray),
            rays.directions.index_select(0, self.ray),
            self.distance[:, None],
        )

    def rank(self) -> Tensor:
        """Return how many samples of the same ray lie before each, (n,)."""
        place = torch.arange(len(self.ray), device=self.ray.device)
        first = torch.ones_like(self.ray, dtype=torch.bool)
        first[1:] = self.ray[1:] != self.ray[:-1]
        starts = first.nonzero().squeeze(1)
        return place - starts.index_select(0, first.cumsum(0) - 1)


def march(
    rays: FieldRays,
    domain: SceneDomain,
    grid: OccupancyGrid,
    step: float,
    jitter: torch.Generator | None = None,
) -> Samples:
    """Return the samples of rays that lie in occupied cells.

    step : between samples, in units of the distance along rays
    jitter : shifts the samples of each ray by a part of a step, for training
    """
    device = rays.origins.device
    start, end = _inside_box(rays, domain, grid)
    shift = torch.full_like(start, 0.5)
    if jitter is not None:
        shift = torch.rand(len(rays), generator=jitter, device=jitter.device).to(device)
    first = ((start - domain.near) / step - shift).ceil().clamp_min_(0.0)
    count = (((end - domain.near) / step - shift).floor() - first + 1.0).clamp_min_(0.0).to(torch.int64)
    ray = torch.arange(len(rays), device=device).repeat_interleave(count)
    offset = first + shift - (count.cumsum(0) - count)
    place = torch.arange(len(ray), device=device, dtype=torch.float32)
    distance = (place + offset.index_select(0, ray)) * step + domain.near
    samples = Samples(ray, distance)
    index = grid.flat_index(samples.positions(rays))
    return samples.select(grid.occupied.reshape(-1)[index].nonzero().squeeze(1))


def _inside_box(rays: FieldRays, domain: SceneDomain, grid: OccupancyGrid) -> tuple[Tensor, Tensor]:
    """Return where rays enter and leave the grid's box, (n,) each, within near and far."""
    device = rays.origins.device
    steep = torch.where(rays.directions.abs() < 1e-9, 1e-9, rays.directions)
    one = (torch.tensor(grid.low, device=device) - rays.origins) / steep
    other = (torch.tensor(grid.high, device=device) - rays.origins) / steep
    start = torch.minimum(one, other).amax(dim=1).clamp_min(domain.near)
    end = torch.maximum(one, other).amin(dim=1).clamp_max(domain.far)
    return start, end
