"""The network of a neural radiance field: density and colour of points, seen from directions.

One description covers what the public implementations train: the original (Mildenhall et al., ECCV 2020) and
its ports with 8 layers of 256, smaller ones without skip connection, and networks of which neurons were taken
away, so that every layer has a width of its own.

    position -> encoding -> trunk (linear layers, some of which get the encoding again) -> density
                                |-> bottleneck? -> with the encoded direction: view layers -> colour
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scene_codec.networks.radiance_shape import RadianceShape as RadianceShape


def encode_frequencies(vectors: Tensor, octaves: int) -> Tensor:
    """Return (n, 3 + 6 * octaves): x, sin(x), cos(x), sin(2 x), cos(2 x), sin(4 x) ... without a factor pi.

    vectors : (n, 3)
    Source: Mildenhall et al. 2020, equation 4, as in the released code, which leaves pi out and keeps x.
    """
    if octaves == 0:
        return vectors
    frequencies = 2.0 ** torch.arange(octaves, device=vectors.device, dtype=vectors.dtype)
    angles = vectors[:, None, :] * frequencies[:, None]
    waves = torch.stack([angles.sin(), angles.cos()], dim=2)
    return torch.cat([vectors, waves.flatten(1)], dim=1)


class RadianceMlp(nn.Module):
    """A radiance network with the layers that its shape says."""

    def __init__(self, shape: RadianceShape, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.shape = shape
        layers = {name: nn.Linear(inputs, outputs) for name, inputs, outputs in shape.layers}
        self.trunk = nn.ModuleList(layers[f"trunk.{index}"] for index in range(len(shape.trunk)))
        self.density = layers["density"]
        self.bottleneck = layers.get("bottleneck")
        self.view = nn.ModuleList(layers[f"view.{index}"] for index in range(len(shape.view)))
        self.colour = layers["colour"]
        self.initialise(generator)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None) -> None:
        """Set the weights to what training starts from: Glorot uniform, biases zero, as released."""
        for layer in self.linear_layers().values():
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)

    def linear_layers(self) -> dict[str, nn.Linear]:
        """Return every linear layer by name, in the order of the parameters."""
        layers = {}
        for name, _, _ in self.shape.layers:
            layer = self.get_submodule(name)
            assert isinstance(layer, nn.Linear)
            layers[name] = layer
        return layers

    def features(self, positions: Tensor) -> Tensor:
        """Return the trunk's output (n, width) at positions (n, 3)."""
        encoded = encode_frequencies(positions, self.shape.position_octaves)
        hidden = encoded
        for index, layer in enumerate(self.trunk):
            if index in self.shape.skips:
                hidden = torch.cat([encoded, hidden], dim=1)
            hidden = layer(hidden)
            if index not in self.shape.linear:
                hidden = hidden.relu()
        return hidden

    def raw_density(self, features: Tensor) -> Tensor:
        """Return the density before its ReLU, (n,), from the trunk's output."""
        density: Tensor = self.density(features)
        return density.squeeze(1)

    def raw_colour(self, features: Tensor, directions: Tensor, ray: Tensor | None = None) -> Tensor:
        """Return the colour before its sigmoid, (n, 3), from the trunk's output (n, width).

        directions : (n, 3) of unit length; with `ray`, (rays, 3)
        ray : (n,) int64, which direction each point is seen from
        """
        if self.bottleneck is not None:
            features = self.bottleneck(features)
            if self.shape.bottleneck_relu:
                features = features.relu()
        encoded = encode_frequencies(directions, self.shape.direction_octaves)
        hidden = self._first_view_layer(features, encoded, ray)
        for layer in self.view[1:]:
            hidden = layer(hidden).relu()
        colour: Tensor = self.colour(hidden)
        return colour

    def forward(
        self, positions: Tensor, directions: Tensor, ray: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return raw density (n,) and raw colour (n, 3) at positions (n, 3); see `raw_colour`."""
        features = self.features(positions)
        return self.raw_density(features), self.raw_colour(features, directions, ray)

    def _first_view_layer(self, features: Tensor, encoded: Tensor, ray: Tensor | None) -> Tensor:
        """Return the first view layer's output; its part of the direction is computed once for each ray."""
        layer = self.view[0]
        assert isinstance(layer, nn.Linear)
        weight, split = layer.weight, features.shape[1]
        seen = torch.addmm(layer.bias, encoded, weight[:, split:].t())
        if ray is not None:
            seen = seen.index_select(0, ray)
        return torch.addmm(seen, features, weight[:, :split].t()).relu()
