"""The encoder of an auto-encoded shape set: a distance grid in, a latent block out. For comparison alone.

An auto-decoder has no such network; its latents are parameters. The paper compares the two.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scene_codec.networks.decoder_shape import DecoderShape


class GridEncoder(nn.Module):
    """Halves a grid by strided 3^3 convolutions, with the decoder's widths backwards, down to 4 x 4 x 4."""

    def __init__(self, shape: DecoderShape, generator: torch.Generator) -> None:
        super().__init__()
        channels = (shape.outputs, *reversed(shape.widths))
        self.blocks = nn.ModuleList(
            nn.Conv3d(channels[level], channels[level + 1], 3, stride=2, padding=1)
            for level in range(shape.doublings)
        )
        self.head = nn.Conv3d(channels[-1], shape.latent_channels, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                # Unit variance through the ReLU-like gates: the latents must start at the size of free ones.
                deviation = math.sqrt(2.0 / module.weight[0].numel())
                nn.init.normal_(module.weight, std=deviation, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, grids: Tensor) -> Tensor:
        """Return latents (n, c, 4, 4, 4) of grids (n, o, K, K, K)."""
        features = grids
        for block in self.blocks:
            features = F.gelu(block(features))
        latents: Tensor = self.head(features)
        return latents
