"""A radiance field with its name and place. Importing this module loads no torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scene_codec.radiance.field import RadianceField


def identity() -> NDArray[np.float64]:
    """Return the map that leaves everything in its place."""
    return np.eye(4)


@dataclass(frozen=True, eq=False)
class RadianceObject:
    """One named radiance field and where it stands.

    transform : (4, 4) float64, object to world, column vectors
    host : opaque bytes (at most 64 KiB) that the host application needs to put the field back
    source_bytes : size of the files the field came from; 0 if unknown
    """

    name: str
    field: RadianceField
    transform: NDArray[np.float64] = dataclasses.field(default_factory=identity)
    host: bytes = b""
    source_bytes: int = 0
