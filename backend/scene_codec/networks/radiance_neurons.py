"""Radiance networks with fewer neurons: those that matter least are taken away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from scene_codec.networks.radiance_mlp import RadianceMlp, RadianceShape, encode_frequencies


def listeners(shape: RadianceShape) -> dict[str, list[tuple[str, int]]]:
    """Return for each hidden layer who gets its output: name, and the column where it begins there."""
    heard: dict[str, list[tuple[str, int]]] = {}
    last = len(shape.trunk) - 1
    for index in range(last):
        start = shape.position_values if index + 1 in shape.skips else 0
        heard[f"trunk.{index}"] = [(f"trunk.{index + 1}", start)]
    heard[f"trunk.{last}"] = [("density", 0), ("bottleneck" if shape.bottleneck else "view.0", 0)]
    if shape.bottleneck:
        heard["bottleneck"] = [("view.0", 0)]
    for index in range(len(shape.view)):
        following = f"view.{index + 1}" if index + 1 < len(shape.view) else "colour"
        heard[f"view.{index}"] = [(following, 0)]
    return heard


def heard_weights(weights: Mapping[str, Tensor], shape: RadianceShape, name: str) -> Tensor:
    """Return the weights (rows, neurons) of all that listen to a hidden layer.

    weights : (rows, columns) of every layer by name
    """
    width = weights[name].shape[0]
    return torch.cat([weights[who][:, start : start + width] for who, start in listeners(shape)[name]])


@torch.no_grad()
def layer_inputs(network: RadianceMlp, positions: Tensor, directions: Tensor) -> dict[str, Tensor]:
    """Return what each layer gets, (n, columns), at positions (n, 3) seen from unit directions (n, 3)."""
    inputs: dict[str, Tensor] = {}
    shape = network.shape
    encoded = encode_frequencies(positions, shape.position_octaves)
    hidden = encoded
    for index, layer in enumerate(network.trunk):
        if index in shape.skips:
            hidden = torch.cat([encoded, hidden], dim=1)
        inputs[f"trunk.{index}"] = hidden
        hidden = layer(hidden)
        if index not in shape.linear:
            hidden = hidden.relu()
    inputs["density"] = hidden
    if network.bottleneck is not None:
        inputs["bottleneck"] = hidden
        hidden = network.bottleneck(hidden)
        hidden = hidden.relu() if shape.bottleneck_relu else hidden
    hidden = torch.cat([hidden, encode_frequencies(directions, shape.direction_octaves)], dim=1)
    for index, layer in enumerate(network.view):
        inputs[f"view.{index}"] = hidden
        hidden = layer(hidden).relu()
    inputs["colour"] = hidden
    return inputs


@torch.no_grad()
def neuron_scores(network: RadianceMlp, positions: Tensor, directions: Tensor) -> dict[str, Tensor]:
    """Return how much each hidden neuron matters: its output's root mean square by its weights' norm.

    positions, directions : (n, 3) where the field is used
    """
    shape = network.shape
    inputs = layer_inputs(network, positions, directions)
    weights = {name: layer.weight for name, layer in network.linear_layers().items()}
    scores = {}
    for name, heard in listeners(shape).items():
        who, start = heard[0]
        output = inputs[who][:, start : start + weights[name].shape[0]]
        heard_norm = heard_weights(weights, shape, name).norm(dim=0)
        scores[name] = output.square().mean(dim=0).sqrt() * heard_norm
    return scores


def strongest(scores: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return for each layer the indices, ascending, of the share of neurons with the highest scores."""
    kept = {}
    for name, own in scores.items():
        count = max(1, round(share * len(own)))
        kept[name] = own.argsort(descending=True, stable=True)[:count].sort().values
    return kept


def kept_shape(shape: RadianceShape, kept: Mapping[str, Tensor]) -> RadianceShape:
    """Return the shape of a network of which some neurons of each hidden layer are kept."""
    return replace(
        shape,
        trunk=tuple(len(kept[f"trunk.{index}"]) for index in range(len(shape.trunk))),
        bottleneck=len(kept["bottleneck"]) if shape.bottleneck else 0,
        view=tuple(len(kept[f"view.{index}"]) for index in range(len(shape.view))),
    )


def kept_columns(shape: RadianceShape, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return for each layer the indices of the inputs that are left when neurons are taken away."""
    columns = {name: torch.arange(inputs) for name, inputs, _ in shape.layers}
    widths = {name: outputs for name, _, outputs in shape.layers}
    for name, heard in listeners(shape).items():
        for who, start in heard:
            before, width = columns[who], widths[name]
            inside = (before >= start) & (before < start + width)
            columns[who] = torch.cat(
                [before[before < start], kept[name] + start, before[(before >= start) & ~inside]]
            )
    return columns


@torch.no_grad()
def keep_neurons(network: RadianceMlp, kept: Mapping[str, Tensor]) -> RadianceMlp:
    """Return the network of the given neurons (indices, ascending) of each hidden layer."""
    smaller = RadianceMlp(kept_shape(network.shape, kept)).to(network.density.weight.device)
    columns = kept_columns(network.shape, kept)
    layers = network.linear_layers()
    for name, layer in smaller.linear_layers().items():
        rows = kept.get(name, torch.arange(layer.out_features))
        layer.weight.copy_(layers[name].weight[rows][:, columns[name]])
        layer.bias.copy_(layers[name].bias[rows])
    return smaller
