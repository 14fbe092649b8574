"""Settings of the wavelet codec for volumes, and its presets."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec

from scene_codec.codecs.overrides import settings_of_preset
from scene_codec.errors import InvalidRequestError

CODEC_NAME = "volume-wavelet"
DEFAULT_PRESET = "balanced"

TARGETS = ("psnr", "max_error", "target_size", "lossless", "step")
"""Settings that say how good or how small; exactly one is in force."""

Positive = Annotated[float, msgspec.Meta(gt=0.0)]


class VolumeWaveletSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How volumes are coded. One of psnr, max_error, target_size, lossless and step decides the quality."""

    psnr: Annotated[float, msgspec.Meta(ge=10.0, le=120.0)] | None = None
    """Wanted PSNR of each grid in dB over its active voxels, reached and exceeded by 0.1 dB at most (more
    where rounding to whole numbers decides)."""

    max_error: Positive | None = None
    """Largest error of any finite active voxel in the units of the values; kept for every one of them."""

    target_size: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Bytes that a file of one volume may take, all counted: never exceeded, and approached to within a few
    percent, unless the volume fits without loss. Of several volumes in a file each may take as many."""

    lossless: bool = False
    """Every active voxel comes back bit for bit, whatever its type."""

    step: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] | None = None
    """For experts: quantisation step as a part of the range of values; the error is about a third of it."""

    topology: Literal["exact", "tolerant"] = "exact"
    """Which voxels of sparse grids are active: stored exactly, or, in fewer bytes, those whose decoded value
    differs from the background by more than the tolerance. max_error and lossless need exact."""

    tolerance: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.002
    """Tolerant topology: the smallest difference from the background that is active, as a part of the range
    of values."""

    tile: Literal[32, 64, 128, 256] = 128
    """Side of the boxes that are coded apart, in voxels. Small ones are decoded faster where only a part of
    a volume is wanted, large ones make smaller files."""

    keyframes: Annotated[int, msgspec.Meta(ge=1, le=64)] = 8
    """Of numbered frames (smoke_0001, smoke_0002, ...), every how many one stands alone; the others are coded
    with the help of the frame before. 1: all stand alone. Large numbers make smaller files, and a single
    frame slower to decode."""


PRESETS: dict[str, tuple[str, VolumeWaveletSettings]] = {
    "balanced": ("45 dB: no difference to be seen in renderings", VolumeWaveletSettings(psnr=45.0)),
    "small": (
        "38 dB: fine structure softened, files a half to a third of balanced",
        VolumeWaveletSettings(psnr=38.0),
    ),
    "fine": ("52 dB: for processing further", VolumeWaveletSettings(psnr=52.0)),
    "lossless": ("every voxel comes back bit for bit", VolumeWaveletSettings(lossless=True)),
}
"""What each preset is for, and its settings."""


def settings_for(preset: str | None) -> VolumeWaveletSettings:
    """Return the settings of a preset. Raises `InvalidRequestError` for an unknown name."""
    return settings_of_preset(PRESETS, DEFAULT_PRESET if preset is None else preset)


def check_settings(settings: VolumeWaveletSettings) -> None:
    """Raise `InvalidRequestError` unless exactly one target is given and the topology suits it."""
    given = [name for name in TARGETS if getattr(settings, name) not in (None, False)]
    if len(given) != 1:
        raise InvalidRequestError(
            f"{CODEC_NAME} needs exactly one of {', '.join(TARGETS)}; given: {', '.join(given) or 'none'}."
        )
    if settings.max_error is not None and not math.isfinite(settings.max_error):
        raise InvalidRequestError("max_error must be a finite number; give a PSNR to let errors be large.")
    if settings.topology == "tolerant" and given[0] in ("max_error", "lossless"):
        raise InvalidRequestError(
            f"{given[0]} promises something of every active voxel, so the topology must be exact."
        )
