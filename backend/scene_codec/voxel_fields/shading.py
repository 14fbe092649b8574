"""Colours from features and directions, as the public voxel fields compute them.

A shader is given the features of each point and the direction of each ray, so that what depends on the
direction alone is computed once for all points of a ray.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor

LinearLayer = tuple[Tensor, Tensor]
"""Weights (outputs, inputs) and biases (outputs,)."""

HARMONICS = 9


class Shader(Protocol):
    """How features become colours."""

    @property
    def features(self) -> int:
        """How many features a point has."""

    def colours(self, features: Tensor, views: Tensor, ray: Tensor) -> Tensor:
        """Return colours (n, 3).

        features : (n, features)
        views : (rays, 3) unit directions
        ray : (n,) int64, which direction each point is seen from
        """

    def parameters(self) -> dict[str, Tensor]:
        """Return what can be trained, by name."""

    def with_parameters(self, values: Mapping[str, Tensor]) -> Self:
        """Return the shader with other values of the same names."""


@dataclass(frozen=True)
class PlainShader:
    """Features are the colour, through a sigmoid or as they are (DVGO's coarse grids; TensoRF's RGB)."""

    squashed: bool = True
    features: int = 3

    def colours(self, features: Tensor, views: Tensor, ray: Tensor) -> Tensor:
        """Return colours (n, 3)."""
        return features.sigmoid() if self.squashed else features

    def parameters(self) -> dict[str, Tensor]:
        """Return nothing: there is nothing to train."""
        return {}

    def with_parameters(self, values: Mapping[str, Tensor]) -> PlainShader:
        """Return the shader."""
        return self


@dataclass(frozen=True)
class HarmonicShader:
    """Spherical harmonics of second degree, nine for red, nine for green, nine for blue (Plenoxels)."""

    features: int = 3 * HARMONICS

    def colours(self, features: Tensor, views: Tensor, ray: Tensor) -> Tensor:
        """Return colours (n, 3), not negative and not bounded above."""
        basis = harmonics(views).index_select(0, ray)
        return ((features.view(-1, 3, HARMONICS) * basis[:, None]).sum(dim=2) + 0.5).relu()

    def parameters(self) -> dict[str, Tensor]:
        """Return nothing: there is nothing to train."""
        return {}

    def with_parameters(self, values: Mapping[str, Tensor]) -> HarmonicShader:
        """Return the shader."""
        return self


@dataclass(frozen=True, eq=False)
class NetworkShader:
    """A small network of features and the encoded direction.

    layers : linear layers with a ReLU between them; the last gives three values
    inputs : features of a point
    view_octaves : of the direction's encoding; inputs are features, direction, sines, cosines (DVGO)
    feature_octaves : of the features' encoding, in front of that of the direction (TensoRF's MLP_Fea); None
        for none
    residual : whether the first three features are added to the result, and not given to the network
    """

    layers: tuple[LinearLayer, ...]
    inputs: int
    view_octaves: int = 4
    feature_octaves: int | None = None
    residual: bool = False

    @property
    def features(self) -> int:
        """How many features a point has."""
        return self.inputs

    def colours(self, features: Tensor, views: Tensor, ray: Tensor) -> Tensor:
        """Return colours (n, 3) in (0, 1)."""
        own = features[:, 3:] if self.residual else features
        waves = _waves(own, self.feature_octaves or 0)
        count, encoded = own.shape[1], waves.shape[1]
        weight, bias = self.layers[0]
        # The first layer's inputs: features, direction, waves of features, waves of direction.
        seen = F.linear(views, weight[:, count : count + 3], bias)
        if self.view_octaves:
            seen = seen + F.linear(_waves(views, self.view_octaves), weight[:, count + 3 + encoded :])
        hidden = F.linear(own, weight[:, :count]) + seen.index_select(0, ray)
        if encoded:
            hidden = hidden + F.linear(waves, weight[:, count + 3 : count + 3 + encoded])
        for weight, bias in self.layers[1:]:
            hidden = F.linear(hidden.relu(), weight, bias)
        if self.residual:
            hidden = hidden + features[:, :3]
        return hidden.sigmoid()

    def parameters(self) -> dict[str, Tensor]:
        """Return weights and biases by layer."""
        return {
            f"shader.{index}.{kind}": value
            for index, layer in enumerate(self.layers)
            for kind, value in zip(("weight", "bias"), layer, strict=True)
        }

    def with_parameters(self, values: Mapping[str, Tensor]) -> NetworkShader:
        """Return the shader with other weights and biases."""
        layers = tuple(
            (values[f"shader.{index}.weight"], values[f"shader.{index}.bias"])
            for index in range(len(self.layers))
        )
        return replace(self, layers=layers)

    @staticmethod
    def first_inputs(features: int, view_octaves: int, feature_octaves: int | None, residual: bool) -> int:
        """Return how many inputs the first layer has."""
        own = features - 3 if residual else features
        return own * (1 + 2 * (feature_octaves or 0)) + 3 + 6 * view_octaves


def harmonics(views: Tensor) -> Tensor:
    """Return the nine real spherical harmonics (n, 9) up to degree two at unit vectors (n, 3)."""
    x, y, z = views.unbind(1)
    return torch.stack(
        [
            torch.full_like(x, 0.28209479177387814),
            -0.4886025119029199 * y,
            0.4886025119029199 * z,
            -0.4886025119029199 * x,
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (2.0 * z * z - x * x - y * y),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (x * x - y * y),
        ],
        dim=1,
    )


def _waves(values: Tensor, octaves: int) -> Tensor:
    """Return the sines, then the cosines, of values (n, c) times 1, 2, 4 ..., (n, 2 c octaves)."""
    if octaves == 0:
        return values.new_zeros((len(values), 0))
    frequencies = 2.0 ** torch.arange(octaves, device=values.device, dtype=values.dtype)
    angles = (values[:, :, None] * frequencies).flatten(1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)
