"""Encoding trained radiance fields one after the other, and measuring what came of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from scene_codec.codecs.contract import CodedObject, CodedSet, EncodeItem, JobContext
from scene_codec.errors import InvalidRequestError, UnsupportedSceneError
from scene_codec.progress import Progress
from scene_codec.radiance.checkpoint_source import CheckpointFile
from scene_codec.radiance.field import RadianceField
from scene_codec.radiance.ray_supply import CameraSet, PictureRays
from scene_codec.reports import ObjectFailure

CHECK_RAYS = 20_000
_LEAST_SHARE_EXPLAINED = 0.3
"""Of the variance of pictures. A chair explains 0.93 of its own pictures, and 0.21 of those of another object
in the middle of the same background; at 2/3 of its size 0.27; after 60 steps 0.46. A weak field of a
forward-facing scene explains 0.49."""

EncodeFile = Callable[[CheckpointFile, Progress], CodedObject]


def encode_each(objects: Sequence[EncodeItem], context: JobContext, encode: EncodeFile) -> CodedSet:
    """Return all fields coded, and as failures those that cannot be.

    Raises `UnsupportedSceneError` with the reasons when nothing is left, and what else `encode` raises.
    """
    coded: list[CodedObject] = []
    failures: list[ObjectFailure] = []
    for index, item in enumerate(objects):
        assert isinstance(item, CheckpointFile)
        part = context.progress.part(index / len(objects), (index + 1) / len(objects), item.name)
        try:
            coded.append(encode(item, part))
        except UnsupportedSceneError as problem:
            failures.append(ObjectFailure(name=item.name, reason=str(problem)))
    if not coded:
        reasons = "; ".join(f"{failure.name}: {failure.reason}" for failure in failures[:5])
        raise UnsupportedSceneError(f"No radiance field could be encoded. {reasons}".rstrip())
    return CodedSet(shared=(), objects=tuple(coded), failures=tuple(failures))


def state_of_files(files: Sequence[Path]) -> bytes:
    """Return what tells whether files have changed: their names, sizes and times."""
    states = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
    return repr(states).encode()


def state_of_pictures(pictures: Path) -> bytes:
    """Return what tells whether a data set has changed; a JSON file lists pictures below its folder."""
    return state_of_files(sorted(pictures.rglob("*") if pictures.is_dir() else pictures.parent.rglob("*")))


def check_pictures(
    field: RadianceField, cameras: CameraSet, pictures: PictureRays | None, progress: Progress
) -> None:
    """Raise `InvalidRequestError` when pictures do not show what a field shows, `Cancelled`."""
    if pictures is None:
        return
    pixel = _pixels(cameras, CHECK_RAYS // 8)
    wanted = pictures.at(pixel)[1]
    seen = _colours(field, cameras, pixel, progress)
    one_colour = wanted.mean(dim=0, keepdim=True).expand_as(wanted)
    variance = float((one_colour - wanted).square().mean())
    error = float((seen - wanted).square().mean())
    if error > (1.0 - _LEAST_SHARE_EXPLAINED) * variance:
        of_field, of_colour = (_hundredths(own, wanted) / 100 for own in (seen, one_colour))
        raise InvalidRequestError(
            f"The pictures do not show this field: it is {of_field:.1f} dB from them, one grey or coloured "
            f"area would be {of_colour:.1f} dB. Give pictures of its own scene, with cameras in its units "
            "(of Plenoxels, see scale) and the background that it was trained with. If they are, it has "
            "hardly learnt the scene: train it for more steps, or leave the pictures out, and the file will "
            "show what it shows."
        )


def reached_quality(
    after: RadianceField,
    before: RadianceField,
    cameras: CameraSet,
    pictures: PictureRays | None,
    progress: Progress,
) -> tuple[int, int]:
    """Return the PSNR of a field to what it showed before, and to pictures, in hundredths of a decibel.

    The second is -1 without pictures. Raises `Cancelled`.
    """
    pixel = _pixels(cameras, CHECK_RAYS)
    seen = _colours(after, cameras, pixel, progress.part(0.0, 0.5, "measuring"))
    shown = _colours(before, cameras, pixel, progress.part(0.5, 1.0, "measuring"))
    to_pictures = -1 if pictures is None else _hundredths(seen, pictures.at(pixel)[1])
    return _hundredths(seen, shown), to_pictures


def _pixels(cameras: CameraSet, count: int) -> Tensor:
    """Return so many pixels (n,) int64, the same ones in every call."""
    return torch.randint(cameras.pixels, (count,), generator=torch.Generator().manual_seed(1))


def _colours(field: RadianceField, cameras: CameraSet, pixel: Tensor, progress: Progress) -> Tensor:
    """Return what a field shows at pixels (n,), on the CPU."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(pixel), field.rays_at_once):
            progress.update(start / len(pixel))
            rays = cameras.rays(pixel[start : start + field.rays_at_once]).to(field.device)
            parts.append(field.render(rays).colour.cpu())
    return torch.cat(parts)


def _hundredths(seen: Tensor, wanted: Tensor) -> int:
    """Return the PSNR between colours (n, 3) in hundredths of a decibel."""
    error = float((seen - wanted).square().mean())
    return max(0, round(-1000.0 * math.log10(max(error, 1e-20))))
