"""Rendering with one network and an occupancy grid: only what a ray can see is evaluated.

Samples lie at even distances in occupied cells, packed. They are evaluated in rounds from front to back; a
ray whose light is used up takes no part in the next round, and colour is evaluated where a sample has any
weight. The grid takes the place of the coarse network (as in Mueller et al. 2022, appendix E; Li et al. 2023,
NerfAcc).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scene_codec.networks.radiance_mlp import RadianceMlp
from scene_codec.radiance.compositing import Pixels, depth_before, optical_depth
from scene_codec.radiance.field_space import FieldRays
from scene_codec.radiance.occupancy import OccupancyGrid
from scene_codec.radiance.ray_marching import march
from scene_codec.radiance.scene_domain import SceneDomain

_WORLD_SAMPLES = 384
_NDC_SAMPLES = 192
"""From near to far, which is two units of normalised device coordinates and four of usual worlds: the spacing
is the same."""

_FIRST_ROUND = 4
"""Samples of each ray in the first round; each later round takes twice as many."""

_DARK = 2e-3
"""Share of light below which a ray is given up."""

_FAINT = 1e-3
"""Weight below which a sample's colour is not evaluated."""


@dataclass(frozen=True, kw_only=True)
class MarchingPlan:
    """How a field is sampled.

    samples : number of even steps from near to far; None: as many as the space of the field needs
    """

    samples: int | None = None

    def step(self, domain: SceneDomain) -> float:
        """Return the distance between samples."""
        usual = _WORLD_SAMPLES if domain.ndc is None else _NDC_SAMPLES
        return (domain.far - domain.near) / (self.samples or usual)


def render_fast(
    network: RadianceMlp,
    grid: OccupancyGrid,
    rays: FieldRays,
    domain: SceneDomain,
    plan: MarchingPlan,
    observe: Callable[[Tensor, Tensor], None] | None = None,
) -> Pixels:
    """Return what rays see.

    observe : is told positions (n, 3) and weights (n,) of the samples of each round
    """
    device, count = rays.origins.device, len(rays)
    step = plan.step(domain)
    samples = march(rays, domain, grid, step)
    clear = torch.ones(count, device=device)
    colour = torch.zeros((count, 3), device=device)
    distance = torch.zeros(count, device=device)
    opacity = torch.zeros(count, device=device)
    until = _FIRST_ROUND
    while len(samples):
        now = samples.rank() < until
        ahead = samples.select(now)
        positions = ahead.positions(rays)
        features = network.features(positions)
        lengths = rays.lengths.index_select(0, ahead.ray) * step
        depth = optical_depth(network.raw_density(features), lengths)
        weights = clear.index_select(0, ahead.ray) * torch.exp(-depth_before(depth, ahead.ray))
        weights = weights * (1.0 - torch.exp(-depth))
        if observe is not None:
            observe(positions, weights)
        seen = (weights > _FAINT).nonzero().squeeze(1)
        colours = network.raw_colour(features[seen], rays.views, ahead.ray[seen]).sigmoid()
        colour.index_add_(0, ahead.ray[seen], colours * weights[seen][:, None])
        distance.index_add_(0, ahead.ray, weights * ahead.distance)
        opacity.index_add_(0, ahead.ray, weights)
        passed = torch.zeros(count, device=device).index_add_(0, ahead.ray, depth)
        clear = clear * torch.exp(-passed)
        samples = samples.select(~now)
        samples = samples.select(clear.index_select(0, samples.ray) > _DARK)
        until *= 2
    return Pixels(colour, distance, opacity)
