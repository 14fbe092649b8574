"""The occupied cells of a scene while it is being learnt: a grid of densities that follows the network.

Source: Mueller et al. 2022, appendix C, and Li et al. 2023 (NerfAcc): densities fade and are raised to those
at random points; a cell counts as occupied from some optical depth on. Densities fade faster here than
published (0.8 for 0.95 in an update), and looking at all cells starts again: trainings are ten times shorter.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scene_codec.networks.radiance_mlp import RadianceMlp
from scene_codec.radiance.occupancy import OccupancyGrid
from scene_codec.radiance.scene_domain import SceneDomain

_FADING = 0.8
_THINNEST = 0.01
"""Optical depth across a cell from which on it counts as occupied."""

_PART = 1 / 16
_OCCUPIED_PART = 1 / 8
"""Parts of all cells that are looked at in one update: anywhere, and of the occupied ones at most."""

_POINTS_AT_ONCE = 65536


class TrainingGrid:
    """Densities of the cells of a scene's box. All cells are occupied until they have been looked at."""

    def __init__(self, domain: SceneDomain, cells: int, device: torch.device) -> None:
        extents = [high - low for low, high in zip(domain.low, domain.high, strict=True)]
        counts = [max(1, math.ceil(extent / max(extents) * cells - 1e-6)) for extent in extents]
        self.densities = torch.zeros(math.prod(counts), device=device)
        occupied = torch.ones(counts, dtype=torch.bool, device=device)
        self.grid = OccupancyGrid(occupied, domain.low, domain.high)

    @torch.no_grad()
    def update(self, network: RadianceMlp, generator: torch.Generator, *, whole: bool) -> None:
        """Look at a random point in each cell, forgetting what was known, or in some cells."""
        device = self.densities.device
        chosen = torch.arange(len(self.densities), device=device) if whole else self._some(generator)
        cell = torch.tensor(self.grid.cell, device=device)
        for start in range(0, len(chosen), _POINTS_AT_ONCE):
            part = chosen[start : start + _POINTS_AT_ONCE]
            moved = torch.rand((len(part), 3), generator=generator).to(device) - 0.5
            points = torch.addcmul(self.grid.centres(part), moved, cell)
            found = network.raw_density(network.features(points)).relu()
            known = self.densities[part]
            faded = torch.zeros_like(known) if whole else known * _FADING
            self.densities[part] = torch.maximum(faded, found)
        self._decide()

    def restore(self, densities: Tensor) -> None:
        """Go back to densities that were there before; all zero stands for those of the beginning."""
        self.densities = densities.to(self.densities.device)
        self._decide()

    @property
    def is_empty(self) -> bool:
        """Whether no cell has any density."""
        return not bool((self.densities > 0.0).any())

    def _some(self, generator: torch.Generator) -> Tensor:
        """Return random cells, and random ones of those that are occupied."""
        device, cells = self.densities.device, len(self.densities)
        anywhere = torch.randint(cells, (math.ceil(cells * _PART),), generator=generator).to(device)
        count = math.ceil(cells * _OCCUPIED_PART)
        occupied = self.grid.occupied.reshape(-1).nonzero().squeeze(1)
        if len(occupied) > count:
            occupied = occupied[torch.randint(len(occupied), (count,), generator=generator).to(device)]
        chosen: Tensor = torch.unique(torch.cat([anywhere, occupied]))
        return chosen

    def _decide(self) -> None:
        """Mark the cells that are dense enough; at the start, while all is thin, those above the mean."""
        thinnest = torch.clamp(self.densities.mean(), max=_THINNEST / max(self.grid.cell))
        occupied = (self.densities > thinnest).view(self.grid.resolution)
        if not bool(occupied.any()):
            occupied = torch.ones_like(occupied)
        self.grid = OccupancyGrid(occupied, self.grid.low, self.grid.high)
