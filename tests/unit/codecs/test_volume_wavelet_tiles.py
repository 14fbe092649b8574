"""Tiles to bytes and back: contexts are the same on both sides, damage is refused or harmless."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scene_codec.codecs.volume_wavelet.neighbourhood import (
    PHASES,
    BandPhases,
    feature_count,
    features,
    known_offsets,
    magnitudes,
)
from scene_codec.codecs.volume_wavelet.prior import CLASSES, published_prior
from scene_codec.codecs.volume_wavelet.quantiser import (
    Quantiser,
    fitted_offsets,
    squared_error,
)
from scene_codec.codecs.volume_wavelet.tile_coding import (
    CONTEXTS,
    collect_pieces,
    decode_tile,
    encode_tile,
)
from scene_codec.entropy.context_tables import count_magnitudes, fit_context_tables
from scene_codec.errors import CorruptFileError
from scene_codec.volumes.lifting_wavelet import ORIENTATIONS, decompose, reconstruct

sides = st.sampled_from([1, 2, 3, 5, 7, 8, 9, 16, 17])
LEVELS = 3


def smooth_box(shape, seed=0):
    generator = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*(np.linspace(0, 3, side) for side in shape), indexing="ij")
    noise = generator.standard_normal(shape)
    return (np.sin(2 * x + y) * np.cos(z) + 0.02 * noise).astype(np.float32)


def coded(box, step=0.05):
    quantiser = Quantiser(step)
    symbols = quantiser.symbols(decompose(box, LEVELS))
    prior = published_prior(1)
    pieces = collect_pieces(symbols, box.shape, prior)
    tables = fit_context_tables(count_magnitudes(pieces, CONTEXTS))
    return symbols, prior, tables, encode_tile(symbols, box.shape, prior, tables)


def assert_same(first, second):
    np.testing.assert_array_equal(first.base, second.base)
    assert len(first.details) == len(second.details)
    for one, other in zip(first.details, second.details, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@given(shape=st.tuples(sides, sides, sides), seed=st.integers(0, 3))
@settings(derandomize=True, max_examples=15)
def test_a_tile_of_any_shape_comes_back(shape, seed):
    symbols, prior, tables, data = coded(smooth_box(shape, seed))
    assert_same(decode_tile(data, shape, len(symbols.details), prior, tables), symbols)


def test_a_smooth_tile_takes_few_bits_and_comes_back_near():
    box = smooth_box((32, 32, 32))
    _, prior, tables, data = coded(box, step=0.2)
    assert 8 * len(data) < box.size
    back = reconstruct(Quantiser(0.2).coefficients(decode_tile(data, box.shape, LEVELS, prior, tables)))
    assert np.sqrt(np.mean((back - box) ** 2)) < 0.2 / 3


@pytest.mark.parametrize("damage", ["empty", "short", "flipped"])
def test_a_damaged_stream_is_refused_or_stands_for_other_symbols(damage):
    box = smooth_box((17, 16, 9))
    symbols, prior, tables, data = coded(box)
    wrong = {"empty": b"", "short": data[: len(data) // 2], "flipped": data[:9] + b"\xff" + data[10:]}[damage]
    try:
        other = decode_tile(wrong, box.shape, len(symbols.details), prior, tables)
    except CorruptFileError:
        return
    assert other.base.shape == symbols.base.shape


def test_symbols_too_large_for_any_table_come_back():
    box = np.zeros((8, 8, 8), np.float32)
    box[3, 4, 5] = 1e6
    symbols, prior, tables, data = coded(box, step=1e-3)
    assert_same(decode_tile(data, box.shape, len(symbols.details), prior, tables), symbols)


def test_magnitudes_are_eighths_of_octaves():
    values = np.array([0, 1, -1, 3, 7, -255, 2**31 - 1], np.int32)
    np.testing.assert_array_equal(magnitudes(values), [0, 8, 8, 16, 24, 64, 127])


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("phase", range(8))
def test_features_know_what_was_coded_before_and_nothing_else(orientation, phase):
    """Changing what comes later leaves the features alone; every known neighbour is where it says."""
    generator = np.random.default_rng(phase)
    shape = (9, 7, 8)
    symbols = {name: generator.integers(-9, 9, shape).astype(np.int32) for name in ORIENTATIONS}

    def seen(band):
        bands = {}
        for name in ORIENTATIONS[: ORIENTATIONS.index(orientation) + 1]:
            bands[name] = BandPhases(shape)
            last = phase if name == orientation else 8
            source = band if name == orientation else symbols[name]
            for before in PHASES[:last]:
                bands[name].put(before, magnitudes(source[tuple(slice(start, None, 2) for start in before)]))
        return features(orientation, phase, bands, None)

    original = seen(symbols[orientation])
    assert original.shape[0] == feature_count(orientation, phase)
    later = symbols[orientation].copy()
    for after in PHASES[phase:]:
        later[tuple(slice(start, None, 2) for start in after)] = 99
    np.testing.assert_array_equal(seen(later), original)
    padded = np.pad(magnitudes(symbols[orientation]), 1)
    places = np.argwhere(np.ones(shape, bool)) + 1
    own = places[(((places - 1) & 1) == PHASES[phase]).all(axis=1)]
    for row, offset in enumerate(known_offsets(phase)):
        np.testing.assert_array_equal(original[row], padded[tuple((own + offset).T)])


def test_the_network_of_the_prior_is_exact_in_any_order_of_summation():
    """The largest sums that its weights allow are integers which float32 holds."""
    prior = published_prior(1)
    generator = np.random.default_rng(0)
    for (orientation, phase), network in prior._networks.items():
        for part in (network.first, network.second):
            assert np.abs(part).sum(axis=1).max() * 127 + 2**20 < 2**24
        rows = generator.integers(0, 128, (feature_count(orientation, phase), 500)).astype(np.uint8)
        turned = generator.permutation(500)
        classes = prior.classes(orientation, phase, 0, rows)
        np.testing.assert_array_equal(prior.classes(orientation, phase, 0, rows[:, turned]), classes[turned])
        exact = network.first.astype(np.int64) @ rows.astype(np.int64)
        np.testing.assert_array_equal(network.first @ rows.astype(np.float32), exact)
        assert classes.max() < CLASSES


def test_the_error_is_known_from_the_coefficients_alone():
    box = smooth_box((32, 24, 16))
    bands, quantiser = decompose(box, LEVELS), Quantiser(0.1)
    quantiser = Quantiser(0.1, fitted_offsets([bands], quantiser))
    real = np.square(
        reconstruct(quantiser.coefficients(quantiser.symbols(bands))) - box, dtype=np.float64
    ).sum()
    assert squared_error([bands], quantiser) == pytest.approx(real, rel=0.15)
    assert squared_error([bands], quantiser) < squared_error([bands], Quantiser(0.1))
