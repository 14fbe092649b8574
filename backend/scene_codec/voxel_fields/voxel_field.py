"""Voxel fields as radiance fields: what can be rendered, evaluated and turned into a surface."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scene_codec.radiance.cameras import Rays
from scene_codec.radiance.field import RenderedRays
from scene_codec.radiance.field_space import depth_of_distance, to_field_space
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.voxel_model import VoxelModel
from scene_codec.voxel_fields.voxel_rendering import trace

_RAYS = 4096
_SAMPLES = 1 << 22
"""That are looked up at once: with places, nodes and weights they take some hundred bytes each."""

_SEEN = 1e-2
"""Opacity from which on a pixel has a depth."""


@dataclass(frozen=True, eq=False)
class VoxelField:
    """A voxel field in its space."""

    model: VoxelModel
    domain: SceneDomain
    rays_at_once: int = _RAYS

    @property
    def device(self) -> torch.device:
        """Where the field's tensors live."""
        return next(iter(self.model.parameters().values())).device

    def render(self, rays: Rays) -> RenderedRays:
        """Return what rays see."""
        own = to_field_space(rays, self.domain)
        if len(rays) > 1 and int(self.model.march(own, self.domain).count.sum()) > _SAMPLES:
            middle = len(rays) // 2
            halves = [self.render(rays.part(0, middle)), self.render(rays.part(middle, len(rays)))]
            return RenderedRays(
                torch.cat([half.colour for half in halves]),
                torch.cat([half.depth for half in halves]),
                torch.cat([half.opacity for half in halves]),
            )
        pixels = trace(self.model, own, self.domain).pixels()
        depth = depth_of_distance(pixels.mean_distance, self.domain)
        depth = torch.where(pixels.opacity > _SEEN, depth, 0.0)
        return RenderedRays(pixels.over(self.domain.white_background), depth, pixels.opacity)

    def density(self, positions: Tensor) -> Tensor:
        """Return the density (n,) per unit of length at positions (n, 3)."""
        held = self.model.may_hold(positions).nonzero().squeeze(1)
        density = torch.zeros(len(positions), device=positions.device)
        density[held] = self.model.probe(positions[held]).density
        return density
