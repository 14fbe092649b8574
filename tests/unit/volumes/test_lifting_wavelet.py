"""The wavelet: whatever the shape, it comes back; its constants are what they claim to be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scene_codec.volumes.lifting_wavelet import (
    HIGH_NORMS,
    LOW_NORMS,
    Subbands,
    band_norm,
    band_shapes,
    decompose,
    reconstruct,
)

sides = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17])


@given(shape=st.tuples(sides, sides, sides), levels=st.integers(0, 5), seed=st.integers(0, 9))
@settings(derandomize=True, max_examples=60)
def test_a_box_of_any_shape_comes_back(shape, levels, seed):
    box = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    subbands = decompose(box, levels)
    assert np.abs(reconstruct(subbands) - box).max() < 1e-5


@given(shape=st.tuples(sides, sides, sides), levels=st.integers(0, 5))
@settings(derandomize=True, max_examples=60)
def test_the_shapes_of_the_bands_are_known_beforehand(shape, levels):
    subbands = decompose(np.zeros(shape, np.float32), levels)
    base, details = band_shapes(shape, levels)
    assert subbands.base.shape == base
    assert [{name: band.shape for name, band in level.items()} for level in subbands.details] == list(details)
    assert sum(band.size for level in subbands.details for band in level.values()) + subbands.base.size == (
        np.prod(shape)
    )


def test_polynomials_of_the_third_degree_leave_nothing_in_the_fine_bands():
    x = np.linspace(-1, 1, 33, dtype=np.float64)
    box = (x[:, None, None] ** 3 + x[None, :, None] ** 2 - x[None, None, :]).astype(np.float32)
    for band in decompose(box, 1).details[0].values():
        inner = tuple(slice(2, -2) for _ in range(3))
        assert np.abs(band[inner]).max() < 1e-5


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("orientation", ["LLH", "HLH", "HHH", "LLL"])
def test_the_norm_of_a_band_is_that_of_its_synthesis_function(level, orientation):
    length = 16 << level
    subbands = decompose(np.zeros((length,) * 3, np.float32), level + 1)
    band = subbands.base if orientation == "LLL" else subbands.details[level][orientation]
    band[tuple(side // 2 for side in band.shape)] = 1.0
    norm = np.sqrt(np.square(reconstruct(subbands), dtype=np.float64).sum())
    assert norm == pytest.approx(band_norm(level, orientation), rel=1e-5)


def test_norms_are_known_for_every_level_that_is_used():
    assert len(LOW_NORMS) == len(HIGH_NORMS) == 8


def test_nothing_but_a_base_is_its_own_box():
    base = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    np.testing.assert_array_equal(reconstruct(Subbands(base, ())), base)
