"""Blocks and back; the five `seed_bug` tests pin what the paper's released code got wrong."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from scene_codec.volumes.blocks import (
    BLOCK_SIDE,
    LayerJoiner,
    block_counts,
    cut_blocks,
    cut_layers,
    join_blocks,
)

sizes = st.sampled_from([1, 2, 7, 8, 9, 11, 13, 16, 17, 23])
shapes = st.tuples(sizes, sizes, sizes)
margins = st.integers(0, 2)
blends = st.sampled_from(["crop", "box", "smooth"])


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@settings(derandomize=True, max_examples=80, deadline=None)
@given(shapes, margins, blends)
def test_cut_and_join_give_the_volume_back(shape, margin, blend):
    volume = noise(shape)
    joined = join_blocks(cut_blocks(volume, margin), shape, margin, blend)
    assert joined.shape == shape
    # A blend adds up to eight products, each rounded to float32.
    np.testing.assert_allclose(joined, volume, rtol=0, atol=0 if blend == "crop" else 2e-6)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(shapes, margins, blends, st.integers(1, 3))
def test_joining_layer_by_layer_gives_what_joining_at_once_gives(shape, margin, blend, step):
    blocks = noise((*block_counts(shape), *(BLOCK_SIDE + 2 * margin,) * 3), seed=1)
    joiner = LayerJoiner(shape, margin, blend)
    parts = [joiner.push(blocks[start : start + step]) for start in range(0, len(blocks), step)]
    np.testing.assert_allclose(
        np.concatenate(parts), join_blocks(blocks, shape, margin, blend), rtol=0, atol=1e-6
    )


@settings(derandomize=True, max_examples=40, deadline=None)
@given(shapes, margins)
def test_layers_cut_alone_are_those_of_the_whole(shape, margin):
    volume = noise(shape)
    whole = cut_blocks(volume, margin)
    for start in range(len(whole)):
        np.testing.assert_array_equal(cut_layers(volume, margin, start, start + 1), whole[start : start + 1])


@given(arrays.arrays(np.uint8, st.tuples(*[st.integers(1, 10)] * 3)), margins)
@settings(derandomize=True, max_examples=30, deadline=None)
def test_margins_repeat_the_outermost_voxels(volume, margin):
    side = BLOCK_SIDE + 2 * margin
    first = cut_blocks(volume, margin)[0, 0, 0]
    x, y, z = (np.clip(np.arange(side) - margin, 0, size - 1) for size in volume.shape)
    np.testing.assert_array_equal(first, volume[np.ix_(x, y, z)])


def test_a_margin_that_is_too_wide_is_refused():
    with pytest.raises(ValueError, match="between 0 and 2"):
        cut_blocks(noise((8, 8, 8)), 3)


def test_blocks_of_another_volume_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        join_blocks(cut_blocks(noise((8, 8, 8)), 1), (9, 8, 8), 1)


def test_the_box_blend_is_the_mean_of_all_blocks_at_a_voxel():
    blocks = np.stack([np.full((12, 12, 12), value, np.float32) for value in (0.0, 1.0)])[:, None, None]
    line = join_blocks(blocks, (16, 8, 8), 2, "box")[:, 4, 4]
    np.testing.assert_array_equal(line, [0] * 6 + [0.5] * 4 + [1] * 6)


@pytest.mark.parametrize("blend", ["crop", "box", "smooth"])
def test_seed_bug_1_nothing_uninitialised_reaches_the_result(blend):
    # The seed added blocks to memory that nobody had cleared. Dirty the allocator, then join.
    shape = (17, 16, 9)
    dirt = [np.full((24, 24, 24), np.nan, np.float32) for _ in range(64)]
    del dirt
    for _ in range(8):
        joined = join_blocks(cut_blocks(np.ones(shape, np.float32), 2), shape, 2, blend)
        np.testing.assert_allclose(joined, 1.0, atol=1e-6)


@pytest.mark.parametrize("blend", ["box", "smooth"])
@pytest.mark.parametrize("margin", [1, 2])
def test_seed_bug_2_the_weights_of_the_outer_shell_sum_to_one(blend, margin):
    # The seed halved the two outermost voxels, quartered the edges and left an eighth of the corners.
    shape = (24, 8, 16)
    ones = np.ones((*block_counts(shape), *(BLOCK_SIDE + 2 * margin,) * 3), np.float32)
    joined = join_blocks(ones, shape, margin, blend)
    for corner in (joined[0, 0, 0], joined[-1, -1, -1], joined[0, 4, 4], joined[0, 0, 8]):
        assert corner == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(joined, 1.0, atol=1e-6)


@pytest.mark.parametrize("excess", [1, 2, 3])
def test_seed_bug_3_the_last_row_of_blocks_is_there_when_little_is_left_over(excess):
    # With a margin m the seed never filled the last row when the size modulo 8 was between 1 and m.
    shape = (8 + excess, 8, 8)
    assert block_counts(shape) == (2, 1, 1)
    volume = noise(shape)
    joined = join_blocks(cut_blocks(volume, 2), shape, 2)
    np.testing.assert_allclose(joined[8:], volume[8:], atol=2e-6)
