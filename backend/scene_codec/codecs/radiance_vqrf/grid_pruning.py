"""Which nodes of a grid are worth their bits, and what stands for those that are left out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from scene_codec.voxel_fields.grid_model import GridModel, visible_nodes
from scene_codec.voxel_fields.node_lattice import NodeIndex

_LOSSES_OF_SQUARE = (6.0, 20.0, 60.0, 200.0, 600.0, 2000.0)
"""Squared errors that may come with a node's squared share: the more, the more nodes a ray loses at once.
Hard surfaces are near the first, fields full of faint nodes near the last, where the first loses 3 dB."""

_INVISIBLE = 0.25
"""Of the opacity below which a renderer passes over a sample: that of one between nodes that are left out."""

_LEAST_OPACITY = 1e-4


def empty_value(model: GridModel) -> float:
    """Return the raw density at which nothing is seen."""
    rule, step = model.rule, model.step
    if not rule.softplus:
        return -rule.shift
    size = step.size * (min(model.index.lattice.voxel) if step.in_voxels else 1.0)
    opacity = _INVISIBLE * max(model.limits.alpha, _LEAST_OPACITY)
    return math.log(math.expm1(-math.log1p(-opacity) / (size * rule.scale))) - rule.shift


def rebased(model: GridModel) -> GridModel:
    """Return the same field with raw densities counted from where nothing is seen.

    A node that is left out counts as zero then and adds nothing; values below are of no use and cut.
    """
    empty = empty_value(model)
    raw_density = (model.raw_density - empty).clamp_min(0.0)
    return replace(model, raw_density=raw_density, rule=replace(model.rule, shift=model.rule.shift + empty))


def restricted(model: GridModel, rows: Tensor) -> GridModel:
    """Return a field that holds some rows (rows,) bool alone."""
    held = torch.zeros(model.index.lattice.nodes, dtype=torch.bool, device=rows.device)
    held[model.index.held[rows]] = True
    # Rows of the new index follow the nodes, whatever the order was before.
    order = model.index.row[held.nonzero().squeeze(1)].long()
    index = NodeIndex.of_mask(model.index.lattice, held)
    kept = replace(model, index=index, raw_density=model.raw_density[order], features=model.features[order])
    return replace(kept, mask=visible_nodes(kept))


def worth_keeping(
    model: GridModel, squares: Tensor, error_of: Callable[[GridModel], float], error_per_node: float
) -> Tensor:
    """Return which nodes (rows,) cost less than what is lost without them, none where nothing is seen.

    Nodes are left out in the order of their squares; how many, pictures tell.

    squares : `NodeStatistics.squares`
    error_of : squared error of the pictures of a field
    error_per_node : squared error that a node's bits are worth
    """
    best, least = torch.zeros_like(squares, dtype=torch.bool), math.inf
    for loss in _LOSSES_OF_SQUARE:
        keep = loss * squares > error_per_node
        count = int(keep.sum())
        if count == 0 or count == int(best.sum()):
            continue
        cost = error_of(restricted(model, keep)) + count * error_per_node
        if cost < least:
            best, least = keep, cost
    return best
