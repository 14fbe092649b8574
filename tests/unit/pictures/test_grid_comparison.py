"""Figures of two grids, the choice of slices, and what becomes of voxels on the way to pixels."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scene_codec.errors import UnsupportedSceneError
from scene_codec.pictures import grid_pair as grid_pair_module
from scene_codec.pictures.grid_difference import difference, measure
from scene_codec.pictures.grid_pair import grid_pair
from scene_codec.pictures.slices import View, image_size, slice_images, spread_slices, view_along
from scene_codec.volumes.volume import VolumeGrid

SHAPES = st.tuples(*[st.integers(1, 9)] * 3)


def noise(shape, seed, dtype=np.float32):
    return (np.random.default_rng(seed).normal(size=shape) * 50).astype(dtype)


def quiet(_part):
    return None


def measured(original, decoded, axis=2):
    return measure(grid_pair(original, decoded), axis, quiet)


def sparse(values, mask, **fields):
    return VolumeGrid("density", np.where(mask, values, 0), mask, kind="fog volume", **fields)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(SHAPES, st.integers(0, 99), st.integers(1, 60), st.sampled_from(["C", "F"]))
def test_figures_are_the_same_however_the_voxels_are_split(shape, seed, at_once, order):
    original, decoded = np.asarray(noise(shape, seed), order=order), noise(shape, seed + 100)
    mask = noise(shape, seed + 200) > 0
    mask.flat[0] = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid_pair_module, "VOXELS_AT_ONCE", at_once)
        found = measured(sparse(original, mask), sparse(decoded, mask))
    errors = np.where(mask, decoded.astype(float) - original, 0)
    extent = float(np.ptp(original[mask]))
    assert found.active_voxels == mask.sum()
    assert found.max_error == np.abs(errors).max()
    assert abs(errors[found.max_error_at]) == found.max_error
    if extent:
        assert found.psnr == pytest.approx(-10 * math.log10(np.mean(errors[mask] ** 2) / extent**2))
        assert found.box_psnr == pytest.approx(-10 * math.log10(np.mean(errors**2) / extent**2))
    assert found.topology_differences == 0
    assert not found.exact


@settings(derandomize=True, max_examples=40, deadline=None)
@given(SHAPES, st.tuples(*[st.integers(-4, 4)] * 3), st.tuples(*[st.integers(0, 3)] * 6))
def test_more_background_around_a_grid_changes_nothing(shape, corner, more):
    mask = noise(shape, 1) > 0
    grid = sparse(noise(shape, 2), mask, corner=corner)
    widths = list(zip(more[:3], more[3:], strict=True))
    low = tuple(place - before for place, (before, _) in zip(corner, widths, strict=True))
    larger = replace(grid, values=np.pad(grid.values, widths), active=np.pad(grid.active, widths), corner=low)
    for found in (measured(grid, larger), measured(larger, grid)):
        assert found.exact
        assert found.max_error == 0.0
        assert found.psnr is None
        assert found.topology_differences == 0


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float64"])
def test_a_copy_is_exact_nan_and_infinities_included(dtype):
    values = noise((5, 6, 7), 3, dtype)
    if np.dtype(dtype).kind == "f":
        values[0, :3, 0] = np.nan, np.inf, -np.inf
    found = measured(VolumeGrid("density", values), VolumeGrid("other", values.copy()))
    assert found.exact
    assert found.not_finite_differences == 0
    assert found.psnr is None


def test_one_voxel_more_and_a_lost_nan_are_counted():
    mask = np.zeros((4, 4, 4), bool)
    mask[1:3] = True
    values = noise((4, 4, 4), 4)
    values[1, 1, 1] = np.nan
    more, changed = mask.copy(), values.copy()
    more[0, 0, 0] = True
    changed[1, 1, 1] = 0.0
    found = measured(sparse(values, mask), sparse(changed, more))
    assert found.topology_differences == 1
    assert found.not_finite_differences == 1
    assert not found.exact


def test_integers_that_no_float_tells_apart_are_different_still():
    values = np.full((2, 2, 2), 2**62, np.int64)
    changed = values.copy()
    changed[1, 1, 1] += 1
    assert not measured(VolumeGrid("a", values), VolumeGrid("a", changed)).exact


def test_values_near_the_end_of_float64_have_figures_without_a_warning():
    values = 1.7e308 * np.linspace(-1, 1, 60).reshape(3, 4, 5)
    with np.errstate(all="raise", under="ignore"):
        found = measured(VolumeGrid("a", values), VolumeGrid("a", -values))
    assert found.max_error == np.finfo(float).max
    assert math.isfinite(found.psnr)


def test_the_psnr_of_vectors_is_against_the_largest_range_of_a_channel():
    values = np.zeros((3, 3, 3, 2), np.float32)
    values[0, 0, 0] = 1.0, 10.0
    changed = values + np.float32(0.5)
    found = measured(VolumeGrid("v", values, background=(0.0, 0.0)), VolumeGrid("v", changed))
    assert found.psnr == pytest.approx(20 * math.log10(10 / 0.5))


def test_grids_that_cannot_lie_over_each_other_are_refused_by_name():
    grid = VolumeGrid("density", noise((3, 4, 5), 5))
    with pytest.raises(UnsupportedSceneError, match=r"'density' has 3 x 4 x 5 voxels, and 5 x 4 x 3"):
        grid_pair(grid, VolumeGrid("density", noise((5, 4, 3), 5)))
    with pytest.raises(UnsupportedSceneError, match="3 in the other file"):
        grid_pair(grid, VolumeGrid("density", noise((3, 4, 5, 3), 5)))
    mask = np.ones((3, 4, 5), bool)
    far = sparse(noise((3, 4, 5), 5), mask, corner=(2**30, 2**30, 0))
    with pytest.raises(UnsupportedSceneError, match="so far apart"):
        grid_pair(sparse(noise((3, 4, 5), 5), mask), far)


def test_empty_grids_are_the_same():
    empty = VolumeGrid("flame", np.zeros((0, 0, 0), np.float32), kind="fog volume")
    found = measured(empty, empty)
    assert found.exact
    assert len(found.content) == 0


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.0, 0.1, 1.0, 50.0]), min_size=1, max_size=40), st.integers(1, 12))
def test_chosen_slices_ascend_are_distinct_and_never_empty_while_others_are_not(content, count):
    chosen = spread_slices(content, count)
    assert chosen == sorted(set(chosen))
    assert 1 <= len(chosen) <= count
    if any(content):
        assert all(content[index] > 0.0 for index in chosen)
        assert len(chosen) == min(count, sum(weight > 0.0 for weight in content))


def test_an_empty_border_is_not_chosen():
    values = np.zeros((8, 8, 30), np.float32)
    values[2:6, 2:6, 10:13] = noise((4, 4, 3), 6)
    found = measured(VolumeGrid("a", values), VolumeGrid("a", values))
    assert spread_slices(found.content, 3) == [10, 11, 12]


@settings(derandomize=True, max_examples=40, deadline=None)
@given(SHAPES, st.integers(0, 2), st.booleans(), st.integers(20, 90))
def test_every_voxel_of_a_slice_is_seen_where_there_are_pixels_enough(shape, axis, downwards, longest):
    values = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    view = View(axis, downwards)
    pair = grid_pair(VolumeGrid("a", values), VolumeGrid("a", values + 1))
    images = slice_images(pair, view, shape[axis] // 2, longest)
    expected = np.take(values, shape[axis] // 2, axis=axis).T
    expected = expected if downwards else expected[::-1]
    assert images.original.shape == image_size(pair, view, longest)
    assert max(images.original.shape) <= longest
    assert set(images.original.ravel()) == set(expected.ravel())
    assert images.original[0, 0] == expected[0, 0]
    assert images.original[-1, -1] == expected[-1, -1]
    assert (images.difference == 1).all()


@settings(derandomize=True, max_examples=40, deadline=None)
@given(SHAPES, st.integers(0, 2), st.sampled_from(["C", "F"]), st.integers(1, 200), st.integers(2, 9))
def test_slices_are_the_same_however_they_are_read(shape, axis, order, at_once, most):
    values = np.asarray(noise(shape, 9), order=order)
    mask = noise(shape, 10) > 0
    pair = grid_pair(
        sparse(values, mask), sparse(values[:-1] if shape[0] > 1 else values, mask[: shape[0] - 1 or 1])
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid_pair_module, "MAPPED_AT_ONCE", at_once)
        original, decoded = pair.plane(axis, shape[axis] - 1, most)
    steps = tuple(
        slice(None, None, 1 if other == axis else -(-size // most)) for other, size in enumerate(shape)
    )
    chosen = tuple(
        slice(shape[axis] - 1, None) if other == axis else step for other, step in enumerate(steps)
    )
    np.testing.assert_array_equal(original.values[..., 0], pair.original.values[chosen])
    np.testing.assert_array_equal(original.active, mask[chosen])
    whole = np.zeros(shape, bool)
    whole[: pair.decoded.shape[0]] = pair.decoded.active
    np.testing.assert_array_equal(decoded.active, whole[chosen])


def test_a_single_wrong_voxel_is_seen_in_a_slice_of_many():
    values = np.zeros((1, 1500, 1100), np.float32)
    changed = values.copy()
    changed[0, 777, 333] = -3.0
    images = slice_images(
        grid_pair(VolumeGrid("a", values), VolumeGrid("a", changed)), View(0, downwards=False), 0, 200
    )
    assert images.difference.min() == -3.0
    assert np.count_nonzero(images.difference) == 1


def test_pictures_have_the_proportions_of_object_space():
    grid = VolumeGrid("a", noise((40, 10, 5), 7), to_object=np.diag([1.0, 2.0, 8.0, 1.0]))
    pair = grid_pair(grid, grid)
    assert image_size(pair, View(2, downwards=True), 200) == (100, 200)
    assert image_size(pair, View(1, downwards=False), 200) == (200, 200)


def test_the_surface_of_a_level_set_runs_through_its_zeros():
    x = np.linspace(-3, 3, 30, dtype=np.float32)
    distances = np.sqrt(x[:, None, None] ** 2 + x[None, :, None] ** 2 + x[None, None, :] ** 2) - 2
    grid = VolumeGrid("surface", distances, np.ones(distances.shape, bool), kind="level set")
    images = slice_images(grid_pair(grid, grid), View(1, downwards=False), 15, 120)
    rows, columns = np.nonzero(images.original_surface)
    radius = np.hypot(rows - 59.5, columns - 59.5) * 6 * 30 / 29 / 120
    assert len(rows) > 200
    assert np.abs(radius - 2).max() < 0.1


def test_images_stand_on_their_head_and_scenes_upright():
    grid = VolumeGrid("a", noise((4, 4, 4), 8))
    assert view_along(2, grid, "tif").downwards
    assert not view_along(2, grid, "vdb").downwards
    assert not view_along(1, grid, "tif").downwards
    assert not view_along(2, replace(grid, metadata={"orientation": "RAS"}), "nii").downwards
    assert view_along(2, replace(grid, metadata={"orientation": "LPS"}), "nrrd").downwards


def test_a_difference_of_what_is_no_number_is_none_where_both_agree():
    before, after = np.array([np.nan, np.inf, 1.0, np.nan]), np.array([np.nan, np.inf, np.nan, 1.0])
    np.testing.assert_array_equal(difference(before, after), [0.0, 0.0, np.nan, np.nan])
