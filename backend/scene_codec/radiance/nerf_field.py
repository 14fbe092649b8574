"""Radiance fields of one or two networks."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from scipy.ndimage import binary_fill_holes
from torch import Tensor

from scene_codec.networks.radiance_mlp import RadianceMlp
from scene_codec.radiance.cameras import Rays
from scene_codec.radiance.compositing import Pixels
from scene_codec.radiance.exact_rendering import SamplingPlan, render_exactly
from scene_codec.radiance.fast_rendering import MarchingPlan, render_fast
from scene_codec.radiance.field import RenderedRays
from scene_codec.radiance.field_space import depth_of_distance, to_field_space
from scene_codec.radiance.occupancy import OccupancyGrid
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.radiance.visibility import refined

SOLID_DENSITY = 1e4
"""Density of what nobody can look into."""

_EXACT_RAYS = 2048
_FAST_RAYS = 8192


def _rendered(pixels: Pixels, domain: SceneDomain) -> RenderedRays:
    """Return pixels in front of the background, with depths in world units."""
    depth = depth_of_distance(pixels.mean_distance, domain)
    depth = torch.where(pixels.opacity > 1e-2, depth, 0.0)
    return RenderedRays(pixels.over(domain.white_background), depth, pixels.opacity)


def _density(network: RadianceMlp, positions: Tensor) -> Tensor:
    return network.raw_density(network.features(positions)).relu()


@dataclass(frozen=True, eq=False)
class NerfPairField:
    """A coarse and a fine network, rendered as published; without a coarse one the fine one does both."""

    coarse: RadianceMlp | None
    fine: RadianceMlp
    domain: SceneDomain
    plan: SamplingPlan = field(default_factory=SamplingPlan)
    rays_at_once: int = _EXACT_RAYS

    @property
    def device(self) -> torch.device:
        """Where the networks live."""
        return self.fine.density.weight.device

    def render(self, rays: Rays) -> RenderedRays:
        """Return what rays see."""
        seen = render_exactly(
            (self.coarse, self.fine), to_field_space(rays, self.domain), self.domain, self.plan
        )
        return _rendered(seen.fine, self.domain)

    def density(self, positions: Tensor) -> Tensor:
        """Return the density (n,) of the fine network at positions (n, 3)."""
        return _density(self.fine, positions)


@dataclass(frozen=True, eq=False)
class OccupiedNerfField:
    """A network and the cells outside of which there is nothing.

    refine : leave out, while rendering, parts of cells where the network has no density either
    """

    network: RadianceMlp
    grid: OccupancyGrid
    domain: SceneDomain
    plan: MarchingPlan = field(default_factory=MarchingPlan)
    refine: bool = True
    rays_at_once: int = _FAST_RAYS

    @property
    def device(self) -> torch.device:
        """Where the network lives."""
        return self.network.density.weight.device

    @cached_property
    def _fine_grid(self) -> OccupancyGrid:
        """The cells that rays are sampled in; made once, when the first picture is taken."""
        return refined(self.network, self.grid) if self.refine else self.grid

    @cached_property
    def _enclosed(self) -> Tensor:
        """The cells (cells,), flat, that are not occupied and that occupied ones enclose."""
        occupied = self.grid.occupied.cpu().numpy()
        enclosed = binary_fill_holes(occupied) & ~occupied
        return torch.from_numpy(enclosed).to(self.device).reshape(-1)

    def render(self, rays: Rays) -> RenderedRays:
        """Return what rays see."""
        inside = to_field_space(rays, self.domain)
        pixels = render_fast(self.network, self._fine_grid, inside, self.domain, self.plan)
        return _rendered(pixels, self.domain)

    def density(self, positions: Tensor) -> Tensor:
        """Return the density (n,) at positions (n, 3), 0 outside of the occupied cells.

        Cells that occupied ones enclose, where nobody can look, count as solid: bodies have no inner wall.
        """
        low, high = (
            torch.tensor(corner, device=positions.device) for corner in (self.grid.low, self.grid.high)
        )
        inside = ((positions >= low) & (positions <= high)).all(dim=1)
        index = self.grid.flat_index(positions)
        occupied = (inside & self.grid.occupied.reshape(-1)[index]).nonzero().squeeze(1)
        density = torch.zeros(len(positions), device=positions.device)
        density[inside & self._enclosed[index]] = SOLID_DENSITY
        density[occupied] = _density(self.network, positions[occupied])
        return density
