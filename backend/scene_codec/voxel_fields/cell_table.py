"""The held cells of a grid with the densities of their nodes: what interactive pictures are rendered from.

Densities are kept eight to a cell, so that a sample reads one place in memory; features stay one to a node.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scene_codec.voxel_fields.grid_model import GridModel
from scene_codec.voxel_fields.held_cells import HeldCells
from scene_codec.voxel_fields.node_lattice import NodeIndex
from scene_codec.voxel_fields.voxel_model import DensityRule


@dataclass(frozen=True, eq=False)
class CellTable:
    """Held cells and what their nodes hold.

    densities : (held, 8) float32, raw, of the nodes of each held cell
    rows : (held, 8) int32, of the same nodes in the table of features
    features : (nodes of held cells, c) float32
    rule : from interpolated raw densities to densities
    step : distance between samples, in the field's units
    """

    cells: HeldCells
    densities: Tensor
    rows: Tensor
    features: Tensor
    rule: DensityRule
    step: float

    @staticmethod
    def of_model(model: GridModel, alpha: float, stretch: float = 1.0) -> CellTable:
        """Return the table of a grid of the plain kind.

        alpha : cells are held that have a node more opaque than this in one of the model's steps
        stretch : samples are so many of the model's steps apart
        """
        lattice = model.index.lattice
        least = raw_density_of(model.rule, -math.log1p(-alpha) / model.step.size)
        raw = model.raw_density.detach()
        opaque = torch.zeros(lattice.nodes, dtype=torch.bool, device=raw.device)
        opaque[model.index.held[raw.squeeze(1) > least]] = True
        cells = HeldCells.of_nodes(lattice, opaque)
        if model.mask is not None:
            cells = _looked_at(cells, model)
        densities = _moved(raw, model.index, cells.index)
        features = _moved(model.features.detach(), model.index, cells.index)
        return CellTable(
            cells,
            densities[cells.rows.view(-1)].view(-1, 8),
            cells.rows.to(torch.int32),
            features,
            model.rule,
            stretch * model.step.size,
        )

    @property
    def stored_bytes(self) -> int:
        """Bytes that the tables take in memory."""
        cells = self.cells
        tables = (
            self.densities, self.rows, self.features,
            cells.cell, cells.near, cells.blocks, cells.rows, cells.index.row,
        )  # fmt: skip
        return sum(table.numel() * table.element_size() for table in tables)

    def as_model(self, model: GridModel) -> GridModel:
        """Return the grid that the table was made of, with the nodes of held cells alone."""
        raw = _moved(model.raw_density.detach(), model.index, self.cells.index)
        return replace(model, index=self.cells.index, raw_density=raw, features=self.features, mask=None)

    def least_raw_density(self, alpha: float) -> float:
        """Return the raw density above which a sample is more opaque than `alpha`."""
        return raw_density_of(self.rule, -math.log1p(-alpha) / self.step)


def raw_density_of(rule: DensityRule, density: float) -> float:
    """Return the raw value of a density; that of densities too small for a softplus is minus infinity."""
    positive = density / rule.scale
    if not rule.softplus:
        return positive - rule.shift
    if positive > 30.0:  # where a softplus is its argument in single precision
        return positive - rule.shift
    return (math.log(math.expm1(positive)) if positive > 0.0 else -math.inf) - rule.shift


def _looked_at(cells: HeldCells, model: GridModel) -> HeldCells:
    """Return the cells in which the model's mask lets anything be looked at."""
    lattice = cells.index.lattice
    _, y, z = (count - 1 for count in lattice.shape)
    held = (cells.cell >= 0).nonzero().squeeze(1)
    place = torch.stack([held // (y * z), held // z % y, held % z], dim=1).float() + 0.5
    low, voxel = (torch.tensor(values, device=held.device) for values in (lattice.low, lattice.voxel))
    near = model.may_be_near(low + place * voxel, 0.5 * max(lattice.voxel))
    if bool(near.all()):
        return cells
    chosen = torch.zeros_like(cells.near)
    chosen[held[near]] = True
    return HeldCells.of_cells(lattice, chosen)


def _moved(table: Tensor, old: NodeIndex, new: NodeIndex) -> Tensor:
    """Return a table for the rows of another index of the same lattice; nodes without a row are zero."""
    row = old.row[new.held]
    moved = table[row.clamp_min(0).long()]
    moved[row < 0] = 0.0
    return moved.contiguous()
