"""A volume in a file of a wanted size: without loss where that fits, else in the finest steps that do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import msgspec
import numpy as np

from scene_codec.bitstream import ObjectRecord, SceneContent, Section, file_size
from scene_codec.codecs.volume_wavelet.config import CODEC_NAME, VolumeWaveletSettings
from scene_codec.codecs.volume_wavelet.rate_search import LARGEST_STEP, SMALLEST_STEP
from scene_codec.codecs.volume_wavelet.syntax import PAYLOAD_VERSION
from scene_codec.errors import UnsupportedSceneError
from scene_codec.progress import Progress
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

SIZE_ATTEMPTS = 10
SIZE_TOLERANCE = 0.02
"""How much smaller than wanted a file may be."""

_LOSSLESS_SHARE = 0.2
_HOPELESS = 1.1
"""Where the middle of a volume alone exceeds the wanted size by this, the whole is not tried without loss."""

Sections = tuple[Section, ...]
Encode = Callable[[VolumeObject, VolumeWaveletSettings, Progress], Sections]


def encode_to_size(
    volume: VolumeObject, settings: VolumeWaveletSettings, encode: Encode, progress: Progress
) -> Sections:
    """Return the sections of the best volume whose file takes no more bytes than the target.

    settings : with a target size
    encode : codes a volume with other settings
    All grids get the same step. Raises `UnsupportedSceneError` with the least size that was found.
    """
    target = settings.target_size
    assert target is not None
    first = progress.part(0.0, _LOSSLESS_SHARE, volume.name)
    plain = msgspec.structs.replace(settings, target_size=None, lossless=True, topology="exact")
    if _lossless_may_fit(volume, plain, target, encode):
        sections = encode(volume, plain, first)
        if size_of_file(volume, sections) <= target:
            return sections
    rest = progress.part(_LOSSLESS_SHARE, 1.0, volume.name)
    sizes: list[int] = []
    best: tuple[float, Sections] | None = None

    def size_at(step: float) -> int:
        nonlocal best
        part = rest.part(len(sizes) / SIZE_ATTEMPTS, (len(sizes) + 1) / SIZE_ATTEMPTS, volume.name)
        stepped = msgspec.structs.replace(settings, target_size=None, step=step)
        sections = encode(volume, stepped, part)
        sizes.append(size_of_file(volume, sections))
        if sizes[-1] <= target and (best is None or step < best[0]):
            best = step, sections
        return sizes[-1]

    search_step(size_at, target)
    if best is None:
        raise UnsupportedSceneError(
            f"Volume '{volume.name}' takes at least {min(sizes)} bytes; wanted were {target}. Give more, or "
            "make its topology tolerant."
        )
    return best[1]


def size_of_file(volume: VolumeObject, sections: Sections) -> int:
    """Return the bytes of the file that holds this volume alone."""
    placed = not np.array_equal(volume.transform, np.eye(4))
    transform = tuple(float(number) for number in volume.transform.reshape(-1)) if placed else None
    record = ObjectRecord(name=volume.name, sections=sections, transform=transform, host=volume.host)
    return file_size(SceneContent(CODEC_NAME, PAYLOAD_VERSION, (), (record,)))


def _lossless_may_fit(
    volume: VolumeObject, settings: VolumeWaveletSettings, target: int, encode: Encode
) -> bool:
    """Return whether it is worth trying: the middle of the largest grid must not exceed the size alone."""
    largest = max(volume.grids, key=lambda grid: math.prod(grid.shape), default=None)
    if largest is None or min(largest.shape) < _HALVES:
        return True
    part = replace(volume, grids=(_middle(largest),))
    return size_of_file(part, encode(part, settings, Progress())) <= _HOPELESS * target


_HALVES = 4


def _middle(grid: VolumeGrid) -> VolumeGrid:
    """Return the inner eighth of a grid."""
    box = tuple(slice(length // 4, length // 4 + length // 2) for length in grid.shape)
    return replace(grid, values=grid.values[box], active=None if grid.active is None else grid.active[box])


def search_step(size_at: Callable[[float], int], target: int) -> None:
    """Try steps until the size of one comes near a target from below.

    size_at : falls with the step, as good as always; called `SIZE_ATTEMPTS` times at most
    """
    step = 2.0**-6
    above: tuple[float, float] | None = None
    below: tuple[float, float] | None = None
    for _ in range(SIZE_ATTEMPTS):
        size = size_at(step)
        at = math.log2(step), math.log2(size)
        if size <= target:
            below = at if below is None or at[0] < below[0] else below
            if size >= (1.0 - SIZE_TOLERANCE) * target or step <= SMALLEST_STEP:
                break
        else:
            above = at if above is None or at[0] > above[0] else above
            if step >= LARGEST_STEP:
                break
        step = 2.0 ** _following(at, above, below, math.log2(target * (1.0 - 0.4 * SIZE_TOLERANCE)))


def _following(
    at: tuple[float, float],
    above: tuple[float, float] | None,
    below: tuple[float, float] | None,
    wanted: float,
) -> float:
    """Return the binary logarithm of the step to try next."""
    if above is None or below is None:
        # Sizes fall by about half when steps double.
        following = at[0] + 1.2 * (at[1] - wanted)
    else:
        share = (above[1] - wanted) / (above[1] - below[1])
        following = above[0] + min(max(share, 0.05), 0.95) * (below[0] - above[0])
    return min(max(following, math.log2(SMALLEST_STEP)), math.log2(LARGEST_STEP))
