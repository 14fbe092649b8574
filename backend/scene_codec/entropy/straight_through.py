"""Quantisation inside training: rounded values forward, a usable gradient backward (torch)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scene_codec.entropy.quantisers import QuantisationStep

NECGS_LEVELS_PER_UNIT = 128


def round_straight_through(values: Tensor) -> Tensor:
    """Return the nearest integers; the gradient passes as if nothing had been rounded."""
    # The sum is exact: rounded and original number are so close that their difference is a floating-point
    # number.
    return values + (values.round() - values).detach()


def quantise_clamped(values: Tensor) -> Tensor:
    """Return values clamped to [-1, 1] and rounded to multiples of 1/128: the 257 levels of NeCGS.

    The gradient is 1 inside the range and 0 outside. Source: NeCGS (arXiv 2405.15034) and its released code.
    """
    scaled = values.clamp(-1.0, 1.0) * NECGS_LEVELS_PER_UNIT
    return round_straight_through(scaled) / NECGS_LEVELS_PER_UNIT


class LearnedStep(nn.Module):
    """A quantisation step for each channel, learned with the values that it quantises.

    The gradient of the step is that of LSQ (Esser et al., ICLR 2020, equation 3), without its scaling: the
    change of the rounded value when the step changes and the number of steps stays.
    """

    def __init__(self, channels: int, initial_step: float) -> None:
        super().__init__()
        self.log2_step = nn.Parameter(torch.full((channels,), initial_step).log2())

    def in_steps(self, values: Tensor) -> Tensor:
        """Return `values` (..., channels) as real multiples of the step."""
        return values * (-self.log2_step).exp2()

    def forward(self, values: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return quantised values and the same in steps, both (..., channels).

        generator : when given, the values get uniform noise of one step's width in place of being rounded
        """
        exact = self.in_steps(values)
        if generator is None:
            steps = round_straight_through(exact)
        else:
            noise = torch.rand(exact.shape, generator=generator, device=generator.device, dtype=exact.dtype)
            steps = exact + noise.to(exact.device) - 0.5
        return steps * self.log2_step.exp2(), steps

    def freeze(self) -> list[QuantisationStep]:
        """Return the steps that a file holds, one for each channel, and go on with these."""
        steps = [QuantisationStep.nearest(value) for value in self.log2_step.detach().exp2().tolist()]
        with torch.no_grad():
            exact = torch.tensor([step.value for step in steps], dtype=torch.float64)
            self.log2_step.copy_(exact.log2())
        return steps
