"""A radiance network whose weights are rounded to learned steps and masked, and the bits that it takes.

```text
weight --mask--> / step of its row --round--> integers --> * step --> network
                        |                                              bits from the mean magnitudes
                        +--> in steps -------------------------------> of its row and its column
```
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scene_codec.codecs.radiance_parts.row_steps import (
    EXPONENTS_PER_OCTAVE,
    HIGHEST_EXPONENT,
    LOWEST_EXPONENT,
)
from scene_codec.entropy.rate import laplace_bits_of
from scene_codec.entropy.straight_through import round_straight_through
from scene_codec.networks.radiance_mlp import RadianceMlp

SPARED = ("density", "colour")
"""Layers that are never pruned: a few hundred weights on which the whole picture hangs."""

_INITIAL_LEVELS = 32
"""Steps from zero to the largest weight of a row at the start."""

_BIAS_LEVELS = 256
_LEAST_SCALE = 0.02
"""Mean magnitude in steps below which rows and columns are not told apart."""


@dataclass(frozen=True, eq=False)
class RoundedLayer:
    """A layer as it will be stored, with gradients.

    weight, bias : rounded to steps
    weight_in_steps, bias_in_steps : before rounding
    """

    weight: Tensor
    bias: Tensor
    weight_in_steps: Tensor
    bias_in_steps: Tensor


class QuantisedLayer(nn.Module):
    """Weights (out, in) with a step for each row and a mask, biases (out,) with one step."""

    mask: Tensor

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        largest = weight.abs().amax(dim=1, keepdim=True)
        floor = float(largest.mean()) * 1e-2 + 1e-12
        self.log2_step = nn.Parameter((largest.clamp_min(floor) / _INITIAL_LEVELS).log2())
        reach = float(bias.abs().max()) + 1e-6
        self.log2_bias_step = nn.Parameter(torch.tensor(reach / _BIAS_LEVELS).log2())
        self.register_buffer("mask", torch.ones_like(weight))
        self.may_return = True

    def forward(self) -> RoundedLayer:
        """Return the rounded layer."""
        step, bias_step = self.log2_step.exp2(), self.log2_bias_step.exp2()
        masked = self.weight * self.mask
        if self.may_return:
            # The gradient reaches pruned weights too: those that are missed grow and come back.
            masked = self.weight + (masked - self.weight).detach()
        in_steps = masked / step
        bias_in_steps = self.bias / bias_step
        return RoundedLayer(
            round_straight_through(in_steps) * step,
            round_straight_through(bias_in_steps) * bias_step,
            in_steps,
            bias_in_steps,
        )

    @torch.no_grad()
    def round_steps(self) -> None:
        """Move the steps to values that a file can hold, and learn them no more."""
        for parameter in (self.log2_step, self.log2_bias_step):
            exponents = (parameter * EXPONENTS_PER_OCTAVE).round().clamp(LOWEST_EXPONENT, HIGHEST_EXPONENT)
            parameter.copy_(exponents / EXPONENTS_PER_OCTAVE)
            parameter.requires_grad_(False)


class QuantisedNetwork(nn.Module):
    """The layers of a radiance network, each quantised."""

    def __init__(self, network: RadianceMlp) -> None:
        super().__init__()
        self.shape = network.shape
        self.names = tuple(network.linear_layers())
        self.layers = nn.ModuleList(QuantisedLayer(layer) for layer in network.linear_layers().values())

    def layer(self, index: int) -> QuantisedLayer:
        """Return one layer."""
        layer = self.layers[index]
        assert isinstance(layer, QuantisedLayer)
        return layer

    def let_return(self, may_return: bool) -> None:
        """Say whether pruned weights learn, so that they can come back."""
        for index in range(len(self.names)):
            self.layer(index).may_return = may_return

    @property
    def prunable(self) -> list[QuantisedLayer]:
        """The layers whose weights may be pruned."""
        return [self.layer(index) for index, name in enumerate(self.names) if name not in SPARED]

    def forward(self) -> tuple[dict[str, Tensor], Tensor]:
        """Return the rounded parameters by name, for `torch.func.functional_call`, and their bits."""
        parameters: dict[str, Tensor] = {}
        bits = []
        for index, name in enumerate(self.names):
            rounded = self.layer(index)()
            parameters[f"{name}.weight"], parameters[f"{name}.bias"] = rounded.weight, rounded.bias
            bits.append(_weight_bits(rounded.weight_in_steps))
            bits.append(_bias_bits(rounded.bias_in_steps))
        return parameters, torch.stack(bits).sum()


def _weight_bits(in_steps: Tensor) -> Tensor:
    """Return the estimated bits of weights in steps (out, in), whose rows' and columns' means are known."""
    magnitudes = in_steps.detach().round().abs()
    rows, columns = magnitudes.mean(dim=1, keepdim=True), magnitudes.mean(dim=0, keepdim=True)
    scale = (rows + _LEAST_SCALE) * (columns + _LEAST_SCALE) / (magnitudes.mean() + _LEAST_SCALE)
    return laplace_bits_of(in_steps, scale)


def _bias_bits(in_steps: Tensor) -> Tensor:
    """Return the estimated bits of biases in steps (out,)."""
    return laplace_bits_of(in_steps, in_steps.detach().abs().mean() + _LEAST_SCALE)
