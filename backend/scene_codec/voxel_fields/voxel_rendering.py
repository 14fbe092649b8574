"""Rays through voxel fields: samples, their weights and colours, and the pixels that they add up to.

One renderer does for all families: they differ in where samples lie and in how densities and colours are
computed, which the model knows. Weights and colours are differentiable.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scene_codec.radiance.compositing import Pixels, depth_before, packed_sum
from scene_codec.radiance.field_space import FieldRays
from scene_codec.radiance.ray_marching import Samples
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.voxel_model import Marching, Probe, VoxelModel

_LARGEST_DEPTH = 60.0
_RUN = 8
_COLOURED = 1 << 17
"""Samples whose colours are made at once: a network's layers take up to four kilobytes for each."""


@dataclass(frozen=True, eq=False)
class Trace:
    """What rays meet, sorted by ray and distance.

    samples : (n) of them
    probe : of those and maybe others
    place : (n,) int64, of each sample among the points of the probe
    weights : (n,) share of the pixel
    coloured : (m,) int64, samples whose colour counts
    colours : (m, 3)
    clear : (rays,) share of light that passes
    """

    samples: Samples
    probe: Probe
    place: Tensor
    weights: Tensor
    coloured: Tensor
    colours: Tensor
    clear: Tensor

    def pixels(self) -> Pixels:
        """Return the pixels that the samples add up to."""
        rays = len(self.clear)
        ray = self.samples.ray
        shown = self.weights[self.coloured]
        colour = packed_sum(self.colours * shown[:, None], ray[self.coloured], rays)
        distance = packed_sum(shown * self.samples.distance[self.coloured], ray[self.coloured], rays)
        return Pixels(colour, distance, 1.0 - self.clear)


def trace(model: VoxelModel, rays: FieldRays, domain: SceneDomain) -> Trace:
    """Return what rays in the field's space meet, sampled as the field's own renderer does it."""
    marching = model.march(rays, domain)
    samples, positions = occupied_samples(model, rays, marching)
    probe = model.probe(positions)
    depth = (probe.density * marching.path[samples.ray]).clamp_max(_LARGEST_DEPTH)
    limits = model.limits
    with torch.no_grad():
        place = (-torch.expm1(-depth) > limits.alpha).nonzero().squeeze(1)
        lit = torch.exp(-depth_before(depth[place], samples.ray[place])) >= limits.dark
        place = place[lit]
    samples, depth = samples.select(place), depth[place]
    weights = torch.exp(-depth_before(depth, samples.ray)) * -torch.expm1(-depth)
    clear = torch.exp(-packed_sum(depth, samples.ray, len(rays)))
    coloured = (weights.detach() > limits.weight).nonzero().squeeze(1)
    colours = torch.cat(
        [
            probe.colours(place[part], rays.views, samples.ray[part])
            for part in torch.tensor_split(coloured, max(1, math.ceil(len(coloured) / _COLOURED)))
        ]
    )
    return Trace(samples, probe, place, weights, coloured, colours, clear)


def occupied_samples(model: VoxelModel, rays: FieldRays, marching: Marching) -> tuple[Samples, Tensor]:
    """Return the samples of a plan where there may be something, packed, and where they are (n, 3).

    They are looked up in runs, by the middle of each run, and then one by one.
    """
    runs = (marching.count + (_RUN - 1)).div(_RUN, rounding_mode="floor")
    ray, number = _counted(runs)
    first = _RUN * number
    samples = Samples(ray, _distance(marching, ray, first.float() + 0.5 * (_RUN - 1)))
    longest = (marching.step * rays.directions.abs().amax(dim=1)).amax() if len(rays) else 0.0
    near = model.may_be_near(samples.positions(rays), 0.5 * (_RUN - 1) * float(longest))
    chosen = near.nonzero().squeeze(1)
    ray, first = ray[chosen].repeat_interleave(_RUN), first[chosen]
    number = (first[:, None] + torch.arange(_RUN, device=first.device)).view(-1)
    chosen = (number < marching.count[ray]).nonzero().squeeze(1)
    ray, number = ray[chosen], number[chosen]
    samples = Samples(ray, _distance(marching, ray, number.float()))
    positions = samples.positions(rays)
    chosen = model.may_hold(positions).nonzero().squeeze(1)
    return samples.select(chosen), positions[chosen]


def _counted(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each of so many things of each ray its ray and its number there."""
    ray = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    first = counts.cumsum(0) - counts
    return ray, torch.arange(len(ray), device=counts.device) - first.index_select(0, ray)


def _distance(marching: Marching, ray: Tensor, number: Tensor) -> Tensor:
    return torch.addcmul(marching.start[ray], marching.step[ray], number)
