"""Posed pictures in the layout of NSVF (Liu et al. 2020): Synthetic-NSVF, Tanks and Temples for it.

A folder holds `intrinsics.txt`, `pose/` and `rgb/` with a file for each view under the same name, and maybe
`bbox.txt`, the box around the scene. The first digit of a name is the split: 0 for training, 1 for
validation, 2 for tests; where there is no 2, tests are those with 1. Poses have the axes of OpenCV.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import InvalidRequestError
from scene_codec.radiance.cameras import Camera
from scene_codec.radiance.captured_views import (
    MAX_VIEWS,
    PosedImage,
    PosedImageSet,
    Split,
    ViewRequest,
    checked_shape,
    depth_limits,
    is_picture,
    size_of_pictures,
)
from scene_codec.radiance.occupancy import Corner

INTRINSICS_FILE = "intrinsics.txt"
_POSES, _PICTURES, _BOX_FILE = "pose", "rgb", "bbox.txt"
_DIGITS: dict[Split, str] = {"train": "0", "val": "1", "test": "2"}
_MAX_BYTES = 1 << 16
_POSE_TOLERANCE = 0.02
_NEAREST = 0.05
"""Part of the largest depth of the box at which rays begin, where a camera stands in the box."""


def has_nsvf(folder: Path) -> bool:
    """Tell whether a folder is in this layout."""
    return (folder / INTRINSICS_FILE).is_file() and (folder / _POSES).is_dir()


def load_nsvf(folder: Path, request: ViewRequest) -> PosedImageSet:
    """Return the views of a folder. Raises `InvalidRequestError` for what is missing or wrong."""
    poses = _of_split(folder, request.split)
    pictures = {path.stem: path for path in _listed(folder / _PICTURES) if is_picture(path)}
    missing = [path for path in poses if path.stem not in pictures]
    if missing and request.pictures_needed:
        raise InvalidRequestError(
            f"{folder / _PICTURES} has no picture '{missing[0].stem}', and so it is with {len(missing)} of "
            f"{len(poses)} poses. Add the pictures."
        )
    shown = [pictures[path.stem] for path in poses if path.stem in pictures]
    shown = shown or [pictures[name] for name in sorted(pictures)]
    if not shown:
        raise InvalidRequestError(f"{folder / _PICTURES} holds no pictures, which tell the cameras' size.")
    own = size_of_pictures(shown, request)
    focal_x, focal_y, centre_x, centre_y = _intrinsics(folder / INTRINSICS_FILE)
    size = request.size or own
    checked_shape(size, own, str(folder))
    images = []
    for path in poses:
        camera = Camera(
            width=own[0],
            height=own[1],
            focal_x=focal_x,
            focal_y=focal_y,
            centre_x=centre_x,
            centre_y=centre_y,
            pose=_pose(path),
            name=path.stem,
        )
        images.append(PosedImage(camera=camera.resized(*size), path=pictures.get(path.stem)))
    cameras = [image.camera for image in images]
    box = _box(folder / _BOX_FILE)
    near, far = depth_limits(cameras) if box is None else _depths(cameras, box)
    return PosedImageSet(
        layout="nsvf",
        images=tuple(images),
        near=near,
        far=far,
        ndc=None,
        white_background=True,
        box=box,
    )


def _of_split(folder: Path, split: Split) -> list[Path]:
    """Return the files with the poses of a split, in order."""
    poses = [path for path in _listed(folder / _POSES) if path.suffix.lower() == ".txt"]
    if len(poses) > MAX_VIEWS:
        raise InvalidRequestError(f"{folder} has {len(poses)} poses; {MAX_VIEWS} are allowed.")
    if split == "all":
        chosen = poses
    else:
        digit = _DIGITS[split]
        if split == "test" and not any(path.name.startswith(digit) for path in poses):
            digit = _DIGITS["val"]
        chosen = [path for path in poses if path.name.startswith(digit)]
    if not chosen:
        raise InvalidRequestError(
            f"{folder / _POSES} has no pose of the split '{split}': the first digit of a file's name says "
            "the split, 0 for train, 1 for val, 2 for test."
        )
    return chosen


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InvalidRequestError(f"{folder} cannot be read: {error.strerror or error}.") from error


def _numbers(path: Path) -> list[list[float]]:
    """Return the numbers of a text file, line by line."""
    try:
        with path.open("rb") as stream:
            text = stream.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise InvalidRequestError(
                f"{path} is larger than {_MAX_BYTES:,} bytes: it is none of this layout."
            )
        lines = [[float(word) for word in line.split()] for line in text.decode("ascii").splitlines()]
    except OSError as error:
        raise InvalidRequestError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise InvalidRequestError(f"{path} holds something else than numbers.") from error
    lines = [line for line in lines if line]
    if not all(math.isfinite(number) and abs(number) < 1e12 for line in lines for number in line):
        raise InvalidRequestError(f"{path} holds numbers that are not finite, or huge.")
    return lines


def _intrinsics(path: Path) -> tuple[float, float, float, float]:
    """Return focal lengths and principal point in pixels: of a matrix, or of a line with focal, x and y."""
    lines = _numbers(path)
    if len(lines) >= 3 and all(len(line) == len(lines[0]) in (3, 4) for line in lines[:3]):
        values = lines[0][0], lines[1][1], lines[0][2], lines[1][2]
    elif lines and len(lines[0]) >= 3:
        values = lines[0][0], lines[0][0], lines[0][1], lines[0][2]
    else:
        raise InvalidRequestError(f"{path} is neither a matrix nor begins with focal length and centre.")
    if not (values[0] > 0.0 and values[1] > 0.0):
        raise InvalidRequestError(f"{path} says a focal length that is not positive.")
    return values


def _pose(path: Path) -> NDArray[np.float64]:
    """Return a pose, camera to world, with the axes of OpenGL."""
    lines = _numbers(path)
    if len(lines) != 4 or any(len(line) != 4 for line in lines):
        raise InvalidRequestError(f"{path} is no matrix of 4 x 4 numbers.")
    pose = np.array(lines, np.float64)
    turn = pose[:3, :3]
    rigid = np.abs(turn.T @ turn - np.eye(3)).max() < _POSE_TOLERANCE and np.linalg.det(turn) > 0.0
    if not rigid:
        raise InvalidRequestError(f"{path} is no rigid motion: it scales, shears or mirrors.")
    pose[:, 1:3] *= -1.0
    return pose


def _box(path: Path) -> tuple[Corner, Corner] | None:
    """Return the corners of the box around the scene, None where the folder does not tell."""
    if not path.is_file():
        return None
    lines = _numbers(path)
    numbers = lines[0] if lines else []
    if len(numbers) < 6 or not all(low < high for low, high in zip(numbers[:3], numbers[3:6], strict=True)):
        raise InvalidRequestError(f"{path} does not begin with the two corners of a box.")
    low, high = numbers[:3], numbers[3:6]
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])


def _depths(cameras: list[Camera], box: tuple[Corner, Corner]) -> tuple[float, float]:
    """Return between which depths the box lies that all cameras see."""
    corners = np.array(np.meshgrid(*zip(*box, strict=True), indexing="ij")).reshape(3, 8)
    depths = [(camera.pose[:3, 3:] - corners).T @ camera.pose[:3, 2] for camera in cameras]
    far = float(np.max(depths))
    if not far > 0.0:
        raise InvalidRequestError("The box of bbox.txt lies behind all cameras.")
    return max(float(np.min(depths)), _NEAREST * far), far
