"""What is known of a scene before its field is made small: space, cameras, pictures."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from scene_codec.codecs.radiance_vqrf.config import RadianceVqrfSettings
from scene_codec.errors import InvalidRequestError
from scene_codec.progress import Progress
from scene_codec.radiance.cameras import Camera
from scene_codec.radiance.posed_images import PosedImageSet, load_posed_images
from scene_codec.radiance.ray_supply import CameraSet, PictureRays, made_cameras
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.voxel_checkpoint import VoxelCheckpoint

_MADE_SIDE = 160
"""Pixels along a side of made pictures: the method vqrf looks at all of them."""


@dataclass(frozen=True, eq=False)
class SceneSetup:
    """A scene that is ready to be learned.

    pictures : None when there are none
    cameras : that the scene is seen from: the pictures', or made ones
    """

    domain: SceneDomain
    pictures: PictureRays | None
    cameras: CameraSet


def set_up_scene(
    checkpoint: VoxelCheckpoint, settings: RadianceVqrfSettings, progress: Progress
) -> SceneSetup:
    """Return everything that is needed to make a field small. Raises `InvalidRequestError`, `Cancelled`."""
    images = load_posed_images(Path(settings.images), "train") if settings.images else None
    domain = scene_domain(checkpoint.domain, images, settings)
    if images is None:
        return SceneSetup(domain, None, CameraSet(cameras_around(domain)))
    pictures = PictureRays(images, domain, progress)
    return SceneSetup(domain, pictures, pictures.cameras)


def cameras_around(domain: SceneDomain) -> tuple[Camera, ...]:
    """Return cameras from which a scene is usually seen, for when nobody knows the real ones."""
    return tuple(camera.resized(_MADE_SIDE, _MADE_SIDE) for camera in made_cameras(domain))


def scene_domain(
    domain: SceneDomain, images: PosedImageSet | None, settings: RadianceVqrfSettings
) -> SceneDomain:
    """Return the space of a scene: the checkpoint's box, and what settings or pictures say of the rest.

    Raises `InvalidRequestError` when they contradict each other.
    """
    if images is not None:
        if (images.ndc is None) != (domain.ndc is None):
            raise InvalidRequestError(
                "The pictures are of a forward-facing scene and the field is not, or the other way round."
            )
        domain = dataclasses.replace(
            domain, near=images.near, far=images.far, white_background=images.white_background
        )
    near = domain.near if settings.near is None else settings.near
    far = domain.far if settings.far is None else settings.far
    if near >= far:
        raise InvalidRequestError(f"Rays cannot begin at {near:g} and end at {far:g}: set near and far.")
    white = domain.white_background if settings.background == "auto" else settings.background == "white"
    return dataclasses.replace(domain, near=near, far=far, white_background=white)
