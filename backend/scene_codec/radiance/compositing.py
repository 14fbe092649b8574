"""Volume rendering: from densities and colours along rays to pixels.

Source: Mildenhall et al. 2020, equation 3 (Max 1995). Samples come either as a rectangle, as many for each
ray, or packed: those of all rays one behind the other, sorted by ray and distance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_LARGEST_DEPTH = 60.0
"""Optical depth of one sample beyond which it is opaque in every precision."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """What rays see.

    colour : (n, 3) in front of nothing, that is premultiplied by the opacity
    distance : (n,) sum of weight times distance, premultiplied likewise
    opacity : (n,) in [0, 1]
    """

    colour: Tensor
    distance: Tensor
    opacity: Tensor

    def over(self, white: bool) -> Tensor:
        """Return the colour (n, 3) in front of white or black."""
        return self.colour + (1.0 - self.opacity)[:, None] if white else self.colour

    @property
    def mean_distance(self) -> Tensor:
        """Mean distance (n,) of what a ray sees; 0 where it sees nothing."""
        return torch.where(self.opacity > 1e-4, self.distance / self.opacity.clamp_min(1e-4), 0.0)


def dense_weights(density: Tensor, lengths: Tensor) -> Tensor:
    """Return the weights (rays, samples) of samples.

    density : (rays, samples) raw
    lengths : (rays, samples) of path that each sample stands for
    """
    alpha = 1.0 - torch.exp(-density.relu() * lengths)
    clear = torch.cumprod(1.0 - alpha + 1e-10, dim=1)
    return alpha * torch.cat([torch.ones_like(clear[:, :1]), clear[:, :-1]], dim=1)


def packed_weights(density: Tensor, lengths: Tensor, ray: Tensor, clear: Tensor) -> Tensor:
    """Return the weights (n,) of packed samples.

    density : (n,) raw
    lengths : (n,) of path that each sample stands for
    ray : (n,) int64 ascending, which ray each belongs to
    clear : (rays,) share of light that passes what lies in front of all samples here
    """
    depth = optical_depth(density, lengths)
    before = depth_before(depth, ray)
    return clear.index_select(0, ray) * torch.exp(-before) * (1.0 - torch.exp(-depth))


def optical_depth(density: Tensor, lengths: Tensor) -> Tensor:
    """Return the optical depth (n,) of samples with raw density that stand for so much path."""
    return (density.relu() * lengths).clamp_max(_LARGEST_DEPTH)


def depth_before(depth: Tensor, ray: Tensor) -> Tensor:
    """Return for packed samples the optical depth (n,) of those before on the same ray."""
    # Sums over all rays are taken in double precision, as they are subtracted from each other.
    total = depth.double().cumsum(0)
    before = total - depth
    first = torch.ones_like(ray, dtype=torch.bool)
    first[1:] = ray[1:] != ray[:-1]
    starts = first.nonzero().squeeze(1)
    group = first.cumsum(0) - 1
    return (before - before[starts].index_select(0, group)).to(depth.dtype)


def packed_sum(values: Tensor, ray: Tensor, rays: int) -> Tensor:
    """Return the sum over each ray, (rays, ...), of packed values (n, ...)."""
    return torch.zeros((rays, *values.shape[1:]), dtype=values.dtype, device=values.device).index_add(
        0, ray, values
    )
