"""What adaptive bits promise: they come back, no other bytes stand for them, and costs are as counted."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scene_codec.entropy import adaptive_bits
from scene_codec.entropy.adaptive_bits import (
    MOST_SEEN,
    BitCounter,
    BitDecoder,
    BitEncoder,
    BitPrior,
    BitStatistics,
)
from scene_codec.errors import CorruptFileError

SLOTS, MIXERS, INPUTS = 20, 3, 4
IGNORANT = BitPrior.ignorant(SLOTS, MIXERS, INPUTS)

one_step = st.tuples(
    st.integers(0, 1),
    st.lists(st.integers(0, SLOTS - 1), min_size=1, max_size=INPUTS).map(tuple),
    st.integers(0, MIXERS - 1),
)
any_steps = st.lists(one_step, max_size=120)


def coded(steps, prior=IGNORANT):
    """Return an encoder that has written steps (bit, slots, mixer)."""
    encoder = BitEncoder(prior)
    for bit, slots, mixer in steps:
        assert encoder.code(bit, slots, mixer) == bit
    return encoder


def decoded(data, contexts, prior=IGNORANT):
    """Return the bits that bytes stand for. Raises `CorruptFileError` when other bytes stand for them."""
    decoder = BitDecoder(data, prior)
    bits = [decoder.code(0, slots, mixer) for _, slots, mixer in contexts]
    decoder.finish()
    return bits


def skewed_steps(count, chance, seed=0):
    """Return steps whose bits are 1 with a probability that depends on the slot."""
    generator = np.random.default_rng(seed)
    slots = generator.integers(0, SLOTS, (count, INPUTS))
    bits = generator.random(count) < np.where(slots[:, 0] & 1, chance, 1.0 - chance)
    mixers = generator.integers(0, MIXERS, count)
    return [
        (int(bit), tuple(row), mixer)
        for bit, row, mixer in zip(bits, slots.tolist(), mixers.tolist(), strict=True)
    ]


@st.composite
def priors(draw):
    """Draw statistics as extreme as they can be stored."""
    probabilities = draw(
        st.lists(
            st.sampled_from([0, 1, 40, 32768, 65495, 65535]) | st.integers(0, 65535),
            min_size=SLOTS, max_size=SLOTS,
        )
    )  # fmt: skip
    seen = draw(st.lists(st.integers(0, MOST_SEEN), min_size=SLOTS, max_size=SLOTS))
    weights = draw(
        st.lists(
            st.sampled_from([0, 26214, -26214, 2**31 - 1, -(2**31)]),
            min_size=MIXERS * INPUTS, max_size=MIXERS * INPUTS,
        )
    )  # fmt: skip
    return BitPrior(
        np.array(probabilities, np.uint16),
        np.array(seen, np.uint8),
        np.array(weights, np.int32).reshape(MIXERS, INPUTS),
    )


@settings(max_examples=80, derandomize=True)
@given(any_steps)
def test_bits_come_back(steps):
    data = coded(steps).finish()
    assert decoded(data, steps) == [bit for bit, _, _ in steps]


@settings(max_examples=60, derandomize=True)
@given(any_steps, priors())
def test_bits_come_back_whatever_is_known_beforehand(steps, prior):
    data = coded(steps, prior).finish()
    assert decoded(data, steps, prior) == [bit for bit, _, _ in steps]


@pytest.mark.parametrize("bits", ["0", "1", "01", "0001", "1110"])
def test_long_runs_come_back(bits):
    steps = [(int(bit), (0, 1), 0) for bit in itertools.islice(itertools.cycle(bits), 4000)]
    assert decoded(coded(steps).finish(), steps) == [bit for bit, _, _ in steps]


@settings(max_examples=40, derandomize=True)
@given(st.lists(one_step, max_size=40), st.binary(min_size=1, max_size=5))
def test_no_other_length_stands_for_the_same_bits(steps, extra):
    data = coded(steps).finish()
    for wrong in (*(data[:length] for length in range(len(data))), data + extra, data + b"\0"):
        try:
            found = decoded(wrong, steps)
        except CorruptFileError:
            continue
        assert found != [bit for bit, _, _ in steps]


def test_a_long_stream_cut_off_or_with_bytes_too_many_stands_for_other_bits_or_none():
    """Any bytes stand for some bits; whether these make sense is for the reader of symbols to see."""
    steps = skewed_steps(300, 0.3)
    data = coded(steps).finish()
    for wrong in (*(data[:length] for length in range(len(data))), data + b"\1", data + data):
        try:
            found = decoded(wrong, steps)
        except CorruptFileError:
            continue
        assert found != [bit for bit, _, _ in steps]


@pytest.mark.parametrize("extra", [b"\0", b"\1", b"\xff", bytes(9) + b"\1"])
def test_bytes_behind_what_the_bits_need_are_refused(extra):
    steps = [(1, (0,), 0)] * 20
    with pytest.raises(CorruptFileError, match="damaged"):
        decoded(coded(steps).finish() + b"\0\0\0\0" + extra, steps)


@settings(max_examples=40, derandomize=True)
@given(any_steps, st.integers(0, 10**6))
def test_flipped_bits_are_refused_or_stand_for_other_bits(steps, place):
    data = coded(steps).finish()
    if not data:
        return
    damaged = bytearray(data)
    damaged[place // 8 % len(data)] ^= 1 << place % 8
    try:
        found = decoded(bytes(damaged), steps)
    except CorruptFileError:
        return
    assert found != [bit for bit, _, _ in steps]


@settings(max_examples=100, derandomize=True)
@given(st.binary(max_size=30), any_steps)
def test_arbitrary_bytes_are_refused_or_are_what_their_bits_are_coded_to(data, contexts):
    try:
        bits = decoded(data, contexts)
    except CorruptFileError:
        return
    steps = [(bit, slots, mixer) for bit, (_, slots, mixer) in zip(bits, contexts, strict=True)]
    assert coded(steps).finish() == data


def test_a_stream_is_the_shortest_of_all_that_stand_for_its_bits():
    """All streams of one byte at most are tried: the encoder takes none of two when one of them does."""
    for pattern in itertools.product((0, 1), repeat=6):
        steps = [(bit, (place,), 0) for place, bit in enumerate(pattern)]
        data = coded(steps).finish()
        short = [b"", *(bytes([value]) for value in range(256))]
        standing = []
        for candidate in short:
            decoder = BitDecoder(candidate, IGNORANT)
            if all(decoder.code(0, slots, mixer) == bit for bit, slots, mixer in steps):
                standing.append(candidate)
        assert min(standing, key=len, default=None) in (data, None)
        assert standing or len(data) > 1
        assert not data.endswith(b"\0")


@pytest.mark.parametrize("chance", [0.5, 0.1, 0.01, 0.0005])
def test_a_stream_is_as_long_as_its_counted_bits(chance):
    encoder = coded(skewed_steps(6000, chance))
    # Whole bytes at the end, and the coder's own rounding when its ends come near each other.
    assert encoder.bits - 8 <= 8 * len(encoder.finish()) <= encoder.bits * 1.002 + 16


def test_statistics_learn_what_there_is_to_know():
    chance = 0.02
    entropy = -(chance * np.log2(chance) + (1 - chance) * np.log2(1 - chance))
    steps = [(bit, slots[:1], mixer) for bit, slots, mixer in skewed_steps(10_000, chance)]
    # A tenth more is what 20 slots and 3 mixers take to learn it, and to keep on adapting.
    assert 0.9 * entropy < coded(steps).bits / len(steps) < 1.1 * entropy + 0.02


@settings(max_examples=40, derandomize=True)
@given(any_steps)
def test_the_cost_of_a_bit_is_what_coding_it_adds(steps):
    counter, encoder = BitCounter(IGNORANT), BitEncoder(IGNORANT)
    for bit, slots, mixer in steps:
        before, costs = counter.bits, counter.costs(slots, mixer)
        foretold, other = costs[bit], costs[1 - bit]
        counter.code(bit, slots, mixer)
        encoder.code(bit, slots, mixer)
        assert counter.bits - before == pytest.approx(foretold)
        assert 2.0**-foretold + 2.0**-other == pytest.approx(1.0)
    assert encoder.bits == counter.bits


def test_asking_for_a_cost_changes_nothing():
    steps = skewed_steps(50, 0.1)
    asking, silent = BitEncoder(IGNORANT), BitEncoder(IGNORANT)
    for bit, slots, mixer in steps:
        asking.costs(slots, mixer)
        asking.code(bit, slots, mixer)
        silent.code(bit, slots, mixer)
    assert asking.finish() == silent.finish()


def test_finishing_twice_gives_the_same_stream():
    encoder = coded(skewed_steps(80, 0.3))
    assert encoder.finish() == encoder.finish()


@settings(max_examples=30, derandomize=True)
@given(any_steps, any_steps)
def test_statistics_go_on_from_where_they_were_taken_down(first, second):
    whole = BitCounter(IGNORANT)
    for step in first:
        whole.code(*step)
    resumed = BitCounter(whole.statistics.snapshot())
    counted = whole.bits
    for step in second:
        whole.code(*step)
        resumed.code(*step)
    assert resumed.bits == pytest.approx(whole.bits - counted)
    again, expected = resumed.statistics.snapshot(), whole.statistics.snapshot()
    for own, other in zip(vars(again).values(), vars(expected).values(), strict=True):
        np.testing.assert_array_equal(own, other)
        assert own.dtype == other.dtype


def test_a_prior_is_not_changed_by_those_who_begin_with_it():
    prior = BitPrior.ignorant(SLOTS, MIXERS, INPUTS)
    coded(skewed_steps(100, 0.1), prior)
    for own, other in zip(vars(prior).values(), vars(IGNORANT).values(), strict=True):
        np.testing.assert_array_equal(own, other)


@settings(max_examples=60, derandomize=True)
@given(any_steps, priors())
def test_probabilities_and_statistics_stay_in_their_ranges(steps, prior):
    statistics = BitStatistics(prior)
    for bit, slots, mixer in steps:
        chance, inputs = statistics.predict(slots, mixer)
        assert 1 <= chance <= 4095
        statistics.learn(bit, slots, mixer, chance, inputs)
    assert all(0 <= value <= 65535 for value in statistics._probabilities)
    assert all(0 <= value <= MOST_SEEN for value in statistics._seen)


def test_a_certain_bit_costs_next_to_nothing_in_the_end():
    counter = BitCounter(IGNORANT)
    for _ in range(2000):
        counter.code(1, (0, 1, 2), 0)
    assert counter.costs((0, 1, 2), 0)[1] < 0.001
    assert counter.costs((0, 1, 2), 0)[0] > 10


def test_the_decoder_notices_that_its_bytes_have_long_ended():
    slots = 1000
    decoder = BitDecoder(b"\x80", BitPrior.ignorant(slots, 1, 1))
    for slot in range(slots):
        if decoder.exhausted:
            break
        decoder.code(0, (slot,), 0)
    assert decoder.exhausted


@settings(max_examples=40, derandomize=True)
@given(any_steps)
def test_no_decoder_of_whole_streams_takes_them_for_ended(steps):
    # Of ones alone a stream may well be empty: they are coded to the lower end.
    steps = [*steps, (0, (0,), 0)]
    decoder = BitDecoder(coded(steps).finish(), IGNORANT)
    for _, slots, mixer in steps:
        decoder.code(0, slots, mixer)
        assert not decoder.exhausted


def test_squashing_is_the_logistic_function():
    squash = np.array(adaptive_bits._SQUASH)
    values = np.arange(-2047, 2048)
    assert len(squash) == len(values)
    assert (np.diff(squash) >= 0).all()
    # The curve is straight between knots 128 apart, and rounded.
    np.testing.assert_allclose(squash, 4096 / (1 + np.exp(-values / 256)), atol=15)


def test_stretching_undoes_squashing():
    squash, stretch = adaptive_bits._SQUASH, adaptive_bits._STRETCH
    assert len(stretch) == 4096
    assert list(stretch) == sorted(stretch)
    assert (stretch[0], stretch[-1]) == (-2047, 2047)
    for probability, value in enumerate(stretch):
        reached = squash[value + 2047]
        assert reached >= probability or value == 2047
        assert value == -2047 or squash[value + 2046] < probability


def test_costs_are_those_of_the_probabilities():
    costs = np.array(adaptive_bits._COST[1:4096])
    np.testing.assert_allclose(2.0**-costs, np.arange(1, 4096) / 4096)
