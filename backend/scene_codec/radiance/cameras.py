"""Cameras and the rays through their pixels.

World and camera axes are those of OpenGL and Blender: a camera looks along its -z axis, x is right and y is
up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scene_codec.radiance.lens_distortion import LensDistortion, straightened


@dataclass(frozen=True, kw_only=True, eq=False)
class Camera:
    """Where a picture was or will be taken from.

    width, height : pixels
    focal_x, focal_y : focal length in pixels
    centre_x, centre_y : principal point, pixels from the left and upper edge
    pose : (4, 4) float64, camera to world
    name : what its picture is called, without suffix
    lens : how its lens bends lines; None for a pinhole
    """

    width: int
    height: int
    focal_x: float
    focal_y: float
    centre_x: float
    centre_y: float
    pose: NDArray[np.float64]
    name: str = ""
    lens: LensDistortion | None = None

    def resized(self, width: int, height: int) -> Camera:
        """Return the same camera with a picture of another size."""
        across, down = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            focal_x=self.focal_x * across,
            focal_y=self.focal_y * down,
            centre_x=self.centre_x * across,
            centre_y=self.centre_y * down,
        )


@dataclass(frozen=True, eq=False)
class Rays:
    """Rays in world space.

    origins, directions : (n, 3) float32; directions reach one unit along the camera's axis and are not of
        unit length, so that distances along them are depths
    """

    origins: Tensor
    directions: Tensor

    def __len__(self) -> int:
        return len(self.origins)

    def to(self, device: torch.device) -> Rays:
        """Return the rays on a device."""
        return Rays(self.origins.to(device), self.directions.to(device))

    def part(self, start: int, stop: int) -> Rays:
        """Return some of the rays."""
        return Rays(self.origins[start:stop], self.directions[start:stop])


def camera_rays(camera: Camera, *, corner_width: int = 0, pixels: Tensor | None = None) -> Rays:
    """Return the rays through pixels of a camera, row by row.

    corner_width : width of the pictures for which a network was trained with rays through the pixels' upper
        left corners in place of their centres, as the original NeRF code does it: such networks are shifted
        by half a pixel of that width. 0 for rays through centres.
    pixels : (n,) int64, row * width + column; all pixels by default
    """
    if pixels is None:
        pixels = torch.arange(camera.width * camera.height)
    rows, columns = pixels.div(camera.width, rounding_mode="floor"), pixels.remainder(camera.width)
    shift_x = shift_y = 0.5
    if corner_width:
        shift_x -= 0.5 * camera.width / corner_width
        shift_y -= 0.5 * camera.width / corner_width
    across = (columns + shift_x - camera.centre_x) / camera.focal_x
    up = -(rows + shift_y - camera.centre_y) / camera.focal_y
    if camera.lens is not None:
        lens = torch.tensor(camera.lens.values(), dtype=torch.float64)
        across, down = straightened(torch.stack([across, -up], dim=1).double(), lens).unbind(1)
        up = -down
    local = torch.stack([across, up, torch.full_like(across, -1.0)], dim=1).to(torch.float64)
    pose = torch.from_numpy(np.ascontiguousarray(camera.pose, dtype=np.float64))
    directions = local @ pose[:3, :3].t()
    origins = pose[:3, 3].expand_as(directions)
    return Rays(origins.to(torch.float32), directions.to(torch.float32))
