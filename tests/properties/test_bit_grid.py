"""Laws of the coder of boolean grids that hold for every grid and for any bytes."""

import contextlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scene_codec.entropy.bit_grid import decode_bit_grid, encode_bit_grid
from scene_codec.errors import CorruptFileError

shapes = st.tuples(*[st.integers(1, 9)] * 3)
dense_grids = hnp.arrays(np.bool_, shapes)
sparse_grids = hnp.arrays(np.bool_, shapes, elements=st.just(True), fill=st.just(False))


@st.composite
def boxes(draw: st.DrawFn) -> np.ndarray:
    """Grids of some boxes, filled or emptied one after the other."""
    shape = draw(shapes)
    grid = np.zeros(shape, bool)
    for _ in range(draw(st.integers(0, 4))):
        ends = [sorted(draw(st.tuples(st.integers(0, side), st.integers(0, side)))) for side in shape]
        grid[tuple(slice(*pair) for pair in ends)] = draw(st.booleans())
    return grid


grids = dense_grids | sparse_grids | boxes()


@settings(max_examples=80, deadline=None, derandomize=True)
@given(grids)
def test_every_grid_comes_back(grid):
    decoded = decode_bit_grid(encode_bit_grid(grid), grid.shape)
    assert decoded.shape == grid.shape
    assert np.array_equal(decoded, grid)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(grids, st.data())
def test_damage_is_refused_or_gives_a_grid_of_the_shape(grid, data):
    damaged = bytearray(encode_bit_grid(grid))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(CorruptFileError):
        assert decode_bit_grid(bytes(damaged), grid.shape).shape == grid.shape


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.integers(0, 4), st.binary(max_size=60), shapes)
def test_any_bytes_are_refused_or_give_a_grid_of_the_shape(head, rest, shape):
    with contextlib.suppress(CorruptFileError):
        assert decode_bit_grid(bytes([head]) + rest, shape).shape == shape


@settings(max_examples=40, deadline=None, derandomize=True)
@given(grids, st.binary(min_size=1, max_size=4))
def test_foreign_bytes_behind_a_grid_never_pass(grid, extra):
    data = encode_bit_grid(grid)
    refused = False
    try:
        decode_bit_grid(data + extra, grid.shape)
    except CorruptFileError:
        refused = True
    assert refused


@settings(max_examples=40, deadline=None, derandomize=True)
@given(grids)
def test_prefixes_never_pass(grid):
    data = encode_bit_grid(grid)
    passed = []
    for size in range(len(data)):
        with contextlib.suppress(CorruptFileError):
            decode_bit_grid(data[:size], grid.shape)
            passed.append(size)
    assert not passed
