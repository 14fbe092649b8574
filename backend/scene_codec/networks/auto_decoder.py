"""The decoder of an auto-decoded shape set: a latent block in, a distance grid out.

```text
latents (c, 4, 4, 4) -> [conv 3^3 -> x2 sub-voxel shuffle -> GELU] per doubling -> head -> grid (o, K, K, K)
```

The blocks follow NeCGS (arXiv 2405.15034, section 3.2 and its released code: convolution to 8 x width
channels, three-dimensional pixel shuffle, GELU, no normalisation), and the head is a 3^3 convolution. Two
changes: a residual block hands its input's first channels on to the eight children before the GELU, which
costs nothing and learns in fewer steps. With a pointwise head the network can also be
evaluated at chosen places alone, with the same result: a block's convolution needs nothing but 27 neighbours,
so the work of the last, largest blocks shrinks to the few per cent near the surface.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scene_codec.networks.decoder_shape import LATENT_RESOLUTION, DecoderShape
from scene_codec.networks.surface_support import SurfaceSupport

OWN_PLACE = 13
"""The place itself among its 27 neighbours."""


class AutoDecoder(nn.Module):
    """Maps latent blocks to distance grids, densely or at the places of a `SurfaceSupport` alone."""

    def __init__(self, shape: DecoderShape, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if len(shape.widths) != shape.doublings:
            raise AssertionError(f"{shape.doublings} doublings need as many widths, got {shape.widths}")
        self.shape = shape
        inputs = (shape.latent_channels, *shape.widths[:-1])
        self.blocks = nn.ModuleList(
            nn.Conv3d(channels, 8 * width, 3, padding=1)
            for channels, width in zip(inputs, shape.widths, strict=True)
        )
        kernel = 1 if shape.pointwise_head else 3
        self.head = nn.Conv3d(shape.widths[-1], shape.outputs, kernel, padding=kernel // 2)
        self._initialise(generator)

    def _initialise(self, generator: torch.Generator | None) -> None:
        """Draw all parameters from `generator`, with torch's usual ranges for convolutions."""
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                bound = 1.0 / math.sqrt(module.weight[0].numel())
                for parameter in (module.weight, module.bias):
                    if parameter is not None:
                        nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def forward(
        self, latents: Tensor, supports: Sequence[SurfaceSupport] | None = None
    ) -> Tensor | list[Tensor]:
        """Return grids (n, o, K, K, K), or one (s, 8, o) tensor per mesh at the places of its support."""
        if supports is None:
            grid: Tensor = self.head(self._through(latents, len(self.blocks)))
            return grid
        features = self._through(latents, self.blocks_before_support)
        return [self._at_support(one, support) for one, support in zip(features, supports, strict=True)]

    def before_last_block(self, latents: Tensor) -> Tensor:
        """Return the features (n, c, K/2, K/2, K/2) from which the last block makes the grid's."""
        return self._through(latents, len(self.blocks) - 1)

    @property
    def last_block(self) -> nn.Conv3d:
        """The block that makes the features of the grid's vertices."""
        block = self.blocks[-1]
        assert isinstance(block, nn.Conv3d)
        return block

    def last_block_at(self, rows: Tensor, neighbours: Tensor) -> Tensor:
        """Return the outputs (s, 8, o) of sites at the children that the last block makes of them.

        rows : (r, c) features; neighbours : (s, 27) int64, the rows around each site
        """
        children = self._children_at(self.last_block, rows, neighbours)
        return F.linear(children, self.head.weight.flatten(1), self.head.bias)

    def _through(self, latents: Tensor, count: int) -> Tensor:
        """Return the features behind so many blocks."""
        features = latents
        for block in list(self.blocks)[:count]:
            children = shuffle_up(block(features))
            if self.shape.residual:
                children = children + handed_down(features, children.shape[1])
            features = F.gelu(children)
        return features

    @property
    def blocks_before_support(self) -> int:
        """Number of blocks that are always evaluated densely."""
        return int(math.log2(SurfaceSupport.first_resolution(self.shape.resolution) // LATENT_RESOLUTION))

    def _at_support(self, features: Tensor, support: SurfaceSupport) -> Tensor:
        """Return the outputs (s, 8, o) at the eight children of each of the support's finest sites."""
        padded = F.pad(features, (1, 1, 1, 1, 1, 1))
        rows = padded.reshape(len(features), -1).t()
        blocks = list(self.blocks)[self.blocks_before_support :]
        for block, neighbours in zip(blocks[:-1], support.neighbours[:-1], strict=True):
            assert isinstance(block, nn.Conv3d)
            children = self._children_at(block, rows, neighbours)
            rows = children.flatten(0, 1)
            rows = torch.cat([rows.new_zeros(1, rows.shape[1]), rows])
        return self.last_block_at(rows, support.neighbours[-1])

    def _children_at(self, block: nn.Conv3d, rows: Tensor, neighbours: Tensor) -> Tensor:
        """Return the features (s, 8, w) of the children that a block makes of sites."""
        columns = rows.index_select(0, neighbours.flatten()).view(len(neighbours), 27 * rows.shape[1])
        weight = block.weight.flatten(2).permute(0, 2, 1).flatten(1)
        width = block.out_channels // 8
        children = F.linear(columns, weight, block.bias).view(len(neighbours), 8, width)
        if self.shape.residual:
            own = rows.index_select(0, neighbours[:, OWN_PLACE])
            children = children + resized(own, width)[:, None, :]
        return F.gelu(children)


def handed_down(features: Tensor, width: int) -> Tensor:
    """Return (n, width, 2r, 2r, 2r): each place's first channels of (n, c, r, r, r) at all its children."""
    rows = resized(features, width)
    for axis in (2, 3, 4):
        rows = rows.repeat_interleave(2, axis)
    return rows


def resized(features: Tensor, width: int) -> Tensor:
    """Return the first `width` channels (axis 1), zeros where there are fewer."""
    missing = width - features.shape[1]
    if missing <= 0:
        return features[:, :width]
    return torch.cat([features, features.new_zeros(len(features), missing, *features.shape[2:])], dim=1)


def shuffle_up(features: Tensor) -> Tensor:
    """Return (n, w, 2r, 2r, 2r) from (n, 8w, r, r, r): eight groups of channels become the eight children."""
    count, channels, side = features.shape[0], features.shape[1] // 8, features.shape[2]
    split = features.view(count, 2, 2, 2, channels, side, side, side)
    return split.permute(0, 4, 5, 1, 6, 2, 7, 3).reshape(count, channels, 2 * side, 2 * side, 2 * side)
