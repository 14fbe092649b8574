"""Which places of each decoder level must be evaluated to know the grid at chosen vertices.

A block at resolution R turns site i into its eight children at 2R, and needs the 27 neighbours of i. So the
sites at R are the parents of the wanted vertices, and those at R / 2 the parents of the sites with their
neighbours.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

FIRST_SPARSE_RESOLUTION = 32
"""Below it a dense convolution is cheaper than looking up neighbours."""


@dataclass(frozen=True)
class SurfaceSupport:
    """Sites of the finest block, and for every sparse block where its neighbours stand.

    sites : (s, 3) int64, at half the grid's resolution; site i stands for the vertices 2i and 2i + 1 per axis
    neighbours : one (s_R, 27) int64 per sparse block; for the first one indices into the dense features
    padded by
        one on each side, for the others rows of the previous block's children, where row 0 is zero
    """

    sites: Tensor
    neighbours: tuple[Tensor, ...]

    @staticmethod
    def first_resolution(resolution: int) -> int:
        """Return the input resolution of the first sparse block of a grid of `resolution`."""
        return min(FIRST_SPARSE_RESOLUTION, resolution // 2)

    @staticmethod
    def around(wanted: Tensor) -> SurfaceSupport:
        """Return the support of the true sites of `wanted`, (R, R, R) bool at half the grid's resolution."""
        first = SurfaceSupport.first_resolution(2 * len(wanted))
        sites = [wanted.nonzero()]
        mask = wanted
        while len(mask) > first:
            mask = parents(grown(mask))
            sites.insert(0, mask.nonzero())
        neighbours = [neighbour_rows(sites[0], first)]
        for coarse, fine in itertools.pairwise(sites):
            first *= 2
            row_of = _child_rows(coarse, first)
            neighbours.append(row_of[neighbour_rows(fine, first)])
        return SurfaceSupport(sites[-1], tuple(neighbours))


def parents(mask: Tensor) -> Tensor:
    """Return (R/2, R/2, R/2) bool: cells of which at least one child is true in (R, R, R)."""
    side = len(mask) // 2
    return mask.view(side, 2, side, 2, side, 2).amax(dim=(1, 3, 5))


def grown(mask: Tensor) -> Tensor:
    """Return the mask with the 26 neighbours of every true cell."""
    return F.max_pool3d(mask[None, None].to(torch.float32), 3, 1, 1)[0, 0] > 0.0


def child_offsets(device: torch.device) -> Tensor:
    """Return the eight offsets (8, 3) of a site's children, in the order of the decoder's channels."""
    return torch.cartesian_prod(*(torch.arange(2, device=device),) * 3)


def neighbour_rows(sites: Tensor, resolution: int) -> Tensor:
    """Return (s, 27) flat indices into a grid padded by one on each side."""
    offsets = torch.cartesian_prod(*(torch.arange(3, device=sites.device),) * 3)
    side = resolution + 2
    strides = torch.tensor([side * side, side, 1], device=sites.device)
    return (sites @ strides)[:, None] + (offsets @ strides)[None, :]


def _child_rows(sites: Tensor, resolution: int) -> Tensor:
    """Return for each cell of the padded grid of `resolution` the row of that child of `sites`, or 0."""
    side = resolution + 2
    children = (2 * sites[:, None, :] + child_offsets(sites.device)[None, :, :] + 1).reshape(-1, 3)
    strides = torch.tensor([side * side, side, 1], device=sites.device)
    row_of = torch.zeros(side**3, dtype=torch.int64, device=sites.device)
    row_of[children @ strides] = torch.arange(1, len(children) + 1, device=sites.device)
    return row_of
