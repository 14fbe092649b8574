"""Pictures in time: as large as there is time for while the view changes, then finer until they are whole.

The size follows from the rays rendered in a second, measured as pictures are made. It changes only when the
wanted number of pixels leaves a band around the present one, so that pictures do not flicker. Nothing here
starts a thread or looks at a clock of its own: whoever shows pictures asks for the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from scene_codec.progress import Progress
from scene_codec.radiance.cameras import Camera
from scene_codec.voxel_fields.interactive import RgbaPicture

_NEW_SHARE = 0.5
"""Weight of the latest picture in the measure of rays per second."""


class PictureSource(Protocol):
    """What pictures are asked of, an `InteractiveField` for one."""

    def picture(self, camera: Camera, progress: Progress | None = None) -> RgbaPicture:
        """Return what a camera sees. Raises `Cancelled`."""


@dataclass(frozen=True, kw_only=True)
class AdaptivePlan:
    """How time is shared out.

    seconds : for a picture while the view changes
    first_rays_per_second : until that has been measured
    least_pixels : along the shorter side, however little time there is
    band : of the wanted number of pixels to the present one, inside of which the size stays
    refinement : how many times as many pixels along each side a picture has as the one before, at rest
    enlarging : how a small picture is made as large as asked; depth is always that of the nearest pixel
    """

    seconds: float = 0.05
    first_rays_per_second: float = 100_000.0
    least_pixels: int = 24
    band: tuple[float, float] = (0.8, 1.25)
    refinement: float = 2.0
    enlarging: Literal["nearest", "bilinear"] = "bilinear"


@dataclass(frozen=True, eq=False)
class AdaptivePicture:
    """A picture of the asked size.

    rendered : (width, height) that it was rendered at
    whole : whether that is the asked size, so that nothing better will come
    """

    picture: RgbaPicture
    rendered: tuple[int, int]
    whole: bool


class AdaptiveRenderer:
    """Makes pictures of one field for one viewer."""

    def __init__(
        self,
        source: PictureSource,
        plan: AdaptivePlan | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._source = source
        self._plan = plan or AdaptivePlan()
        self._clock = clock
        self._rays_per_second: float | None = None
        self._share: float | None = None
        self._view: Camera | None = None
        self._last: AdaptivePicture | None = None

    @property
    def rays_per_second(self) -> float:
        """Rays rendered in a second, a running mean; a guess before the first picture."""
        return self._rays_per_second or self._plan.first_rays_per_second

    def next_picture(self, camera: Camera, progress: Progress | None = None) -> AdaptivePicture | None:
        """Return the next picture for a camera, or None if the last one for it was whole.

        A camera that differs from the last one is shown in time; the same one again, finer. After a
        cancellation the same picture is asked for again.

        Raises `Cancelled`.
        """
        full = camera.width, camera.height
        if self._view is None or not _same(self._view, camera):
            size = self._size_in_time(full)
        elif self._last is None or self._last.whole:
            return None
        else:
            size = self._finer(self._last.rendered, full)
        self._last = self._rendered(camera, size, progress)
        self._view = camera
        return self._last

    def forget(self) -> None:
        """Take the next camera for a new one, after the field or its surroundings have changed."""
        self._view = None

    def _size_in_time(self, full: tuple[int, int]) -> tuple[int, int]:
        """Return the size of a picture that there is time for."""
        least = min(self._plan.least_pixels / min(full), 1.0)
        wanted = self.rays_per_second * self._plan.seconds / (full[0] * full[1])
        wanted = min(max(wanted, least**2), 1.0)
        low, high = self._plan.band
        if self._share is None or not low <= wanted / self._share <= high:
            self._share = wanted
        share = min(max(self._share, least**2), 1.0)
        return _sized(full, share**0.5)

    def _finer(self, last: tuple[int, int], full: tuple[int, int]) -> tuple[int, int]:
        """Return the size after that of the last picture; the whole one where little is left to it."""
        side = self._plan.refinement * last[0] / full[0]
        return _sized(full, side) if side * self._plan.refinement**0.5 < 1.0 else full

    def _rendered(self, camera: Camera, size: tuple[int, int], progress: Progress | None) -> AdaptivePicture:
        """Return the picture of a size, and take note of the time that it took."""
        full = camera.width, camera.height
        before = self._clock()
        small = self._source.picture(camera if size == full else camera.resized(*size), progress)
        seconds = self._clock() - before
        if seconds > 0.0:
            measured = size[0] * size[1] / seconds
            old = measured if self._rays_per_second is None else self._rays_per_second
            self._rays_per_second = old + _NEW_SHARE * (measured - old)
        return AdaptivePicture(enlarged(small, full, self._plan.enlarging), size, size == full)


def enlarged(
    picture: RgbaPicture, size: tuple[int, int], mode: Literal["nearest", "bilinear"]
) -> RgbaPicture:
    """Return a picture of another (width, height); depths are those of the nearest pixels."""
    width, height = size
    if picture.depth.shape == (height, width):
        return picture
    colours = torch.from_numpy(picture.rgba).permute(2, 0, 1)[None]
    if mode == "bilinear":
        larger = F.interpolate(colours, (height, width), mode="bilinear", align_corners=False)
    else:
        larger = F.interpolate(colours, (height, width), mode="nearest-exact")
    depth = F.interpolate(torch.from_numpy(picture.depth)[None, None], (height, width), mode="nearest-exact")
    rgba: NDArray[np.float32] = larger[0].permute(1, 2, 0).contiguous().numpy()
    return RgbaPicture(rgba, depth[0, 0].numpy())


def _sized(full: tuple[int, int], side: float) -> tuple[int, int]:
    """Return a size so many times that of the full picture, a pixel at least."""
    width, height = (min(max(round(side * count), 1), count) for count in full)
    return width, height


def _same(one: Camera, other: Camera) -> bool:
    """Tell whether two cameras see the same."""
    numbers = [
        (camera.width, camera.height, camera.focal_x, camera.focal_y, camera.centre_x, camera.centre_y)
        for camera in (one, other)
    ]
    return numbers[0] == numbers[1] and one.lens == other.lens and np.array_equal(one.pose, other.pose)
