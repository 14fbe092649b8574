"""Layers as checkpoints hold them, and the radiance network that they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from scene_codec.errors import UnsupportedSceneError
from scene_codec.networks.radiance_mlp import RadianceMlp, RadianceShape
from scene_codec.networks.radiance_parameters import radiance_network
from scene_codec.radiance.scene_domain import SceneDomain

LARGEST_FILE = 256 * 1024 * 1024
"""Bytes of a checkpoint; two networks of 8 layers of 256 with the optimiser's state take 14 million."""

EXPECTED_LAYOUTS = (
    "A trained NeRF is expected in one of three layouts: model_NNNNNN.npy with model_fine_NNNNNN.npy beside "
    "it (bmild/nerf), NNNNNN.tar (yenchenlin/nerf-pytorch) or checkpointNNNNN.ckpt (krrish94/nerf-pytorch)."
)

_MOST_LAYERS = 64
"""Of a trunk, and between bottleneck and colour."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredLayer:
    """A linear layer.

    name : what the file calls it
    weight : (outputs, inputs) float32
    bias : (outputs,) float32
    """

    name: str
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredNetwork:
    """The layers of one network by their role, and what their sizes do not tell.

    linear : layers of the trunk that are not followed by a ReLU
    bottleneck_relu : whether a ReLU follows the bottleneck
    encoding_last : whether a skip puts the encoded position behind the layer's other inputs
    """

    trunk: Sequence[StoredLayer]
    density: StoredLayer
    bottleneck: StoredLayer
    view: Sequence[StoredLayer]
    colour: StoredLayer
    linear: tuple[int, ...] = ()
    bottleneck_relu: bool = False
    encoding_last: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredPair:
    """What a checkpoint holds: its networks, the step, the learning rate, and the space of the scene."""

    coarse: RadianceMlp | None
    fine: RadianceMlp
    step: int = 0
    learning_rate: float | None = None
    domain: SceneDomain | None = None


def unexpected(path: Path, reason: str) -> UnsupportedSceneError:
    """Return the error for a file of another layout."""
    return UnsupportedSceneError(f"'{path.name}' {reason}. {EXPECTED_LAYOUTS}")


def without_directions(path: Path) -> UnsupportedSceneError:
    """Return the error for a network that does not know where it is seen from."""
    return UnsupportedSceneError(
        f"'{path.name}' is a NeRF without view directions (use_viewdirs = False), which is not supported: "
        "its last layer gives colour and density together. Train it with use_viewdirs = True."
    )


def stored_layer(
    path: Path, name: str, weight: NDArray[np.generic], bias: NDArray[np.generic]
) -> StoredLayer:
    """Return a layer as float32.

    weight : (outputs, inputs)
    bias : (outputs,)

    Raises `UnsupportedSceneError` naming the layer when its sizes do not fit or a value is not finite.
    """
    if weight.ndim != 2 or bias.shape != weight.shape[:1] or 0 in weight.shape:
        raise UnsupportedSceneError(
            f"'{path.name}': {name} has weights {weight.shape} and biases {bias.shape}, which is no layer."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        single = [np.ascontiguousarray(values, dtype=np.float32) for values in (weight, bias)]
    for values, kind in zip(single, ("weights", "biases"), strict=True):
        if not np.isfinite(values).all():
            raise UnsupportedSceneError(
                f"'{path.name}': the {kind} of {name} are not all finite. The training diverged, or the file "
                "is damaged; take an earlier checkpoint."
            )
    return StoredLayer(name=name, weight=single[0], bias=single[1])


def network_of(path: Path, stored: StoredNetwork) -> RadianceMlp:
    """Return the network of stored layers: float32, without gradients.

    Depth, widths, octaves and skips follow from the sizes of the layers. Raises `UnsupportedSceneError`
    naming the layer that does not fit.
    """
    if max(len(stored.trunk), len(stored.view)) > _MOST_LAYERS:
        raise UnsupportedSceneError(f"'{path.name}' has more than {_MOST_LAYERS} layers in a row.")
    octaves = _octaves(path, stored.trunk[0], 0)
    encoding = stored.trunk[0].weight.shape[1]
    trunk, skips = [stored.trunk[0]], []
    for index, layer in enumerate(stored.trunk[1:], 1):
        inputs, before = layer.weight.shape[1], len(trunk[-1].bias)
        if inputs == before + encoding:
            skips.append(index)
            trunk.append(_encoding_first(layer, before) if stored.encoding_last else layer)
        else:
            _check_inputs(path, layer, before, f", or {before + encoding} with the encoded position")
            trunk.append(layer)
    features, bottleneck = len(trunk[-1].bias), len(stored.bottleneck.bias)
    _check_inputs(path, stored.density, features)
    _check_inputs(path, stored.bottleneck, features)
    _check_outputs(path, stored.density, 1)
    _check_outputs(path, stored.colour, 3)
    for layer, after in zip(stored.view, [*stored.view[1:], stored.colour], strict=True):
        _check_inputs(path, after, len(layer.bias))
    shape = RadianceShape(
        position_octaves=octaves,
        direction_octaves=_octaves(path, stored.view[0], bottleneck),
        trunk=tuple(len(layer.bias) for layer in trunk),
        skips=tuple(skips),
        linear=stored.linear,
        bottleneck=bottleneck,
        bottleneck_relu=stored.bottleneck_relu,
        view=tuple(len(layer.bias) for layer in stored.view),
    )
    layers = [*trunk, stored.density, stored.bottleneck, *stored.view, stored.colour]
    tensors = [
        (torch.from_numpy(layer.weight.copy()), torch.from_numpy(layer.bias.copy())) for layer in layers
    ]
    names = [name for name, _, _ in shape.layers]
    return radiance_network(shape, dict(zip(names, tensors, strict=True)))


def _octaves(path: Path, layer: StoredLayer, others: int) -> int:
    """Return the octaves of the encoding that a layer gets beside its other inputs."""
    inputs = int(layer.weight.shape[1]) - others
    if inputs < 3 or (inputs - 3) % 6:
        raise UnsupportedSceneError(
            f"'{path.name}': {layer.name} gets {inputs} values of an encoded position or direction. It must "
            "be 3 + 6 L: the three coordinates, and sine and cosine of each at L octaves."
        )
    return (inputs - 3) // 6


def _check_inputs(path: Path, layer: StoredLayer, inputs: int, otherwise: str = "") -> None:
    if layer.weight.shape[1] != inputs:
        raise UnsupportedSceneError(
            f"'{path.name}': {layer.name} takes {layer.weight.shape[1]} values and should take {inputs}"
            f"{otherwise}."
        )


def _check_outputs(path: Path, layer: StoredLayer, outputs: int) -> None:
    if len(layer.bias) != outputs:
        raise UnsupportedSceneError(
            f"'{path.name}': {layer.name} gives {len(layer.bias)} values and should give {outputs}."
        )


def _encoding_first(layer: StoredLayer, others: int) -> StoredLayer:
    """Return a layer whose last inputs come first."""
    weight = np.concatenate([layer.weight[:, others:], layer.weight[:, :others]], axis=1)
    return StoredLayer(name=layer.name, weight=weight, bias=layer.bias)
