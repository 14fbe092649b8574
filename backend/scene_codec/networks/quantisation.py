"""Rounding that gradients pass through: a learned step per channel, and the fixed levels of the paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

STEPS_PER_OCTAVE = 8
"""Learned steps are whole multiples of an eighth of an octave, so that a file stores each in one byte."""

PAPER_LEVELS_PER_UNIT = 128
"""The paper's quantiser: step 2 / 2^8 on [-1, 1], which makes 257 levels (released code)."""

_ROOTS = tuple(2.0 ** (index / STEPS_PER_OCTAVE) for index in range(STEPS_PER_OCTAVE))


class Rounded(NamedTuple):
    """Rounded values, and the values in steps before rounding, from which the rate is estimated."""

    values: Tensor
    in_steps: Tensor


def step_size(exponent: int) -> float:
    """Return the step 2^(exponent / 8) that a file's byte stands for."""
    return math.ldexp(_ROOTS[exponent % STEPS_PER_OCTAVE], exponent // STEPS_PER_OCTAVE)


def round_through(values: Tensor) -> Tensor:
    """Return the rounded values; the gradient passes as if nothing had been rounded."""
    return values + (values.round() - values).detach()


class LearnedQuantiser(nn.Module):
    """Uniform rounding with one learned step per row of its input; the step itself snaps to eighths of an octave."""

    def __init__(self, initial_steps: Tensor) -> None:
        super().__init__()
        self.log_step = nn.Parameter(torch.log2(initial_steps))

    def exponents(self) -> Tensor:
        """Return the steps' exponents (rows,) int64, within a signed byte."""
        return (self.log_step.detach() * STEPS_PER_OCTAVE).round().clamp(-128, 127).to(torch.int64)

    def set_exponents(self, exponents: Sequence[int]) -> None:
        """Take over the steps of a file and learn them no more."""
        with torch.no_grad():
            self.log_step.copy_(torch.tensor(exponents, dtype=torch.float32) / STEPS_PER_OCTAVE)
        self.log_step.requires_grad_(False)

    def forward(self, values: Tensor) -> Rounded:
        """Round (rows, n) values, the gradient of the step included."""
        snapped = round_through(self.log_step * STEPS_PER_OCTAVE).clamp(-128, 127) / STEPS_PER_OCTAVE
        step = torch.exp2(snapped)[:, None]
        in_steps = values / step
        return Rounded(round_through(in_steps) * step, in_steps)


class FixedQuantiser(nn.Module):
    """The paper's rounding to 257 levels on [-1, 1]; no gradient outside, where values are clamped."""

    def exponents(self) -> Tensor:
        """Return the exponent of the one step, (1,) int64."""
        return torch.tensor([-STEPS_PER_OCTAVE * round(math.log2(PAPER_LEVELS_PER_UNIT))])

    def forward(self, values: Tensor) -> Rounded:
        """Clamp and round (rows, n) values."""
        in_steps = values.clamp(-1.0, 1.0) * PAPER_LEVELS_PER_UNIT
        return Rounded(round_through(in_steps) / PAPER_LEVELS_PER_UNIT, in_steps)
