"""Linear layers in integers: those of a quantised network, and plain ones at 16 bits a weight."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from scene_codec.codecs.nerf_pruned.quantised_network import SPARED, QuantisedNetwork
from scene_codec.codecs.radiance_parts.row_steps import (
    EXPONENTS_PER_OCTAVE,
    HIGHEST_EXPONENT,
    LOWEST_EXPONENT,
    step_values,
)
from scene_codec.codecs.radiance_parts.weight_coding import IntegerLayer
from scene_codec.networks.radiance_shape import RadianceShape

_PLAIN_LEVELS = 2**15


def quantised_integer_layers(network: QuantisedNetwork) -> tuple[IntegerLayer, ...]:
    """Return the layers of a network whose steps are those of a file."""
    layers = []
    with torch.no_grad():
        for index in range(len(network.names)):
            own = network.layer(index)
            rounded = own()
            exponents = (own.log2_step.reshape(-1) * EXPONENTS_PER_OCTAVE).round()
            layers.append(
                IntegerLayer(
                    _integers(rounded.weight_in_steps),
                    _integers(rounded.bias_in_steps),
                    _integers(exponents),
                    round(float(own.log2_bias_step) * EXPONENTS_PER_OCTAVE),
                )
            )
    return tuple(layers)


def plain_integer_layers(layers: Sequence[nn.Linear]) -> tuple[IntegerLayer, ...]:
    """Return layers with steps so small that rounding changes nothing that can be seen."""
    result = []
    for layer in layers:
        weight, bias = layer.weight.detach().double().cpu(), layer.bias.detach().double().cpu()
        exponents = np.array([_plain_exponent(row) for row in weight], np.int32)
        bias_exponent = _plain_exponent(bias)
        steps = torch.from_numpy(step_values(exponents))
        bias_step = float(step_values(np.array([bias_exponent]))[0])
        result.append(
            IntegerLayer(
                _integers(weight / steps[:, None]), _integers(bias / bias_step), exponents, bias_exponent
            )
        )
    return tuple(result)


def share_of_zeros(shape: RadianceShape, layers: Sequence[IntegerLayer], whole: RadianceShape) -> float:
    """Return which share of the prunable weights of a shape `whole` is zero, or gone with its neuron."""
    every = sum(inputs * outputs for name, inputs, outputs in whole.layers if name not in SPARED)
    left = sum(
        int(np.count_nonzero(layer.weights))
        for (name, _, _), layer in zip(shape.layers, layers, strict=True)
        if name not in SPARED
    )
    return 1.0 - left / every


def _plain_exponent(values: Tensor) -> int:
    """Return the exponent of a step of which the largest value has 2^15."""
    largest = max(float(values.abs().max()), 1e-12)
    exponent = math.ceil(EXPONENTS_PER_OCTAVE * math.log2(largest / _PLAIN_LEVELS))
    return min(max(exponent, LOWEST_EXPONENT), HIGHEST_EXPONENT)


def _integers(values: Tensor) -> NDArray[np.int32]:
    return values.round().to(torch.int32).cpu().numpy()
