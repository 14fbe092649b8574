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

_STRETCH = 4
"""Runs that are looked up together before that, by the middle of them all."""

_REACH = 2
"""Cells along an axis from the middle of a run to its ends, at most, for steps of half a voxel."""

_BLOCK = 8
"""Cells along each axis of a block: no fewer than from the middle of a stretch to its ends."""

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
    blocks : (x, y, z) bool, whether one of `_BLOCK` cells along each axis, or one next to it, has a held cell
    """

    index: NodeIndex
    cell: Tensor
    rows: Tensor
    near: Tensor
    blocks: Tensor

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
        blocks = F.max_pool3d(grid, _BLOCK, ceil_mode=True)
        blocks = F.max_pool3d(blocks, 3, stride=1, padding=1)[0, 0] > 0.5
        chosen = held.nonzero().squeeze(1)
        cell = torch.full((held.numel(),), -1, dtype=torch.int32, device=device)
        cell[chosen] = torch.arange(len(chosen), dtype=torch.int32, device=device)
        first = (chosen // (y * z) * shape[1] + chosen // z % y) * shape[2] + chosen % z
        corners = [(i * shape[1] + j) * shape[2] + k for i in (0, 1) for j in (0, 1) for k in (0, 1)]
        flat = first[:, None] + torch.tensor(corners, device=device)
        needed = torch.zeros(lattice.nodes, dtype=torch.bool, device=device)
        needed[flat.flatten()] = True
        index = NodeIndex.of_mask(lattice, needed)
        return HeldCells(index, cell, index.row[flat].long(), near.flatten(), blocks)

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
        known = self.steps(rays, step, near, jitter)
        ray, place = self.runs(known)
        own = known.index_select(0, ray)
        places = place[:, None] + torch.arange(_RUN, device=jitter.device)
        within = places < own[:, 6:7]
        points = torch.addcmul(own[:, None, :3], own[:, None, 3:6], places[:, :, None]).view(-1, 3)
        cell = self.cell.take(self._cell_of(points))
        kept = ((cell >= 0) & within.flatten()).nonzero().squeeze(1)
        run = kept.div(_RUN, rounding_mode="floor")
        return CellSamples(
            ray.index_select(0, run),
            self.rows.index_select(0, cell.index_select(0, kept)),
            self._weights(points.index_select(0, kept)),
        )

    def meeting(self, rays: FieldRays, step: float, near: float) -> Tensor:
        """Return which rays (n,) bool come so near held cells that samples are looked up there."""
        ray, _ = self.runs(self.steps(rays, step, near, torch.zeros_like(rays.lengths)))
        met = torch.zeros(len(rays), dtype=torch.bool, device=rays.lengths.device)
        met[ray] = True
        return met

    def runs(self, known: Tensor, run: int = _RUN) -> tuple[Tensor, Tensor]:
        """Return runs of samples near held cells: of each its ray (n,) int64, and its first sample (n,).

        known : (rays, 9) as `steps` returns it
        run : samples in a run, see `longest_run`
        """
        stretch = _STRETCH * run
        met = (known[:, 6] > 0.0).nonzero().squeeze(1)
        own = known.index_select(0, met)
        most = int(own[:, 6].amax()) if len(met) else 0
        place = torch.arange(0, most, stretch, device=known.device, dtype=torch.float32)
        near = self._found(self.blocks, own, place + 0.5 * (stretch - 1), 1.0 / _BLOCK)
        chosen, number = (near & (place < own[:, 6:7])).nonzero().unbind(1)
        ray, own = met.index_select(0, chosen), own.index_select(0, chosen)
        within = torch.arange(0, stretch, run, device=known.device)
        place = place.index_select(0, number)[:, None] + within
        near = self._found(self._near_grid, own, place + 0.5 * (run - 1), 1.0)
        chosen = (near & (place < own[:, 6:7])).view(-1).nonzero().squeeze(1)
        ray = ray.index_select(0, chosen.div(_STRETCH, rounding_mode="floor"))
        return ray, place.view(-1).index_select(0, chosen)

    @property
    def _near_grid(self) -> Tensor:
        x, y, z = self.index.lattice.shape
        return self.near.view(x - 1, y - 1, z - 1)

    @staticmethod
    def _found(grid: Tensor, known: Tensor, place: Tensor, scale: float) -> Tensor:
        """Return what a grid (x, y, z) holds after so many steps of rays, (rays, k).

        place : (k,) or (rays, k) steps
        scale : places of the grid per node; those outside are clamped
        """
        flat = torch.zeros((1, 1), dtype=torch.int32, device=known.device)
        for axis, count in enumerate(grid.shape):
            points = torch.addcmul(known[:, axis, None], known[:, 3 + axis, None], place)
            flat = (points * scale).to(torch.int32).clamp_(0, count - 1).add_(flat * count)
        return grid.view(-1).index_select(0, flat.view(-1)).view(flat.shape)

    def steps(self, rays: FieldRays, step: float, near: float, jitter: Tensor) -> Tensor:
        """Return what is known of the samples of rays, (rays, 9).

        The first sample and the way to the next one, counted in nodes; how many there are; the distance of
        the first one along the ray, and that between two.
        """
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
        first, way = origins + directions * start[:, None], directions * length[:, None]
        return torch.cat([first, way, torch.stack([count, start, length], dim=1)], dim=1)

    def longest_run(self, step: float) -> int:
        """Return how many samples so far apart may be looked up together."""
        cells = step / min(self.index.lattice.voxel)
        return min(max(int(2 * _REACH / cells + 1e-3), 1), _RUN)

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
