"""The trained networks and pictures that radiance codecs are measured on, and how a field is measured."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scene_codec.metrics.image_quality import ssim
from scene_codec.radiance.checkpoints import NerfPair, load_checkpoint
from scene_codec.radiance.field import RadianceField, render_view
from scene_codec.radiance.posed_images import PosedImage, load_posed_images
from scene_codec.radiance.scene_domain import SceneDomain

VIEWS = 2
"""Test views of each scene that are compared, evenly spaced."""


@dataclass(frozen=True)
class Scene:
    """One scene of the table.

    checkpoint, pictures : below the folder of data
    corner_width : width of the pictures that the networks were trained with, rays through pixels' corners
    size : (width, height) at which test views are compared
    large_pictures : of which one is rendered for the table of speed
    rays : of each step of our retraining; fewer where every ray meets the scene
    published_rays : of each step of the paper's retraining, of 1024 there
    """

    name: str
    checkpoint: str
    pictures: str
    corner_width: int
    size: tuple[int, int]
    large_pictures: str
    rays: int = 1024
    published_rays: int = 96


SCENES = (
    Scene(
        "lego", "nerf_checkpoints/lego-lowres/checkpoint199999.ckpt", "lego_200", 400, (100, 100), "lego_200"
    ),
    Scene(
        "chair",
        "nerf_checkpoints/chair-lowres/checkpoint155000.ckpt",
        "chair_400",
        400,
        (100, 100),
        "chair_400",
    ),
    Scene(
        "fern",
        "nerf_checkpoints/fern-lowres/checkpoint249999.ckpt",
        "fern_llff_images8",
        504,
        (84, 63),
        "fern_llff_images8",
        rays=256,
        published_rays=64,
    ),
)


@dataclass(frozen=True)
class Measured:
    """What a field shows of the test views.

    cpu_seconds : of rendering them, all threads
    """

    psnr: float
    ssim: float
    mse: float
    cpu_seconds: float

    def row(self) -> dict[str, float]:
        """Return the fields of a result's row."""
        return dataclasses.asdict(self)


def load_pair(scene: Scene, data: Path) -> NerfPair:
    """Return a scene's trained networks."""
    return load_checkpoint([data / scene.checkpoint])


def test_views(scene: Scene, data: Path) -> tuple[PosedImage, ...]:
    """Return the test views that are compared."""
    views = load_posed_images(data / scene.pictures, "test", size=scene.size).images
    return views[:: max(1, len(views) // VIEWS)][:VIEWS]


def published_domain(scene: Scene, data: Path) -> SceneDomain:
    """Return the space in which a scene's networks were trained."""
    views = load_posed_images(data / scene.pictures, "test")
    return SceneDomain(
        near=views.near,
        far=views.far,
        ndc=views.ndc,
        white_background=views.white_background,
        corner_width=scene.corner_width,
    )


def measure(field: RadianceField, views: Sequence[PosedImage]) -> Measured:
    """Render test views and compare them with the pictures."""
    errors, similarities, seconds = [], [], 0.0
    for view in views:
        wanted = view.load(field.domain.white_background)
        started = time.process_time()
        seen = render_view(field, view.camera).colour
        seconds += time.process_time() - started
        errors.append(float(np.square(seen - wanted).mean()))
        similarities.append(ssim(wanted, seen))
    psnr = float(np.mean([-10.0 * np.log10(error) for error in errors]))
    return Measured(psnr, float(np.mean(similarities)), float(np.mean(errors)), seconds)
