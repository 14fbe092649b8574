"""The PREDICTION section: from which decoded grids the coefficients of a volume's grids are predicted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import msgspec

from scene_codec.codecs.volume_parts.grid_description import MAX_GRIDS, read_header
from scene_codec.errors import CorruptFileError

GAIN_ONE = 32
"""Gains are stored as whole 32nds."""

LARGEST_GAIN = 127
MAX_SCALE = 1e30
SMALLEST_UNIT, LARGEST_UNIT = 1e-300, 1e300

Gains = tuple[int, ...]
_Number = Annotated[int, msgspec.Meta(ge=0, lt=MAX_GRIDS)]


class GridOf(msgspec.Struct, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A decoded grid: of the frame before, or an earlier one of the same volume."""

    previous: bool
    number: _Number


class ValueScale(msgspec.Struct, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The value that counts as 0, and how much more counts as 1."""

    origin: float
    unit: float


class Motion(msgspec.Struct, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where voxels were before: a grid of velocities, and how many voxels one unit of them is."""

    velocity: GridOf
    scale: float


class GridPrediction(msgspec.Struct, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one grid is predicted.

    source : grid of the same lattice and with as many channels
    scales : of each channel of the source: how its values become numbers
    motion : None when its values are taken where they are
    gains : of each channel, in 32nds: for the details of each level, the finest first, and for the base; none
        when values are not predicted
    topology : whether the source's active voxels are a clue to those of this grid
    """

    source: GridOf
    scales: tuple[ValueScale, ...]
    motion: Motion | None
    gains: tuple[Gains, ...]
    topology: bool


class Prediction(msgspec.Struct, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of the PREDICTION section.

    previous : name of the object in the same file that is the frame before; "" when it is not needed
    """

    previous: str
    grids: Annotated[tuple[GridPrediction | None, ...], msgspec.Meta(max_length=MAX_GRIDS)]


def write_prediction(prediction: Prediction) -> bytes:
    """Return the PREDICTION section."""
    return msgspec.msgpack.encode(prediction)


def read_prediction(data: bytes) -> Prediction:
    """Read a PREDICTION section, what it says of other grids unchecked. Raises `CorruptFileError`."""
    return read_header(data, Prediction, "prediction")


def check_prediction(prediction: Prediction, channels: Sequence[int], levels: int) -> None:
    """Raise `CorruptFileError` unless a section suits a volume whose grids have so many channels each."""
    if len(prediction.grids) != len(channels):
        raise CorruptFileError(
            f"The volume has {len(channels)} grids, and predictions for {len(prediction.grids)}."
        )
    for number, grid in enumerate(prediction.grids):
        fault = None if grid is None else _fault(grid, number, channels[number], levels)
        if grid is not None and fault is None and prediction.previous == "" and needs_previous(grid):
            fault = "it needs a frame before, and none is named"
        if fault is not None:
            raise CorruptFileError(f"The prediction of grid {number} breaks a rule: {fault}.")


def needs_previous(grid: GridPrediction) -> bool:
    """Tell whether a grid needs the frame before."""
    return grid.source.previous or (grid.motion is not None and grid.motion.velocity.previous)


def _fault(grid: GridPrediction, number: int, channels: int, levels: int) -> str | None:
    used = [grid.source] + ([] if grid.motion is None else [grid.motion.velocity])
    later = [own.number for own in used if not own.previous and own.number >= number]
    if later:
        return f"it needs grid {later[0]}, which is not decoded before"
    if grid.motion is not None and not abs(grid.motion.scale) <= MAX_SCALE:
        return f"a scale of {grid.motion.scale}"
    if len(grid.scales) != len(grid.gains) or len(grid.gains) not in (0, channels):
        return f"{len(grid.scales)} scales and {len(grid.gains)} gains for {channels} channels"
    for scale in grid.scales:
        if not (math.isfinite(scale.origin) and SMALLEST_UNIT <= scale.unit <= LARGEST_UNIT):
            return f"a unit of {scale.unit} from {scale.origin}"
    for gains in grid.gains:
        if len(gains) != levels + 1 or any(abs(gain) > LARGEST_GAIN for gain in gains):
            return f"gains {gains[:20]}"
    return None


def in_words(grid: GridPrediction, previous: str, names: Sequence[str]) -> str:
    """Return what a grid is predicted from, for people. `names` are those of the volume's own grids."""
    source, words = grid.source, "the active voxels of " if not grid.gains else ""
    if source.previous:
        words += f"{previous}, grid {source.number + 1}"
    else:
        words += names[source.number] if source.number < len(names) else f"grid {source.number + 1}"
    return words if grid.motion is None else f"{words}, moved"
