"""Fields of all families as grids of one kind: nodes on the faces of the box, steps in the field's units.

What is coded and fine-tuned is of this kind. Grids whose nodes are the centres of cells keep their nodes, and
get a layer of empty ones around them. Planes and lines are sampled at the nodes that they have.
"""

from __future__ import annotations

import dataclasses
import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from scene_codec.progress import Progress
from scene_codec.voxel_fields.factored_model import FactoredModel, node_counts
from scene_codec.voxel_fields.grid_model import GridModel, GridStep, visible_nodes
from scene_codec.voxel_fields.node_lattice import NodeIndex, NodeLattice
from scene_codec.voxel_fields.voxel_model import VoxelModel

_NODES_AT_ONCE = 1 << 16
_LONGEST_STEP = 0.5
"""Of a voxel: that of the published renderers, and the longest that training samples with."""


def plain_grid(model: VoxelModel, progress: Progress | None = None) -> GridModel:
    """Return a field as a grid of the plain kind. Raises `Cancelled`."""
    if isinstance(model, FactoredModel):
        return _sampled(model, progress or Progress())
    assert isinstance(model, GridModel)
    lattice, row = model.index.lattice, model.index.row
    if lattice.centred:
        row = F.pad(row.view(lattice.shape), (1, 1, 1, 1, 1, 1), value=-1).reshape(-1)
        lattice = _with_margin(lattice)
    size = model.step.size * (min(lattice.voxel) if model.step.in_voxels else 1.0)
    size = min(size, _LONGEST_STEP * _middle(lattice))
    index = NodeIndex(lattice, row)
    return dataclasses.replace(model, index=index, step=GridStep(size))


def _with_margin(lattice: NodeLattice) -> NodeLattice:
    """Return a lattice with one more layer of nodes on each side, the outermost on the faces of its box."""
    x, y, z = (count + 2 for count in lattice.shape)
    half = [0.5 * side for side in lattice.voxel]
    low = [corner - part for corner, part in zip(lattice.low, half, strict=True)]
    high = [corner + part for corner, part in zip(lattice.high, half, strict=True)]
    return NodeLattice((x, y, z), (low[0], low[1], low[2]), (high[0], high[1], high[2]))


def _middle(lattice: NodeLattice) -> float:
    """Return the geometric mean of the distances between nodes."""
    x, y, z = lattice.voxel
    return float((x * y * z) ** (1.0 / 3.0)) * (1.0 + 1e-6)


def _sampled(model: FactoredModel, progress: Progress) -> GridModel:
    """Return what planes and lines say at nodes around which there may be something."""
    lattice = NodeLattice(node_counts(model.density_factors.lines), model.low, model.high)
    device = model.basis.device
    held = torch.zeros(lattice.nodes, dtype=torch.bool, device=device)
    densities, features = [], []
    for start in range(0, lattice.nodes, _NODES_AT_ONCE):
        progress.update(start / lattice.nodes, "sampling planes and lines")
        flat = torch.arange(start, min(start + _NODES_AT_ONCE, lattice.nodes), device=device)
        chosen = flat[_may_touch(model, lattice, flat)]
        held[chosen] = True
        with torch.no_grad():
            density, own = model.stored(lattice.positions(chosen))
        densities.append(density[:, None])
        features.append(own)
    grid = GridModel(
        NodeIndex.of_mask(lattice, held),
        torch.cat(densities),
        torch.cat(features),
        model.shader,
        model.rule,
        GridStep(min(model.step, _LONGEST_STEP * _middle(lattice))),
        model.limits,
    )
    return dataclasses.replace(grid, mask=visible_nodes(grid))


def _may_touch(model: FactoredModel, lattice: NodeLattice, flat: Tensor) -> Tensor:
    """Return which nodes (n,) lie within a cell of where there may be something, (n,) bool."""
    positions = lattice.positions(flat)
    voxel = torch.tensor(lattice.voxel, device=flat.device)
    found = torch.zeros(len(flat), dtype=torch.bool, device=flat.device)
    for offset in itertools.product((-0.5, 0.0, 0.5), repeat=3):
        found |= model.may_hold(positions + voxel * torch.tensor(offset, device=flat.device))
    return found
