"""Pictures of a scene with the cameras that took them, from the layouts in which data sets come."""

from __future__ import annotations

from pathlib import Path

from scene_codec.errors import InvalidRequestError
from scene_codec.radiance.blender_layout import WHOLE_FILE, has_transforms, load_transforms
from scene_codec.radiance.captured_views import PosedImage, PosedImageSet, Split, ViewRequest
from scene_codec.radiance.llff_layout import POSES_FILE, load_llff
from scene_codec.radiance.nsvf_layout import INTRINSICS_FILE, has_nsvf, load_nsvf

__all__ = ["PosedImage", "PosedImageSet", "Split", "load_cameras", "load_posed_images"]


def load_posed_images(
    path: Path, split: Split = "train", *, size: tuple[int, int] | None = None
) -> PosedImageSet:
    """Return the pictures of one split of a data set, each with its camera; none is read yet.

    path : a folder with `poses_bounds.npy` (forward-facing, see `llff_layout`), otherwise one with
        `transforms_*.json` or `transforms.json`, or such a JSON file itself (see `blender_layout`), or else
        with `intrinsics.txt` (see `nsvf_layout`)
    size : (width, height) that pictures are averaged down to; as they are by default

    Raises `InvalidRequestError` that says what is missing or wrong, and `UnsupportedSceneError` for a picture
    that is damaged.
    """
    return _load(path, ViewRequest(split=split, size=size, pictures_needed=True))


def load_cameras(path: Path, *, split: Split = "all", size: tuple[int, int] | None = None) -> PosedImageSet:
    """Return cameras of a data set, all by default, whether their pictures are there or not.

    path : as for `load_posed_images`, or `poses_bounds.npy` itself; a JSON file with one
        frame and the keys `w` and `h` is one camera
    size : (width, height) that cameras get; by default that of the pictures, or what the file says
    """
    return _load(path, ViewRequest(split=split, size=size, pictures_needed=False))


def _load(path: Path, request: ViewRequest) -> PosedImageSet:
    """Read the layout that is there."""
    if path.name == POSES_FILE and path.is_file():
        return load_llff(path.absolute().parent, request)
    if path.is_file():
        return load_transforms(path, request)
    if not path.is_dir():
        raise InvalidRequestError(f"{path} is neither a folder nor a file.")
    if (path / POSES_FILE).is_file():
        return load_llff(path, request)
    if has_transforms(path):
        return load_transforms(path, request)
    if has_nsvf(path):
        return load_nsvf(path, request)
    raise InvalidRequestError(
        f"{path} is no set of posed pictures: it has no transforms_train.json, {WHOLE_FILE}, {POSES_FILE} "
        f"or {INTRINSICS_FILE}."
    )
