"""One tile's quantised coefficients to bytes and back, coarse to fine, every phase of a band at once.

Encoder, statistics and decoder walk through a tile in the same way; they differ in what they do with the
classes of a piece: write its symbols, count them, or read them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.volume_wavelet.neighbourhood import PHASES, BandPhases, features, magnitudes
from scene_codec.codecs.volume_wavelet.prior import CLASSES, Prior
from scene_codec.entropy.context_tables import ContextTables, Piece, encode_pieces, without_mark
from scene_codec.entropy.range_coding import SymbolDecoder
from scene_codec.volumes.lifting_wavelet import ORIENTATIONS, Shape, band_shapes

BASE_CONTEXT = CLASSES
"""The coarsest band has a table of its own, for differences to its neighbours."""

CONTEXTS = CLASSES + 1

Symbols = NDArray[np.int32]


@dataclass(frozen=True)
class TileSymbols:
    """Quantised coefficients of a tile, in the bands of `decompose`."""

    base: Symbols
    details: tuple[dict[str, Symbols], ...]


Visit = Callable[[NDArray[np.uint8], "Symbols | None"], Symbols]
"""Takes the contexts (n,) of a piece, and its symbols where they are known; returns its symbols (n,)."""


def encode_tile(symbols: TileSymbols, shape: Shape, prior: Prior, tables: ContextTables) -> bytes:
    """Return the stream of a tile of the given shape."""
    return encode_pieces(collect_pieces(symbols, shape, prior), tables)


def decode_tile(data: bytes, shape: Shape, levels: int, prior: Prior, tables: ContextTables) -> TileSymbols:
    """Return the symbols of a tile. Raises `CorruptFileError`."""
    decoder = SymbolDecoder(without_mark(data), tables.tables)
    symbols = _walk(shape, levels, prior, lambda contexts, _: decoder.take(tables.of_context[contexts]), None)
    decoder.finish()
    return symbols


def collect_pieces(symbols: TileSymbols, shape: Shape, prior: Prior) -> list[Piece]:
    """Return contexts and symbols of all pieces of a tile, for fitting tables and for coding."""
    pieces: list[Piece] = []

    def keep(contexts: NDArray[np.uint8], known: Symbols | None) -> Symbols:
        assert known is not None
        pieces.append((contexts, known))
        return known

    _walk(shape, len(symbols.details), prior, keep, symbols)
    return pieces


def _walk(shape: Shape, levels: int, prior: Prior, piece: Visit, known: TileSymbols | None) -> TileSymbols:
    """Go through a tile in coding order; return its symbols.

    piece : what is done with each piece
    """
    base_shape, detail_shapes = band_shapes(shape, levels)
    contexts = np.full(int(np.prod(base_shape)), BASE_CONTEXT, np.uint8)
    differences = piece(contexts, None if known is None else _differences(known.base).reshape(-1))
    base = _sums(differences.reshape(base_shape))
    details: list[dict[str, Symbols]] = []
    parents: dict[str, NDArray[np.uint8]] = {}
    for level in range(len(detail_shapes) - 1, -1, -1):
        coded: dict[str, BandPhases] = {}
        bands = {}
        for orientation in ORIENTATIONS:
            if orientation not in detail_shapes[level]:
                continue
            coded[orientation] = BandPhases(detail_shapes[level][orientation])
            band = None if known is None else known.details[level][orientation]
            bands[orientation] = _walk_band(
                _Band(orientation, level, coded, parents.get(orientation)), prior, piece, band
            )
        details.append(bands)
        parents = {orientation: band.as_parent() for orientation, band in coded.items()} if level else {}
    return TileSymbols(base, tuple(reversed(details)))


@dataclass(frozen=True)
class _Band:
    """A band about to be coded, and what of its level and of the next coarser one is coded."""

    orientation: str
    level: int
    coded: dict[str, BandPhases]
    parent: NDArray[np.uint8] | None


def _walk_band(band: _Band, prior: Prior, piece: Visit, known: Symbols | None) -> Symbols:
    """Go through the phases of a band; return its symbols."""
    own = band.coded[band.orientation]
    symbols = np.zeros(own.shape, np.int32) if known is None else known
    for index, phase in enumerate(PHASES):
        shape = own.phase_shape(phase)
        if 0 in shape:
            continue
        at = tuple(slice(start, None, 2) for start in phase)
        rows = features(band.orientation, index, band.coded, band.parent)
        classes = prior.classes(band.orientation, index, band.level, rows)
        values = piece(classes, None if known is None else known[at].reshape(-1)).reshape(shape)
        if known is None:
            symbols[at] = values
        own.put(phase, magnitudes(values))
    return symbols


def _differences(base: Symbols) -> Symbols:
    """Return each coefficient less what its neighbours before it along all axes predict (Lorenzo)."""
    result = base.astype(np.int64)
    for axis in range(3):
        result = np.diff(result, axis=axis, prepend=0)
    return result.astype(np.int32)


def _sums(differences: Symbols) -> Symbols:
    """Undo `_differences`; sums of a damaged stream wrap around."""
    result = differences
    for axis in range(3):
        result = np.cumsum(result, axis=axis, dtype=np.int32)
    return result
