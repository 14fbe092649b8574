"""The views that a training never sees: what they tell about it, and the picture that shows how it stands."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scene_codec.errors import InvalidRequestError
from scene_codec.metrics.image_quality import psnr
from scene_codec.progress import Progress
from scene_codec.radiance.cameras import camera_rays
from scene_codec.radiance.captured_views import PosedImage, PosedImageSet
from scene_codec.radiance.field import RadianceField, render_view
from scene_codec.radiance.image_files import write_png
from scene_codec.radiance.posed_images import load_posed_images

_MOST_VIEWS = 8
_PREVIEW_WIDTH = 160


def load_training_views(path: Path, width: int) -> tuple[PosedImageSet, PosedImageSet | None]:
    """Return the pictures to learn from, and those that are kept out.

    The latter are of the split val, or else test; None where a data set has neither.

    width : that pictures are averaged down to, 0 for their own
    """
    if path.name == "transforms_train.json":
        path = path.parent
    training = load_posed_images(path, "train")
    size = None
    if width:
        camera = training.images[0].camera
        size = width, max(1, round(camera.height * width / camera.width))
        training = load_posed_images(path, "train", size=size)
    used = {image.path for image in training.images}
    for split in ("val", "test"):
        try:
            other = load_posed_images(path, split, size=size)
        except InvalidRequestError:  # a data set need not have it
            continue
        if not used & {image.path for image in other.images}:
            return training, other
    return training, None


class HeldOutViews:
    """A few views, and random pixels of each that are measured, the same ones each time."""

    def __init__(self, images: PosedImageSet, pixels: int) -> None:
        count = len(images.images)
        chosen = sorted({round(place) for place in np.linspace(0, count - 1, min(count, _MOST_VIEWS))})
        self.images = tuple(images.images[index] for index in chosen)
        self._pixels = pixels
        self._white = images.white_background

    def measure(self, field: RadianceField, progress: Progress | None = None) -> float:
        """Return the mean PSNR in dB of the views. Raises `Cancelled`."""
        generator = torch.Generator().manual_seed(0)
        values = []
        for index, image in enumerate(self.images):
            if progress is not None:
                progress.update(index / len(self.images), image.camera.name)
            camera = image.camera
            pixels = torch.randperm(camera.width * camera.height, generator=generator)[: self._pixels]
            truth = image.load(self._white).reshape(-1, 3)[pixels.numpy()]
            values.append(psnr(truth, _colours(field, image, pixels)))
        return float(np.mean(values))


def _colours(field: RadianceField, image: PosedImage, pixels: Tensor) -> NDArray[np.float32]:
    """Return the colours (n, 3) that a field has at pixels (n,) of a picture."""
    parts = []
    with torch.inference_mode():
        rays = camera_rays(image.camera, corner_width=field.domain.corner_width, pixels=pixels)
        for start in range(0, len(rays), field.rays_at_once):
            seen = field.render(rays.part(start, start + field.rays_at_once).to(field.device))
            parts.append(seen.colour.clamp(0.0, 1.0).cpu())
    colours: NDArray[np.float32] = torch.cat(parts).numpy()
    return colours


def write_preview(path: Path, image: PosedImage, field: RadianceField) -> None:
    """Write a small picture: what a camera saw, and beside it what the field shows it."""
    camera = image.camera
    if camera.width > _PREVIEW_WIDTH:
        height = max(1, round(camera.height * _PREVIEW_WIDTH / camera.width))
        image = dataclasses.replace(image, camera=camera.resized(_PREVIEW_WIDTH, height))
    truth = image.load(field.domain.white_background)
    write_png(path, np.concatenate([truth, render_view(field, image.camera).colour], axis=1))
