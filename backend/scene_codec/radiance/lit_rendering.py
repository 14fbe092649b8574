"""What rays see of one network, with gradients for the samples that light comes from alone.

What is in shadow is found by a first pass without gradients, which costs a third of one with them and leaves
out all samples behind surfaces (Li et al. 2023, NerfAcc).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scene_codec.networks.radiance_mlp import RadianceMlp
from scene_codec.radiance.compositing import Pixels, depth_before, optical_depth
from scene_codec.radiance.field_space import FieldRays
from scene_codec.radiance.packed_rendering import render_packed
from scene_codec.radiance.ray_marching import Samples

_DARK = -math.log(1e-4)
"""Optical depth behind which a sample takes no part."""


def render_lit(network: RadianceMlp, rays: FieldRays, samples: Samples, step: float) -> tuple[Pixels, Tensor]:
    """Return what rays see, and the raw density (m,) of the samples that light comes from, with gradients.

    samples : packed, such as those of `march`
    step : between samples, in units of the distance along rays
    """
    samples = samples.select(_lit(network, rays, samples, step))
    density, colour = network(samples.positions(rays), rays.views, samples.ray)
    return render_packed(density, colour, samples, rays, step)[0], density


@torch.no_grad()
def _lit(network: RadianceMlp, rays: FieldRays, samples: Samples, step: float) -> Tensor:
    """Return which samples (n,) light comes from."""
    density = network.raw_density(network.features(samples.positions(rays)))
    depth = optical_depth(density, rays.lengths.index_select(0, samples.ray) * step)
    return depth_before(depth, samples.ray) < _DARK
