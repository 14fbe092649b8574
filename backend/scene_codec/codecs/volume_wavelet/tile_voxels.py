"""What decoded numbers, states and residuals make of the voxels of a tile; encoder and decoder alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.volume_parts.grid_description import background_value
from scene_codec.codecs.volume_wavelet.syntax import GridHeader
from scene_codec.codecs.volume_wavelet.topology_coding import ACTIVE, INSIDE, OUTSIDE, States, TileClues
from scene_codec.codecs.volume_wavelet.value_coding import ChannelCoding
from scene_codec.volumes.lifting_wavelet import FloatArray

Values = NDArray[np.generic]


@dataclass(frozen=True)
class TileVoxels:
    """A decoded tile.

    values : one array (x, y, z) per channel, of the grid's type
    states : (x, y, z), None when all voxels are active
    """

    values: tuple[Values, ...]
    states: States | None


def states_of(values: Values, active: NDArray[np.bool_], header: GridHeader) -> States:
    """Return the states of voxels, given those of the first channel and which are active."""
    states = active.astype(np.uint8)
    if header.kind == "level set":
        inner = np.negative(outer_value(header, 0, values.dtype))
        states[~active & (values == inner)] = INSIDE
    return states


_DISTANCE_STEPS = (1 / 32, 1 / 8, 1 / 4, 1 / 2, 1.0, 2.0)


def clues_of(
    numbers: Sequence[FloatArray],
    codings: Sequence[ChannelCoding],
    header: GridHeader,
    reference: NDArray[np.uint8] | None,
) -> TileClues:
    """Return what decoded values tell about the states; of several channels the farthest from background."""
    distances = np.zeros(numbers[0].shape, np.uint8)
    inside = np.zeros(numbers[0].shape, np.bool_) if header.kind == "level set" else None
    for own, coding in zip(numbers, codings, strict=True):
        if coding.value_range.constant:
            continue
        distance = np.abs(own)
        if inside is not None:
            inner = inner_number(coding)
            inside |= own < np.float32(0.5) * inner
            distance = np.minimum(distance, np.abs(own - inner))
        classes = np.zeros_like(distances)
        for steps in _DISTANCE_STEPS:
            classes += distance > np.float32(steps * coding.quantiser.step)
        np.maximum(distances, classes, out=distances)
    return TileClues(distances, inside, reference)


def tolerant_states(
    numbers: Sequence[FloatArray], codings: Sequence[ChannelCoding], header: GridHeader
) -> States:
    """Return states from decoded values alone: active is what differs enough from the background."""
    active = np.zeros(numbers[0].shape, np.bool_)
    inside = np.zeros_like(active)
    for own, coding in zip(numbers, codings, strict=True):
        if coding.value_range.constant:
            continue
        threshold = np.float32(header.tolerance * (coding.quantiser.step / header.step))
        distance = np.abs(own)
        if header.kind == "level set":
            inner = inner_number(coding)
            inside = own < np.float32(0.5) * inner
            distance = np.minimum(distance, np.abs(own - inner))
        active |= distance > threshold
    return np.where(active, np.uint8(ACTIVE), np.where(inside, np.uint8(INSIDE), np.uint8(OUTSIDE)))


def inner_number(coding: ChannelCoding) -> np.float32:
    """Return the number that minus the background has in a level set."""
    return np.float32(coding.value_range.normalised(np.array([-coding.background]))[0] - coding.origin)


def outer_value(header: GridHeader, channel: int, dtype: np.dtype[np.generic]) -> Values:
    """Return the background as a value of a type; what does not fit is cut off."""
    return background_value(header.background[channel], dtype)


def set_inactive(values: Values, states: States, header: GridHeader, channel: int) -> None:
    """Give inactive voxels the values they must have."""
    outer = outer_value(header, channel, values.dtype)
    values[states == OUTSIDE] = outer
    if header.kind == "level set":
        values[states == INSIDE] = np.negative(outer)
