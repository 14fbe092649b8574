"""Slices through a pair of grids as small images of numbers, upright and with the right proportions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scene_codec.pictures.grid_difference import active_voxels, difference
from scene_codec.pictures.grid_pair import GridPair, Region, Values
from scene_codec.volumes.volume import VolumeGrid

Image = NDArray[np.float64]
Axis = Literal["x", "y", "z"]
AXES: tuple[Axis, ...] = ("x", "y", "z")

MOST_READ = 4096
"""Of slices with more voxels along a side only every second, third ... one is read."""

THINNEST, LARGEST_VOXEL = 20, 40
"""Pixels: a slice is drawn at least so thick, and a voxel at most so large."""

_IMAGE_FORMATS = ("npy", "npz", "raw", "tif", "tiff", "tiff folder")


@dataclass(frozen=True)
class View:
    """From where a grid is seen.

    axis : the one that the slices are perpendicular to: 0, 1 or 2
    downwards : whether the vertical axis points down, as in images
    """

    axis: int
    downwards: bool

    @property
    def across(self) -> tuple[int, int]:
        """The horizontal and the vertical axis."""
        first, second = (axis for axis in range(3) if axis != self.axis)
        return first, second


@dataclass(frozen=True)
class SliceImages:
    """One slice of two grids, pixel by pixel; rows from top to bottom.

    original, decoded : (h, w) values, those of vectors their lengths; or (h, w, 3) colours from 0 to 1
    difference : (h, w), decoded - original, of vectors and colours the length of the difference; NaN where
        one of the two is no finite number
    active : (h, w), active in both grids or in one; None when all voxels are
    topology : (h, w), active in one grid alone
    original_surface, decoded_surface : (h, w), the zero crossing of a level set; None for other grids
    """

    index: int
    original: Image
    decoded: Image
    difference: Image
    active: NDArray[np.bool_] | None
    topology: NDArray[np.bool_]
    original_surface: NDArray[np.bool_] | None
    decoded_surface: NDArray[np.bool_] | None


def view_along(axis: int, grid: VolumeGrid, file_format: str) -> View:
    """Return how to look along an axis: the vertical one points up, y in images and down patients' backs."""
    vertical = 1 if axis == 2 else 2
    backwards = str(grid.metadata.get("orientation", "")) == "LPS"
    as_image = file_format in _IMAGE_FORMATS and "orientation" not in grid.metadata
    return View(axis, downwards=vertical == 1 and (as_image or backwards))


def holds_colours(grid: VolumeGrid) -> bool:
    """Tell whether a grid's voxels are colours: three or four numbers of 8 or 16 bits."""
    return grid.channels >= 3 and grid.values.dtype in (np.uint8, np.uint16) and grid.kind == "unknown"


def spread_slices(content: Sequence[float] | NDArray[np.float64], count: int) -> list[int]:
    """Return up to `count` slices, ascending, that share what there is to see evenly among them.

    content : how much there is in each slice
    Without any content they are spread over all slices.
    """
    weights = np.asarray(content, np.float64)
    if not weights.any():
        weights = np.ones(len(weights))
    total = np.cumsum(weights)
    wanted = (np.arange(count) + 0.5) / count * total[-1]
    chosen = dict.fromkeys(int(index) for index in np.searchsorted(total, wanted))
    for index in np.argsort(-weights, kind="stable"):
        if len(chosen) >= count or not weights[index] > 0.0:
            break
        chosen.setdefault(int(index))
    return sorted(chosen)


def slice_images(pair: GridPair, view: View, index: int, longest: int) -> SliceImages:
    """Return one slice, its longer side `longest` pixels or less.

    index : counted from the first slice of the pair's box
    Where voxels are smaller than pixels, values are averaged, and of differences the largest is kept.
    """
    original, decoded = (_turned(region, view) for region in pair.plane(view.axis, index, MOST_READ))
    size = image_size(pair, view, longest)
    errors = difference(original.values, decoded.values)
    signed = (errors[..., 0] if errors.shape[-1] == 1 else _length(errors))[:, :, 0]
    one, other = active_voxels(original)[..., 0], active_voxels(decoded)[..., 0]
    surfaces = [
        _crossing(region.values[..., 0].astype(np.float64), size)
        if pair.original.kind == "level set"
        else None
        for region in (original, decoded)
    ]
    colours = holds_colours(pair.original)
    return SliceImages(
        index=pair.low[view.axis] + index,
        original=_pixels(original.values, size, colours=colours),
        decoded=_pixels(decoded.values, size, colours=colours),
        difference=_extremes(signed, size),
        active=None if bool(one.all()) else _extremes((one | other).astype(np.float64), size) > 0,
        topology=_extremes((one != other).astype(np.float64), size) > 0,
        original_surface=surfaces[0],
        decoded_surface=surfaces[1],
    )


def image_size(pair: GridPair, view: View, longest: int) -> tuple[int, int]:
    """Return height and width of the pictures of slices, in pixels, in the proportions of object space.

    Slices that would be thinner than `THINNEST` are drawn thicker.
    """
    lengths = np.linalg.norm(pair.original.to_object[:3, :3], axis=0)
    horizontal, vertical = view.across
    steps = np.array([lengths[vertical], lengths[horizontal]], np.float64)
    if not (np.isfinite(steps).all() and steps.min() > 0.0):
        steps = np.ones(2)
    extents = steps / steps.max() * (pair.shape[vertical], pair.shape[horizontal])
    scale = min(longest / extents.max(), LARGEST_VOXEL)
    height, width = (max(round(extent * scale), THINNEST) for extent in extents)
    return min(height, longest), min(width, longest)


def _turned(region: Region, view: View) -> Region:
    """Return a slice as (rows, columns, channels), and its active voxels as (rows, columns, 1)."""

    def turn(array: Values) -> Values:
        flat: Values = np.swapaxes(np.take(array, 0, axis=view.axis), 0, 1)
        return flat if view.downwards else flat[::-1]

    values = turn(region.values)
    active = None if region.active is None else turn(region.active[..., None]).astype(bool)
    return Region(values[:, :, None], active)


def _pixels(values: Values, size: tuple[int, int], *, colours: bool) -> Image:
    """Return the values of a slice as an image of numbers or colours."""
    plane = values[:, :, 0].astype(np.float64)
    if colours:
        assert values.dtype.kind == "u"
        plane = plane[..., :3] / np.iinfo(values.dtype.name).max
        return np.stack([_means(plane[..., channel], size) for channel in range(3)], axis=-1)
    return _means(plane[..., 0] if plane.shape[-1] == 1 else _length(plane), size)


def _length(vectors: Image) -> Image:
    """Return the lengths of vectors along the last axis."""
    with np.errstate(over="ignore", invalid="ignore"):
        lengths: Image = np.sqrt(np.square(vectors).sum(axis=-1))
    return lengths


def _means(image: Image, size: tuple[int, int]) -> Image:
    """Return an image in another size: pixels repeated along an axis that grows, else averaged."""
    for axis, length in enumerate(size):
        before = image.shape[axis]
        if length >= before:
            image = np.take(image, _sources(before, length), axis=axis)
            continue
        starts = np.arange(length) * before // length
        counts = np.diff(np.append(starts, before))
        with np.errstate(over="ignore", invalid="ignore"):
            sums = np.add.reduceat(image, starts, axis=axis)
        image = sums / (counts[:, None] if axis == 0 else counts)
    return image


def _extremes(image: Image, size: tuple[int, int]) -> Image:
    """Return an image in another size; where pixels are merged, the one that is farthest from zero stays."""
    for axis, length in enumerate(size):
        before = image.shape[axis]
        if length >= before:
            image = np.take(image, _sources(before, length), axis=axis)
            continue
        starts = np.arange(length) * before // length
        low = np.minimum.reduceat(image, starts, axis=axis)
        high = np.maximum.reduceat(image, starts, axis=axis)
        image = np.where(-low > high, low, high)
    return image


def _sources(before: int, after: int) -> NDArray[np.int64]:
    """Return from where each of `after` pixels comes."""
    return (2 * np.arange(after) + 1) * before // (2 * after)


def _crossing(distances: Image, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels at which distances, smooth between voxels, change their sign."""
    image = distances[..., 0] if distances.ndim == 3 else distances
    for axis, length in enumerate(size):
        before = image.shape[axis]
        if length < before:
            image = np.take(image, _sources(before, length), axis=axis)
            continue
        places = np.clip((np.arange(length) + 0.5) * before / length - 0.5, 0, before - 1)
        first = np.minimum(places.astype(np.int64), max(before - 2, 0))
        second = np.minimum(first + 1, before - 1)
        share = (places - first)[:, None] if axis == 0 else places - first
        image = np.take(image, first, axis=axis) * (1.0 - share) + np.take(image, second, axis=axis) * share
    inside = image < 0.0
    line = np.zeros(size, bool)
    line[:-1] |= inside[:-1] != inside[1:]
    line[:, :-1] |= inside[:, :-1] != inside[:, 1:]
    return line
