"""Rays through voxel fields: samples, their weights and colours, and the pixels that they add up to.

One renderer does for all families: they differ in where samples lie and in how densities and colours are
computed, which the model knows. Weights and colours are differentiable.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scene_codec.radiance.compositing import Pixels, depth_before, packed_sum
from scene_codec.radiance.field_space import FieldRays
from scene_codec.radiance.ray_marching import Samples
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.voxel_model import Marching, Probe, VoxelModel

_LARGEST_DEPTH = 60.0


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
    samples = marched(marching)
    positions = samples.positions(rays)
    chosen = model.may_hold(positions).nonzero().squeeze(1)
    samples, positions = samples.select(chosen), positions[chosen]
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
    colours = probe.colours(place[coloured], rays.views, samples.ray[coloured])
    return Trace(samples, probe, place, weights, coloured, colours, clear)


def marched(marching: Marching) -> Samples:
    """Return all samples of a plan, packed."""
    count = marching.count
    ray = torch.arange(len(count), device=count.device).repeat_interleave(count)
    first = count.cumsum(0) - count
    number = torch.arange(len(ray), device=count.device) - first.index_select(0, ray)
    return Samples(ray, torch.addcmul(marching.start[ray], marching.step[ray], number.float()))
