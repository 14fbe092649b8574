"""Decodes a distance grid where its surface is, and no more than the signs elsewhere.

The last block of a decoder takes three quarters of the work, and marching cubes needs its values in the few
per cent of cells in which the sign changes. So the last block first makes one of the eight children of each
site, an eighth of its work: a grid of half the resolution. All children are then made of the sites at which
that grid is near zero or changes its sign, and of those beside them, until no sign changes next to a site
that was left out. Sites left out keep the value of their first child.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from scene_codec.networks.auto_decoder import AutoDecoder, resized
from scene_codec.networks.surface_support import grown, neighbour_rows, parents

_NEAR = 0.6
"""Share of the truncation below which a first child counts as near the surface: a part that lies between
first children, two cells apart, is nearer than this to one of them."""

_SITES_AT_ONCE = 1 << 15
"""Sites whose neighbours are gathered together: 27 times their channels have to be held."""


def decoded_near_surface(network: AutoDecoder, latents: Tensor) -> Tensor:
    """Return the grid (o, K, K, K) of one latent block (c, 4, 4, 4) whose decoder has a pointwise head.

    All values of cells in which the sign changes are those of the whole network, but for rounding.
    """
    features = network.before_last_block(latents[None])
    first = _first_children(network, features)
    outputs, side = len(first), first.shape[-1]
    grid = first
    for axis in (1, 2, 3):
        grid = grid.repeat_interleave(2, axis)
    children = grid.view(outputs, side, 2, side, 2, side, 2)
    rows = F.pad(features, (1, 1, 1, 1, 1, 1)).reshape(features.shape[1], -1).t().contiguous()
    known = torch.zeros((side,) * 3, dtype=torch.bool, device=grid.device)
    wanted = (first[0].abs() < _NEAR) | grown(_changes(first[0]))
    while wanted.any():
        for sites in torch.split(wanted.nonzero(), _SITES_AT_ONCE):
            values = network.last_block_at(rows, neighbour_rows(sites, side))
            x, y, z = sites.t()
            children[:, x, :, y, :, z, :] = values.view(-1, 2, 2, 2, outputs).permute(0, 4, 1, 2, 3)
        known |= wanted
        wanted = grown(parents(_changes(grid[0]))) & ~known
    return grid


def _first_children(network: AutoDecoder, features: Tensor) -> Tensor:
    """Return the outputs (o, R, R, R) at the first child of each site of features (1, c, R, R, R)."""
    block, width = network.last_block, network.shape.widths[-1]
    assert block.bias is not None
    children = F.conv3d(features, block.weight[:width], block.bias[:width], padding=1)
    if network.shape.residual:
        children = children + resized(features, width)
    outputs: Tensor = network.head(F.gelu(children))[0]
    return outputs


def _changes(values: Tensor) -> Tensor:
    """Return at which vertices of (K, K, K) the sign is another than at a neighbour along an axis."""
    inside = values < 0.0
    found = torch.zeros_like(inside)
    for axis in range(3):
        size = inside.shape[axis] - 1
        change = inside.narrow(axis, 0, size) ^ inside.narrow(axis, 1, size)
        found.narrow(axis, 0, size).logical_or_(change)
        found.narrow(axis, 1, size).logical_or_(change)
    return found
