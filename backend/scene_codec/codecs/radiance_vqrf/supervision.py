"""What a small field learns from: pictures of the scene, or what the large field shows of it."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from scene_codec.radiance.cameras import Rays
from scene_codec.radiance.ray_supply import CameraSet, PictureRays
from scene_codec.voxel_fields.voxel_field import VoxelField


class Supervision(Protocol):
    """Draws rays with the colours that they should see."""

    def draw(self, count: int, generator: torch.Generator) -> tuple[Rays, Tensor]:
        """Return random rays and their colours (count, 3), on the processor or the field's device."""


class TeacherSupervision:
    """Colours are those that the large field shows: learning without pictures."""

    def __init__(self, teacher: VoxelField, cameras: CameraSet) -> None:
        self._teacher, self._cameras = teacher, cameras

    def draw(self, count: int, generator: torch.Generator) -> tuple[Rays, Tensor]:
        """Return random rays and what the large field shows along them."""
        rays = self._cameras.draw(count, generator).to(self._teacher.device)
        parts = []
        with torch.no_grad():
            for start in range(0, count, self._teacher.rays_at_once):
                part = rays.part(start, start + self._teacher.rays_at_once)
                parts.append(self._teacher.render(part).colour)
        return rays, torch.cat(parts).clamp(0.0, 1.0)


def supervision_of(pictures: PictureRays | None, teacher: VoxelField, cameras: CameraSet) -> Supervision:
    """Return pictures as what is learned from where there are any, otherwise the large field."""
    return TeacherSupervision(teacher, cameras) if pictures is None else pictures
