"""Paths of cameras for films, for when nobody has any cameras."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import InvalidRequestError
from scene_codec.radiance.cameras import Camera
from scene_codec.radiance.captured_views import MAX_SIDE, MAX_VIEWS
from scene_codec.radiance.ray_supply import DEFAULT_SIDE, camera_around, camera_in_front
from scene_codec.radiance.scene_domain import SceneDomain

_SWAY = 0.2
"""Radius of the circle in front of a forward-facing scene, whose nearest thing is at 4/3."""

_LOOKED_AT = 4.0
"""Depth of the point that all cameras in front of such a scene look at: the middle of its disparities."""


def camera_path(
    domain: SceneDomain, count: int, elevation_degrees: float = 30.0, size: tuple[int, int] | None = None
) -> tuple[Camera, ...]:
    """Return cameras on a closed path, in the space of the field's cameras, called view_000, view_001, ...

    Around an object: a circle around the z axis, halfway between near and far, looking at the middle.
    In front of a forward-facing scene: a small upright circle, looking ahead; the elevation plays no part.

    size : (width, height) in pixels

    Raises `InvalidRequestError` for a number that cannot be.
    """
    if not 1 <= count <= MAX_VIEWS:
        raise InvalidRequestError(f"A path has 1 to {MAX_VIEWS:,} views, not {count}.")
    if not -90.0 <= elevation_degrees <= 90.0:
        raise InvalidRequestError(f"The elevation {elevation_degrees:g} is not between -90 and 90 degrees.")
    if size is not None and not all(1 <= side <= MAX_SIDE for side in size):
        raise InvalidRequestError(f"Pictures have 1 to {MAX_SIDE} pixels along each side.")
    digits = max(3, len(str(count - 1)))
    cameras = []
    for index in range(count):
        turn = 2.0 * math.pi * index / count
        if domain.ndc is None:
            camera = _around(domain, turn, math.radians(elevation_degrees), size)
        else:
            camera = _in_front(domain.ndc, turn, size)
        cameras.append(replace(camera, name=f"view_{index:0{digits}d}"))
    return tuple(cameras)


def _around(domain: SceneDomain, turn: float, elevation: float, size: tuple[int, int] | None) -> Camera:
    """Return a camera that looks at the middle of the scene's box."""
    width, height = size or (DEFAULT_SIDE, DEFAULT_SIDE)
    # The smaller side has the lens of the square: nothing of it is cut off.
    square = camera_around(domain, turn, math.sin(elevation), min(width, height))
    return replace(square, width=width, height=height, centre_x=width / 2, centre_y=height / 2)


def _in_front(ndc: tuple[float, float], turn: float, size: tuple[int, int] | None) -> Camera:
    """Return a camera on a circle in front of a forward-facing scene."""
    pose = np.eye(4)
    pose[:3, 3] = _SWAY * math.cos(turn), _SWAY * math.sin(turn), 0.0
    pose[:3, :3] = _looking_at(pose[:3, 3], np.array([0.0, 0.0, -_LOOKED_AT]))
    return camera_in_front(ndc, pose, size)


def _looking_at(place: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the axes of a camera, in columns, that looks at a point with y upwards."""
    back = (place - target) / np.linalg.norm(place - target)
    right = np.cross([0.0, 1.0, 0.0], back)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(back, right), back], axis=1)
