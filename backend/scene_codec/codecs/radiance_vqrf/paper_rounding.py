"""Values in eight bits, as the released code of VQRF (Li et al. 2023) rounds them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_STEPS_PER_DEVIATION = 15.0
_LOWEST, _HIGHEST = -128, 127


@dataclass(frozen=True, eq=False)
class EightBits:
    """Values of one tensor.

    stored : int8, any shape; a value is (stored - zero) * scale
    scale : a float32
    zero : int8
    """

    stored: NDArray[np.int8]
    scale: float
    zero: int

    def values(self) -> Tensor:
        """Return the values, float32."""
        steps = torch.from_numpy(self.stored.astype(np.float32)) - float(self.zero)
        return steps * self.scale


def eight_bits(values: Tensor) -> EightBits:
    """Return values in steps of a fifteenth of their deviation, around their rounded mean.

    The zero is the mean in units of the values, not of steps, as it is there. Values all equal, which have no
    deviation, get steps that reach the largest.
    """
    wide = values.detach().double().cpu()
    scale = float(np.float32(float(wide.std()) / _STEPS_PER_DEVIATION)) if wide.numel() > 1 else 0.0
    zero = 0
    if scale > 0.0:
        zero = min(max(round(float(wide.mean())), _LOWEST), _HIGHEST)
    elif wide.numel():
        scale = float(np.float32(float(wide.abs().max()) / _HIGHEST))
    scale = scale or 1.0
    stored = ((wide / scale).round() + zero).clamp(_LOWEST, _HIGHEST)
    return EightBits(stored.to(torch.int8).numpy(), scale, zero)
