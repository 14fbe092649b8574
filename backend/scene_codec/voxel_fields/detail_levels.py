"""Coarser versions of a grid, for pictures whose pixels are larger than its voxels."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from scene_codec.voxel_fields.grid_model import GridModel, GridStep
from scene_codec.voxel_fields.node_lattice import NodeIndex, NodeLattice
from scene_codec.voxel_fields.voxel_model import DensityRule

_CHILDREN = 8.0
"""Sum of the weights with which the nodes around a coarser one count for it, between nodes."""

_FAINTEST = 1e-12


def halved(model: GridModel) -> GridModel:
    """Return a grid of the plain kind with half as many nodes along each axis, and a step twice as long.

    A node's density is the mean of those around it, each by how near it is; its features are their mean by
    density. No value is made for a node that has none around it.
    """
    old = model.index.lattice
    shape = tuple(count // 2 + 1 for count in old.shape)
    sides = (2.0 * voxel * (count - 1) for voxel, count in zip(old.voxel, shape, strict=True))
    high = tuple(low + side for low, side in zip(old.low, sides, strict=True))
    lattice = NodeLattice((shape[0], shape[1], shape[2]), old.low, (high[0], high[1], high[2]))
    parents, shares = lattice.corners(old.positions(model.index.held))
    touched = torch.zeros(lattice.nodes, dtype=torch.bool, device=parents.device)
    touched[parents[shares > _FAINTEST]] = True
    index = NodeIndex.of_mask(lattice, touched)
    row = index.row[parents].clamp_min(0).long()
    density = model.rule.density(model.raw_density.detach().squeeze(1))
    total = torch.zeros(len(index.held), device=row.device)
    features = torch.zeros((len(index.held), model.features.shape[1]), device=row.device)
    for corner in range(row.shape[1]):
        share = shares[:, corner] * density
        total.index_add_(0, row[:, corner], share)
        features.index_add_(0, row[:, corner], model.features.detach() * share[:, None])
    features /= total.clamp_min(_FAINTEST)[:, None]
    return dataclasses.replace(
        model,
        index=index,
        raw_density=_stored(model.rule, total / _CHILDREN)[:, None],
        features=features,
        step=GridStep(2.0 * model.step.size),
        mask=None,
    )


def _stored(rule: DensityRule, density: Tensor) -> Tensor:
    """Return the raw values (n,) of densities; no less than that of nodes without a value, which is 0."""
    positive = density / rule.scale
    if rule.softplus:
        # log(exp(x) - 1), in a form that does not overflow; small ones are their own exponential.
        positive = positive + torch.log(-torch.expm1(-positive.clamp_min(_FAINTEST * math.e)))
    return (positive - rule.shift).clamp_min(0.0)
