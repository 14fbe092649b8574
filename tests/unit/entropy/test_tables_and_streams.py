"""What the entropy layer promises for typical data: size, families, errors."""

import math

import numpy as np
import pytest

from scene_codec.entropy.byte_fields import ByteReader
from scene_codec.entropy.fitting import fit_table, read_table
from scene_codec.entropy.histogram import HISTOGRAM_HEAD, fit_histogram
from scene_codec.entropy.packing import pack_integers, unpack_integers
from scene_codec.entropy.parametric import ParametricModel
from scene_codec.entropy.quantisers import QuantisationStep, dequantise, quantise, read_step
from scene_codec.entropy.range_coding import decode_symbols, encode_symbols, encode_with_contexts
from scene_codec.entropy.tables import SymbolTable, counts_from_weights, histogram_of
from scene_codec.errors import CorruptFileError

RANDOM = np.random.default_rng(20)
KINDS = {
    "laplace": lambda n: RANDOM.laplace(0, 2, n),
    "broad laplace": lambda n: RANDOM.laplace(0, 30, n),
    "gauss": lambda n: RANDOM.normal(0, 3, n),
    "narrow gauss": lambda n: RANDOM.normal(0, 0.4, n),
    "shifted gauss": lambda n: RANDOM.normal(0.4, 1.5, n),
    "student": lambda n: RANDOM.standard_t(2, n).clip(-(10**6), 10**6),
    "two widths": lambda n: np.where(
        RANDOM.random(n) < 0.9, RANDOM.laplace(0, 0.5, n), RANDOM.normal(0, 10, n)
    ),
    "sparse": lambda n: RANDOM.laplace(0, 3, n) * (RANDOM.random(n) < 0.02),
    "257 levels": lambda n: RANDOM.integers(-128, 129, n),
    "two peaks": lambda n: RANDOM.normal(0, 2, n) + 20 * RANDOM.integers(0, 2, n),
    "one side": lambda n: RANDOM.geometric(0.2, n),
}


def entropy_bytes(symbols: np.ndarray) -> float:
    _, repeats = histogram_of(symbols)
    return float(-(repeats * np.log2(repeats / repeats.sum())).sum()) / 8


@pytest.mark.parametrize("kind", KINDS)
def test_table_and_stream_stay_near_the_entropy_of_the_data(kind):
    # 60 000 symbols: the entropy of the empirical histogram is out of reach by what its description costs.
    symbols = np.rint(KINDS[kind](60_000)).astype(np.int64)
    assert len(pack_integers([symbols])) <= 1.01 * entropy_bytes(symbols) + 8


@pytest.mark.parametrize("count", [64, 256, 1024])
def test_a_small_array_pays_at_most_six_bytes_above_what_the_true_distribution_costs(count):
    scale = 2.0
    ratio = math.exp(-1 / scale)
    symbols = RANDOM.geometric(1 - ratio, count) - RANDOM.geometric(1 - ratio, count)
    true_bits = count * math.log2((1 + ratio) / (1 - ratio)) + np.abs(symbols).sum() * -math.log2(ratio)
    assert len(pack_integers([symbols])) <= true_bits / 8 + 6


@pytest.mark.parametrize("value", [0, 7, -300, 2**31 - 1, -(2**31)])
def test_a_constant_array_takes_a_handful_of_bytes_however_long(value):
    symbols = np.full(100_000, value, np.int64)
    packed = pack_integers([symbols])
    assert len(packed) <= 20
    assert np.array_equal(unpack_integers(packed, [symbols.shape])[0], symbols)


def test_an_empty_array_takes_two_bytes():
    assert len(pack_integers([np.zeros(0, np.int64)])) == 2


def test_a_peculiar_histogram_is_stored_and_a_smooth_one_described_by_parameters():
    peculiar = RANDOM.choice([0, 3, 50], 5000, p=[0.5, 0.3, 0.2])
    smooth = np.rint(RANDOM.laplace(0, 4, 5000)).astype(np.int64)
    assert fit_table(peculiar).description[0] == HISTOGRAM_HEAD
    assert fit_table(smooth).description[0] != HISTOGRAM_HEAD


def test_a_range_too_wide_for_a_histogram_is_still_coded():
    symbols = np.array([0, 10**6, -(10**9), 5] * 30)
    assert fit_histogram(*histogram_of(symbols)) is None
    assert np.array_equal(unpack_integers(pack_integers([symbols]), [(120,)])[0], symbols)


def test_fitting_twice_gives_the_same_bytes():
    symbols = np.rint(RANDOM.normal(0, 5, 3000)).astype(np.int64)
    assert fit_table(symbols).description == fit_table(symbols.copy()).description


def test_contexts_with_tables_of_their_own_beat_one_table():
    contexts = np.arange(40_000) % 4
    symbols = np.rint(RANDOM.laplace(0, 1, 40_000) * np.array([0.3, 1, 4, 16])[contexts]).astype(np.int64)
    tables = [fit_table(symbols[contexts == context]) for context in range(4)]
    assert len(encode_with_contexts(symbols, contexts, tables)) < 0.9 * len(pack_integers([symbols]))


def test_decoding_allocates_for_the_stated_count_and_not_for_what_the_data_claims():
    table = ParametricModel(ratio=200).table()
    assert decode_symbols(b"", [(0, table)])[0].shape == (0,)
    with pytest.raises(CorruptFileError):
        decode_symbols(b"\xff" * 100_000, [(3, table)])


@pytest.mark.parametrize("symbols", [[2**31], [-(2**31) - 1]])
def test_symbols_beyond_32_bits_are_refused(symbols):
    with pytest.raises(ValueError, match="32 bits"):
        fit_table(np.array(symbols))
    with pytest.raises(ValueError, match="32 bits"):
        encode_symbols([(np.array(symbols), ParametricModel(ratio=9).table())])


def test_an_escape_beyond_32_bits_is_refused():
    # Written with a table lower down: with one centred on 2**30 the distance leads beyond 32 bits.
    low, high = ParametricModel(ratio=0, limit=0), ParametricModel(ratio=0, limit=0, centre=1 << 30)
    data = encode_symbols([(np.array([2**31 - 1]), low.table())])
    with pytest.raises(CorruptFileError, match="32 bits"):
        decode_symbols(data, [(1, high.table())])


def test_wrong_contexts_are_refused():
    table = ParametricModel(ratio=9).table()
    with pytest.raises(ValueError, match="context"):
        encode_with_contexts(np.zeros(2, int), np.array([0, 1]), [table])
    with pytest.raises(ValueError, match="differ in number"):
        encode_with_contexts(np.zeros(3, int), np.array([0, 0]), [table])


@pytest.mark.parametrize(
    "description",
    [
        b"",
        b"\x07",
        b"\x1f\x00",
        b"\x87\x00\x81\x20",
        b"\x47\x00\x82\x80\x80\x80\x08",
        b"\x0f\x00\x00\x06\x07\x00\x00",
    ],
    ids=["nothing", "cut off", "unknown family", "limit", "centre", "mantissa bits"],
)
def test_a_description_that_breaks_a_rule_is_refused(description):
    with pytest.raises(CorruptFileError):
        read_table(ByteReader(description))


def test_an_empty_stored_histogram_is_refused():
    zeros = encode_symbols([(np.zeros(3, np.int64), ParametricModel(ratio=0).table())])
    with pytest.raises(CorruptFileError, match="empty"):
        read_table(ByteReader(b"\x0f\x00\x02\x00\x07\x00" + bytes([len(zeros)]) + zeros))


def test_weights_that_are_all_zero_are_no_table():
    with pytest.raises(ValueError, match="zero"):
        counts_from_weights(np.zeros(3, np.uint64))


def test_cost_counts_escapes_as_the_coder_does():
    table = SymbolTable(-1, counts_from_weights(np.array([1, 2, 1, 1], np.uint64)), b"")
    symbols = np.array([0, 5, -9, 2**31 - 1, -(2**31), 1, 2])
    assert abs(8 * len(encode_symbols([(symbols, table)])) - table.cost_bits(symbols)) <= 16


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, 1e-40, 1e35])
def test_an_impossible_step_is_refused(value):
    with pytest.raises(ValueError, match="step"):
        QuantisationStep.nearest(value)


@pytest.mark.parametrize("data", [b"\x7f\x80", b"\x80\xff", b"\x80"])
def test_stored_bytes_that_are_no_step_are_refused(data):
    with pytest.raises(CorruptFileError):
        read_step(ByteReader(data))


def test_ties_go_to_the_even_multiple_and_limits_clamp():
    step = QuantisationStep.nearest(0.5)
    assert quantise(np.array([0.25, 0.75, -0.25, 1.25]), step).tolist() == [0, 2, 0, 2]
    assert quantise(np.array([9.0, -9.0]), step, limit=4).tolist() == [4, -4]
    assert dequantise(np.array([3, -2]), step).tolist() == [1.5, -1.0]


@pytest.mark.parametrize("values", [[math.nan], [math.inf], [1e12]])
def test_values_that_cannot_be_quantised_are_refused(values):
    with pytest.raises(ValueError, match=r"finite|steps from zero"):
        quantise(np.array(values), QuantisationStep.nearest(1e-3))
