"""Coefficients of a grid predicted from another decoded one: smoke from that a frame before, say.

A predictor's values are moved to where they are now, decomposed, and weighted level by level: structure that
has changed since is left out, structure that has not is not coded again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scene_codec.codecs.volume_parts.grid_description import Triple
from scene_codec.codecs.volume_wavelet.prediction_syntax import (
    GAIN_ONE,
    Gains,
    GridOf,
    GridPrediction,
)
from scene_codec.codecs.volume_wavelet.reference_voxels import displacements, reference_numbers
from scene_codec.codecs.volume_wavelet.syntax import LEVELS
from scene_codec.errors import CorruptFileError
from scene_codec.volumes.lifting_wavelet import Subbands, decompose
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

VELOCITY_CHANNELS = 3


@dataclass(frozen=True)
class Predictor:
    """Predicts a grid from another one, and moves that by velocities when there are any.

    Of both grids only a part need be there, as far as the predicted tiles reach.
    """

    prediction: GridPrediction
    source: VolumeGrid
    velocity: VolumeGrid | None

    def bands(self, corner: Triple, shape: Triple) -> list[Subbands]:
        """Return the predicted coefficients of each channel of a tile, whose corner is one of the lattice."""
        sources = self.source_bands(corner, shape)
        return [weighted(own, gains) for own, gains in zip(sources, self.prediction.gains, strict=True)]

    def source_bands(self, corner: Triple, shape: Triple) -> list[Subbands]:
        """Return the coefficients that are weighted."""
        moved = None
        if self.velocity is not None and self.prediction.motion is not None:
            moved = displacements(self.velocity, self.prediction.motion.scale, corner, shape)
        numbers = reference_numbers(self.source, self.prediction.scales, corner, shape, moved)
        return [decompose(own, LEVELS) for own in numbers]


def weighted(bands: Subbands, gains: Gains) -> Subbands:
    """Return coefficients times the gains of their levels."""
    factors = [np.float32(gain / GAIN_ONE) for gain in gains]
    return Subbands(
        bands.base * factors[-1],
        tuple(
            {name: band * factor for name, band in level.items()}
            for level, factor in zip(bands.details, factors, strict=False)
        ),
    )


def predictor_of(
    prediction: GridPrediction,
    channels: int,
    previous: VolumeObject | None,
    grids: Mapping[int, VolumeGrid],
) -> Predictor | None:
    """Return what predicts the values of a grid; None when nothing does.

    channels : of the predicted grid
    grids : those of the same volume that are decoded
    Raises `CorruptFileError` when a grid is missing or of another kind.
    """
    if not prediction.gains:
        return None
    source = grid_named(prediction.source, previous, grids)
    velocity = None
    if prediction.motion is not None:
        velocity = grid_named(prediction.motion.velocity, previous, grids)
        if velocity.channels != VELOCITY_CHANNELS:
            raise CorruptFileError(f"Grid '{velocity.name}' holds no velocities to predict another with.")
    if source.channels != channels:
        raise CorruptFileError(
            f"A grid of {channels} channels cannot be predicted from '{source.name}' with {source.channels}."
        )
    return Predictor(prediction, source, velocity)


def grid_named(which: GridOf, previous: VolumeObject | None, grids: Mapping[int, VolumeGrid]) -> VolumeGrid:
    """Return a decoded grid. Raises `CorruptFileError` when there is none."""
    if not which.previous:
        return grids[which.number]
    if previous is None or which.number >= len(previous.grids):
        raise CorruptFileError(f"The frame before has no grid {which.number}, which is needed here.")
    return previous.grids[which.number]
