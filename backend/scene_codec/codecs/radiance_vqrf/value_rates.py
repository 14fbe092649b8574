"""What values cost in bits while they are chosen, as near as can be to what the coder of nodes will take."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scene_codec.entropy.node_values import predictions

_LEAST_SCALE = 0.05
_LEAST_SPREAD = 1.0 / 32
_ROUNDS = 2


@dataclass(frozen=True, eq=False)
class ValueRates:
    """Laplace models of values, one for each.

    expected : (nodes, c) what the coder expects
    scale : (nodes, c) of the Laplace model around it
    """

    expected: Tensor
    scale: Tensor

    @staticmethod
    def of(values: Tensor, held: NDArray[np.bool_]) -> ValueRates:
        """Return the models that values (nodes, c) give each other once they are rounded."""
        rounded = values.detach().round().to(torch.int32).cpu().numpy()
        expected, spread = (torch.from_numpy(own).to(values.device) for own in predictions(rounded, held))
        return ValueRates(expected, _scale_of(spread.clamp_min(_LEAST_SPREAD)))

    def bits(self, values: Tensor) -> Tensor:
        """Return the bits (nodes, c) of whole values."""
        off = (values - self.expected).abs()
        outside = (off - 0.5).clamp_min(0.0)
        inside = (0.5 - off).clamp_min(0.0)
        central = -0.5 * (torch.expm1(-inside / self.scale) + torch.expm1(-(1.0 - inside) / self.scale))
        beside = -0.5 * torch.expm1(-1.0 / self.scale)
        nats = torch.where(
            inside > 0, -central.clamp_min(1e-30).log(), outside / self.scale - beside.clamp_min(1e-30).log()
        )
        return nats / math.log(2.0)

    def slopes(self, values: Tensor, rows: Tensor) -> Tensor:
        """Return by how many bits values of rows (n,) cost more with a step upwards, (n, c), smoothed."""
        off = values[rows] - self.expected[rows]
        # The slope of a Laplace model with uniform noise: full outside of one step, in proportion inside.
        return off.clamp(-0.5, 0.5) * 2.0 / (self.scale[rows] * math.log(2.0))


def rounded_to_rate(values: Tensor, weights: Tensor, error_per_bit: float, held: NDArray[np.bool_]) -> Tensor:
    """Return whole values (nodes, c) near real ones: of the two nearest that with less error and rate.

    weights : (nodes, c or 1) error of a squared step
    """
    chosen = values.round()
    for _ in range(_ROUNDS):
        rates = ValueRates.of(chosen, held)
        nearest = values.round()
        towards = nearest + torch.sign(rates.expected - nearest) * ((rates.expected - nearest).abs() >= 0.5)
        costs = [
            weights * (values - candidate).square() + error_per_bit * rates.bits(candidate)
            for candidate in (nearest, towards)
        ]
        chosen = torch.where(costs[1] < costs[0], towards, nearest)
    return chosen


def _scale_of(spread: Tensor) -> Tensor:
    """Return b where a rounded Laplace variable of scale b has so large a mean magnitude.

    The mean magnitude is exp(-1 / 2b) / (1 - exp(-1 / b)); b follows from a quadratic equation.
    """
    # With e = exp(-1 / 2b): spread = e / (1 - e^2).
    root = ((1.0 + 4.0 * spread * spread).sqrt() - 1.0) / (2.0 * spread)
    return (-0.5 / root.clamp(1e-9, 1.0 - 1e-6).log()).clamp_min(_LEAST_SCALE)
