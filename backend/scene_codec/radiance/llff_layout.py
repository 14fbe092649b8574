"""Forward-facing captures in the layout of LLFF: `poses_bounds.npy` and folders of pictures.

Mildenhall et al., "Local light field fusion", 2019. The pictures lie in `images`, and made smaller by a
factor in `images_2`, `images_4`, `images_8`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import InvalidRequestError
from scene_codec.radiance.cameras import Camera
from scene_codec.radiance.captured_views import (
    MAX_SIDE,
    MAX_VIEWS,
    PosedImage,
    PosedImageSet,
    ViewRequest,
    checked_shape,
    every_eighth,
    is_picture,
    unique_names,
)
from scene_codec.radiance.image_files import read_picture_header

POSES_FILE = "poses_bounds.npy"
NUMBERS_PER_VIEW = 17
NEAREST = 4.0 / 3.0
"""How far away the nearest thing of a scene is once it has been scaled: in front of the near plane, at 1."""

_NEAR_SHARE = 0.9
"""Where rays begin in world space, as a part of the least depth (Mildenhall et al., 2020, released code)."""

_MAX_BYTES = MAX_VIEWS * NUMBERS_PER_VIEW * 8 + 4096


@dataclass(frozen=True)
class ForwardFacingPoses:
    """What `poses_bounds.npy` says, in OpenGL's axes, around the average camera.

    poses : (n, 4, 4) float64, camera to world; the average of them is the identity
    sizes : (n, 2) float64, width and height of the pictures that the focal lengths are counted in
    focals : (n,) float64, pixels
    bounds : (n, 2) float64, depths of the nearest and the farthest thing
    """

    poses: NDArray[np.float64]
    sizes: NDArray[np.float64]
    focals: NDArray[np.float64]
    bounds: NDArray[np.float64]


@dataclass(frozen=True)
class _Pictures:
    """The pictures of one folder in order, and their size."""

    files: tuple[Path, ...]
    width: int
    height: int


def load_llff(folder: Path, request: ViewRequest) -> PosedImageSet:
    """Return the views of a capture, in normalised device coordinates; for world space, see `in_world_space`.

    Every eighth view is for tests, see `every_eighth`. Without a wanted size, the smallest pictures that are
    there are taken (the folder with the largest factor); with one, those of that size, or else the smallest
    that are larger.

    Raises `InvalidRequestError` for what is missing or wrong.
    """
    captured = read_poses(folder / POSES_FILE)
    count = len(captured.poses)
    pictures = _choose_pictures(folder, count, request)
    chosen = every_eighth(count, request.split)
    if not chosen:
        raise InvalidRequestError(
            f"{folder} has too few views for the split '{request.split}'. Choose 'all'."
        )
    own = (int(captured.sizes[0, 0]), int(captured.sizes[0, 1]))
    size = request.size or (own if pictures is None else (pictures.width, pictures.height))
    checked_shape(size, own, str(folder))
    names = unique_names([file.name for file in pictures.files] if pictures is not None else [""] * count)
    images = []
    for index in chosen:
        width, height = captured.sizes[index]
        camera = Camera(
            width=int(width),
            height=int(height),
            focal_x=float(captured.focals[index]),
            focal_y=float(captured.focals[index]),
            centre_x=width / 2.0,
            centre_y=height / 2.0,
            pose=captured.poses[index],
            name=names[index],
        )
        path = None if pictures is None else pictures.files[index]
        images.append(PosedImage(camera=camera.resized(*size), path=path))
    # Of the first view: the space has one shape, also where focal lengths differ a little.
    ndc = (2.0 * float(captured.focals[0]) / own[0], 2.0 * float(captured.focals[0]) / own[1])
    return PosedImageSet(
        layout="llff",
        images=tuple(images),
        near=0.0,
        far=1.0,
        ndc=ndc,
        white_background=False,
        world_limits=(_NEAR_SHARE * float(captured.bounds.min()), float(captured.bounds.max())),
    )


def read_poses(path: Path) -> ForwardFacingPoses:
    """Return the poses of a capture as NeRF uses them.

    A row holds a 3 x 5 matrix (axes down, right and back; place; height, width and focal length) and two
    depths. Axes become right, up and back; lengths are divided by 3/4 of the least depth, so that it becomes
    4/3; and the average camera becomes the origin (Mildenhall et al., "NeRF", 2020, and its released code).
    """
    rows = _read_rows(path)
    matrices = rows[:, :15].reshape(-1, 3, 5)
    bounds = rows[:, 15:]
    scale = NEAREST / bounds.min()
    places = matrices[:, :, 3] * scale
    axes = np.stack([matrices[:, :, 1], -matrices[:, :, 0], matrices[:, :, 2]], axis=2)
    poses = np.zeros((len(rows), 4, 4))
    poses[:, :3, :3], poses[:, :3, 3], poses[:, 3, 3] = axes, places, 1.0
    average = average_pose(poses)
    if not np.isfinite(average).all():
        raise InvalidRequestError(f"The cameras of {path} have no average: they look in opposite directions.")
    return ForwardFacingPoses(
        poses=np.linalg.inv(average) @ poses,
        sizes=matrices[:, [1, 0], 4],
        focals=matrices[:, 2, 4],
        bounds=bounds * scale,
    )


def average_pose(poses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the camera in the middle of others, (4, 4): mean place, mean direction, mean upward direction.

    Not finite when directions cancel out.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        back = _unit(poses[:, :3, 2].sum(axis=0))
        right = _unit(np.cross(poses[:, :3, 1].sum(axis=0), back))
        up = _unit(np.cross(back, right))
    average = np.eye(4)
    average[:3] = np.stack([right, up, back, poses[:, :3, 3].mean(axis=0)], axis=1)
    return average


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = vector / np.linalg.norm(vector)
    return unit


def _read_rows(path: Path) -> NDArray[np.float64]:
    """Return the numbers of the file, (n, 17), checked one by one."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InvalidRequestError(f"{path} is larger than the poses of {MAX_VIEWS} views.")
        # Mapped: a header that declares more than there is must not allocate it.
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, OverflowError) as error:
        raise InvalidRequestError(f"{path} is no whole .npy file of numbers.") from error
    if not isinstance(stored, np.ndarray) or stored.dtype.kind != "f":
        raise InvalidRequestError(f"{path} is no .npy file of floating-point numbers.")
    if stored.ndim != 2 or stored.shape[1] != NUMBERS_PER_VIEW or len(stored) == 0:
        raise InvalidRequestError(
            f"{path} holds an array of {stored.shape}; a capture has {NUMBERS_PER_VIEW} numbers per view."
        )
    rows = np.array(stored, np.float64)
    for index, row in enumerate(rows):
        _check_row(path, index, row)
    return rows


def _check_row(path: Path, index: int, row: NDArray[np.float64]) -> None:
    """Raise unless a row holds a rotation, a camera and depths that can be."""
    matrix = row[:15].reshape(3, 5)
    turn = matrix[:, :3]
    height, width, focal = matrix[:, 4]
    near, far = row[15:]
    where = f"View {index} of {path}"
    if not np.isfinite(row).all() or np.abs(row).max() > 1e12:
        raise InvalidRequestError(f"{where} has numbers that are not finite, or huge.")
    if np.abs(turn.T @ turn - np.eye(3)).max() > 0.02 or np.linalg.det(turn) <= 0.0:
        raise InvalidRequestError(f"{where} has a pose that is no rotation. Estimate the poses again.")
    if not all(1 <= side <= MAX_SIDE and side == math.floor(side) for side in (width, height)):
        raise InvalidRequestError(f"{where} has pictures of {width:g} x {height:g} pixels.")
    if not (0.0 < focal < 1e7 and 0.0 < near <= far):
        raise InvalidRequestError(
            f"{where} has the focal length {focal:g} and depths from {near:g} to {far:g}; all must be "
            "positive, and the depths in order."
        )


def _choose_pictures(folder: Path, count: int, request: ViewRequest) -> _Pictures | None:
    """Return the pictures that suit the wanted size, or None where they are missing and not needed."""
    found = sorted(_picture_folders(folder), key=lambda pictures: pictures.width)
    if not found:
        if request.pictures_needed:
            raise InvalidRequestError(
                f"{folder} has no pictures: they must lie in 'images', or in 'images_4', 'images_8' and such."
            )
        return None
    enough = [one for one in found if request.size is None or one.width >= request.size[0]]
    if not enough and request.pictures_needed:
        raise InvalidRequestError(
            f"The pictures of {folder} have at most {found[-1].width} x {found[-1].height} pixels. Ask for "
            "no more."
        )
    chosen = enough[0] if enough else found[-1]
    if len(chosen.files) == count:
        return chosen
    if request.pictures_needed:
        raise InvalidRequestError(
            f"{chosen.files[0].parent} has {len(chosen.files)} pictures, and {POSES_FILE} has {count} poses: "
            "they must be as many, in the order of their names."
        )
    return None


def _picture_folders(folder: Path) -> list[_Pictures]:
    """Return all folders that have pictures."""
    found = []
    for place in sorted(folder.glob("images*")):
        factor = place.name.removeprefix("images").removeprefix("_")
        if not place.is_dir() or (place.name != "images" and not factor.isdecimal()):
            continue
        files = tuple(sorted(path for path in place.iterdir() if is_picture(path) and path.is_file()))
        if files:
            header = read_picture_header(files[0])
            found.append(_Pictures(files, header.width, header.height))
    return found
