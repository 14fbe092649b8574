"""What a small field learns from: pictures of the scene, or what the large field shows of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from scene_codec.radiance.cameras import Rays
from scene_codec.radiance.ray_supply import CameraSet, PictureRays
from scene_codec.voxel_fields.voxel_field import VoxelField


class Supervision(Protocol):
    """Rays with the colours that they should see, on the processor or the field's device."""

    cameras: CameraSet

    def at(self, pixel: Tensor) -> tuple[Rays, Tensor]:
        """Return the rays of pixels (n,), counted through all cameras, and their colours (n, 3)."""


@dataclass(eq=False)
class ShownRays:
    """Colours are those that the large field shows: learning without pictures."""

    field: VoxelField
    cameras: CameraSet

    def at(self, pixel: Tensor) -> tuple[Rays, Tensor]:
        """Return the rays of pixels (n,), counted through all cameras, and their colours (n, 3)."""
        rays = self.cameras.rays(pixel).to(self.field.device)
        parts = []
        with torch.no_grad():
            for start in range(0, len(rays), self.field.rays_at_once):
                part = rays.part(start, start + self.field.rays_at_once)
                parts.append(self.field.render(part).colour)
        return rays, torch.cat(parts).clamp(0.0, 1.0)


def supervision_of(pictures: PictureRays | None, field: VoxelField, cameras: CameraSet) -> Supervision:
    """Return pictures as what is learned from where there are any, otherwise the large field."""
    return ShownRays(field, cameras) if pictures is None else pictures
