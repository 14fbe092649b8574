"""Small networks of the public voxel fields as their checkpoints hold them."""

from __future__ import annotations

import re
from collections.abc import Collection

from torch import Tensor

from scene_codec.errors import UnsupportedSceneError
from scene_codec.voxel_fields.shading import LinearLayer
from scene_codec.voxel_fields.stored_entries import StoredEntries, foreign

_MOST_LAYERS = 16
_LARGEST_OCTAVES = 16


def stored_layers(entries: StoredEntries, prefix: str) -> tuple[LinearLayer, ...]:
    """Return the linear layers under a prefix, in the order of the numbers in their names.

    Raises `UnsupportedSceneError` naming the layer that does not follow the one before.
    """
    pattern = re.compile(re.escape(prefix) + r"(\d{1,4})(?:\.\d{1,4})?\.weight")
    found = sorted((int(match[1]), name) for name in entries.names if (match := pattern.fullmatch(name)))
    if not 0 < len(found) <= _MOST_LAYERS:
        raise foreign(entries.path, f"has {len(found)} layers named {prefix}NUMBER.weight")
    layers: list[LinearLayer] = []
    for _, name in found:
        weight = entries.tensor(name, 2)
        bias = entries.tensor(name.removesuffix("weight") + "bias", 1)
        if len(bias) != len(weight) or (layers and weight.shape[1] != len(layers[-1][1])):
            raise UnsupportedSceneError(
                f"'{entries.path.name}': the sizes of {name} {tuple(weight.shape)} and its biases "
                f"({len(bias)}) do not fit, or not to the layer before."
            )
        layers.append((weight, bias))
    if len(layers[-1][1]) != 3:
        raise UnsupportedSceneError(f"'{entries.path.name}': {found[-1][1]} gives no three values.")
    return tuple(layers)


def check_inputs(entries: StoredEntries, layers: Collection[LinearLayer], inputs: int, what: str) -> None:
    """Raise `UnsupportedSceneError` unless the first layer takes so many values."""
    taken = next(iter(layers))[0].shape[1]
    if taken != inputs:
        raise UnsupportedSceneError(
            f"'{entries.path.name}': the network takes {taken} values, and {what} are {inputs}."
        )


def octaves_of(entries: StoredEntries, key: str) -> int:
    """Return how many octaves stored frequencies stand for, which must be 1, 2, 4 ..."""
    frequencies: Tensor | None = entries.tensor(key, 1) if key in entries else None
    count = 0 if frequencies is None else len(frequencies)
    powers = [2.0**index for index in range(count)] if count <= _LARGEST_OCTAVES else None
    if frequencies is not None and frequencies.tolist() != powers:
        raise UnsupportedSceneError(f"'{entries.path.name}': the frequencies in {key} are not 1, 2, 4 ...")
    return count


def octaves(entries: StoredEntries, key: str, default: int) -> int:
    """Return a number of octaves."""
    value = entries.number(key, float(default))
    if not 0 <= value <= _LARGEST_OCTAVES or value != int(value):
        raise UnsupportedSceneError(
            f"'{entries.path.name}': {key} is {value} and should be 0 to {_LARGEST_OCTAVES}."
        )
    return int(value)
