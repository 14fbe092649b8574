"""Radiance networks without the layers that no ReLU separates from the next one.

Two linear maps in a row are one. The networks of some implementations have such a pair in the trunk, and
those of the original one have a bottleneck without ReLU, whose map goes into the view layer's:

    hidden -> A -> B -> relu    becomes    hidden -> B A -> relu
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from scene_codec.networks.radiance_mlp import RadianceMlp, RadianceShape
from scene_codec.networks.radiance_parameters import radiance_network

_Layers = dict[str, tuple[Tensor, Tensor]]


@torch.no_grad()
def folded(network: RadianceMlp) -> RadianceMlp:
    """Return an equivalent network in which linear layers are multiplied into the linear layers behind them.

    A pair is left as it is when its product has as many parameters or more. The products are computed in
    float64. The result shares no weights with `network`; it has its type and device and needs no gradients.
    """
    shape = network.shape
    layers: _Layers = {
        name: (layer.weight.double(), layer.bias.double()) for name, layer in network.linear_layers().items()
    }
    index = 0
    while index < len(shape.trunk) - 1:
        smaller = _without_trunk_layer(shape, index)
        if index in shape.linear and smaller.parameters < shape.parameters:
            layers = _merge_trunk_layers(shape, layers, index)
            shape = smaller
        else:
            index += 1
    if shape.bottleneck and not shape.bottleneck_relu:
        smaller = replace(shape, bottleneck=0)
        if smaller.parameters < shape.parameters:
            layers = _merge_bottleneck(layers)
            shape = smaller
    kind = network.density.weight
    return radiance_network(
        shape,
        {
            name: (weight.to(kind, copy=True).contiguous(), bias.to(kind, copy=True))
            for name, (weight, bias) in layers.items()
        },
    )


def _without_trunk_layer(shape: RadianceShape, index: int) -> RadianceShape:
    """Return the shape when a layer of the trunk is multiplied into the next one."""
    merged = {skip if skip <= index else skip - 1 for skip in shape.skips}
    return replace(
        shape,
        trunk=shape.trunk[:index] + shape.trunk[index + 1 :],
        skips=tuple(sorted(merged - {0})),
        linear=tuple(layer if layer < index else layer - 1 for layer in shape.linear if layer != index),
    )


def _merge_trunk_layers(shape: RadianceShape, layers: _Layers, index: int) -> _Layers:
    """Return the layers with one of the trunk multiplied into the next one.

    What the pair gets from the encoding, directly or through the first layer, is added up.
    """
    (first, first_bias), (second, second_bias) = layers[f"trunk.{index}"], layers[f"trunk.{index + 1}"]
    encoding = shape.position_values
    through = encoding if index == 0 or index in shape.skips else 0
    direct = encoding if index + 1 in shape.skips else 0
    weight = second[:, direct:] @ first
    bias = second_bias + second[:, direct:] @ first_bias
    if direct and through:
        weight[:, :encoding] += second[:, :encoding]
    elif direct:
        weight = torch.cat([second[:, :encoding], weight], dim=1)
    merged = {}
    for name, pair in layers.items():
        part, _, number = name.partition(".")
        if part != "trunk" or int(number) < index:
            merged[name] = pair
        elif int(number) == index:
            merged[name] = (weight, bias)
        elif int(number) > index + 1:
            merged[f"trunk.{int(number) - 1}"] = pair
    return merged


def _merge_bottleneck(layers: _Layers) -> _Layers:
    """Return the layers with the bottleneck multiplied into the first view layer."""
    (first, first_bias), (second, second_bias) = layers["bottleneck"], layers["view.0"]
    split = len(first_bias)
    weight = torch.cat([second[:, :split] @ first, second[:, split:]], dim=1)
    merged = {name: pair for name, pair in layers.items() if name != "bottleneck"}
    return merged | {"view.0": (weight, second_bias + second[:, :split] @ first_bias)}
