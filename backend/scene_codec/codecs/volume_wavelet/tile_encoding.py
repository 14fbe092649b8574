"""One tile to its streams, and what a decoder will make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.volume_parts.channel_range import encode_exceptions, restore_exceptions
from scene_codec.codecs.volume_wavelet.exact_values import Corrector, corrector_of
from scene_codec.codecs.volume_wavelet.grid_source import SourceTile
from scene_codec.codecs.volume_wavelet.grid_tables import CORRECTED, GridTables
from scene_codec.codecs.volume_wavelet.prediction import Predictor
from scene_codec.codecs.volume_wavelet.prior import Prior
from scene_codec.codecs.volume_wavelet.reached_quality import TileErrors, tile_errors
from scene_codec.codecs.volume_wavelet.residual_coding import CONTEXTS as RESIDUAL_CONTEXTS
from scene_codec.codecs.volume_wavelet.syntax import LEVELS, STORED, GridHeader
from scene_codec.codecs.volume_wavelet.tile_coding import CONTEXTS, TileSymbols, collect_pieces
from scene_codec.codecs.volume_wavelet.tile_voxels import clues_of, set_inactive, states_of, tolerant_states
from scene_codec.codecs.volume_wavelet.tiles import box_shape, lattice_corner
from scene_codec.codecs.volume_wavelet.topology_coding import (
    ACTIVE,
    States,
    TileClues,
    encode_states,
    fit_topology_model,
)
from scene_codec.codecs.volume_wavelet.value_coding import (
    ChannelCoding,
    channel_codings,
    is_zero,
    numbers_of,
)
from scene_codec.entropy.context_tables import (
    Piece,
    count_magnitudes,
    encode_pieces,
    fit_context_tables,
    with_mark,
)
from scene_codec.volumes.lifting_wavelet import FloatArray, Subbands, decompose, reconstruct

Values = NDArray[np.generic]


@dataclass(frozen=True)
class Plan:
    """Everything that decides how the tiles of a grid are coded.

    fill : whether inactive voxels take smooth values in place of the background
    predictor : of the values, None where nothing predicts them
    """

    header: GridHeader
    prior: Prior
    fill: bool
    predictor: Predictor | None = None
    codings: Sequence[ChannelCoding] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "codings", channel_codings(self.header))

    @property
    def half_extent(self) -> float:
        """Half the largest range of the channels; the whole may be no float64."""
        return max(0.5 * channel.high - 0.5 * channel.low for channel in self.header.channels)


@dataclass(frozen=True)
class TileBands:
    """The coefficients of each channel of a tile: what is coded, and what was taken off as predicted."""

    coded: list[Subbands]
    predicted: list[Subbands] | list[None]


def transformed(tile: SourceTile, plan: Plan) -> TileBands:
    """Return the coefficients of a tile."""
    if plan.predictor is None:
        return TileBands(
            [
                decompose(tile.numbers(channel, coding, fill=plan.fill), LEVELS)
                for channel, coding in enumerate(plan.codings)
            ],
            [None for _ in plan.codings],
        )
    corner = lattice_corner(plan.header.corner, tile.box)
    predicted = plan.predictor.bands(corner, box_shape(tile.box))
    coded = [
        # Taken off before gaps are filled: what lies in them need not be undone.
        decompose(tile.numbers(channel, coding, fill=plan.fill, less=reconstruct(own)), LEVELS)
        for channel, (coding, own) in enumerate(zip(plan.codings, predicted, strict=True))
    ]
    return TileBands(coded, predicted)


@dataclass(frozen=True)
class TileDraft:
    """A quantised tile and the numbers that a decoder makes of it."""

    source: SourceTile
    symbols: list[TileSymbols]
    numbers: list[FloatArray]


def draft_of(tile: SourceTile, bands: TileBands, plan: Plan) -> TileDraft:
    """Return a tile quantised as planned."""
    shape = box_shape(tile.box)
    if not plan.header.has_coefficients:
        return TileDraft(tile, [], [np.zeros(shape, np.float32) for _ in plan.codings])
    symbols = [coding.quantiser.symbols(own) for own, coding in zip(bands.coded, plan.codings, strict=True)]
    numbers = [
        # As a decoder does it: where nothing is coded and nothing predicted, there is no coefficient.
        numbers_of(None if is_zero(own) else coding.quantiser.coefficients(own), predicted, shape)
        for own, coding, predicted in zip(symbols, plan.codings, bands.predicted, strict=True)
    ]
    return TileDraft(tile, symbols, numbers)


@dataclass(frozen=True)
class _Residual:
    """The residual of one channel, before it is coded."""

    corrector: Corrector
    pieces: list[Piece]
    rest: bytes


@dataclass(frozen=True)
class PreparedTile:
    """A tile whose symbols and contexts are known, so that tables can be fitted to it, and then coded.

    pieces : of the values of each channel; none where all symbols are zero
    states : None when all voxels are active
    clues : None where the topology is not stored
    """

    draft: TileDraft
    pieces: list[list[Piece]]
    states: States | None
    clues: TileClues | None
    residuals: list[_Residual]


def prepared(draft: TileDraft, plan: Plan) -> PreparedTile:
    """Return a tile with its contexts."""
    header, source = plan.header, draft.source
    x, y, z = draft.numbers[0].shape
    pieces = [
        [] if is_zero(symbols) else collect_pieces(symbols, (x, y, z), plan.prior)
        for symbols in draft.symbols
    ]
    states, clues = None, None
    if header.topology == "tolerant":
        states = tolerant_states(draft.numbers, plan.codings, header)
    elif source.active is not None:
        states = states_of(source.values[0], source.active, header)
        clues = clues_of(draft.numbers, plan.codings, header, source.reference)
    residuals = []
    if header.residual != "none":
        coded = None if states is None else states == ACTIVE
        for numbers, coding, original in zip(draft.numbers, plan.codings, source.values, strict=True):
            corrector = corrector_of(header, coding, numbers, coded)
            residuals.append(_Residual(corrector, *corrector.pieces(original)))
    return PreparedTile(draft, pieces, states, clues, residuals)


def fitted_tables(tiles: Sequence[PreparedTile], plan: Plan) -> GridTables:
    """Return the tables that suit some tiles."""
    values = topology = residuals = None
    if plan.header.has_coefficients:
        found = (piece for tile in tiles for own in tile.pieces for piece in own)
        values = fit_context_tables(count_magnitudes(found, CONTEXTS))
    if plan.header.topology == "exact":
        topology = fit_topology_model(
            (tile.states, tile.clues) for tile in tiles if tile.states is not None and tile.clues is not None
        )
    if plan.header.residual in CORRECTED:
        found = (piece for tile in tiles for own in tile.residuals for piece in own.pieces)
        residuals = fit_context_tables(count_magnitudes(found, RESIDUAL_CONTEXTS))
    return GridTables(values, topology, residuals)


@dataclass(frozen=True)
class TileResult:
    """The streams of a tile, in the order of its header's, the errors they leave, and what is decoded."""

    streams: list[bytes]
    errors: TileErrors
    decoded: Sequence[Values]


def finished(tile: PreparedTile, plan: Plan, tables: GridTables) -> TileResult:
    """Return the streams of a tile, having decoded them."""
    header, source = plan.header, tile.draft.source
    streams = []
    if tables.values is not None:
        streams += [with_mark(encode_pieces(own, tables.values)) if own else b"" for own in tile.pieces]
    if tables.topology is not None and tile.states is not None and tile.clues is not None:
        streams.append(encode_states(tile.states, tile.clues, tables.topology))
    residuals = [own.corrector.encoded(own.pieces, own.rest, tables.residuals) for own in tile.residuals]
    exceptions, decoded = [], []
    for channel, (numbers, coding) in enumerate(zip(tile.draft.numbers, plan.codings, strict=True)):
        if header.residual == "none":
            values = coding.restored(numbers, header.dtype)
        else:
            values = tile.residuals[channel].corrector.corrected(residuals[channel], tables.residuals)
        if tile.states is not None:
            set_inactive(values, tile.states, header, channel)
        if header.dtype.kind == "f":
            original = source.values[channel]
            exceptions.append(encode_exceptions(original, _odd(original, values, tile.states, header)))
            if exceptions[-1]:
                restore_exceptions(values, exceptions[-1])
        decoded.append(values)
    errors = tile_errors(source, decoded, plan.half_extent)
    return TileResult(streams + residuals + exceptions, errors, decoded)


def _odd(original: Values, values: Values, states: States | None, header: GridHeader) -> NDArray[np.bool_]:
    """Return which floating-point values must be stored as they are.

    Those that are no finite numbers, and those that are farther from the original than the bound.
    """
    exact = header.residual in ("bits", *STORED)
    odd = np.zeros(original.shape, np.bool_) if exact else ~np.isfinite(original)
    if header.residual == "steps":
        with np.errstate(invalid="ignore", over="ignore"):
            errors = np.abs(values.astype(np.float64) - original.astype(np.float64))
        odd |= ~(errors <= header.bound * _STRICT)
    return odd if states is None else odd & (states == ACTIVE)


_STRICT = 1.0 - 2.0**-40
"""Makes up for rounding in the comparison with the bound."""
