"""The space that a scene takes up, as far as its pictures tell."""

from __future__ import annotations

import dataclasses

import torch

from scene_codec.radiance.cameras import Camera, camera_rays
from scene_codec.radiance.captured_views import PosedImageSet
from scene_codec.radiance.field_space import to_field_space
from scene_codec.radiance.scene_domain import SceneDomain

_MARGIN = 0.01


def domain_of_pictures(images: PosedImageSet) -> SceneDomain:
    """Return near, far and background as the data set says, and the box around all that its cameras see.

    The box holds every point on a ray between near and far, so that a network that is trained in it knows
    about all places at which somebody may sample it. Where the data set tells the box of the scene, that one.
    """
    domain = SceneDomain(
        near=images.near, far=images.far, ndc=images.ndc, white_background=images.white_background
    )
    if images.box is not None:
        return dataclasses.replace(domain, low=images.box[0], high=images.box[1])
    ends = torch.cat([_ends(image.camera, domain) for image in images.images])
    low, high = ends.amin(dim=0), ends.amax(dim=0)
    margin = _MARGIN * (high - low).max()
    start, end = (low - margin).tolist(), (high + margin).tolist()
    return dataclasses.replace(domain, low=(start[0], start[1], start[2]), high=(end[0], end[1], end[2]))


def _ends(camera: Camera, domain: SceneDomain) -> torch.Tensor:
    """Return where the rays through a picture's corners begin and end, (8, 3)."""
    last = camera.width * camera.height - 1
    corners = torch.tensor([0, camera.width - 1, last - camera.width + 1, last])
    rays = to_field_space(camera_rays(camera, corner_width=domain.corner_width, pixels=corners), domain)
    return torch.cat([rays.origins + rays.directions * distance for distance in (domain.near, domain.far)])
