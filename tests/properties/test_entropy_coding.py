"""Laws of tables, range coding and packing that hold for every input."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scene_codec.entropy.byte_fields import ByteReader, signed_varint, varint
from scene_codec.entropy.fitting import fit_table, read_table
from scene_codec.entropy.packing import pack_integers, unpack_integers
from scene_codec.entropy.parametric import ParametricModel, byte_of_probability, probability_of_byte
from scene_codec.entropy.quantisers import QuantisationStep, dequantise, quantise, read_step
from scene_codec.entropy.range_coding import (
    decode_symbols,
    decode_with_contexts,
    encode_symbols,
    encode_with_contexts,
)
from scene_codec.entropy.tables import TOTAL
from scene_codec.errors import CorruptFileError

LOSS_BITS_PER_SYMBOL = 2e-4  # the range coder's own rounding: 24-bit probabilities in a 32 to 64-bit interval

models = st.builds(
    ParametricModel,
    ratio=st.integers(0, 255),
    shape=st.integers(0, 14),
    centre_probability=st.none() | st.integers(0, 255),
    left_ratio=st.none() | st.integers(0, 255),
    centre=st.integers(-(1 << 30), 1 << 30) | st.integers(-20, 20),
    limit=st.none() | st.integers(0, 4096),
)
any_symbols = hnp.arrays(np.int64, st.integers(0, 60), elements=st.integers(-(2**31), 2**31 - 1))
small_symbols = hnp.arrays(np.int64, st.integers(0, 300), elements=st.integers(-12, 12))
arrays = any_symbols | small_symbols


@settings(max_examples=80, deadline=None, derandomize=True)
@given(models)
def test_counts_of_every_two_sided_model_are_positive_and_sum_to_the_total(model):
    table = model.table()
    assert int(table.counts.min()) >= 1
    assert int(table.counts.sum()) == TOTAL
    assert table.low <= model.centre <= table.high
    again = read_table(ByteReader(table.description))
    assert again.low == table.low
    assert np.array_equal(again.counts, table.counts)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(arrays, models), max_size=4))
def test_symbols_come_back_whatever_the_tables(parts):
    coded = [(symbols, model.table()) for symbols, model in parts]
    decoded = decode_symbols(encode_symbols(coded), [(len(symbols), table) for symbols, table in coded])
    assert [array.tolist() for array in decoded] == [symbols.tolist() for symbols, _ in coded]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(arrays, max_size=3))
def test_a_stream_is_at_most_two_bytes_longer_than_its_information(lists):
    parts = [(symbols, fit_table(symbols)) for symbols in lists]
    information = sum(table.cost_bits(symbols) for symbols, table in parts)
    slack = 16 + LOSS_BITS_PER_SYMBOL * sum(map(len, lists))
    assert 8 * len(encode_symbols(parts)) <= information + slack


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(arrays, max_size=4))
def test_packed_arrays_come_back(lists):
    unpacked = unpack_integers(pack_integers(lists), [array.shape for array in lists])
    assert [array.tolist() for array in unpacked] == [array.tolist() for array in lists]
    assert all(array.dtype == np.int32 for array in unpacked)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data(), st.integers(1, 5), st.integers(0, 200))
def test_symbols_come_back_in_order_when_contexts_select_their_tables(data, count, size):
    symbols = data.draw(hnp.arrays(np.int64, size, elements=st.integers(-9, 9)))
    contexts = data.draw(hnp.arrays(np.int64, size, elements=st.integers(0, count - 1)))
    tables = [data.draw(models).table() for _ in range(count)]
    coded = encode_with_contexts(symbols, contexts, tables)
    assert decode_with_contexts(coded, contexts, tables).tolist() == symbols.tolist()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(max_size=60), st.lists(st.tuples(st.integers(0, 50), models), max_size=3))
def test_arbitrary_bytes_are_decoded_to_the_stated_counts_or_refused(data, parts):
    coded = [(count, model.table()) for count, model in parts]
    try:
        decoded = decode_symbols(data, coded)
    except CorruptFileError:
        return
    assert [len(array) for array in decoded] == [count for count, _ in coded]
    assert encode_symbols(list(zip(decoded, [table for _, table in coded], strict=True))) == data


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda tail: b"\x0f" + tail))
def test_arbitrary_bytes_are_unpacked_to_the_stated_shapes_or_refused(data):
    try:
        first, second = unpack_integers(data, [(3, 4), (5,)])
    except CorruptFileError:
        return
    assert (first.shape, second.shape) == ((3, 4), (5,))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    hnp.arrays(np.int64, st.integers(1, 80), elements=st.integers(-40, 40)), st.binary(min_size=1, max_size=5)
)
def test_no_other_length_gives_the_same_symbols(symbols, extra):
    table = fit_table(symbols)
    data = encode_symbols([(symbols, table)])
    for wrong in (*(data[:length] for length in range(len(data))), data + extra):
        try:
            (decoded,) = decode_symbols(wrong, [(symbols.size, table)])
        except CorruptFileError:
            continue
        assert not np.array_equal(decoded, symbols)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(hnp.arrays(np.int64, st.integers(1, 400), elements=st.integers(-6, 6)))
def test_packing_is_never_much_worse_than_plain_bytes(symbols):
    assert len(pack_integers([symbols])) <= 12 + symbols.size * np.log2(13) / 8 * 1.02


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 2**35 - 1), st.integers(-(2**34), 2**34 - 1))
def test_number_fields_come_back_and_leave_the_reader_behind_them(natural, whole):
    reader = ByteReader(varint(natural) + signed_varint(whole) + b"!")
    assert (reader.varint(), reader.signed_varint(), reader.rest()) == (natural, whole, b"!")


def test_a_number_field_has_one_spelling_only():
    for wrong in (b"\x80\x00", b"\xff\xff\xff\xff\xff\x01", b"\x80"):
        with pytest.raises(CorruptFileError):
            ByteReader(wrong).varint()


def test_probability_bytes_ascend_and_are_symmetric():
    probabilities = [probability_of_byte(code) for code in range(256)]
    assert probabilities == sorted(set(probabilities))
    assert [byte_of_probability(value / 2**20) for value in probabilities] == list(range(256))
    assert all(
        first + last == 2**20 for first, last in zip(probabilities, reversed(probabilities), strict=True)
    )


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.floats(1e-35, 1e30))
def test_a_step_is_stored_exactly_and_lies_near_the_wish(value):
    step = QuantisationStep.nearest(value)
    assert abs(step.value / value - 1) <= 1 / 256
    assert read_step(ByteReader(step.to_bytes())) == step
    assert QuantisationStep.nearest(step.value) == step


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    hnp.arrays(np.float64, 20, elements=st.floats(-1e4, 1e4)),
    st.floats(1e-3, 10.0),
    st.none() | st.integers(1, 200),
)
def test_quantisation_errs_by_half_a_step_and_keeps_its_own_values(values, size, limit):
    step = QuantisationStep.nearest(size)
    symbols = quantise(values, step, limit)
    restored = dequantise(symbols, step)
    assert np.array_equal(quantise(restored, step), symbols)
    if limit is None:
        assert np.all(np.abs(restored - values) <= 0.5 * step.value + 1e-6 * np.abs(values))
    else:
        assert int(np.abs(symbols).max()) <= limit


@settings(max_examples=30, deadline=None, derandomize=True)
@given(hnp.arrays(np.int64, st.integers(1, 200), elements=st.integers(-30, 30)), st.integers(1, 300))
def test_a_damaged_byte_is_found_or_changes_symbols_only(symbols, flip):
    packed = bytearray(pack_integers([symbols]))
    assume(packed)
    packed[flip % len(packed)] ^= 1 + flip % 255
    try:
        (unpacked,) = unpack_integers(bytes(packed), [symbols.shape])
    except CorruptFileError:
        return
    assert unpacked.shape == symbols.shape
