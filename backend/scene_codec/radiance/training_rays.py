"""The rays that a training takes its batches from."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from scene_codec.progress import Progress
from scene_codec.radiance.cameras import Rays
from scene_codec.radiance.captured_views import PosedImageSet
from scene_codec.radiance.ray_supply import PictureRays
from scene_codec.radiance.scene_domain import SceneDomain

_FINGERPRINT_PIXELS = 1 << 16


class TrainingRays:
    """Random rays of all pictures; in the first steps of their middle alone.

    crop : how many steps, and which part of width and height
    """

    def __init__(
        self, images: PosedImageSet, domain: SceneDomain, crop: tuple[int, float], progress: Progress
    ) -> None:
        self._pictures = PictureRays(images, domain, progress)
        self._crop_steps, self._crop_share = crop
        sizes = [(image.camera.width, image.camera.height) for image in images.images]
        self._widths, self._heights = torch.tensor(sizes).unbind(1)
        counts = self._widths * self._heights
        self._starts = counts.cumsum(0) - counts

    def draw(self, count: int, step: int, generator: torch.Generator) -> tuple[Rays, Tensor]:
        """Return the random rays of a step, and their colours (count, 3) in [0, 1]."""
        if step >= self._crop_steps:
            return self._pictures.draw(count, generator)
        own = torch.randint(len(self._starts), (count,), generator=generator)
        place = 0.5 + self._crop_share * (torch.rand((count, 2), generator=generator) - 0.5)
        width, height = self._widths[own], self._heights[own]
        column = torch.minimum((place[:, 0] * width).long(), width - 1)
        row = torch.minimum((place[:, 1] * height).long(), height - 1)
        return self._pictures.at(self._starts[own] + row * width + column)

    def fingerprint(self) -> str:
        """Return a word that tells these pictures and cameras from others."""
        rays, colours = self._pictures.draw(_FINGERPRINT_PIXELS, torch.Generator().manual_seed(0))
        digest = hashlib.sha256()
        for values in (rays.origins, rays.directions, colours):
            digest.update(values.numpy().tobytes())
        return digest.hexdigest()
