"""Nodes on a box, which of them hold values, and values between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from scene_codec.radiance.occupancy import Corner


@dataclass(frozen=True)
class NodeLattice:
    """Where the nodes of a grid lie.

    shape : nodes along each axis, two or more
    low, high : corners of the box in the field's space
    centred : whether nodes are the centres of equal cells that fill the box; otherwise the first and the last
        along each axis lie on its faces
    clamped : whether nodes of the outermost layer, when centred, hold as far as the faces; otherwise values
        fall to zero there
    """

    shape: tuple[int, int, int]
    low: Corner
    high: Corner
    centred: bool = False
    clamped: bool = False

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return math.prod(self.shape)

    @property
    def voxel(self) -> Corner:
        """Distance between nodes along each axis."""
        cells = [count if self.centred else count - 1 for count in self.shape]
        x, y, z = ((high - low) / count for low, high, count in zip(self.low, self.high, cells, strict=True))
        return x, y, z

    def coordinates(self, positions: Tensor) -> Tensor:
        """Return positions (n, 3) counted in nodes: node i lies at i."""
        low, voxel = (torch.tensor(values, device=positions.device) for values in (self.low, self.voxel))
        return (positions - low) / voxel - (0.5 if self.centred else 0.0)

    def positions(self, flat: Tensor) -> Tensor:
        """Return where nodes lie, (n, 3), by their flat index (n,)."""
        _, y, z = self.shape
        place = torch.stack([flat // (y * z), flat // z % y, flat % z], dim=1).float()
        low, voxel = (torch.tensor(values, device=flat.device) for values in (self.low, self.voxel))
        return low + (place + (0.5 if self.centred else 0.0)) * voxel

    def corners(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the flat indices (n, 8) of the nodes around positions, and their weights (n, 8)."""
        place = self.coordinates(positions)
        last = torch.tensor(self.shape, device=positions.device) - 1
        if self.clamped:
            place = torch.minimum(place.clamp_min(0.0), last)
        base = place.floor()
        if self.clamped or not self.centred:
            base = torch.minimum(base.clamp_min(0.0), last - 1)
        after = place - base
        below, above = base.long(), base.long() + 1
        near, far = 1.0 - after, after
        if self.centred and not self.clamped:
            near, far = near * (below >= 0), far * (above <= last)
            below, above = below.clamp_min(0), torch.minimum(above, last)
        index = torch.stack([below, above], dim=2)
        weight = torch.stack([near, far], dim=2)
        _, across, along = self.shape
        flat = (index[:, 0, :, None, None] * across + index[:, 1, None, :, None]) * along
        flat = flat + index[:, 2, None, None, :]
        product = weight[:, 0, :, None, None] * weight[:, 1, None, :, None] * weight[:, 2, None, None, :]
        return flat.flatten(1), product.flatten(1)

    def contains(self, positions: Tensor) -> Tensor:
        """Return which positions (n, 3) lie in the box, (n,) bool."""
        low, high = (torch.tensor(values, device=positions.device) for values in (self.low, self.high))
        return ((positions >= low) & (positions <= high)).all(dim=1)


@dataclass(frozen=True, eq=False)
class CornerRows:
    """Rows of a table from which values at points are mixed.

    rows : (n, 8) int64
    weights : (n, 8) float32; zero where a node holds nothing
    """

    rows: Tensor
    weights: Tensor

    def select(self, chosen: Tensor) -> CornerRows:
        """Return those of the points that an index or mask selects."""
        return CornerRows(self.rows[chosen], self.weights[chosen])

    def mix(self, table: Tensor) -> Tensor:
        """Return values (n, c) at the points from a table (rows, c)."""
        if len(table) == 0 or len(self.rows) == 0:
            return self.weights.new_zeros((len(self.rows), table.shape[1]))
        return F.embedding_bag(self.rows, table, per_sample_weights=self.weights, mode="sum")


@dataclass(frozen=True, eq=False)
class NodeIndex:
    """Which nodes of a lattice hold values, in a table with a row for each.

    row : (nodes,) int32, -1 where nothing is held
    """

    lattice: NodeLattice
    row: Tensor

    @staticmethod
    def of_mask(lattice: NodeLattice, held: Tensor) -> NodeIndex:
        """Return the index of the nodes that a mask (nodes,) selects, in the order of the nodes."""
        row = torch.full((lattice.nodes,), -1, dtype=torch.int32, device=held.device)
        count = int(held.sum())
        row[held] = torch.arange(count, dtype=torch.int32, device=held.device)
        return NodeIndex(lattice, row)

    @cached_property
    def held(self) -> Tensor:
        """The flat indices (rows,) int64 of the nodes that hold values, in the order of their rows."""
        found = (self.row >= 0).nonzero().squeeze(1)
        order = torch.empty_like(found)  # each entry is written
        order[self.row[found].long()] = found
        return order

    def around(self, positions: Tensor) -> CornerRows:
        """Return the rows around positions (n, 3)."""
        flat, weights = self.lattice.corners(positions)
        rows = self.row[flat]
        return CornerRows(rows.clamp_min(0).long(), weights * (rows >= 0))

    def dense(self, table: Tensor, fill: float = 0.0) -> Tensor:
        """Return a table (rows, c) as a grid (x, y, z, c)."""
        grid = table.new_full((self.lattice.nodes, table.shape[1]), fill)
        grid[self.held] = table
        return grid.view(*self.lattice.shape, table.shape[1])

    def to(self, device: torch.device) -> NodeIndex:
        """Return the index on a device."""
        return NodeIndex(self.lattice, self.row.to(device))
