"""Rendering as published: a coarse network finds where a ray meets the scene, a fine one is sampled there.

Source: Mildenhall et al. 2020, section 5.2, and the released code in what the paper leaves open.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scene_codec.networks.radiance_mlp import RadianceMlp
from scene_codec.radiance.compositing import Pixels, dense_weights
from scene_codec.radiance.field_space import FieldRays
from scene_codec.radiance.scene_domain import SceneDomain

_BEYOND = 1e10
"""Path that the last sample of a ray stands for: what has any density there is opaque."""


@dataclass(frozen=True, kw_only=True)
class SamplingPlan:
    """How rays are sampled.

    coarse : samples at even distances
    fine : more samples where the coarse ones have weight; none without a coarse network
    density_noise : deviation of the noise on the raw density in training
    """

    coarse: int = 64
    fine: int = 128
    density_noise: float = 0.0


@dataclass(frozen=True, eq=False)
class CoarseAndFine:
    """What the two networks see of the same rays. Without a coarse network both are the same."""

    coarse: Pixels
    fine: Pixels


def render_exactly(
    networks: tuple[RadianceMlp | None, RadianceMlp],
    rays: FieldRays,
    domain: SceneDomain,
    plan: SamplingPlan,
    generator: torch.Generator | None = None,
) -> CoarseAndFine:
    """Return what rays see.

    networks : coarse and fine; without a coarse one the fine one does both
    generator : for training: distances are drawn within their intervals; in the middle without one
    """
    coarse, fine = networks
    distances = _even_distances(len(rays), domain, plan.coarse, rays.origins.device, generator)
    pixels, weights = _see(coarse or fine, rays, distances, plan, generator)
    if not plan.fine:
        return CoarseAndFine(pixels, pixels)
    middles = 0.5 * (distances[:, 1:] + distances[:, :-1])
    drawn = _draw_by_weight(middles, weights[:, 1:-1].detach(), plan.fine, generator)
    merged = torch.cat([distances, drawn], dim=1).sort(dim=1).values
    return CoarseAndFine(pixels, _see(fine, rays, merged, plan, generator)[0])


def _even_distances(
    count: int, domain: SceneDomain, samples: int, device: torch.device, generator: torch.Generator | None
) -> Tensor:
    """Return (count, samples) distances from near to far, each drawn within its interval with a generator."""
    share = torch.linspace(0.0, 1.0, samples, device=device)
    even = (domain.near * (1.0 - share) + domain.far * share).expand(count, samples)
    if generator is None:
        return even
    middles = 0.5 * (even[:, 1:] + even[:, :-1])
    upper = torch.cat([middles, even[:, -1:]], dim=1)
    lower = torch.cat([even[:, :1], middles], dim=1)
    return lower + (upper - lower) * _random((count, samples), generator, device)


def _draw_by_weight(
    edges: Tensor, weights: Tensor, samples: int, generator: torch.Generator | None
) -> Tensor:
    """Return (rays, samples) distances distributed as the weights of the intervals between edges.

    edges : (rays, n + 1); weights : (rays, n)
    """
    shares = (weights + 1e-5) / (weights + 1e-5).sum(dim=1, keepdim=True)
    total = torch.cat([torch.zeros_like(shares[:, :1]), shares.cumsum(dim=1)], dim=1)
    size = (len(edges), samples)
    if generator is None:
        wanted = torch.linspace(0.0, 1.0, samples, device=edges.device).expand(size).contiguous()
    else:
        wanted = _random(size, generator, edges.device)
    found = torch.searchsorted(total, wanted, right=True)
    below, above = (found - 1).clamp_min(0), found.clamp_max(total.shape[1] - 1)
    low, high = total.gather(1, below), total.gather(1, above)
    width = torch.where(high - low < 1e-5, 1.0, high - low)
    start, end = edges.gather(1, below), edges.gather(1, above)
    return start + (wanted - low) / width * (end - start)


def _see(
    network: RadianceMlp,
    rays: FieldRays,
    distances: Tensor,
    plan: SamplingPlan,
    generator: torch.Generator | None,
) -> tuple[Pixels, Tensor]:
    """Return what a network sees at distances (rays, samples), and the samples' weights."""
    count, samples = distances.shape
    positions = rays.origins[:, None] + rays.directions[:, None] * distances[..., None]
    ray = torch.arange(count, device=distances.device).repeat_interleave(samples)
    density, colour = network(positions.reshape(-1, 3), rays.views, ray)
    density = density.view(count, samples)
    if generator is not None and plan.density_noise > 0.0:
        noise = torch.randn(density.shape, generator=generator, device=generator.device)
        density = density + noise.to(density.device) * plan.density_noise
    beyond = torch.full_like(distances[:, :1], _BEYOND)
    lengths = torch.cat([distances.diff(dim=1), beyond], dim=1) * rays.lengths[:, None]
    weights = dense_weights(density, lengths)
    seen = (weights[..., None] * colour.sigmoid().view(count, samples, 3)).sum(dim=1)
    return Pixels(seen, (weights * distances).sum(dim=1), weights.sum(dim=1)), weights


def _random(size: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    """Return uniform numbers of a generator that may live on another device."""
    return torch.rand(size, generator=generator, device=generator.device).to(device)
