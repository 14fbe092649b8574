"""The range of values, with what is not finite counted apart."""

import numpy as np
import pytest

from scene_codec.volumes import array_storage
from scene_codec.volumes.value_range import ValueRange, value_range
from scene_codec.volumes.volume import VALUE_TYPES, VolumeGrid


def range_of(values):
    return value_range(VolumeGrid("density", values))


@pytest.mark.parametrize("name", VALUE_TYPES)
@pytest.mark.parametrize("limit", [1, 100, 1 << 20])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_it_is_numpys_for_every_type_slab_size_and_layout(name, limit, order, monkeypatch):
    monkeypatch.setattr(array_storage.slabs, "__defaults__", (limit,))
    monkeypatch.setattr(array_storage, "LARGEST_IN_MEMORY", 300)
    values = np.random.default_rng(3).integers(0, 100, (7, 8, 9)).astype(name).transpose(order)
    found = range_of(values)
    assert (found.minimum, found.maximum) == (values.min(), values.max())
    assert found.finite


def test_what_is_not_finite_is_counted_and_left_out():
    values = np.full((3, 5, 7, 2), 2.5, np.float16)
    values[0, 0, :3, 0] = np.nan
    values[1, 1, 1] = np.inf
    values[2, 2, 2, 1] = -np.inf
    values[2, 3, 2, 1] = -7
    assert range_of(values) == ValueRange(-7.0, 2.5, nan=3, positive_infinite=2, negative_infinite=1)
    assert not range_of(values).finite


def test_a_grid_without_a_finite_value_has_no_range():
    assert range_of(np.full((2, 2, 2), np.nan)) == ValueRange(None, None, nan=8)


def test_64_bit_integers_are_exact():
    values = np.array([2**63 - 1, -(2**63) + 1], np.int64).reshape(2, 1, 1)
    assert range_of(values) == ValueRange(-(2**63) + 1, 2**63 - 1)


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 1, 13), (3, 4, 5, 2)])
@pytest.mark.parametrize("limit", [1, 24, 1000])
def test_slabs_cover_an_array_once_and_ordered_ones_in_c_order(shape, limit):
    values = np.arange(np.prod(shape)).reshape(shape).transpose(range(len(shape))[::-1])
    pieces = [piece.reshape(-1) for piece in array_storage.ordered_slabs(values, limit)]
    np.testing.assert_array_equal(np.concatenate(pieces), values.reshape(-1))
    pieces = [piece.reshape(-1) for piece in array_storage.slabs(values, limit)]
    np.testing.assert_array_equal(np.sort(np.concatenate(pieces)), np.arange(values.size))
    assert max(map(len, pieces)) <= max(1, limit // 8)
