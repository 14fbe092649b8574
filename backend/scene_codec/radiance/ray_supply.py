"""Random rays of many cameras, and the colours that they should see."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scene_codec.errors import InvalidRequestError
from scene_codec.progress import Progress
from scene_codec.radiance.cameras import Camera, Rays
from scene_codec.radiance.lens_distortion import LensDistortion, straightened
from scene_codec.radiance.posed_images import PosedImageSet
from scene_codec.radiance.scene_domain import SceneDomain

DEFAULT_SIDE = 400
"""Width in pixels of cameras that nobody gave a size."""

_GOLDEN_ANGLE = math.pi * (3.0 - math.sqrt(5.0))
_MADE_ANGLE = 0.6911
_LOWEST_HEIGHT = -0.15
_FORWARD_SPREAD = 0.35
_MAX_PIXELS = 1 << 28


class CameraSet:
    """Rays through random pixels of random cameras.

    corner_width : see `cameras.camera_rays`
    """

    def __init__(self, cameras: Sequence[Camera], corner_width: int = 0) -> None:
        if not cameras:
            raise InvalidRequestError("There are no cameras to take rays from.")
        self.cameras = tuple(cameras)
        self._poses = torch.from_numpy(np.stack([camera.pose for camera in cameras])).float()
        rows = [
            (own.focal_x, own.focal_y, own.centre_x, own.centre_y, *_shifts(own, corner_width))
            for own in self.cameras
        ]
        self._lenses = torch.tensor(rows, dtype=torch.float64).float()
        bent = [own.lens or LensDistortion() for own in self.cameras]
        self._bends = torch.tensor([lens.values() for lens in bent])
        self._straight = not any(own.lens for own in self.cameras)
        counts = torch.tensor([own.width * own.height for own in self.cameras])
        self._ends = counts.cumsum(0)
        self._starts = self._ends - counts
        self._widths = torch.tensor([own.width for own in self.cameras])
        self.pixels = int(self._ends[-1])

    def draw(self, count: int, generator: torch.Generator) -> Rays:
        """Return so many random rays."""
        return self.rays(torch.randint(self.pixels, (count,), generator=generator))

    def rays(self, pixel: Tensor) -> Rays:
        """Return the rays (n,) of pixels, counted through all cameras, row by row."""
        own = torch.searchsorted(self._ends, pixel, right=True)
        place = pixel - self._starts[own]
        width = self._widths[own]
        focal_x, focal_y, centre_x, centre_y, shift_x, shift_y = self._lenses[own].unbind(1)
        across = (place % width + shift_x - centre_x) / focal_x
        up = -(place.div(width, rounding_mode="floor") + shift_y - centre_y) / focal_y
        if not self._straight:
            across, down = straightened(torch.stack([across, -up], dim=1), self._bends[own]).unbind(1)
            up = -down
        local = torch.stack([across, up, torch.full_like(across, -1.0)], dim=1)
        poses = self._poses[own]
        directions = (poses[:, :3, :3] @ local[:, :, None]).squeeze(2)
        return Rays(poses[:, :3, 3].contiguous(), directions)


class PictureRays:
    """Random rays with the colours that pictures have there. Pictures are kept as bytes."""

    def __init__(self, images: PosedImageSet, domain: SceneDomain, progress: Progress | None = None) -> None:
        """Load all pictures. Raises `InvalidRequestError` when they are too many to keep, `Cancelled`."""
        self.cameras = CameraSet([image.camera for image in images.images], domain.corner_width)
        if self.cameras.pixels > _MAX_PIXELS:
            raise InvalidRequestError(
                f"The pictures have {self.cameras.pixels:,} pixels together, of {_MAX_PIXELS:,} that are "
                "kept at most. Take fewer or smaller ones."
            )
        colours: list[NDArray[np.uint8]] = []
        for index, image in enumerate(images.images):
            if progress is not None:
                progress.update(index / len(images.images), image.camera.name)
            values = image.load(domain.white_background)
            colours.append(np.rint(values * 255.0).astype(np.uint8).reshape(-1, 3))
        self._colours = torch.from_numpy(np.concatenate(colours))

    def draw(self, count: int, generator: torch.Generator) -> tuple[Rays, Tensor]:
        """Return random rays, and their colours (count, 3) in [0, 1]."""
        return self.at(torch.randint(self.cameras.pixels, (count,), generator=generator))

    def at(self, pixel: Tensor) -> tuple[Rays, Tensor]:
        """Return the rays of pixels (n,), counted through all pictures, and their colours (n, 3)."""
        return self.cameras.rays(pixel), self._colours[pixel].float() / 255.0


def made_cameras(domain: SceneDomain, count: int = 120) -> tuple[Camera, ...]:
    """Return cameras from which a scene of a domain is usually seen, for when nobody knows the real ones.

    Around an object: spread evenly over the part of a sphere above the ground, looking at its centre. In
    front of a forward-facing scene: on a disc, looking straight ahead.
    """
    if domain.ndc is not None:
        return tuple(_forward_camera(domain.ndc, index, count) for index in range(count))
    return tuple(camera_around(domain, *_on_sphere(index, count)) for index in range(count))


def camera_around(domain: SceneDomain, azimuth: float, height: float, side: int = DEFAULT_SIDE) -> Camera:
    """Return a camera halfway between near and far that looks at the middle of a scene's box.

    azimuth, height : see `orbit_camera`
    """
    middle = np.array([0.5 * (a + b) for a, b in zip(domain.low, domain.high, strict=True)])
    return orbit_camera(middle, 0.5 * (domain.near + domain.far), azimuth, height, side)


def camera_in_front(
    ndc: tuple[float, float], pose: NDArray[np.float64], size: tuple[int, int] | None = None
) -> Camera:
    """Return a camera with the lens that a forward-facing scene was captured with.

    size : (width, height) in pixels, in the shape of the captured pictures by default; in another shape one
        side sees as much as they do, and the other more
    """
    width, height = size or (DEFAULT_SIDE, max(1, round(DEFAULT_SIDE * ndc[0] / ndc[1])))
    focal = 0.5 * ndc[0] * width
    if size is not None:
        focal = min(focal, 0.5 * ndc[1] * height)
    return Camera(
        width=width,
        height=height,
        focal_x=focal,
        focal_y=focal,
        centre_x=width / 2,
        centre_y=height / 2,
        pose=pose,
    )


def orbit_camera(
    middle: NDArray[np.float64], radius: float, azimuth: float, height: float, side: int = DEFAULT_SIDE
) -> Camera:
    """Return a camera that looks at a point.

    azimuth : radians around the z axis
    height : sine of the elevation
    """
    flat = math.sqrt(max(1.0 - height * height, 0.0))
    back = np.array([flat * math.cos(azimuth), flat * math.sin(azimuth), height])
    right = np.array([-math.sin(azimuth), math.cos(azimuth), 0.0])
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2] = right, np.cross(back, right), back
    pose[:3, 3] = middle + radius * back
    focal = 0.5 * side / math.tan(0.5 * _MADE_ANGLE)
    return Camera(
        width=side, height=side, focal_x=focal, focal_y=focal, centre_x=side / 2, centre_y=side / 2, pose=pose
    )


def _on_sphere(index: int, count: int) -> tuple[float, float]:
    """Return azimuth and height of points spread evenly over the upper part of a sphere."""
    return index * _GOLDEN_ANGLE, _LOWEST_HEIGHT + (0.98 - _LOWEST_HEIGHT) * (index + 0.5) / count


def _forward_camera(ndc: tuple[float, float], index: int, count: int) -> Camera:
    """Return one of the cameras on a disc that look straight ahead, as a forward-facing scene has them."""
    radius, angle = _FORWARD_SPREAD * math.sqrt((index + 0.5) / count), index * _GOLDEN_ANGLE
    pose = np.eye(4)
    pose[:2, 3] = radius * math.cos(angle), radius * math.sin(angle)
    return camera_in_front(ndc, pose)


def _shifts(camera: Camera, corner_width: int) -> tuple[float, float]:
    """Return where in a pixel its ray goes through, as `camera_rays` does."""
    shift = 0.5 - (0.5 * camera.width / corner_width if corner_width else 0.0)
    return shift, shift
