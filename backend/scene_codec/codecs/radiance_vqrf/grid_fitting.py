"""The first quantised form of a grid: which nodes stay, in which coordinates and with which steps.

At high rates a squared error per bit of E is best met with steps of sqrt(6 E / (ln 2 * H)), where H is by how
much the picture's squared error grows with that of a value: error and bits then change alike everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scene_codec.codecs.radiance_vqrf.feature_transform import feature_transform
from scene_codec.codecs.radiance_vqrf.grid_pruning import restricted, worth_keeping
from scene_codec.codecs.radiance_vqrf.stored_field import MAX_HELD
from scene_codec.errors import UnsupportedSceneError
from scene_codec.voxel_fields.grid_model import GridModel
from scene_codec.voxel_fields.node_statistics import NodeStatistics

BITS_PER_KILOBYTE = 8000.0
_LEAST_STEP, _LARGEST_STEP = 1e-6, 1e5
_MOST_STEPS = 1 << 20
"""Of a value from zero, with room for fine-tuning below what can be coded."""

_BITS_OF_NODE = 8.0
"""About what a faint node costs: most of its values are zero, and where it is takes little."""


@dataclass(frozen=True, eq=False)
class FittedGrid:
    """A grid with its nodes chosen, and how its values are counted.

    model : with values as they were, of the nodes that stay
    densities : (nodes, 1) in steps
    features : (nodes, coordinates) in steps
    feature_map : (coordinates, features), as the file has it; features are coordinates @ feature_map
    density_weights : (nodes, 1) by how much the picture's squared error grows with a squared step
    feature_weights : (nodes, 1) likewise, of any coordinate
    """

    model: GridModel
    densities: Tensor
    density_step: float
    features: Tensor
    feature_step: float
    feature_map: Tensor
    density_weights: Tensor
    feature_weights: Tensor


def fit_grid(
    model: GridModel,
    statistics: NodeStatistics,
    error_of: Callable[[GridModel], float],
    error_per_kilobyte: float,
) -> FittedGrid:
    """Return the nodes of a rebased model that are worth their bits, in steps.

    error_of : squared error of the pictures of a field of fewer nodes

    Raises `UnsupportedSceneError` when none is: nothing can be seen.
    """
    error_per_bit = error_per_kilobyte / BITS_PER_KILOBYTE
    keep = worth_keeping(model, statistics.squares, error_of, _BITS_OF_NODE * error_per_bit)
    if not bool(keep.any()):
        raise UnsupportedSceneError("Nothing can be seen in the field from where its cameras are.")
    if int(keep.sum()) > MAX_HELD:
        raise UnsupportedSceneError(
            f"{int(keep.sum())} nodes of the field would be worth their bits, of {MAX_HELD} that a file can "
            "hold: use a larger error_per_kilobyte."
        )
    kept = restricted(model, keep)
    order = model.index.row[kept.index.held].long()
    by_density = statistics.density[order, None]
    by_features = statistics.features[order].mean(dim=1, keepdim=True)
    change = feature_transform(kept.features, by_features.squeeze(1), statistics.coupling)
    coordinates = kept.features @ change.forward
    feature_step = _step(change.sensitivity, error_per_bit, coordinates)
    density_step = _step(float(by_density.mean()), error_per_bit, kept.raw_density)
    feature_map = change.backward.half().float()
    relative = by_features / by_features.mean().clamp_min(1e-30)
    return FittedGrid(
        model=kept,
        densities=kept.raw_density / density_step,
        density_step=density_step,
        features=coordinates / feature_step,
        feature_step=feature_step,
        feature_map=feature_map,
        density_weights=by_density * density_step**2,
        feature_weights=relative * change.sensitivity * feature_step**2,
    )


def _step(sensitivity: float, error_per_bit: float, values: Tensor) -> float:
    """Return a step as float32 holds it, of which the largest value has no more than a file can count."""
    exact = math.sqrt(6.0 * error_per_bit / (math.log(2.0) * max(sensitivity, 1e-30)))
    least = max(_LEAST_STEP, float(values.abs().max()) / _MOST_STEPS)
    if not least < _LARGEST_STEP:
        raise UnsupportedSceneError("The values of the field are too large, or no numbers.")
    return float(torch.tensor(min(max(exact, least), _LARGEST_STEP), dtype=torch.float32))
