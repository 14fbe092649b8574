"""Volumes that are still files: read when their turn comes, so that a long sequence never lies in memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scene_codec.volumes.volume import VolumeObject, identity
from scene_codec.volumes.volume_files import load_volume


@dataclass(frozen=True)
class VolumeFile:
    """A volume in a file, or in a folder of numbered TIFF slices, under a name and in a place of its own.

    transform : (4, 4) float64, object to world, column vectors
    host : opaque bytes (at most 64 KiB) that the host application needs to put the volume back
    """

    name: str
    path: Path
    transform: NDArray[np.float64] = field(default_factory=identity)
    host: bytes = b""


def opened(source: VolumeObject | VolumeFile) -> VolumeObject:
    """Return a volume as it is, or read from its file. Raises `UnsupportedSceneError` naming the file."""
    if isinstance(source, VolumeObject):
        return source
    volume = load_volume(source.path)
    return replace(volume, name=source.name, transform=source.transform, host=source.host)
