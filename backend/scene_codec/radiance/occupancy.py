"""Which cells of a box hold anything: what rays skip, and outside of which a compressed field is empty."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Corner = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class OccupancyGrid:
    """Occupied cells of a box.

    occupied : (x, y, z) bool
    low, high : corners of the box in the field's space
    """

    occupied: Tensor
    low: Corner
    high: Corner

    @property
    def resolution(self) -> tuple[int, int, int]:
        """Cells along each axis."""
        x, y, z = self.occupied.shape
        return x, y, z

    @property
    def cell(self) -> Corner:
        """Size of a cell."""
        x, y, z = (
            (high - low) / count
            for low, high, count in zip(self.low, self.high, self.resolution, strict=True)
        )
        return x, y, z

    @property
    def share(self) -> float:
        """Share of cells that are occupied."""
        return float(self.occupied.float().mean())

    def to(self, device: torch.device) -> OccupancyGrid:
        """Return the grid on a device."""
        return OccupancyGrid(self.occupied.to(device), self.low, self.high)

    def scale_and_offset(self) -> tuple[Tensor, Tensor]:
        """Return what turns positions into real cell indices: position * scale + offset, (3,) each."""
        device = self.occupied.device
        low = torch.tensor(self.low, device=device)
        count = torch.tensor(self.resolution, dtype=torch.float32, device=device)
        scale = count / (torch.tensor(self.high, device=device) - low)
        return scale, -low * scale

    def flat_index(self, positions: Tensor) -> Tensor:
        """Return the index (n,) into the flat grid of positions (n, 3) inside the box; others are clamped."""
        scale, offset = self.scale_and_offset()
        cells = torch.addcmul(offset, positions, scale).to(torch.int32)
        index = torch.zeros_like(cells[:, 0])
        for axis, count in enumerate(self.resolution):
            index.mul_(count).add_(cells[:, axis].clamp(0, count - 1))
        return index

    def centres(self, chosen: Tensor) -> Tensor:
        """Return the centres (n, 3) of cells given by flat indices (n,)."""
        _, y, z = self.resolution
        cells = torch.stack(
            [
                chosen.div(y * z, rounding_mode="floor"),
                chosen.div(z, rounding_mode="floor") % y,
                chosen % z,
            ],
            dim=1,
        )
        scale, offset = self.scale_and_offset()
        return (cells + 0.5 - offset) / scale


def dilated(occupied: Tensor, cells: int = 1) -> Tensor:
    """Return occupied cells and those next to them, along edges and corners too."""
    grown = occupied.float()[None, None]
    for _ in range(cells):
        grown = F.max_pool3d(grown, 3, stride=1, padding=1)
    return grown[0, 0] > 0.5
