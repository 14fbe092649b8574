"""A learner of a voxel field as plain values and tensors, for going on with it later."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from scene_codec.voxel_fields.field_learner import FieldLearner
from scene_codec.voxel_fields.held_cells import HeldCells
from scene_codec.voxel_fields.node_lattice import NodeLattice
from scene_codec.voxel_fields.shading import NetworkShader, PlainShader, Shader
from scene_codec.voxel_fields.table_training import TrainedTable
from scene_codec.voxel_fields.voxel_model import DensityRule, Limits


def learner_state(learner: FieldLearner) -> dict[str, object]:
    """Return all that a learner is."""
    lattice, rule, limits = learner.cells.index.lattice, learner.rule, learner.limits
    shader = learner.shader
    network = None
    if isinstance(shader, NetworkShader):
        layers = [(weight.detach(), bias.detach()) for weight, bias in shader.layers]
        network = layers, shader.inputs, shader.view_octaves
    return {
        "lattice": (lattice.shape, lattice.low, lattice.high),
        "held": learner.cells.cell >= 0,
        "tables": [
            (table.values, table.moments, table.steps, table.shares)
            for table in (learner.density, learner.features)
        ],
        "network": network,
        "rule": (rule.shift, rule.scale),
        "limits": (limits.alpha, limits.weight, limits.dark),
        "voxel": learner.voxel,
        "largest": learner.largest,
    }


def learner_of(state: dict[str, Any], device: torch.device) -> FieldLearner:
    """Return the learner of a state, with weights that record gradients."""
    cells = HeldCells.of_cells(NodeLattice(*state["lattice"]), state["held"].to(device))
    density, features = (_table(stored, device) for stored in state["tables"])
    shift, scale = state["rule"]
    alpha, weight, dark = state["limits"]
    learner = FieldLearner(
        cells,
        (density, features),
        _shader(state["network"], device),
        DensityRule(softplus=True, shift=shift, scale=scale),
        Limits(alpha=alpha, weight=weight, dark=dark),
        state["voxel"],
    )
    learner.largest = state["largest"].to(device)
    return learner


def _table(stored: tuple[Tensor, Tensor, int, Tensor | None], device: torch.device) -> TrainedTable:
    values, moments, steps, shares = stored
    table = TrainedTable(values.to(device))
    table.moments, table.steps = moments.to(device), steps
    table.shares = None if shares is None else shares.to(device)
    return table


def _shader(stored: tuple[list[tuple[Tensor, Tensor]], int, int] | None, device: torch.device) -> Shader:
    if stored is None:
        return PlainShader()
    layers, inputs, octaves = stored
    placed = tuple(
        (weight.to(device).requires_grad_(), bias.to(device).requires_grad_()) for weight, bias in layers
    )
    return NetworkShader(placed, inputs, octaves)
