"""What adaptive integers promise: any comes back, near its counted bits, and no bytes bring other errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scene_codec.entropy.adaptive_bits import BitCounter, BitDecoder, BitEncoder, BitPrior
from scene_codec.entropy.adaptive_integers import LARGEST_INTEGER, MOST_CLASSES, IntegerModel, SlotPlan
from scene_codec.errors import CorruptFileError

SIZES = (5, 3, 2)


def planned(signed=True):
    """Return a model and the prior of nobody."""
    plan = SlotPlan()
    model = IntegerModel(plan, SIZES, signed=signed)
    return model, BitPrior.ignorant(plan.slots, plan.mixers, len(SIZES))


SIGNED, SIGNED_PRIOR = planned()
UNSIGNED, UNSIGNED_PRIOR = planned(signed=False)

contexts = st.tuples(*(st.integers(0, size - 1) for size in SIZES))
magnitudes = (
    st.integers(0, 20)
    | st.integers(0, LARGEST_INTEGER)
    | st.integers(0, MOST_CLASSES - 1).map(lambda power: 1 << power)
    | st.integers(1, MOST_CLASSES).map(lambda power: (1 << power) - 1)
)
signed_values = st.builds(lambda magnitude, sign: magnitude * sign, magnitudes, st.sampled_from([-1, 1]))


def coded(model, prior, pairs):
    encoder = BitEncoder(prior)
    for value, context in pairs:
        assert model.code(encoder, value, context) == value
    return encoder


def decoded(model, prior, data, pairs):
    decoder = BitDecoder(data, prior)
    values = [model.code(decoder, 0, context) for _, context in pairs]
    decoder.finish()
    return values


@settings(max_examples=60, derandomize=True)
@given(st.lists(st.tuples(signed_values, contexts), max_size=25))
def test_integers_come_back(pairs):
    data = coded(SIGNED, SIGNED_PRIOR, pairs).finish()
    assert decoded(SIGNED, SIGNED_PRIOR, data, pairs) == [value for value, _ in pairs]


@settings(max_examples=40, derandomize=True)
@given(st.lists(st.tuples(magnitudes, contexts), max_size=25))
def test_integers_without_a_sign_come_back(pairs):
    data = coded(UNSIGNED, UNSIGNED_PRIOR, pairs).finish()
    assert decoded(UNSIGNED, UNSIGNED_PRIOR, data, pairs) == [value for value, _ in pairs]


@pytest.mark.parametrize("value", [0, 1, -1, LARGEST_INTEGER, -LARGEST_INTEGER, 1 << MOST_CLASSES - 1])
def test_integers_at_the_limits_come_back_with_any_statistics(value):
    pairs = [(value, (4, 2, 1))] * 40 + [(-value, (0, 0, 0)), (7, (4, 2, 1))]
    data = coded(SIGNED, SIGNED_PRIOR, pairs).finish()
    assert decoded(SIGNED, SIGNED_PRIOR, data, pairs) == [value for value, _ in pairs]


@settings(max_examples=15, derandomize=True)
@given(
    st.lists(st.tuples(signed_values, contexts), min_size=1, max_size=8), st.binary(min_size=1, max_size=3)
)
def test_no_other_length_gives_the_same_integers(pairs, extra):
    data = coded(SIGNED, SIGNED_PRIOR, pairs).finish()
    for wrong in (*(data[:length] for length in range(len(data))), data + extra):
        try:
            found = decoded(SIGNED, SIGNED_PRIOR, wrong, pairs)
        except CorruptFileError:
            continue
        assert found != [value for value, _ in pairs]


@settings(max_examples=80, derandomize=True)
@given(st.binary(max_size=24), st.lists(contexts, max_size=20))
def test_arbitrary_bytes_give_integers_in_range_or_are_refused(data, places):
    pairs = [(0, context) for context in places]
    decoder = BitDecoder(data, SIGNED_PRIOR)
    values = [SIGNED.code(decoder, 0, context) for context in places]
    assert all(abs(value) <= LARGEST_INTEGER for value in values)
    try:
        decoder.finish()
    except CorruptFileError:
        return
    again = [(value, context) for value, (_, context) in zip(values, pairs, strict=True)]
    assert coded(SIGNED, SIGNED_PRIOR, again).finish() == data


@settings(max_examples=40, derandomize=True)
@given(signed_values, contexts)
def test_the_cost_of_an_integer_is_what_coding_it_adds_but_for_its_low_bits(value, context):
    """Bits below the highest are even beforehand, and the cost takes them for that."""
    counter = BitCounter(SIGNED_PRIOR)
    foretold = SIGNED.costs(counter, context).of(value)
    assert counter.bits == 0.0
    SIGNED.code(counter, value, context)
    # Bits below the highest count as one each, but share a mixer that learns from one to the next.
    low_bits = max(abs(value).bit_length() - 1, 0)
    assert foretold == pytest.approx(counter.bits, abs=max(low_bits - 1, 0) + 0.01)


@pytest.mark.parametrize("value", [-6, -1, 0, 1, 3, 900])
def test_what_is_usual_becomes_cheap(value):
    counter = BitCounter(SIGNED_PRIOR)
    before = SIGNED.costs(counter, (1, 1, 1)).of(value)
    for _ in range(200):
        SIGNED.code(counter, value, (1, 1, 1))
    # The bits below the highest stay at one each in this estimate.
    low_bits = max(abs(value).bit_length() - 1, 0)
    assert SIGNED.costs(counter, (1, 1, 1)).of(value) < 0.35 * (before - low_bits) + low_bits
    assert SIGNED.costs(counter, (1, 1, 1)).of(value) < SIGNED.costs(counter, (1, 1, 1)).of(-2 * value - 5)


def test_contexts_are_told_apart():
    generator = np.random.default_rng(0)
    own = generator.integers(0, 5, 4000)
    values = np.rint(generator.laplace(0.0, 2.0 ** (own - 1))).astype(int)
    apart = [(int(value), (int(context), 0, 0)) for value, context in zip(values, own, strict=True)]
    mixed = [(int(value), (0, 0, 0)) for value in values]
    assert coded(SIGNED, SIGNED_PRIOR, apart).bits < 0.95 * coded(SIGNED, SIGNED_PRIOR, mixed).bits


def test_the_wrong_number_of_contexts_is_an_error_of_ours():
    with pytest.raises(ValueError, match="zip"):
        SIGNED.code(BitCounter(SIGNED_PRIOR), 1, (0, 0))


def test_models_share_no_slots_and_no_mixers():
    plan = SlotPlan()
    slots, mixers = [], []

    class Noting:
        """Notes which slots and mixers are used, and says 1 to everything that a large value asks."""

        encoding = True

        def code(self, bit, own, mixer):
            slots.append(set(own))
            mixers.append({mixer})
            return bit

    def used(model):
        slots.clear()
        mixers.clear()
        for value in (0, 1, -1, LARGEST_INTEGER, -LARGEST_INTEGER, 0b10101, -0b1010101):
            for context in ((0, 0, 0), (4, 2, 1), (2, 1, 1)):
                model.code(Noting(), value, context)
        return set().union(*slots), set().union(*mixers)

    first, second = IntegerModel(plan, SIZES), IntegerModel(plan, SIZES)
    (first_slots, first_mixers), (second_slots, second_mixers) = used(first), used(second)
    assert not first_slots & second_slots
    assert not first_mixers & second_mixers
    assert max(second_slots) < plan.slots
    assert max(second_mixers) < plan.mixers
