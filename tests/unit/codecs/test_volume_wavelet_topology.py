"""The wavelet codec on sparse grids: which voxels there are, where they are, and any region of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wavelet_volumes import coded, full_volume, region_example, round_trip, shapes, smoke, waves

from scene_codec.codecs.volume_wavelet import syntax
from scene_codec.codecs.volume_wavelet.decoder import decode_region, decode_volume
from scene_codec.errors import InvalidRequestError
from scene_codec.progress import Progress
from scene_codec.volumes.volume import VolumeGrid, VolumeObject


def test_everything_a_volume_says_of_itself_survives():
    volume = full_volume()
    restored = decode_volume(coded(volume, step=0.01), Progress())
    assert (restored.file_format, restored.metadata) == (volume.file_format, volume.metadata)
    for before, after in zip(volume.grids, restored.grids, strict=True):
        np.testing.assert_array_equal(after.to_object, before.to_object)
        np.testing.assert_array_equal(after.active, before.active)
        for field in ("name", "corner", "background", "kind", "half", "metadata"):
            assert getattr(after, field) == getattr(before, field)


@settings(derandomize=True, max_examples=12, deadline=None)
@given(shapes, st.floats(0, 1), st.integers(0, 5), st.sampled_from(["psnr", "lossless", "max_error"]))
def test_any_topology_is_exact_and_inactive_voxels_are_background(shape, share, seed, target):
    generator = np.random.default_rng(seed)
    active = (waves(shape, seed) > share) ^ (generator.random(shape) < 0.02)
    values = np.where(active, waves(shape), -2.0).astype(np.float32)
    grid = VolumeGrid("d", values, active, background=(-2.0,))
    value = {"psnr": 40.0, "max_error": 0.01, "lossless": True}[target]
    restored = round_trip(grid=grid, **{target: value})
    np.testing.assert_array_equal(restored.active, active)
    np.testing.assert_array_equal(restored.values[~active], values[~active])
    if active.any():
        error = np.abs(restored.values - values)[active].max()
        assert error <= {"psnr": 1.0, "max_error": 0.01, "lossless": 0.0}[target]


def test_the_topology_of_a_second_grid_with_the_same_voxels_costs_nothing():
    grid = smoke((32, 32, 40))
    other = VolumeGrid("heat", grid.values * 2, grid.active, grid.corner, (0.5,))
    one = coded(VolumeObject("v", (grid,)), step=0.02)
    two = coded(VolumeObject("v", (grid, other)), step=0.02)
    assert len(two[syntax.TOPOLOGY]) < 1.1 * len(one[syntax.TOPOLOGY])


def test_a_tolerant_topology_is_what_differs_from_the_background():
    grid = smoke((24, 24, 24))
    sections = coded(VolumeObject("v", (grid,)), psnr=50.0, topology="tolerant", tolerance=0.01)
    assert syntax.TOPOLOGY not in sections
    restored = decode_volume(sections, Progress()).grids[0]
    assert (restored.active == grid.active).mean() > 0.8
    np.testing.assert_array_equal(restored.values[~restored.active], np.float32(0.25))


@pytest.mark.parametrize(
    "wanted", [{"psnr": 30.0}, {"lossless": True}, {"psnr": 45.0, "topology": "tolerant"}]
)
def test_the_inside_of_a_level_set_is_minus_the_background(wanted):
    x, y, z = np.meshgrid(*[np.arange(30.0)] * 3, indexing="ij")
    distance = np.sqrt((x - 15) ** 2 + (y - 15) ** 2 + (z - 15) ** 2) - 9
    values = np.clip(distance, -3, 3).astype(np.float32)
    grid = VolumeGrid("surface", values, np.abs(values) < 3, background=(3.0,), kind="level set")
    restored = round_trip(grid=grid, **wanted)
    off = ~restored.active
    np.testing.assert_array_equal(np.abs(restored.values[off]), 3.0)
    np.testing.assert_array_equal(restored.values[off] < 0, distance[off] < 0)


@settings(derandomize=True, max_examples=10, deadline=None)
@given(st.tuples(*[st.integers(0, 60)] * 3), st.tuples(*[st.integers(1, 40)] * 3))
def test_a_region_is_what_the_whole_has_there(corner, shape):
    sections, whole = region_example()
    room = [side - start for side, start in zip(whole.shape, corner, strict=True)]
    shape = tuple(min(length, most) for length, most in zip(shape, room, strict=True))
    if min(shape) <= 0:
        with pytest.raises(InvalidRequestError, match="region"):
            decode_region(sections, 1, corner, (100, 1, 1))
        return
    part = decode_region(sections, 1, corner, shape)
    place = tuple(slice(start, start + length) for start, length in zip(corner, shape, strict=True))
    np.testing.assert_array_equal(part.values, whole.values[place])
    np.testing.assert_array_equal(part.active, whole.active[place])
    assert part.corner == tuple(own + start for own, start in zip(whole.corner, corner, strict=True))
