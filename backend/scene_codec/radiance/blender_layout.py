"""Posed pictures described by JSON: NeRF's Blender layout, and that of instant-ngp and nerfstudio.

A folder holds `transforms_train.json`, `transforms_val.json` and `transforms_test.json`, or one
`transforms.json`; each lists frames with a picture's path, relative to the file, and a pose, camera to world.
The Blender layout has one field of view for all and pictures that are centred; the other gives focal lengths
and principal point in pixels (`fl_x`, `fl_y`, `cx`, `cy`, `w`, `h`), for all frames or for each, and how the
lens bends lines (`k1`, `k2`, `k3`, `p1`, `p2`).
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path, PurePosixPath
from typing import cast

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from scene_codec.errors import InvalidRequestError
from scene_codec.radiance.cameras import Camera
from scene_codec.radiance.captured_views import (
    MAX_SIDE,
    MAX_VIEWS,
    PICTURE_SUFFIXES,
    PosedImage,
    PosedImageSet,
    Split,
    ViewRequest,
    checked_shape,
    depth_limits,
    every_eighth,
    is_picture,
    size_of_pictures,
    unique_names,
)
from scene_codec.radiance.image_files import read_picture_header
from scene_codec.radiance.lens_distortion import LensDistortion, is_invertible

SPLIT_FILES: dict[Split, str] = {
    "train": "transforms_train.json",
    "val": "transforms_val.json",
    "test": "transforms_test.json",
}
WHOLE_FILE = "transforms.json"
NEAR, FAR = 2.0, 6.0
"""Where rays begin and end in the Blender layout; its files do not say."""

_MAX_BYTES = 64 * 1024 * 1024
_LONGEST_PATH = 512
_POSE_TOLERANCE = 0.02
_LENS_CHECKS = 25
"""Places along each side of a picture at which a lens is tried."""

_CAMERA_MODELS = ("", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "PERSPECTIVE")


class _Intrinsics(msgspec.Struct, kw_only=True):
    """What both a file and a frame can say of the camera. Pixels are counted for pictures of `w` x `h`."""

    w: float | None = None
    h: float | None = None
    fl_x: float | None = None
    fl_y: float | None = None
    cx: float | None = None
    cy: float | None = None
    camera_angle_x: float | None = None
    camera_angle_y: float | None = None
    camera_model: str | None = None
    is_fisheye: bool | None = None
    k1: float | None = None
    k2: float | None = None
    k3: float | None = None
    k4: float | None = None
    p1: float | None = None
    p2: float | None = None


class _Frame(_Intrinsics, kw_only=True):
    transform_matrix: list[list[float]] | None = None
    file_path: str = ""


class _Transforms(_Intrinsics, kw_only=True):
    frames: list[_Frame] | None = None


class _View(msgspec.Struct, frozen=True):
    """A frame, and where it was found."""

    frame: _Frame
    whole: _Transforms
    source: Path
    index: int
    picture: Path | None

    def value(self, key: str) -> float | None:
        """Return what the frame says, or the whole file."""
        own = getattr(self.frame, key)
        return cast("float | None", getattr(self.whole, key) if own is None else own)

    def refuse(self, reason: str) -> InvalidRequestError:
        """Return an error that names the frame."""
        name = f" ('{self.frame.file_path[:80]}')" if self.frame.file_path else ""
        return InvalidRequestError(f"Frame {self.index}{name} of {self.source} {reason}.")


def has_transforms(folder: Path) -> bool:
    """Tell whether a folder holds JSON files of one of the layouts."""
    return any((folder / name).is_file() for name in (*SPLIT_FILES.values(), WHOLE_FILE))


def load_transforms(path: Path, request: ViewRequest) -> PosedImageSet:
    """Return the views of a folder or of one JSON file.

    A file called as those of the splits is that split. Any other file, and a folder with `transforms.json`
    alone, holds all splits, in which every eighth frame is for tests, see `every_eighth`.

    Raises `InvalidRequestError` for what is missing or wrong, and names the frame.
    """
    views = _views(path, request)
    if not views:
        raise InvalidRequestError(
            f"{path} has no frame in the split '{request.split}'. Choose another split, such as 'all'."
        )
    if request.pictures_needed:
        _check_pictures(views)
    first_picture = next((view.picture for view in views if view.picture is not None), None)
    header = None if first_picture is None else read_picture_header(first_picture)
    pixel_keys = ("fl_x", "fl_y", "cx", "cy")
    in_pixels = any(view.value(key) is not None for view in views for key in pixel_keys)
    picture_size = None if header is None else (header.width, header.height)
    telling = [view.picture for view in views if view.picture is not None and not _declares_size(view)]
    if telling:
        picture_size = size_of_pictures(telling, request)
    names = unique_names([view.frame.file_path.replace("\\", "/") for view in views])
    cameras = [
        _camera(view, name, picture_size, None if in_pixels else request.size)
        for view, name in zip(views, names, strict=True)
    ]
    near, far = depth_limits(cameras) if in_pixels else (NEAR, FAR)
    return PosedImageSet(
        layout="instant-ngp" if in_pixels else "blender",
        images=tuple(
            PosedImage(camera=_resized(view, camera, request.size), path=view.picture)
            for view, camera in zip(views, cameras, strict=True)
        ),
        near=near,
        far=far,
        ndc=None,
        white_background=(header is not None and header.has_alpha) if in_pixels else True,
    )


def _declares_size(view: _View) -> bool:
    """Tell whether a frame, or the whole file, says how large its picture is."""
    return view.value("w") is not None and view.value("h") is not None


def _check_pictures(views: list[_View]) -> None:
    """Raise `InvalidRequestError` unless every frame has a picture."""
    unnamed = [view for view in views if not view.frame.file_path]
    if unnamed:
        raise unnamed[0].refuse(
            f"has no key 'file_path', and so it is with {len(unnamed)} of {len(views)} frames: it names the "
            "picture, relative to the file"
        )
    missing = [view for view in views if view.picture is None]
    if missing:
        raise missing[0].refuse(
            f"has no picture there, and so it is with {len(missing)} of {len(views)} frames. Add the pictures"
        )


def _views(path: Path, request: ViewRequest) -> list[_View]:
    """Return the frames of the wanted split."""
    if path.is_dir():
        there = [split for split, name in SPLIT_FILES.items() if (path / name).is_file()]
        if request.split == "all" and there:
            lists = [_read(path / SPLIT_FILES[split], may_be_empty=len(there) > 1) for split in there]
            return [view for views in lists for view in views]
        if request.split in there:
            return _read(path / SPLIT_FILES[request.split])
        if there:
            raise InvalidRequestError(
                f"{path} has no {SPLIT_FILES[request.split]}; it has the splits {', '.join(there)}."
            )
        path = path / WHOLE_FILE
    views = _read(path)
    if path.name in SPLIT_FILES.values():
        return views
    return [views[index] for index in every_eighth(len(views), request.split)]


def _read(path: Path, *, may_be_empty: bool = False) -> list[_View]:
    """Return the frames of a file, checked for what does not depend on pictures."""
    try:
        with path.open("rb") as stream:
            text = stream.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise InvalidRequestError(f"{path} is larger than {_MAX_BYTES:,} bytes: it lists no cameras.")
        whole = msgspec.json.decode(text, type=_Transforms)
    except OSError as error:
        raise InvalidRequestError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidRequestError(
            f"{path} does not list cameras as NeRF, instant-ngp and nerfstudio do: {str(error)[:200]}."
        ) from error
    frames = whole.frames
    if frames is None:
        raise InvalidRequestError(f"{path} has no key 'frames', which lists pictures and their cameras.")
    if not frames and not may_be_empty:
        raise InvalidRequestError(f"{path} lists no cameras: its key 'frames' is empty.")
    if len(frames) > MAX_VIEWS:
        raise InvalidRequestError(f"{path} lists {len(frames)} frames; {MAX_VIEWS} are allowed.")
    views = []
    for index, frame in enumerate(frames):
        view = _View(frame, whole, path, index, None)
        _check_lens(view)
        views.append(_View(frame, whole, path, index, _picture(view)))
    return views


def _picture(view: _View) -> Path | None:
    """Return the file of a frame's picture, in the JSON file's folder or below; None if missing."""
    text = view.frame.file_path.replace("\\", "/")
    place = PurePosixPath(text)
    if place.is_absolute() or ".." in place.parts or ":" in text or len(text) > _LONGEST_PATH:
        raise view.refuse(
            f"takes its picture from outside the folder of {view.source.name}. Put the pictures there and "
            "write relative paths"
        )
    if not place.name:
        return None
    folder = view.source.parent / place.parent
    names = [place.name] if is_picture(place) else [place.name + suffix for suffix in PICTURE_SUFFIXES]
    try:
        return next((folder / name for name in names if (folder / name).is_file()), None)
    except OSError:  # a name that the file system cannot have
        return None


def _check_lens(view: _View) -> None:
    """Raise unless the camera is a pinhole, or has a lens of OpenCV's model."""
    model = view.frame.camera_model or view.whole.camera_model or ""
    if view.value("is_fisheye") or model.upper() not in _CAMERA_MODELS:
        raise view.refuse(
            f"has a lens of a model that is not known ({model[:40] or 'fisheye'}). Undistort the pictures "
            "first, for example with COLMAP's image_undistorter"
        )
    if view.value("k4"):
        raise view.refuse(
            "has a lens with k4, which programs understand in different ways. Undistort the pictures first, "
            "for example with COLMAP's image_undistorter"
        )


def _lens(view: _View, camera: Camera) -> LensDistortion | None:
    """Return what a frame says of how the lens bends lines, if it does."""
    values = {key: view.value(key) or 0.0 for key in ("k1", "k2", "k3", "p1", "p2")}
    if not any(values.values()):
        return None
    lens = LensDistortion(**values)
    ends = [
        torch.linspace(-centre / focal, (side - centre) / focal, _LENS_CHECKS, dtype=torch.float64)
        for centre, focal, side in (
            (camera.centre_x, camera.focal_x, camera.width),
            (camera.centre_y, camera.focal_y, camera.height),
        )
    ]
    if not all(math.isfinite(value) for value in values.values()) or not is_invertible(
        torch.cartesian_prod(*ends), lens
    ):
        raise view.refuse(
            "has a lens that shows some places twice or not at all: its numbers (k1, k2, k3, p1, p2) belong "
            "to another model or picture"
        )
    return lens


def _camera(
    view: _View, name: str, picture_size: tuple[int, int] | None, wanted: tuple[int, int] | None
) -> Camera:
    """Return the camera of a frame in its own size: as declared, that of the pictures, or the wanted one."""
    declared_width, declared_height = view.value("w"), view.value("h")
    if declared_width is not None and declared_height is not None:
        if not all(1 <= side <= MAX_SIDE and side % 1 == 0 for side in (declared_width, declared_height)):
            raise view.refuse(f"declares pictures of {declared_width:g} x {declared_height:g} pixels")
        size = (int(declared_width), int(declared_height))
    elif picture_size is not None:
        size = picture_size
    elif wanted is not None:
        size = wanted
    else:
        raise view.refuse(
            "has no picture, and its size is unknown. Add the keys 'w' and 'h', or say which size is wanted"
        )
    width, height = size
    focal_x = _focal(view, "fl_x", "camera_angle_x", width)
    focal_y = _focal(view, "fl_y", "camera_angle_y", height) or focal_x
    focal_x = focal_x or focal_y
    if focal_x is None or focal_y is None:
        raise view.refuse("has no focal length: neither 'camera_angle_x' nor 'fl_x' is there")
    centre_x, centre_y = view.value("cx"), view.value("cy")
    centre_x = width / 2.0 if centre_x is None else centre_x
    centre_y = height / 2.0 if centre_y is None else centre_y
    if not all(math.isfinite(value) and abs(value) < 1e7 for value in (focal_x, focal_y, centre_x, centre_y)):
        raise view.refuse("has a focal length or principal point that no camera has")
    camera = Camera(
        width=width,
        height=height,
        focal_x=focal_x,
        focal_y=focal_y,
        centre_x=centre_x,
        centre_y=centre_y,
        pose=_pose(view),
        name=name,
    )
    return dataclasses.replace(camera, lens=_lens(view, camera))


def _focal(view: _View, key: str, angle_key: str, side: int) -> float | None:
    """Return a focal length in pixels, given as such or by the angle that the picture's side takes up."""
    focal, angle = view.value(key), view.value(angle_key)
    if focal is not None:
        if not focal > 0.0:
            raise view.refuse(f"has the focal length {focal:g}; it must be positive")
        return focal
    if angle is None:
        return None
    if not 1e-4 < angle < math.pi - 1e-4:
        raise view.refuse(f"has a {angle_key} of {angle:g}; it must be between 0 and pi")
    return 0.5 * side / math.tan(0.5 * angle)


def _pose(view: _View) -> NDArray[np.float64]:
    """Return the pose, camera to world, when it is rigid but for a small error of scale."""
    rows = view.frame.transform_matrix
    if rows is None:
        raise view.refuse("has no key 'transform_matrix', its pose")
    if len(rows) != 4 or any(len(row) != 4 for row in rows):
        raise view.refuse("has a transform_matrix that is not 4 x 4")
    pose = np.array(rows, np.float64)
    if not np.isfinite(pose).all() or np.abs(pose).max() > 1e12:
        raise view.refuse("has a transform_matrix with numbers that are not finite, or huge")
    turn = pose[:3, :3]
    rigid = np.abs(turn.T @ turn - np.eye(3)).max() < _POSE_TOLERANCE and np.linalg.det(turn) > 0.0
    if not rigid or np.abs(pose[3] - [0.0, 0.0, 0.0, 1.0]).max() > 1e-3:
        raise view.refuse(
            "has a transform_matrix that is no rigid motion: it scales, shears or mirrors, or its last row "
            "is not 0 0 0 1. Export the camera without a scale"
        )
    return pose


def _resized(view: _View, camera: Camera, size: tuple[int, int] | None) -> Camera:
    """Return the camera in the wanted size."""
    if size is None or size == (camera.width, camera.height):
        return camera
    checked_shape(size, (camera.width, camera.height), f"Frame {view.index} of {view.source}")
    return camera.resized(*size)
