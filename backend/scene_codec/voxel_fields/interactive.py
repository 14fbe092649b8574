"""Voxel fields that are seen at once: the same scene as `VoxelField`, a little less exact, many times faster.

A field is prepared in a second or so and then rendered again and again: density first, features summed along
the ray, one colour for a pixel, and a coarser grid where a pixel is larger than a voxel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scene_codec.progress import Progress
from scene_codec.radiance.cameras import Camera, Rays, camera_rays
from scene_codec.radiance.compositing import Pixels
from scene_codec.radiance.field import RenderedRays
from scene_codec.radiance.field_space import depth_of_distance, to_field_space
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.cell_rendering import Thresholds, render_cells
from scene_codec.voxel_fields.cell_table import CellTable
from scene_codec.voxel_fields.detail_levels import halved
from scene_codec.voxel_fields.grid_model import GridModel
from scene_codec.voxel_fields.plain_grids import plain_grid
from scene_codec.voxel_fields.voxel_field import VoxelField
from scene_codec.voxel_fields.voxel_model import VoxelModel

_RAYS = 8192
_SEEN = 1e-2
"""Opacity from which on a pixel has a depth."""

_ALPHA = 2e-3
_DETAIL_LEVELS = 3
_FEWEST_NODES = 4
_STRETCH = 2.0
"""Steps of the field's own renderer, mostly half a voxel, from one sample to the next."""


@dataclass(frozen=True, eq=False)
class RgbaPicture:
    """What a camera sees, in front of nothing.

    rgba : (height, width, 4) float32, colours premultiplied by the opacity
    depth : (height, width) float32, world units along the camera's axis; 0 where nothing is seen
    """

    rgba: NDArray[np.float32]
    depth: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class InteractiveField:
    """A voxel field that is prepared for being rendered often.

    model : a grid of the plain kind, from which densities are told
    levels : tables to render from, each coarser than the one before; one at least
    """

    model: GridModel
    domain: SceneDomain
    levels: tuple[CellTable, ...]
    thresholds: Thresholds = field(default_factory=Thresholds)
    rays_at_once: int = _RAYS

    @staticmethod
    def of_model(
        model: VoxelModel,
        domain: SceneDomain,
        *,
        levels: int = _DETAIL_LEVELS,
        progress: Progress | None = None,
    ) -> InteractiveField:
        """Prepare a field; fields of planes and lines are sampled first. Raises `Cancelled`.

        levels : of detail
        """
        progress = progress or Progress()
        grid = plain_grid(model, progress)
        tables = [CellTable.of_model(grid, _ALPHA, _STRETCH)]
        coarse = tables[0].as_model(grid)
        for _ in range(levels - 1):
            progress.check_cancelled()
            if min(coarse.index.lattice.shape) < _FEWEST_NODES:
                break
            coarse = halved(coarse)
            tables.append(CellTable.of_model(coarse, _ALPHA, _STRETCH))
        return InteractiveField(grid, domain, tuple(tables))

    @property
    def device(self) -> torch.device:
        """Where the field's tensors live."""
        return self.model.raw_density.device

    def render(self, rays: Rays) -> RenderedRays:
        """Return what rays see, from the finest level."""
        pixels = self._pixels(rays, 0)
        return RenderedRays(pixels.over(self.domain.white_background), self._depth(pixels), pixels.opacity)

    def density(self, positions: Tensor) -> Tensor:
        """Return the density (n,) per unit of length at positions (n, 3)."""
        return VoxelField(self.model, self.domain).density(positions)

    def level_for(self, camera: Camera) -> int:
        """Return the coarsest level with voxels no larger than a camera's pixels, in the scene's middle."""
        if self.domain.ndc is not None:
            return 0
        low, high = (np.array(corner) for corner in self.model.box)
        away = float(np.linalg.norm(0.5 * (low + high) - camera.pose[:3, 3]))
        pixel = away / min(camera.focal_x, camera.focal_y)
        voxel = math.prod(self.model.index.lattice.voxel) ** (1.0 / 3.0)
        level = math.floor(math.log2(max(pixel / voxel, 1e-6)))
        return min(max(level, 0), len(self.levels) - 1)

    def picture(self, camera: Camera, progress: Progress | None = None) -> RgbaPicture:
        """Return what a camera sees, from the level for its pixels. Raises `Cancelled`."""
        progress = progress or Progress()
        level = self.level_for(camera)
        rays = camera_rays(camera, corner_width=self.domain.corner_width)
        parts = []
        with torch.inference_mode():
            for start in range(0, len(rays), self.rays_at_once):
                progress.update(start / len(rays), camera.name)
                pixels = self._pixels(rays.part(start, start + self.rays_at_once).to(self.device), level)
                own = (pixels.colour, pixels.opacity[:, None], self._depth(pixels)[:, None])
                parts.append(torch.cat(own, dim=1).cpu())
        seen = torch.cat(parts).view(camera.height, camera.width, 5).numpy()
        return RgbaPicture(np.ascontiguousarray(seen[..., :4]), np.ascontiguousarray(seen[..., 4]))

    def _pixels(self, rays: Rays, level: int) -> Pixels:
        own = to_field_space(rays, self.domain)
        return render_cells(self.levels[level], self.model.shader, own, self.domain.near, self.thresholds)

    def _depth(self, pixels: Pixels) -> Tensor:
        depth = depth_of_distance(pixels.mean_distance, self.domain)
        return torch.where(pixels.opacity > _SEEN, depth, 0.0)
