"""Radiance networks made of weights that are there already."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from scene_codec.networks.radiance_mlp import RadianceMlp, RadianceShape


def radiance_network(shape: RadianceShape, layers: Mapping[str, tuple[Tensor, Tensor]]) -> RadianceMlp:
    """Return the network of a shape with the given weights, in evaluation mode and without gradients.

    layers : weights (outputs, inputs) and biases (outputs,) of every layer by its name in `shape.layers`;
        they are taken as they are, not copied
    """
    with torch.device("meta"):  # neither memory nor random numbers for weights that are replaced
        network = RadianceMlp(shape)
    state: dict[str, Tensor] = {}
    for name, (weight, bias) in layers.items():
        state |= {f"{name}.weight": weight.detach(), f"{name}.bias": bias.detach()}
    network.load_state_dict(state, assign=True)
    return network.requires_grad_(False).eval()
