"""Image files: PNG and JPEG read, PNG and OpenEXR written, and depth in colours."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import OpenEXR
from numpy.typing import NDArray
from PIL import Image

from scene_codec.bitstream.atomic_file import open_atomically
from scene_codec.errors import InvalidRequestError, UnsupportedSceneError

MAX_PIXELS = 1 << 26
"""Most pixels of a picture that is read: 8192 x 8192."""

_FORMATS = ("PNG", "JPEG")
_ALPHA_MODES = ("LA", "PA", "La", "RGBA", "RGBa")
_HALF_CHANNELS = ("R", "G", "B", "A")
_DEPTH_ANCHORS = np.array(
    [
        [1.000, 0.965, 0.780],
        [0.985, 0.780, 0.435],
        [0.925, 0.545, 0.305],
        [0.780, 0.325, 0.345],
        [0.545, 0.195, 0.430],
        [0.310, 0.125, 0.410],
        [0.110, 0.070, 0.240],
    ]
)
"""Colours from near to far, evenly spaced; lightness falls by about the same amount at each step."""


@dataclass(frozen=True)
class PictureHeader:
    """What a picture's file says before its pixels.

    width, height : pixels
    has_alpha : whether pixels can be transparent
    """

    width: int
    height: int
    has_alpha: bool


def read_picture_header(path: Path) -> PictureHeader:
    """Return size and kind of a PNG or JPEG file; its pixels are not read.

    Raises errors as `read_image` does.
    """
    with _opened(path) as picture:
        has_alpha = picture.mode in _ALPHA_MODES or "transparency" in picture.info
        return PictureHeader(picture.width, picture.height, has_alpha)


def read_image(path: Path) -> NDArray[np.float32]:
    """Return the pixels of a PNG or JPEG file: (height, width, 3), or 4 with straight alpha, in [0, 1].

    Grey pictures and palettes become RGB. Of 16 bit per channel, grey pictures keep all and colours the upper
    8, which is all that Pillow hands over. A note of the camera's orientation (EXIF) is not followed:
    pictures lie as they are stored, which is what programs that estimate poses go by.

    Raises `InvalidRequestError` for a missing file, `UnsupportedSceneError` for one that is no such picture,
    damaged, truncated or beyond `MAX_PIXELS`.
    """
    with _opened(path) as picture:
        if picture.mode == "I" or picture.mode.startswith("I;16"):
            grey = np.asarray(picture).astype(np.float32) / 65535.0
            return np.repeat(np.clip(grey, 0.0, 1.0)[..., None], 3, axis=2)
        has_alpha = picture.mode in _ALPHA_MODES or "transparency" in picture.info
        pixels = np.asarray(picture.convert("RGBA" if has_alpha else "RGB"))
    return pixels.astype(np.float32) / np.float32(255.0)


def write_png(path: Path, rgb: NDArray[np.floating], alpha: NDArray[np.floating] | None = None) -> None:
    """Write a PNG file with 8 bit per channel, in one step.

    rgb : (height, width, 3) in [0, 1], clipped; numbers that are not finite count as 0
    alpha : (height, width) in [0, 1] for a picture with straight alpha, None for an opaque one
    """
    pixels = rgb if alpha is None else np.concatenate([rgb, alpha[..., None]], axis=2)
    picture = Image.fromarray(eight_bit(pixels))
    with open_atomically(path) as stream:
        picture.save(stream, format="PNG")


def write_exr(path: Path, channels: Mapping[str, NDArray[np.float32]]) -> None:
    """Write an OpenEXR file in one step, without loss but for the rounding of colours.

    channels : name to (height, width); R, G, B and A are stored as half floats, with alpha premultiplied if
        that is how they come, and all others, such as the depth Z, as floats
    """
    shapes = {values.shape for values in channels.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise ValueError(f"channels of the shapes {sorted(shapes)} do not make a picture")
    stored = {
        name: np.ascontiguousarray(values, np.float16 if name in _HALF_CHANNELS else np.float32)
        for name, values in channels.items()
    }
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with open_atomically(path) as stream:
        OpenEXR.File(header, stored).write(stream)


def eight_bit(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return values in [0, 1] as 0 ... 255, rounded and clipped; what is not a number becomes 0."""
    clipped = np.clip(np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0), 0.0, 1.0)
    return np.ascontiguousarray(np.rint(clipped * 255.0).astype(np.uint8))


def colour_of_depth(
    depth: NDArray[np.floating],
    opacity: NDArray[np.floating],
    limits: tuple[float, float] | None = None,
) -> NDArray[np.float32]:
    """Return depths as colours, (height, width, 3): near ones light, far ones dark, nothing white.

    depth, opacity : (height, width); colours fade into white as the opacity falls to 0
    limits : depths of the lightest and the darkest colour; by default of all but one in a hundred of the
        visible pixels at either end. Give the same ones to all pictures of a film.
    """
    visible = (opacity > 0.5) & np.isfinite(depth)
    if limits is None:
        found = np.quantile(depth[visible], [0.01, 0.99]) if visible.any() else (0.0, 1.0)
        limits = float(found[0]), float(found[1])
    near, far = limits
    finite = np.nan_to_num(depth, nan=far, posinf=far, neginf=near)
    place = (np.clip(finite, near, far) - near) / max(far - near, 1e-6)
    anchors = np.linspace(0.0, 1.0, len(_DEPTH_ANCHORS))
    colours = np.stack([np.interp(place, anchors, channel) for channel in _DEPTH_ANCHORS.T], axis=-1)
    share = np.clip(np.nan_to_num(opacity), 0.0, 1.0)[..., None]
    blended: NDArray[np.float32] = (colours * share + (1.0 - share)).astype(np.float32)
    return blended


def area_average(image: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """Return a picture made smaller: each pixel is the mean of the area that it covers, to parts of pixels.

    image : (rows, columns, channels), not smaller than wanted; alpha must be premultiplied or composited
    """
    for axis, length in ((0, height), (1, width)):
        image = _averaged(image, length, axis)
    return image


def _averaged(image: NDArray[np.float32], length: int, axis: int) -> NDArray[np.float32]:
    """Return the picture with one axis averaged down to a length."""
    old = image.shape[axis]
    if old == length:
        return image
    if old % length == 0:
        shape = (*image.shape[:axis], length, old // length, *image.shape[axis + 1 :])
        whole_pixels: NDArray[np.float32] = image.reshape(shape).mean(axis=axis + 1, dtype=np.float32)
        return whole_pixels
    rows = np.moveaxis(image, axis, 0)
    total = np.zeros((old + 1, *rows.shape[1:]))
    np.cumsum(rows, axis=0, dtype=np.float64, out=total[1:])
    edges = np.arange(length + 1) * (old / length)
    whole = np.minimum(edges.astype(np.int64), old - 1)
    part = (edges - whole).reshape(-1, *[1] * (rows.ndim - 1))
    sums = total[whole] + part * rows[whole]
    mean: NDArray[np.float32] = (np.diff(sums, axis=0) * (length / old)).astype(np.float32)
    return np.moveaxis(mean, 0, axis)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture of bounded size; what is wrong with it becomes one of our errors."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(path, formats=_FORMATS)
        with picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise UnsupportedSceneError(
                    f"The picture {path} has {picture.width} x {picture.height} pixels, more than the "
                    f"{MAX_PIXELS:,} that are read. Scale it down."
                )
            yield picture
    except FileNotFoundError as error:
        raise InvalidRequestError(f"The picture {path} is missing.") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error) as error:
        raise _damaged(path) from error
    except Image.DecompressionBombError as error:
        raise UnsupportedSceneError(f"The picture {path} is too large: {error}") from error


def _damaged(path: Path) -> UnsupportedSceneError:
    return UnsupportedSceneError(
        f"The picture {path} cannot be read: it must be a whole PNG or JPEG file. Export it again."
    )
