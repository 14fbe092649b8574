"""The small network of a field with its weights rounded as the file holds them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scene_codec.codecs.radiance_parts.row_steps import (
    EXPONENTS_PER_OCTAVE,
    HIGHEST_EXPONENT,
    LOWEST_EXPONENT,
    step_values,
)
from scene_codec.codecs.radiance_parts.weight_coding import IntegerLayer
from scene_codec.voxel_fields.shading import LinearLayer

TRAINED_LEVELS = 31
PLAIN_LEVELS = 127
"""Steps from zero to the largest weight of a row, when the network learns with them and when it does not."""

_FINER_BIASES = 16
"""Steps of a bias to one of so large a weight."""


def integer_layers(layers: Sequence[LinearLayer], levels: int) -> tuple[IntegerLayer, ...]:
    """Return layers in whole steps, a step for each row of weights, so many to its largest."""
    result = []
    for weight, bias in layers:
        exponents = _exponents(weight.detach().abs().amax(dim=1) / levels)
        bias_exponents = _exponents(bias.detach().abs().max()[None] / (_FINER_BIASES * levels))
        result.append(
            IntegerLayer(
                _in_steps(weight, exponents),
                _in_steps(bias[None], bias_exponents)[0],
                exponents,
                int(bias_exponents[0]),
            )
        )
    return tuple(result)


def _exponents(steps: Tensor) -> NDArray[np.int32]:
    """Return exponents whose steps are at least so large."""
    least = math.ldexp(1.0, LOWEST_EXPONENT // EXPONENTS_PER_OCTAVE)
    exact = EXPONENTS_PER_OCTAVE * torch.log2(steps.double().clamp_min(least))
    return exact.ceil().clamp(LOWEST_EXPONENT, HIGHEST_EXPONENT).to(torch.int32).cpu().numpy()


def _in_steps(values: Tensor, exponents: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the nearest multiples (rows, n) of each row's step."""
    steps = torch.from_numpy(step_values(exponents))[:, None]
    return (values.detach().double().cpu() / steps).round().to(torch.int32).numpy()
