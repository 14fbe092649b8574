"""How views of radiance fields are written: PNG or OpenEXR files, depth in colours, and films."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import InvalidRequestError

if TYPE_CHECKING:
    from scene_codec.radiance.cameras import Camera
    from scene_codec.radiance.field import RenderedView
    from scene_codec.radiance.video_files import VideoWriter

PictureFormat = Literal["png", "exr"]
DEPTH_ENDING = ".depth"
_FAINTEST = 1e-4


DEFAULT_FPS = 24.0


@dataclass(frozen=True, kw_only=True)
class PictureChoice:
    """What is written of each view.

    format : "png": colours as the field gives them, in front of its background. "exr": scene-linear colours
        without background, premultiplied with their opacity, opacity and depth (R, G, B, A, Z)
    alpha : a PNG without background, with straight alpha
    depth : also depth as a PNG in colours, near ones light; all views have the scale of the first
    film, fps : an .mp4 file of all views, in front of the background
    overwrite : whether files that are there are replaced
    """

    format: PictureFormat = "png"
    alpha: bool = False
    depth: bool = False
    film: Path | None = None
    fps: float = DEFAULT_FPS
    overwrite: bool = False


class PictureFiles:
    """Writes views into a folder; for use as a context manager, at whose end a film is complete."""

    def __init__(
        self, folder: Path, names: Sequence[str], cameras: Sequence[Camera], choice: PictureChoice
    ) -> None:
        """Take the names of the views' files without suffix. Raises `InvalidRequestError` before the work."""
        self._folder, self._choice = folder, choice
        if choice.format not in ("png", "exr"):
            raise InvalidRequestError(f"There is no format '{choice.format}'; choose png or exr.")
        if choice.alpha and choice.format != "png":
            raise InvalidRequestError("OpenEXR files have alpha without being asked; leave out --alpha.")
        self._files = [
            (f"{name}.{choice.format}", *((f"{name}{DEPTH_ENDING}.png",) if choice.depth else ()))
            for name in names
        ]
        self._limits: tuple[float, float] | None = None
        self._film = _film(choice, cameras)
        self._opened: VideoWriter | None = None
        self._end = contextlib.ExitStack()
        self._check()

    def _check(self) -> None:
        """Raise `InvalidRequestError` when something would be replaced, or cannot be written."""
        if self._folder.exists() and not self._folder.is_dir():
            raise InvalidRequestError(f"The output '{self._folder}' is a file; name a folder.")
        flat = [file for files in self._files for file in files]
        if len({file.casefold() for file in flat}) < len(flat):
            raise InvalidRequestError(
                f"Two files would have one name: a view's name ends in '{DEPTH_ENDING}'. Leave out --depth."
            )
        film = self._choice.film
        if film is not None and not film.absolute().parent.is_dir():
            raise InvalidRequestError(f"There is no folder '{film.parent}' to write '{film.name}' into.")
        if self._choice.overwrite:
            return
        there = [str(self._folder / file) for file in flat if (self._folder / file).exists()]
        there += [str(film)] if film is not None and film.exists() else []
        if there:
            more = f" and {len(there) - 1} more" if len(there) > 1 else ""
            raise InvalidRequestError(
                f"'{there[0]}'{more} would be replaced. Choose another folder, or give --overwrite."
            )

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                pass
        except OSError as error:
            raise InvalidRequestError(
                f"Nothing can be written into '{self._folder}': {error.strerror or error}."
            ) from error
        if self._film is not None:
            self._opened = self._end.enter_context(self._film)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.__exit__(kind, error, trace)

    def write(self, index: int, view: RenderedView, *, white: bool) -> tuple[str, ...]:
        """Write one view and return the names of its files.

        white : whether the background of its colours is white; black otherwise
        """
        from scene_codec.radiance.image_files import colour_of_depth, write_exr, write_png

        files = self._files[index]
        path = self._folder / files[0]
        if self._choice.format == "exr":
            write_exr(path, exr_channels(view, white=white))
        elif self._choice.alpha:
            write_png(path, straight_colour(view, white=white), view.opacity)
        else:
            write_png(path, view.colour)
        if self._choice.depth:
            self._limits = self._limits or depth_limits(view)
            write_png(self._folder / files[1], colour_of_depth(view.depth, view.opacity, self._limits))
        if self._opened is not None:
            self._opened.add(view.colour)
        return files


def straight_colour(view: RenderedView, *, white: bool) -> NDArray[np.float32]:
    """Return a view's colours as they are without background, not premultiplied, (height, width, 3)."""
    opacity = view.opacity[..., None]
    foreground = view.colour - (1.0 - opacity) if white else view.colour
    straight = np.where(opacity > _FAINTEST, foreground / np.maximum(opacity, _FAINTEST), 0.0)
    return np.clip(straight, 0.0, 1.0).astype(np.float32)


def exr_channels(view: RenderedView, *, white: bool) -> dict[str, NDArray[np.float32]]:
    """Return what an OpenEXR file holds of a view.

    Fields are trained with colours as displays show them (sRGB); these are made scene-linear and
    premultiplied, as the format expects. Laid over the background in linear light, transparent edges differ a
    little from the PNG, in which they are mixed as the field was trained.
    """
    linear = linear_light(straight_colour(view, white=white)) * view.opacity[..., None]
    red, green, blue = np.moveaxis(linear, -1, 0)
    return {"R": red, "G": green, "B": blue, "A": view.opacity, "Z": view.depth}


def linear_light(colour: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return sRGB values in [0, 1] as linear ones (IEC 61966-2-1)."""
    bright = ((np.maximum(colour, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(colour <= 0.04045, colour / 12.92, bright).astype(np.float32)


def depth_limits(view: RenderedView) -> tuple[float, float]:
    """Return between which depths most of a view lies."""
    seen = view.depth[(view.opacity > 0.5) & np.isfinite(view.depth)]
    if not len(seen):
        return 0.0, 1.0
    near, far = np.quantile(seen, [0.01, 0.99])
    return float(near), float(far)


def _film(choice: PictureChoice, cameras: Sequence[Camera]) -> VideoWriter | None:
    """Return what writes the film, not yet begun."""
    if choice.film is None:
        return None
    from scene_codec.radiance.video_files import VideoWriter

    sizes = {(camera.width, camera.height) for camera in cameras}
    if len(sizes) > 1:
        raise InvalidRequestError(
            "The views have different sizes, and a film has one: say which with --size, or choose --frames."
        )
    (width, height) = sizes.pop()
    return VideoWriter(choice.film, width, height, choice.fps)
