"""What only a hostile or a broken writer makes: refused with one kind of error, before it costs anything."""

import contextlib
import inspect
import lzma
import sys
import zlib

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scene_codec.codecs.volume_parts.channel_range import restore_exceptions
from scene_codec.codecs.volume_wavelet import residual_coding, syntax, tile_coding, topology_coding
from scene_codec.codecs.volume_wavelet.config import VolumeWaveletSettings
from scene_codec.codecs.volume_wavelet.decoder import VolumeReader, decode_region, decode_volume
from scene_codec.codecs.volume_wavelet.encoder import encode_volume
from scene_codec.codecs.volume_wavelet.prior import published_prior
from scene_codec.codecs.volume_wavelet.quantiser import Quantiser
from scene_codec.codecs.volume_wavelet.stored_values import (
    ORDERS,
    _compressed,
    _ordered_bytes,
    pack_values,
    unpack_bytes_apart,
    unpack_values,
)
from scene_codec.entropy.byte_fields import varint
from scene_codec.entropy.context_tables import count_magnitudes, encode_pieces, fit_context_tables
from scene_codec.errors import CorruptFileError
from scene_codec.progress import Progress
from scene_codec.volumes.lifting_wavelet import decompose
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

GENERATOR = np.random.default_rng(0)


def other_spellings(data):
    """Bytes that stand for the same symbols, or nearly: more at the end, and the last one changed."""
    yield data + b"\0"
    yield data + b"\1"
    yield data + bytes(7) + b"\1"
    if data:
        yield data[:-1] + bytes([data[-1] ^ 1])


def coefficients():
    box = GENERATOR.standard_normal((9, 8, 7)).astype(np.float32)
    symbols = Quantiser(0.3).symbols(decompose(box, 3))
    prior = published_prior(1)
    pieces = tile_coding.collect_pieces(symbols, box.shape, prior)
    tables = fit_context_tables(count_magnitudes(pieces, tile_coding.CONTEXTS))
    levels = len(symbols.details)
    return encode_pieces(pieces, tables), lambda data: tile_coding.decode_tile(
        data, box.shape, levels, prior, tables
    )


def residuals():
    symbols = GENERATOR.integers(-2, 3, (9, 8, 7)).astype(np.int32)
    places = np.zeros(symbols.shape, np.uint8)
    pieces = residual_coding.residual_pieces(symbols, places, None)
    tables = fit_context_tables(count_magnitudes(pieces, residual_coding.CONTEXTS))
    return encode_pieces(pieces, tables), lambda data: residual_coding.decode_residual(
        data, places, None, tables
    )


def active_voxels():
    states = (GENERATOR.random((9, 8, 7)) < 0.4).astype(np.uint8)
    clues = topology_coding.TileClues(np.zeros(states.shape, np.uint8), None, None)
    model = topology_coding.fit_topology_model([(states, clues)])
    return topology_coding.encode_states(states, clues, model), lambda data: topology_coding.decode_states(
        data, states.shape, clues, model
    )


def stored():
    values, coded = labels()
    return pack_values(values, coded), lambda data: unpack_values(data, coded, values.dtype)


def labels():
    """Values that repeat, and which of them are coded."""
    shape = (5, 6, 7)
    return GENERATOR.integers(0, 9, shape).astype(np.int16), GENERATOR.random(shape) < 0.7


@pytest.mark.parametrize("made", [coefficients, residuals, active_voxels, stored])
def test_a_stream_has_one_spelling(made):
    data, decode = made()
    decode(data)
    for wrong in other_spellings(data):
        with pytest.raises(CorruptFileError):
            decode(wrong)


def test_the_shortest_stream_has_one_spelling_too():
    """Symbols at the lower end of their tables take no bytes; in the file a zero byte stands for them."""
    pieces = [(np.zeros(8, np.uint8), np.zeros(8, np.int32))]
    tables = fit_context_tables(count_magnitudes(pieces, residual_coding.CONTEXTS))
    places = np.zeros((2, 2, 2), np.uint8)
    found = residual_coding.decode_residual(b"\0", places, None, tables)
    assert encode_pieces(residual_coding.residual_pieces(found, places, None), tables) == b""
    with pytest.raises(CorruptFileError):
        residual_coding.decode_residual(b"\0\0", places, None, tables)


@pytest.mark.parametrize("wrong", [b"\xff", b"\xf8", b"", b"\xf0\0"])
def test_bits_that_fill_a_byte_are_zero(wrong):
    symbols = np.array([2, 2, 2, 2], np.int32)
    assert residual_coding.joined_bits(symbols, b"\xf0").tolist() == [3, 3, 3, 3]
    with pytest.raises(CorruptFileError):
        residual_coding.joined_bits(symbols, wrong)


def test_exceptions_beyond_the_last_voxel_are_refused():
    where = zlib.compress(b"\x10")
    data = varint(len(where)) + where + zlib.compress(b"")
    with pytest.raises(CorruptFileError):
        restore_exceptions(np.zeros(3, np.float32), data)


@pytest.mark.parametrize("mode", range(2 * len(ORDERS)))
def test_stored_values_come_back_in_any_order(mode):
    values, coded = labels()
    raw = _ordered_bytes(values, coded, mode)
    packed = bytes([mode]) + _compressed(raw, values.dtype.itemsize, mode, 6)
    np.testing.assert_array_equal(unpack_values(packed, coded, values.dtype), np.where(coded, values, 0))


def test_values_that_version_1_stored_come_back():
    values, coded = labels()
    planes = values[coded].astype("<i2").view(np.uint8).reshape(-1, 2).T
    data = lzma.compress(planes.tobytes(), lzma.FORMAT_RAW, filters=VERSION_1_FILTERS)
    np.testing.assert_array_equal(unpack_bytes_apart(data, coded, values.dtype), np.where(coded, values, 0))


VERSION_1_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 24}]
TEN = np.ones((10, 1, 1), np.bool_)


@pytest.mark.parametrize("wrong", [b"", b"\0", b"\0\0", b"\6", b"\14", b"\xff", b"\1\0\0"])
def test_stored_values_that_are_too_few_or_ordered_otherwise_are_refused(wrong):
    with pytest.raises(CorruptFileError):
        unpack_values(wrong, TEN, np.dtype(np.uint8))


def test_stored_values_do_not_inflate_beyond_what_is_expected():
    bomb = lzma.compress(bytes(1 << 26), lzma.FORMAT_RAW, filters=VERSION_1_FILTERS)
    for coded in (TEN, np.zeros((3, 2, 1), np.bool_)):
        for data in (bomb, b"\0\0", b"\0"):
            with pytest.raises(CorruptFileError):
                unpack_values(b"\0" + data, coded, np.dtype(np.uint8))
            with pytest.raises(CorruptFileError):
                unpack_bytes_apart(data, coded, np.dtype(np.uint8))


@settings(derandomize=True, max_examples=40, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 40))
def test_any_bytes_for_stored_values_end_in_an_error_or_in_values(data, count):
    coded = np.ones((count, 1, 1), np.bool_)
    with contextlib.suppress(CorruptFileError):
        assert unpack_values(data, coded, np.dtype(np.float32)).shape == coded.shape


def chained(count):
    """A volume of so many grids, each of whose active voxels are coded with those of the one before."""
    active = GENERATOR.random((6, 5, 4)) < 0.5
    values = np.where(active, GENERATOR.random(active.shape), 0.0).astype(np.float32)
    grids = tuple(VolumeGrid(name, values, active) for name in "ab")
    made = encode_volume(VolumeObject("v", grids), VolumeWaveletSettings(psnr=40.0), Progress())
    sections = {section.kind: section.payload for section in made}
    reader = VolumeReader(sections)
    first, second = reader.header.grids
    assert second.reference == 0
    headers = [first] + [
        msgspec.structs.replace(second, name=f"g{number}", reference=number - 1) for number in range(1, count)
    ]
    tiles = [syntax.GridStreams([reader._index.tile(grid, 0)]) for grid in (0, 1)]
    header = msgspec.structs.replace(reader.header, grids=tuple(headers))
    tables = [own.to_bytes() for own in reader._tables]
    streams = syntax.write_streams(headers, [tiles[0]] + [tiles[1]] * (count - 1))
    described = {
        syntax.VOLUME: syntax.write_volume(header, "v"),
        syntax.TABLES: tables[0] + tables[1] * (count - 1),
    }
    return described | streams, grids[0]


def test_a_long_chain_of_grids_that_help_each_other_is_followed():
    sections, grid = chained(80)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        part = decode_region(sections, 79, (1, 0, 2), (4, 4, 2))
    finally:
        sys.setrecursionlimit(limit)
    np.testing.assert_array_equal(part.active, grid.active[1:5, 0:4, 2:4])


def test_a_whole_volume_of_such_grids_comes_back():
    sections, grid = chained(30)
    for own in decode_volume(sections, Progress()).grids:
        np.testing.assert_array_equal(own.active, grid.active)
