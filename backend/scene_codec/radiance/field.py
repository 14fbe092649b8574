"""What every radiance field can do, whatever it is made of, and the pictures taken of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scene_codec.progress import Progress
from scene_codec.radiance.cameras import Camera, Rays, camera_rays
from scene_codec.radiance.scene_domain import SceneDomain


@dataclass(frozen=True, eq=False)
class RenderedRays:
    """What rays see.

    colour : (n, 3) in [0, 1], in front of the field's background
    depth : (n,) along the camera's axis, in world units; 0 where nothing is seen
    opacity : (n,) in [0, 1]
    """

    colour: Tensor
    depth: Tensor
    opacity: Tensor


class RadianceField(Protocol):
    """A scene that can be seen from anywhere."""

    @property
    def domain(self) -> SceneDomain:
        """The space that the field lives in."""

    @property
    def device(self) -> torch.device:
        """Where the field's tensors live."""

    @property
    def rays_at_once(self) -> int:
        """How many rays are best rendered in one call."""

    def render(self, rays: Rays) -> RenderedRays:
        """Return what rays on the field's device see."""

    def density(self, positions: Tensor) -> Tensor:
        """Return the density (n,), not negative, at positions (n, 3) in the field's space."""


@dataclass(frozen=True, eq=False)
class RenderedView:
    """A picture of a field.

    colour : (height, width, 3) float32 in [0, 1], in front of the field's background
    depth : (height, width) float32, world units along the camera's axis; 0 where nothing is seen
    opacity : (height, width) float32 in [0, 1]
    """

    colour: NDArray[np.float32]
    depth: NDArray[np.float32]
    opacity: NDArray[np.float32]


def render_view(scene: RadianceField, camera: Camera, progress: Progress | None = None) -> RenderedView:
    """Return the picture that a camera takes. Raises `Cancelled`."""
    progress = progress or Progress()
    rays = camera_rays(camera, corner_width=scene.domain.corner_width)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(rays), scene.rays_at_once):
            progress.update(start / len(rays), camera.name)
            part = rays.part(start, start + scene.rays_at_once).to(scene.device)
            seen = scene.render(part)
            parts.append(torch.cat([seen.colour, seen.depth[:, None], seen.opacity[:, None]], dim=1).cpu())
    picture = torch.cat(parts).view(camera.height, camera.width, 5).numpy()
    colour = np.clip(picture[..., :3], 0.0, 1.0)
    return RenderedView(colour, np.ascontiguousarray(picture[..., 3]), np.ascontiguousarray(picture[..., 4]))
