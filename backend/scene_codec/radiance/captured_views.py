"""What all layouts of posed pictures share: the views, their names, sizes and splits."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import InvalidRequestError
from scene_codec.radiance.cameras import Camera
from scene_codec.radiance.image_files import area_average, read_image, read_picture_header
from scene_codec.radiance.occupancy import Corner

Split = Literal["train", "val", "test", "all"]
SPLITS: tuple[Split, ...] = ("train", "val", "test", "all")

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
MAX_SIDE = 1 << 15
MAX_VIEWS = 100_000

_TEST_STEP = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class PosedImage:
    """A camera, and the file with what it saw.

    path : None when only the camera is known
    """

    camera: Camera
    path: Path | None

    def load(self, white_background: bool) -> NDArray[np.float32]:
        """Return the picture in the size of the camera: (height, width, 3) in [0, 1].

        Transparent pixels are laid over white or black, then a larger picture is averaged down to the
        camera's size, which is the same as averaging premultiplied colours. Raises `InvalidRequestError` when
        there is no picture, or one that is smaller or of another shape, and as `read_image` does.
        """
        camera = self.camera
        if self.path is None:
            raise InvalidRequestError(f"There is no picture for the camera '{camera.name}', only its pose.")
        image = read_image(self.path)
        height, width = image.shape[:2]
        if not have_one_shape((camera.width, camera.height), (width, height)):
            raise InvalidRequestError(
                f"{self.path} has {width} x {height} pixels, another shape than the {camera.width} x "
                f"{camera.height} of its camera. Leave it out together with the camera."
            )
        if camera.width > width or camera.height > height:
            raise InvalidRequestError(
                f"The picture {self.path} has {width} x {height} pixels, fewer than the "
                f"{camera.width} x {camera.height} that are asked for. Ask for at most its own size."
            )
        if image.shape[2] == 4:
            opacity = image[..., 3:]
            image = image[..., :3] * opacity + (1.0 - opacity if white_background else 0.0)
        return area_average(image, camera.width, camera.height)


@dataclass(frozen=True, kw_only=True, eq=False)
class PosedImageSet:
    """The pictures of a scene, or of one split of it.

    near, far : where rays begin and end, in units of their directions; 0 and 1 in normalised device
        coordinates
    ndc : (2 f / width, 2 f / height) when the scene is forward-facing, see `SceneDomain.ndc`; None otherwise
    white_background : whether what is behind the scene is white; black otherwise
    world_limits : near and far of a forward-facing scene for fields that live in world space
    box : corners of the box around the scene, where the data set tells
    """

    layout: Literal["blender", "llff", "instant-ngp", "nsvf"]
    images: tuple[PosedImage, ...]
    near: float
    far: float
    ndc: tuple[float, float] | None
    white_background: bool
    world_limits: tuple[float, float] | None = None
    box: tuple[Corner, Corner] | None = None

    def in_world_space(self) -> PosedImageSet:
        """Return the set for a field in world space: the same cameras, near and far counted along rays."""
        if self.world_limits is None:
            return self
        near, far = self.world_limits
        return replace(self, near=near, far=far, ndc=None, world_limits=None)


@dataclass(frozen=True, kw_only=True)
class ViewRequest:
    """Which views are wanted.

    size : (width, height) of the cameras, None for that of the pictures
    pictures_needed : whether a view without its picture is an error
    """

    split: Split
    size: tuple[int, int] | None
    pictures_needed: bool

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise InvalidRequestError(f"There is no split '{self.split}'; choose one of {', '.join(SPLITS)}.")
        if self.size is not None and not all(1 <= side <= MAX_SIDE for side in self.size):
            raise InvalidRequestError(
                f"Pictures cannot have {self.size[0]} x {self.size[1]} pixels; 1 to {MAX_SIDE} are allowed "
                "along each side."
            )


def have_one_shape(wanted: tuple[int, int], own: tuple[int, int]) -> bool:
    """Tell whether two sizes have one shape, but for rounding to whole pixels."""
    return abs(wanted[0] * own[1] - wanted[1] * own[0]) < max(*own)


def size_of_pictures(pictures: Sequence[Path], request: ViewRequest) -> tuple[int, int]:
    """Return width and height of pictures, one at least, whose cameras share them.

    Raises `InvalidRequestError` where pictures are needed and one has another shape than most of them.
    """
    if not request.pictures_needed:
        header = read_picture_header(pictures[0])
        return header.width, header.height
    sizes = [(header.width, header.height) for header in map(read_picture_header, pictures)]
    own = Counter(sizes).most_common(1)[0][0]
    odd = [index for index, size in enumerate(sizes) if not have_one_shape(own, size)]
    if odd:
        width, height = sizes[odd[0]]
        more = f", as {len(odd)} of {len(sizes)} pictures do," if len(odd) > 1 else ""
        raise InvalidRequestError(
            f"{pictures[odd[0]]} has {width} x {height} pixels and differs in shape{more} from the others, "
            f"which have {own[0]} x {own[1]}. Leave such pictures out together with their cameras."
        )
    return own


def checked_shape(wanted: tuple[int, int], own: tuple[int, int], where: str) -> None:
    """Raise `InvalidRequestError` unless two sizes have one shape, but for rounding to whole pixels."""
    if have_one_shape(wanted, own):
        return
    near = max(1, round(own[1] * wanted[0] / own[0]))
    raise InvalidRequestError(
        f"{where} has {own[0]} x {own[1]} pixels, which {wanted[0]} x {wanted[1]} would stretch. "
        f"Ask for {wanted[0]} x {near}."
    )


def every_eighth(count: int, split: Split) -> list[int]:
    """Return which of so many views in order belong to a split: every eighth, from the first, is for tests.

    That is the convention for forward-facing scenes (Mildenhall et al. 2019), and there is no set for
    validation but that for tests.
    """
    tests = range(0, count, _TEST_STEP)
    if split == "all":
        return list(range(count))
    return [index for index in range(count) if index not in tests] if split == "train" else list(tests)


def unique_names(paths: Sequence[str]) -> list[str]:
    """Return a name for each picture's path: its stem, the whole path where stems are not unique."""
    places = [PurePosixPath(path) for path in paths]
    stems = [_stem(place.name) or f"view_{index:04d}" for index, place in enumerate(places)]
    if len(set(stems)) < len(stems):
        folders = ["_".join(place.parent.parts) for place in places]
        stems = ["_".join(filter(None, (folder, stem))) for folder, stem in zip(folders, stems, strict=True)]
    seen: Counter[str] = Counter()
    names = set(stems)
    for index, stem in enumerate(stems):
        seen[stem] += 1
        while seen[stem] > 1 and f"{stem}_{seen[stem]}" in names:
            seen[stem] += 1
        if seen[stem] > 1:
            stems[index] = f"{stem}_{seen[stem]}"
            names.add(stems[index])
    return stems


def is_picture(path: Path | PurePosixPath) -> bool:
    """Tell whether a file's name is that of a picture that can be read."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def nearest_point(cameras: Sequence[Camera]) -> NDArray[np.float64] | None:
    """Return the point nearest to the axes of all cameras, (3,); None where they are as good as parallel."""
    poses = np.stack([camera.pose for camera in cameras])
    axes = poses[:, :3, 2] / np.linalg.norm(poses[:, :3, 2], axis=1, keepdims=True)
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    normal = across.sum(axis=0)
    if np.linalg.eigvalsh(normal)[0] < 1e-3 * len(cameras):
        return None
    moment = np.einsum("nij,nj->i", across, poses[:, :3, 3])
    point: NDArray[np.float64] = np.linalg.solve(normal, moment)
    return point


def depth_limits(cameras: Sequence[Camera]) -> tuple[float, float]:
    """Choose where rays begin and end for a scene that does not say so.

    When all cameras look at one point, from a tenth of the least distance to it to twice the largest one, so
    that there is as much behind the point as there is before it. Otherwise, as in a room seen from inside,
    1/20 and 10 times the largest distance of a camera from the middle of all.
    """
    places = np.array([camera.pose[:3, 3] for camera in cameras], np.float64)
    point = nearest_point(cameras)
    if point is not None:
        ahead = [float((camera.pose[:3, 3] - point) @ camera.pose[:3, 2]) for camera in cameras]
        if min(ahead) > 0.0 and math.isfinite(max(ahead)):
            return 0.1 * min(ahead), 2.0 * max(ahead)
    spread = float(np.linalg.norm(places - places.mean(axis=0), axis=1).max())
    reach = spread if math.isfinite(spread) and spread > 0.0 else 1.0
    return 0.05 * reach, 10.0 * reach


def _stem(name: str) -> str:
    """Return a file's name without the suffix of a picture; dots that begin no such suffix stay."""
    return PurePosixPath(name).stem if is_picture(PurePosixPath(name)) else name
