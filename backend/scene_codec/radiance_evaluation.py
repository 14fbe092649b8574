"""Measures a radiance field against pictures that were kept apart: PSNR, SSIM, bytes, seconds."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from scene_codec.errors import InvalidRequestError
from scene_codec.progress import Progress
from scene_codec.view_rendering import open_field, views_of

if TYPE_CHECKING:
    from scene_codec.radiance.captured_views import Split


class ViewEvaluation(msgspec.Struct, frozen=True, kw_only=True):
    """One view against its picture.

    psnr : dB; infinite, in JSON null, where nothing differs
    ssim : None for pictures smaller than its window of 11 pixels
    mse : mean squared error of the colours in [0, 1]
    seconds : of rendering
    """

    name: str
    psnr: float
    ssim: float | None
    mse: float
    seconds: float


class RadianceEvaluation(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `evaluate_views`.

    object_bytes : the field's own bytes in the file, of which `file_bytes` is the whole
    psnr, ssim, mse : means over the views, as papers report them; the PSNR is the mean of the views' PSNR
    decode_seconds, render_seconds : of the views together, without reading pictures and comparing
    """

    path: str
    object: str
    codec: str
    device: str
    images: str
    split: str
    width: int
    height: int
    every: int
    file_bytes: int
    object_bytes: int
    psnr: float
    ssim: float | None
    mse: float
    decode_seconds: float
    render_seconds: float
    views: tuple[ViewEvaluation, ...]


def evaluate_views(  # noqa: PLR0913 - keyword options of the public API
    file: Path | str,
    images: Path | str,
    split: Split = "test",
    *,
    size: tuple[int, int] | None = None,
    every: int = 1,
    only: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> RadianceEvaluation:
    """Render the views of a data set and compare them with its pictures.

    images : a data set's folder or JSON file, see `radiance.posed_images`
    size : (width, height) that pictures are averaged down to; as they are by default
    every : take each so manieth view, from the first
    only : name of the wanted object, where there are several

    Raises `InvalidRequestError`, `UnsupportedSceneError` for a damaged picture, `CorruptFileError`,
    `Cancelled`.
    """
    from scene_codec.metrics.image_quality import WINDOW, psnr, ssim
    from scene_codec.radiance.posed_images import load_posed_images

    if every < 1:
        raise InvalidRequestError(f"Each view after {every} cannot be taken: 1 means all of them.")
    progress = progress or Progress()
    chosen = load_posed_images(Path(images), split, size=size)
    posed = chosen.images[::every]
    opened = open_field(file, only, device, progress)
    white = opened.item.field.domain.white_background
    views: list[ViewEvaluation] = []
    before = time.perf_counter()
    pictures = views_of(opened.item, [image.camera for image in posed], progress)
    for image, (camera, view) in zip(posed, pictures, strict=True):
        seconds = time.perf_counter() - before
        reference = image.load(white)
        large = min(reference.shape[:2]) >= WINDOW
        views.append(
            ViewEvaluation(
                name=camera.name,
                psnr=psnr(reference, view.colour),
                ssim=ssim(reference, view.colour) if large else None,
                mse=float(np.mean(np.square(reference.astype(np.float64) - view.colour))),
                seconds=seconds,
            )
        )
        before = time.perf_counter()
    similar = [view.ssim for view in views if view.ssim is not None]
    return RadianceEvaluation(
        path=str(file),
        object=opened.item.name,
        codec=opened.summary.codec,
        device=str(opened.item.field.device),
        images=str(images),
        split=split,
        width=posed[0].camera.width,
        height=posed[0].camera.height,
        every=every,
        file_bytes=opened.summary.file_bytes,
        object_bytes=opened.entry.bytes,
        psnr=statistics.fmean(view.psnr for view in views),
        ssim=statistics.fmean(similar) if similar else None,
        mse=statistics.fmean(view.mse for view in views),
        decode_seconds=opened.seconds,
        render_seconds=sum(view.seconds for view in views),
        views=tuple(views),
    )
