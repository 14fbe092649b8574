"""Tables for many contexts: near the entropy, few bytes, the same again from their description."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scene_codec.entropy.binary_tables import binary_table
from scene_codec.entropy.byte_fields import ByteReader
from scene_codec.entropy.context_tables import (
    count_magnitudes,
    encode_pieces,
    fit_context_tables,
    read_context_tables,
)
from scene_codec.entropy.fitting import fit_table
from scene_codec.entropy.logistic_fit import fit_logistic
from scene_codec.entropy.parametric import probability_of_byte
from scene_codec.entropy.range_coding import SymbolDecoder
from scene_codec.entropy.symmetric_fit import fit_symmetric
from scene_codec.entropy.tables import TOTAL
from scene_codec.errors import CorruptFileError


def counts_of(symbols):
    return np.bincount(np.minimum(np.abs(symbols), 4096), minlength=4097)


@pytest.mark.parametrize("spread", [0.05, 0.5, 3.0, 40.0, 700.0])
@pytest.mark.parametrize("shape", ["laplace", "normal", "standard_cauchy"])
def test_the_fast_fit_costs_hardly_more_than_the_full_search(spread, shape):
    draws = getattr(np.random.default_rng(0), shape)(size=20000)
    symbols = np.rint(draws * spread).clip(-(2**20), 2**20).astype(np.int32)
    full = fit_table(symbols)
    fast = fit_symmetric(counts_of(symbols))
    assert fast.cost_bits(symbols) < 1.02 * full.cost_bits(symbols) + 64


@pytest.mark.parametrize("symbols", [[], [0] * 50, [7], [-5000, 5000], [1, -1] * 30])
def test_few_symbols_have_a_table_too(symbols):
    table = fit_symmetric(counts_of(np.array(symbols, np.int32)))
    assert table.counts.sum() == TOTAL


@settings(derandomize=True, max_examples=15, deadline=None)
@given(st.integers(1, 70), st.integers(0, 3000), st.integers(0, 5))
def test_pieces_come_back_with_the_tables_of_the_file(contexts, count, seed):
    generator = np.random.default_rng(seed)
    pieces = []
    for _ in range(3):
        own = generator.integers(0, contexts, count).astype(np.uint8)
        spread = 2.0 ** (own / 8 - 2)
        pieces.append((own, np.rint(generator.laplace(0, spread)).astype(np.int32)))
    fitted = fit_context_tables(count_magnitudes(pieces, contexts))
    tables = read_context_tables(ByteReader(fitted.description), contexts)
    np.testing.assert_array_equal(tables.of_context, fitted.of_context)
    decoder = SymbolDecoder(encode_pieces(pieces, fitted), tables.tables)
    for own, symbols in pieces:
        np.testing.assert_array_equal(decoder.take(tables.of_context[own]), symbols)


def test_contexts_of_few_symbols_share_a_table_and_those_of_many_do_not():
    generator = np.random.default_rng(0)

    def tables(count):
        own = generator.integers(0, 64, count).astype(np.uint8)
        symbols = np.rint(generator.laplace(0, 2.0 ** (own / 4 - 4))).astype(np.int32)
        return fit_context_tables(count_magnitudes([(own, symbols)], 64))

    assert len(tables(200).tables) < 9
    assert len(tables(2_000_000).tables) > 40
    assert len(tables(0).tables) == 1


def test_descriptions_that_are_cut_off_are_refused():
    data = fit_context_tables(np.ones((20, 5), np.int64)).description
    for end in range(len(data)):
        with pytest.raises(CorruptFileError):
            read_context_tables(ByteReader(data[:end]), 20)


@pytest.mark.parametrize("code", [0, 1, 100, 127, 128, 254, 255])
def test_a_binary_table_has_the_probability_of_its_byte(code):
    table = binary_table(code)
    assert table.counts[1] / TOTAL == pytest.approx(probability_of_byte(code) / 2**20, rel=1e-3, abs=1e-6)
    assert (table.low, table.high) == (0, 1)


def test_a_logistic_model_finds_the_odds_that_made_its_data():
    generator = np.random.default_rng(0)
    features = np.concatenate([np.ones((1, 40000)), generator.integers(0, 4, (3, 40000))]).astype(np.float32)
    wanted = np.array([-1.0, 0.8, -0.5, 0.0])
    outcomes = generator.random(40000) < 1 / (1 + np.exp(-(wanted @ features)))
    np.testing.assert_allclose(fit_logistic(features, outcomes), wanted, atol=0.1)


def test_a_logistic_model_of_certain_outcomes_stays_finite():
    features = np.array([[1, 1, 1, 1], [0, 0, 5, 5], [0, 0, 0, 0]], np.float32)
    weights = fit_logistic(features, np.array([0, 0, 1, 1]))
    assert np.isfinite(weights).all()
    assert (weights @ features > 0).tolist() == [False, False, True, True]
    assert weights[2] == 0.0
