"""The cells of a lattice in which there may be something, and what training looks up in them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from scene_codec.radiance.field_space import FieldRays
from scene_codec.voxel_fields.grid_model import NearestMask
from scene_codec.voxel_fields.node_lattice import NodeIndex, NodeLattice

_RUN = 8
"""Samples of a ray that are looked up together, by their middle, before each is looked up."""

_REACH = 2
"""Cells along an axis from the middle of a run to its ends, at most, for steps of half a voxel."""

LONGEST_STEP = 0.5
"""Of a voxel, for which that is so."""


@dataclass(frozen=True, eq=False)
class CellSamples:
    """Samples of rays in held cells, sorted by ray and distance.

    ray : (n,) int64
    rows : (n, 8) int64, of the nodes around each
    weights : (n, 8) float32
    """

    ray: Tensor
    rows: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.ray)

    def select(self, chosen: Tensor) -> CellSamples:
        """Return some samples, by their index (m,) ascending."""
        return CellSamples(
            self.ray.index_select(0, chosen),
            self.rows.index_select(0, chosen),
            self.weights.index_select(0, chosen),
        )


@dataclass(frozen=True, eq=False)
class HeldCells:
    """Cells between nodes, and a table with a row for each node of such a cell.

    cell : (cells,) int32, number of each held cell, -1 for others; one cell fewer along each axis than nodes
    rows : (held, 8) int64, rows of its nodes
    near : (cells,) bool, whether a held one is `_REACH` cells away at most
    """

    index: NodeIndex
    cell: Tensor
    rows: Tensor
    near: Tensor

    @staticmethod
    def of_nodes(lattice: NodeLattice, opaque: Tensor) -> HeldCells:
        """Return the cells that have an opaque node (nodes,) bool among their eight."""
        grid = opaque.view(1, 1, *lattice.shape).float()
        return HeldCells.of_cells(lattice, (F.max_pool3d(grid, 2, stride=1) > 0.5).flatten())

    @staticmethod
    def of_cells(lattice: NodeLattice, held: Tensor) -> HeldCells:
        """Return the cells that a mask (cells,) bool selects."""
        device, shape = held.device, lattice.shape
        x, y, z = (count - 1 for count in shape)
        grid = held.view(1, 1, x, y, z).float()
        near = F.max_pool3d(grid, 2 * _REACH + 1, stride=1, padding=_REACH) > 0.5
        chosen = held.nonzero().squeeze(1)
        cell = torch.full((held.numel(),), -1, dtype=torch.int32, device=device)
        cell[chosen] = torch.arange(len(chosen), dtype=torch.int32, device=device)
        first = (chosen // (y * z) * shape[1] + chosen // z % y) * shape[2] + chosen % z
        corners = [(i * shape[1] + j) * shape[2] + k for i in (0, 1) for j in (0, 1) for k in (0, 1)]
        flat = first[:, None] + torch.tensor(corners, device=device)
        needed = torch.zeros(lattice.nodes, dtype=torch.bool, device=device)
        needed[flat.flatten()] = True
        index = NodeIndex.of_mask(lattice, needed)
        return HeldCells(index, cell, index.row[flat].long(), near.flatten())

    @property
    def share(self) -> float:
        """Share of all cells that are held."""
        return len(self.rows) / len(self.cell)

    def mask(self) -> NearestMask:
        """Return the mask of places in held cells, whose nodes are the cells' centres."""
        lattice = self.index.lattice
        x, y, z = lattice.shape
        scale = (1.0 / lattice.voxel[0], 1.0 / lattice.voxel[1], 1.0 / lattice.voxel[2])
        low = lattice.low
        shift = (-0.5 - low[0] * scale[0], -0.5 - low[1] * scale[1], -0.5 - low[2] * scale[2])
        return NearestMask((self.cell >= 0).view(x - 1, y - 1, z - 1), scale, shift)

    def march(self, rays: FieldRays, step: float, near: float, jitter: Tensor) -> CellSamples:
        """Return samples in held cells.

        step : in the field's units, `LONGEST_STEP` voxels at most
        near : distance along rays before which there is none
        jitter : (rays,) in [0, 1), part of a step by which all samples of a ray are shifted
        """
        known = self._known(rays, step, near, jitter)
        device = jitter.device
        runs = (known[:, 6] / _RUN).ceil().long()
        ray = torch.arange(len(rays), device=device).repeat_interleave(runs)
        first = runs.cumsum(0) - runs
        number = torch.arange(len(ray), device=device) - first.index_select(0, ray)
        place = (number * _RUN).float()
        own = known.index_select(0, ray)
        middle = torch.addcmul(own[:, :3], own[:, 3:6], (place + 0.5 * (_RUN - 1))[:, None])
        chosen = self.near.take(self._cell_of(middle)).nonzero().squeeze(1)
        own, place = own.index_select(0, chosen), place.index_select(0, chosen)
        places = place[:, None] + torch.arange(_RUN, device=device)
        within = places < own[:, 6:]
        points = torch.addcmul(own[:, None, :3], own[:, None, 3:6], places[:, :, None]).view(-1, 3)
        cell = self.cell.take(self._cell_of(points))
        kept = ((cell >= 0) & within.flatten()).nonzero().squeeze(1)
        run = chosen.index_select(0, kept.div(_RUN, rounding_mode="floor"))
        return CellSamples(
            ray.index_select(0, run),
            self.rows.index_select(0, cell.index_select(0, kept)),
            self._weights(points.index_select(0, kept)),
        )

    def _known(self, rays: FieldRays, step: float, near: float, jitter: Tensor) -> Tensor:
        """Return (rays, 7): first sample and way to the next one, counted in nodes, and number of samples."""
        lattice = self.index.lattice
        device = jitter.device
        low, voxel = (torch.tensor(values, device=device) for values in (lattice.low, lattice.voxel))
        last = torch.tensor(lattice.shape, device=device) - 1.0
        origins, directions = (rays.origins - low) / voxel, rays.directions / voxel
        steep = torch.where(directions == 0.0, 1e-6, directions)
        one, other = -origins / steep, (last - origins) / steep
        length = step / rays.lengths
        start = torch.minimum(one, other).amax(dim=1).clamp_min(near) + jitter * length
        end = torch.maximum(one, other).amin(dim=1)
        count = (((end - start) / length).floor() + 1.0).clamp_min(0.0)
        return torch.cat(
            [origins + directions * start[:, None], directions * length[:, None], count[:, None]], dim=1
        )

    def _cell_of(self, points: Tensor) -> Tensor:
        """Return the flat cells (n,) of points (n, 3) counted in nodes; those outside are clamped."""
        x, y, z = self.index.lattice.shape
        flat = points[:, 0].long().clamp_(0, x - 2).mul_(y - 1)
        flat.add_(points[:, 1].long().clamp_(0, y - 2)).mul_(z - 1)
        return flat.add_(points[:, 2].long().clamp_(0, z - 2))

    def _weights(self, points: Tensor) -> Tensor:
        """Return the weights (n, 8) of the nodes around points (n, 3) counted in nodes."""
        last = torch.tensor(self.index.lattice.shape, device=points.device) - 2.0
        far = points - torch.minimum(points.floor().clamp_min_(0.0), last)
        both = torch.stack([1.0 - far, far], dim=2)
        across = both[:, 1, :, None] * both[:, 2, None, :]
        return (both[:, 0, :, None] * across.flatten(1)[:, None, :]).flatten(1)
