"""What rays see of packed samples, differentiable: the rendering of training."""

from __future__ import annotations

import torch
from torch import Tensor

from scene_codec.radiance.compositing import Pixels, packed_sum, packed_weights
from scene_codec.radiance.field_space import FieldRays
from scene_codec.radiance.ray_marching import Samples


def render_packed(
    density: Tensor, colour: Tensor, samples: Samples, rays: FieldRays, step: float
) -> tuple[Pixels, Tensor]:
    """Return what rays see, and the samples' weights (n,).

    density : (n,) raw; colour : (n, 3) raw; both of the samples
    step : distance between samples
    """
    lengths = rays.lengths.index_select(0, samples.ray) * step
    clear = torch.ones(len(rays), device=density.device)
    weights = packed_weights(density, lengths, samples.ray, clear)
    values = torch.cat(
        [colour.sigmoid() * weights[:, None], (weights * samples.distance)[:, None], weights[:, None]], dim=1
    )
    sums = packed_sum(values, samples.ray, len(rays))
    return Pixels(sums[:, :3], sums[:, 3], sums[:, 4]), weights
