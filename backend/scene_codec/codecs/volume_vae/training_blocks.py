"""The blocks that training sees: every block of every volume that holds something, drawn in random order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.volume_parts.channel_range import ChannelRange, range_of
from scene_codec.errors import UnsupportedSceneError
from scene_codec.progress import Progress
from scene_codec.volumes.blocks import BLOCK_SIDE, block_counts, cut_layers
from scene_codec.volumes.volume import VolumeObject

LEAST_CONTENT = 1e-5
"""Blocks whose mean is not above this are left out of training (released code of the paper)."""

_LARGEST_SHIFT = BLOCK_SIDE // 2

Blocks = NDArray[np.float32]


@dataclass(frozen=True)
class TrainingVolume:
    """One channel of a grid, (x, y, z) of any type; may be a memory map."""

    name: str
    values: NDArray[np.generic]


def training_volumes(volumes: Sequence[VolumeObject]) -> list[TrainingVolume]:
    """Return every channel of every grid that has values."""
    found = []
    for volume in volumes:
        for grid in volume.grids:
            for channel in range(grid.channels):
                values = grid.values[..., channel] if grid.values.ndim == 4 else grid.values
                if values.size:
                    found.append(TrainingVolume(f"{volume.name} {grid.name} {channel}", values))
    return found


class TrainingBlocks:
    """Blocks of some volumes by number; values are normalised to [0, 1] for each volume."""

    def __init__(self, volumes: Sequence[TrainingVolume], margin: int, progress: Progress) -> None:
        """Look through all volumes once. Raises `UnsupportedSceneError` when no block holds anything."""
        self._volumes = list(volumes)
        self._margin = margin
        self._ranges: list[ChannelRange] = []
        parts = []
        for index, volume in enumerate(self._volumes):
            progress.update(index / len(self._volumes), f"reading {volume.name}")
            found = range_of(volume.values)
            self._ranges.append(found)
            corners = _occupied_corners(volume.values, found)
            parts.append(np.insert(corners, 0, index, axis=1))
        self._places = np.concatenate([np.zeros((0, 4), np.int64), *parts])
        if len(self._places) == 0:
            raise UnsupportedSceneError("None of the volumes holds anything to train on: all are constant.")

    @property
    def description(self) -> str:
        """What tells these blocks from others: names, sizes and ranges of the volumes, number of blocks."""
        volumes = [
            f"{volume.name} {volume.values.shape} {found.low!r} {found.high!r}"
            for volume, found in zip(self._volumes, self._ranges, strict=True)
        ]
        return f"{len(self)} blocks of {'; '.join(volumes)}"

    def __len__(self) -> int:
        return len(self._places)

    def volume_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the index of the volume of each block."""
        owners: NDArray[np.int64] = self._places[numbers, 0]
        return owners

    def take(self, numbers: NDArray[np.int64], shifts: np.random.Generator | None = None) -> Blocks:
        """Return blocks (n, s, s, s), each moved by up to half its side when a generator is given."""
        side = BLOCK_SIDE + 2 * self._margin
        blocks = np.zeros((len(numbers), side, side, side), np.float32)
        places = self._places[numbers]
        corners = places[:, 1:]
        if shifts is not None:
            corners = corners + shifts.integers(-_LARGEST_SHIFT, _LARGEST_SHIFT + 1, corners.shape)
        for index in np.unique(places[:, 0]).tolist():
            own = np.flatnonzero(places[:, 0] == index)
            values = self._volumes[index].values
            x, y, z = (
                np.clip(corners[own, axis, None] + np.arange(-self._margin, side - self._margin), 0, size - 1)
                for axis, size in enumerate(values.shape)
            )
            taken = values[x[:, :, None, None], y[:, None, :, None], z[:, None, None, :]]
            blocks[own] = self._ranges[index].normalised(taken)
        return blocks


def _occupied_corners(values: NDArray[np.generic], found: ChannelRange) -> NDArray[np.int64]:
    """Return the first voxel of each block with a mean above the least, (n, 3)."""
    if found.constant:
        return np.zeros((0, 3), np.int64)
    shape = (values.shape[0], values.shape[1], values.shape[2])
    parts = []
    for layer in range(block_counts(shape)[0]):
        blocks = found.normalised(cut_layers(values, 0, layer, layer + 1)[0])
        occupied = np.argwhere(blocks.mean(axis=(2, 3, 4)) > LEAST_CONTENT)
        parts.append(np.insert(occupied, 0, layer, axis=1))
    corners: NDArray[np.int64] = BLOCK_SIDE * np.concatenate(parts)
    return corners
