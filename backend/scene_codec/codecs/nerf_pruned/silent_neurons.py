"""Leaves out neurons that nobody listens to: rows and columns of integer layers that change nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from scene_codec.codecs.radiance_parts.weight_coding import IntegerLayer
from scene_codec.networks.radiance_neurons import heard_weights, kept_columns, kept_shape, listeners
from scene_codec.networks.radiance_shape import RadianceShape


def without_silent_neurons(
    shape: RadianceShape, layers: Sequence[IntegerLayer]
) -> tuple[RadianceShape, tuple[IntegerLayer, ...]]:
    """Return the same function by a network without the neurons whose outgoing weights are all zero.

    Each layer keeps one neuron at least.
    """
    while True:
        weights = {
            name: torch.from_numpy(layer.weights)
            for (name, _, _), layer in zip(shape.layers, layers, strict=True)
        }
        kept = {}
        for name in listeners(shape):
            heard = (heard_weights(weights, shape, name) != 0).any(dim=0)
            kept[name] = (
                heard.nonzero().squeeze(1) if bool(heard.any()) else torch.zeros(1, dtype=torch.int64)
            )
        smaller = kept_shape(shape, kept)
        if smaller == shape:
            return shape, tuple(layers)
        columns = kept_columns(shape, kept)
        layers = [
            _selected(
                layer,
                np.arange(outputs) if name not in kept else kept[name].numpy(),
                columns[name].numpy(),
            )
            for (name, _, outputs), layer in zip(shape.layers, layers, strict=True)
        ]
        shape = smaller


def _selected(
    layer: IntegerLayer,
    rows: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    columns: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
) -> IntegerLayer:
    """Return some rows and columns of a layer."""
    return IntegerLayer(
        np.ascontiguousarray(layer.weights[rows][:, columns]),
        layer.biases[rows],
        layer.exponents[rows],
        layer.bias_exponent,
    )
