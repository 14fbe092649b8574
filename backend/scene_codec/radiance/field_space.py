"""From world space into the space that a field lives in, which differs for forward-facing scenes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scene_codec.radiance.cameras import Rays
from scene_codec.radiance.scene_domain import SceneDomain

_FARTHEST = 1.0 - 1e-6


@dataclass(frozen=True, eq=False)
class FieldRays:
    """Rays in a field's space.

    origins, directions : (n, 3); a point at distance t is origin + t * direction
    lengths : (n,) length of the directions, by which distances become path lengths
    views : (n, 3) unit vectors in world space along which the field is seen
    """

    origins: Tensor
    directions: Tensor
    lengths: Tensor
    views: Tensor

    def __len__(self) -> int:
        return len(self.origins)

    def select(self, chosen: Tensor) -> FieldRays:
        """Return the rays that an index or mask selects."""
        return FieldRays(
            self.origins[chosen], self.directions[chosen], self.lengths[chosen], self.views[chosen]
        )


def to_field_space(rays: Rays, domain: SceneDomain) -> FieldRays:
    """Return rays in the domain's space.

    Normalised device coordinates: Mildenhall et al. 2020, appendix C, with the near plane at distance 1.
    """
    views = rays.directions / rays.directions.norm(dim=1, keepdim=True)
    origins, directions = rays.origins, rays.directions
    if domain.ndc is not None:
        across, up = domain.ndc
        depth = directions[:, 2:].clamp_max(-1e-6)  # a ray that looks backwards never meets the scene
        origins = origins - (1.0 + origins[:, 2:]) / depth * directions
        scale = torch.tensor([-across, -up], device=origins.device)
        plane = origins[:, :2] / origins[:, 2:]
        nearness = 2.0 / origins[:, 2:]
        directions = torch.cat([scale * (directions[:, :2] / depth - plane), -nearness], dim=1)
        origins = torch.cat([scale * plane, 1.0 + nearness], dim=1)
    return FieldRays(origins, directions, directions.norm(dim=1), views)


def depth_of_distance(distance: Tensor, domain: SceneDomain) -> Tensor:
    """Return depths in world units of distances along a field's rays.

    In normalised device coordinates distance t is disparity 1 - t, counted from the near plane at 1.
    """
    if domain.ndc is None:
        return distance
    return 1.0 / (1.0 - distance.clamp_max(_FARTHEST))
