"""What the coder of integers on the nodes of a grid promises: they come back, small, and damage is told."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scene_codec.entropy.byte_fields import signed_varint, varint
from scene_codec.entropy.node_order import KINDS, coding_turns
from scene_codec.entropy.node_values import decode_node_values, encode_node_values, predictions
from scene_codec.errors import CorruptFileError

LARGEST = (1 << 24) - 1
STEPS = {1: 6, 2: 3, 3: 2}


def bumps(shape, channels=1, height=40.0, seed=0):
    """Return smooth values (x * y * z, channels) with a little noise."""
    random = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    waves = np.sin(places @ random.normal(0.0, 0.25, (3, channels)) + random.uniform(0.0, 6.0, channels))
    return np.rint(height * waves + random.normal(0.0, 0.7, waves.shape)).astype(np.int32)


def ball(shape):
    """Return which nodes of a grid lie in a ball, (x, y, z) bool."""
    axes = [np.linspace(-1.0, 1.0, side) for side in shape]
    return sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")) < 0.9


def assert_comes_back(values, held):
    found = decode_node_values(encode_node_values(values, held), held, values.shape[1])
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, values)


@st.composite
def grids_of_values(draw):
    """Draw values and where they are held."""
    shape = draw(st.tuples(*[st.integers(1, 9)] * 3))
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    held = random.random(shape) < draw(st.sampled_from([0.0, 0.05, 0.5, 1.0]))
    largest = draw(st.sampled_from([0, 1, 5, 300, LARGEST]))
    values = random.integers(-largest, largest + 1, (int(held.sum()), draw(st.integers(0, 4))))
    if draw(st.booleans()):
        values = values.cumsum(axis=0).clip(-LARGEST, LARGEST)
    return values.astype(np.int32), held


@settings(max_examples=60, deadline=None, derandomize=True)
@given(grids_of_values())
def test_all_values_come_back(drawn):
    assert_comes_back(*drawn)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(grids_of_values(), st.data())
def test_damage_is_refused_or_gives_values_of_the_shape(drawn, data):
    values, held = drawn
    coded = bytearray(encode_node_values(values, held)) or bytearray(1)
    coded[data.draw(st.integers(0, len(coded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = decode_node_values(bytes(coded), held, values.shape[1])
    except CorruptFileError:
        return
    assert found.shape == values.shape
    assert np.abs(found.astype(np.int64)).max(initial=0) <= 1 << 24


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.binary(max_size=120), st.integers(1, 3))
def test_any_bytes_are_refused_or_give_values_of_the_shape(data, channels):
    held = ball((5, 4, 6))
    try:
        found = decode_node_values(data, held, channels)
    except CorruptFileError:
        return
    assert found.shape == (int(held.sum()), channels)


@pytest.mark.parametrize(
    ("shape", "channels"),
    [((1, 1, 1), 1), ((1, 1, 1), 12), ((7, 5, 1), 3), ((1, 30, 1), 2), ((6, 5, 7), 48), ((17, 9, 10), 1)],
)
def test_grids_of_all_shapes_come_back(shape, channels):
    assert_comes_back(bumps(shape, channels), np.ones(shape, bool))


@pytest.mark.parametrize("value", [0, 1, -7, LARGEST, -LARGEST])
@pytest.mark.parametrize("channels", [1, 3])
def test_equal_values_take_next_to_nothing(value, channels):
    held = ball((14, 14, 14))
    values = np.full((int(held.sum()), channels), value, np.int32)
    assert_comes_back(values, held)
    # Rounded weights of the mean leave large numbers something to say at every node.
    if abs(value) < 10:
        assert len(encode_node_values(values, held)) < 70 * channels


def test_extremes_side_by_side_come_back():
    held = np.ones((6, 6, 6), bool)
    values = np.where(np.arange(216) % 2, LARGEST, -LARGEST)[:, None].astype(np.int32)
    assert_comes_back(values, held)
    assert_comes_back(np.concatenate([values, -values, values // 1000], axis=1), held)


@pytest.mark.parametrize(("shape", "channels"), [((0, 4, 4), 2), ((3, 3, 3), 0), ((3, 3, 3), 2)])
def test_nothing_takes_no_bytes_and_nothing_may_follow(shape, channels):
    held = np.zeros(shape, bool)
    values = np.zeros((0, channels), np.int32)
    assert encode_node_values(values, held) == b""
    assert decode_node_values(b"", held, channels).shape == (0, channels)
    with pytest.raises(CorruptFileError):
        decode_node_values(b"\0", held, channels)


def test_rows_without_channels_take_no_bytes():
    held = np.ones((2, 3, 4), bool)
    assert encode_node_values(np.zeros((24, 0), np.int32), held) == b""
    assert decode_node_values(b"", held, 0).shape == (24, 0)


def test_smooth_values_take_far_less_than_their_histogram_says():
    held = ball((24, 24, 24))
    values = bumps(held.shape, 3)[held.reshape(-1)]
    bits = 0.0
    for channel in values.T:
        counts = np.unique(channel, return_counts=True)[1]
        bits -= float(counts @ np.log2(counts / counts.sum()))
    assert 8 * len(encode_node_values(values, held)) < 0.5 * bits


def test_the_same_values_give_the_same_bytes():
    held = ball((9, 8, 10))
    values = bumps(held.shape, 2)[held.reshape(-1)]
    assert encode_node_values(values, held) == encode_node_values(np.asfortranarray(values), held.copy())


def test_values_are_expected_about_where_they_are():
    held = ball((16, 16, 16))
    values = bumps(held.shape, 2)[held.reshape(-1)]
    expected, spread = predictions(values, held)
    assert expected.shape == spread.shape == values.shape
    off = np.abs(values - expected)
    assert off.mean() < 0.3 * np.abs(values).mean()
    assert spread.mean() == pytest.approx(off.mean(), rel=0.3)
    assert (spread >= 0).all()


def test_nothing_is_expected_of_no_values():
    expected, spread = predictions(np.zeros((0, 3), np.int32), np.zeros((2, 2, 2), bool))
    assert expected.shape == spread.shape == (0, 3)


def turn_numbers(shape):
    """Return the turn of each node, by a slow loop over the rule."""
    numbers = np.zeros(shape, int)
    for place in itertools.product(*map(range, shape)):
        number = 0
        for level, stride in enumerate((4, 2, 1)):
            if all(one % stride == 0 for one in place) and any(one % (2 * stride) for one in place):
                odd = sum(bit for bit, one in zip((4, 2, 1), place, strict=True) if one // stride % 2)
                number = 1 + 7 * level + (7, 3, 5, 6, 1, 2, 4).index(odd)
        numbers[place] = number
    return numbers


@pytest.mark.parametrize("shape", [(10, 9, 11), (17, 3, 1), (5, 5, 5)])
def test_neighbours_are_those_of_a_slow_loop(shape):
    held = np.random.default_rng(1).random(shape) < 0.6
    numbers = turn_numbers(shape)
    row = np.full(shape, -1)
    row[held] = np.arange(held.sum())
    turns = list(coding_turns(held))
    assert [len(turn.rows) for turn in turns] == list(np.unique(numbers[held], return_counts=True)[1])
    values = np.random.default_rng(2).integers(-99, 99, (int(held.sum()) + 1, 2))
    values[-1] = 0
    places = np.argwhere(held)
    for turn, number in zip(turns, np.unique(numbers[held]), strict=True):
        stride = (8, 4, 2, 1)[(number + 6) // 7]
        np.testing.assert_array_equal(turn.rows, np.sort(row[held & (numbers == number)]))
        wanted, known = np.zeros((len(turn.rows), 2), int), np.zeros(len(turn.rows), int)
        for index, place in enumerate(places[turn.rows]):
            for step in itertools.product((-1, 0, 1), repeat=3):
                there = tuple(place + stride * np.array(step))
                inside = all(0 <= one < side for one, side in zip(there, shape, strict=True))
                if inside and held[there] and numbers[there] < number and any(step):
                    weight = STEPS[sum(map(abs, step))]
                    known[index] += weight
                    wanted[index] += weight * values[row[there]]
        np.testing.assert_array_equal(turn.known(), known)
        np.testing.assert_array_equal(turn.sums(values), wanted)
        assert 0 <= turn.kind < KINDS


HELD = ball((7, 6, 8))
VALUES = bumps(HELD.shape, 2, height=9.0)[HELD.reshape(-1)]
CODED = encode_node_values(VALUES, HELD)
WEIGHTS = 2 * KINDS * 5
"""Numbers in front of the tables."""


def found_in(data, held=HELD, channels=2):
    """Return the values in bytes, None if they are refused; any other error fails the test."""
    try:
        return decode_node_values(data, held, channels)
    except CorruptFileError:
        return None


def test_what_is_cut_off_is_refused_or_stands_for_other_values():
    """A range-coded stream that is cut off stands for other symbols: the container's checksums tell."""
    for length in range(len(CODED)):
        found = found_in(CODED[:length])
        assert found is None or not np.array_equal(found, VALUES)
    assert all(found_in(CODED[:length]) is None for length in range(WEIGHTS))


def test_flipped_bits_are_refused_or_stand_for_other_values():
    for place in range(8 * WEIGHTS, 8 * len(CODED), 7):
        damaged = bytearray(CODED)
        damaged[place // 8] ^= 1 << place % 8
        found = found_in(bytes(damaged))
        assert found is None or found.shape == VALUES.shape


@pytest.mark.parametrize("tail", [b"\0", b"\1", b"\xff" * 9, CODED])
def test_what_follows_is_refused(tail):
    assert found_in(CODED + tail) is None


@pytest.mark.parametrize("held", [ball((7, 6, 9)), ball((7, 7, 8)), np.ones((7, 6, 8), bool)])
def test_values_of_another_grid_are_refused_or_of_its_size(held):
    found = found_in(CODED, held)
    assert found is None or len(found) == held.sum()


@pytest.mark.parametrize("weight", [(1 << 12) + 1, 1 << 30, (1 << 35) - 1])
def test_weights_out_of_range_are_refused(weight):
    for index in range(5):
        numbers = [varint(weight if own == index else 0) for own in range(5)]
        if index == 0:
            numbers[0] = signed_varint(-weight if weight < 1 << 33 else weight // 2)
        with pytest.raises(CorruptFileError, match="weight"):
            decode_node_values(b"".join(numbers) + CODED[5:], HELD, 2)


def test_weights_that_make_values_grow_without_end_are_refused_or_bounded():
    """Each turn may multiply what is expected by 128: sums of 64 bits then run over."""
    held = np.ones((17, 17, 17), bool)
    coded = encode_node_values(np.full((held.size, 1), 3, np.int32), held)
    largest = (signed_varint(1 << 12) + varint(1 << 12) * 4) * KINDS
    tables_from = len(weights_of(coded))
    found = found_in(largest + coded[tables_from:], held, 1)
    assert found is None or np.abs(found.astype(np.int64)).max() <= 1 << 24


def weights_of(coded):
    """Return the weights of one channel in front of coded values."""
    end = 0
    for _ in range(5 * KINDS):
        while coded[end] & 0x80:
            end += 1
        end += 1
    return coded[:end]


def test_memory_follows_the_grid_whatever_the_bytes_say():
    held = np.ones((32, 32, 32), bool)
    for data in (b"\0" * 400, b"\x7f" * 4000, CODED, b"\xff" * 100):
        tracemalloc.start()
        try:
            found_in(data, held, 3)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 400 * held.size
