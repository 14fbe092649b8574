"""One tile to its streams, and what a decoder will make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from scene_codec.codecs.volume_parts.channel_range import encode_exceptions, restore_exceptions
from scene_codec.codecs.volume_wavelet.grid_source import SourceTile
from scene_codec.codecs.volume_wavelet.grid_tables import GridTables
from scene_codec.codecs.volume_wavelet.prior import Prior
from scene_codec.codecs.volume_wavelet.reached_quality import TileErrors, tile_errors
from scene_codec.codecs.volume_wavelet.syntax import LEVELS, GridHeader
from scene_codec.codecs.volume_wavelet.tile_coding import TileSymbols, collect_pieces, encode_pieces
from scene_codec.codecs.volume_wavelet.tile_voxels import set_inactive, states_of, tolerant_states
from scene_codec.codecs.volume_wavelet.value_coding import (
    ChannelCoding,
    channel_codings,
    dequantised,
    is_zero,
)
from scene_codec.entropy.context_tables import Piece
from scene_codec.volumes.lifting_wavelet import FloatArray, Subbands, decompose


@dataclass(frozen=True)
class Plan:
    """Everything that decides how the tiles of a grid are coded.

    fill : whether inactive voxels take smooth values in place of the background
    """

    header: GridHeader
    prior: Prior
    fill: bool
    codings: Sequence[ChannelCoding] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "codings", channel_codings(self.header))

    @property
    def extent(self) -> float:
        """The largest range of the channels."""
        return max(channel.high - channel.low for channel in self.header.channels)


def transformed(tile: SourceTile, plan: Plan) -> list[Subbands]:
    """Return the coefficients of each channel of a tile."""
    return [
        decompose(tile.numbers(channel, coding, fill=plan.fill), LEVELS)
        for channel, coding in enumerate(plan.codings)
    ]


@dataclass(frozen=True)
class TileDraft:
    """A tile on its way to streams: symbols, with their classes where there are any, and decoded numbers."""

    source: SourceTile
    symbols: list[TileSymbols]
    numbers: list[FloatArray]

    def pieces(self, prior: Prior) -> list[list[Piece]]:
        """Return contexts and symbols of each channel; none where all symbols are zero."""
        shape = self.numbers[0].shape
        return [
            [] if is_zero(symbols) else collect_pieces(symbols, (shape[0], shape[1], shape[2]), prior)
            for symbols in self.symbols
        ]


def draft_of(tile: SourceTile, bands: Sequence[Subbands], plan: Plan) -> TileDraft:
    """Return a quantised tile."""
    symbols = [coding.quantiser.symbols(own) for own, coding in zip(bands, plan.codings, strict=True)]
    numbers = [dequantised(own, coding.quantiser) for own, coding in zip(symbols, plan.codings, strict=True)]
    return TileDraft(tile, symbols, numbers)


@dataclass(frozen=True)
class TileResult:
    """The streams of a tile, in the order of its header's, and the errors they leave."""

    streams: list[bytes]
    errors: TileErrors


def finished(draft: TileDraft, pieces: list[list[Piece]], plan: Plan, tables: GridTables) -> TileResult:
    """Return the streams of a tile, having decoded them."""
    header = plan.header
    streams = []
    if tables.values is not None:
        streams += [(encode_pieces(own, tables.values) or b"\0") if own else b"" for own in pieces]
    states = None
    if header.topology == "tolerant":
        states = tolerant_states(draft.numbers, plan.codings, header)
    elif draft.source.active is not None:
        states = states_of(draft.source.values[0], draft.source.active, header)
    exceptions, decoded = [], []
    for channel, (numbers, coding) in enumerate(zip(draft.numbers, plan.codings, strict=True)):
        values = coding.restored(numbers, header.dtype)
        if states is not None:
            set_inactive(values, states, header, channel)
        if header.dtype.kind == "f":
            exceptions.append(encode_exceptions(draft.source.values[channel]))
            if exceptions[-1]:
                restore_exceptions(values, exceptions[-1])
        decoded.append(values)
    return TileResult(streams + exceptions, tile_errors(draft.source, decoded, plan.extent))
