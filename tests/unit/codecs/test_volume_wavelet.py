"""The wavelet codec: any type, shape and value comes back as promised."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wavelet_volumes import FLOATS, coded, full_volume, round_trip, shapes, typed, waves

from scene_codec.codecs.volume_wavelet import syntax
from scene_codec.codecs.volume_wavelet.config import VolumeWaveletSettings
from scene_codec.codecs.volume_wavelet.decoder import decode_volume
from scene_codec.codecs.volume_wavelet.encoder import encode_volume
from scene_codec.errors import Cancelled, UnsupportedSceneError
from scene_codec.progress import CancelToken, Progress
from scene_codec.volumes.volume import VALUE_TYPES, VolumeGrid, VolumeObject


@settings(derandomize=True, max_examples=20, deadline=None)
@given(shapes, st.sampled_from(VALUE_TYPES), st.integers(0, 3), st.integers(0, 3))
def test_lossless_gives_back_every_type_and_shape_bit_for_bit(shape, name, channels, seed):
    values = typed(waves((*shape, channels) if channels else shape, seed), name)
    restored = round_trip(values, lossless=True).values
    assert restored.dtype == values.dtype
    assert restored.tobytes() == values.tobytes()


@settings(derandomize=True, max_examples=20, deadline=None)
@given(shapes, st.sampled_from(VALUE_TYPES), st.floats(-4, 0), st.integers(0, 3))
def test_no_voxel_is_farther_off_than_the_bound(shape, name, magnitude, seed):
    values = typed(waves(shape, seed), name)
    wide = values.astype(np.float64)
    bound = max(float(np.ptp(wide)), 1.0) * 10.0**magnitude
    restored = round_trip(values, max_error=bound).values
    if values.dtype.kind == "f":
        assert np.abs(restored.astype(np.float64) - wide).max() <= bound
    else:
        differences = [abs(int(a) - int(b)) for a, b in zip(restored.flat, values.flat, strict=True)]
        assert max(differences) <= bound


@settings(derandomize=True, max_examples=10, deadline=None)
@given(st.sampled_from(FLOATS), st.sampled_from(["psnr", "max_error", "lossless"]), st.integers(0, 9))
def test_values_that_are_no_numbers_come_back_bit_for_bit(name, target, seed):
    generator = np.random.default_rng(seed)
    values = typed(waves((12, 9, 10), seed), name)
    odd = np.array([np.nan, np.inf, -np.inf, -np.nan], name)
    places = generator.random(values.shape) < 0.05
    values[places] = generator.choice(odd, int(places.sum()))
    value = {"psnr": 40.0, "max_error": 0.5, "lossless": True}[target]
    restored = round_trip(values, **{target: value}).values
    assert restored[places].tobytes() == values[places].tobytes()
    errors = np.abs(restored[~places].astype(np.float64) - values[~places].astype(np.float64))
    assert errors.max() <= {"psnr": 10.0, "max_error": 0.5, "lossless": 0.0}[target]


@pytest.mark.parametrize("name", ["uint8", "int8", "uint32", "int64", "float64", "float16"])
@pytest.mark.parametrize("lossless", [True, False])
def test_extreme_values_survive(name, lossless):
    dtype = np.dtype(name)
    info = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    values = np.full((9, 9, 9), info.min, dtype)
    values[4:] = info.max
    restored = round_trip(values, **({"lossless": True} if lossless else {"psnr": 60.0})).values
    if lossless:
        assert restored.tobytes() == values.tobytes()
    errors = restored.astype(np.float64) / float(info.max) - values.astype(np.float64) / float(info.max)
    assert np.abs(errors).max() < 0.02


def test_large_whole_numbers_near_each_other_are_exact():
    values = (2**60 + np.arange(9**3).reshape(9, 9, 9)).astype(np.int64)
    np.testing.assert_array_equal(round_trip(values, lossless=True).values, values)
    assert np.abs(round_trip(values, max_error=3.0).values - values).max() <= 3


@pytest.mark.parametrize("name", VALUE_TYPES)
def test_a_bound_beyond_all_values_is_kept(name):
    values = typed(waves((9, 8, 7)), name)
    restored = round_trip(values, max_error=1.7e308).values
    assert restored.dtype == values.dtype


def test_floats_with_a_tiny_bound_are_exact():
    values = typed(waves((9, 8, 7)), "float32")
    assert round_trip(values, max_error=1e-30).values.tobytes() == values.tobytes()


def test_labels_are_stored_where_that_takes_fewer_bytes():
    values = np.repeat(np.arange(64, dtype=np.uint16)[::-1] * 977 % 4001, 8 * 16 * 16).reshape(32, 64, 64)
    sections = coded(VolumeObject("v", (VolumeGrid("d", values),)), lossless=True)
    assert sum(map(len, sections.values())) < 1000
    np.testing.assert_array_equal(decode_volume(sections, Progress()).grids[0].values, values)


def test_floats_that_hold_shorter_numbers_take_fewer_bytes_lossless():
    values = typed(waves((24, 24, 24)), "float16").astype(np.float32)
    full = typed(waves((24, 24, 24)), "float32")
    sizes = [
        sum(map(len, coded(VolumeObject("v", (VolumeGrid("d", own),)), lossless=True).values()))
        for own in (values, full)
    ]
    assert sizes[0] < 0.6 * sizes[1]
    assert round_trip(values, lossless=True).values.tobytes() == values.tobytes()


@pytest.mark.parametrize("value", [0.0, -3.5, np.nan, np.inf])
@pytest.mark.parametrize("wanted", [{"psnr": 45.0}, {"lossless": True}, {"max_error": 0.1}])
def test_a_constant_grid_comes_back_exactly_and_costs_nothing(value, wanted):
    values = np.full((40, 17, 9), value, np.float32)
    sections = coded(VolumeObject("v", (VolumeGrid("density", values),)), **wanted)
    np.testing.assert_array_equal(decode_volume(sections, Progress()).grids[0].values, values)
    assert sum(len(data) for kind, data in sections.items() if kind != syntax.VOLUME) < 300


@pytest.mark.parametrize("wanted", [{"psnr": 45.0}, {"lossless": True}, {"target_size": 5000}])
def test_an_empty_grid_comes_back(wanted):
    for masked in (False, True):
        active = np.zeros((0, 0, 0), bool) if masked else None
        grid = VolumeGrid("flame", np.zeros((0, 0, 0), np.float32), active)
        assert round_trip(grid=grid, **wanted).values.shape == (0, 0, 0)


def test_empty_space_costs_almost_nothing():
    values = np.zeros((128, 128, 128), np.float32)
    values[60:70, 60:70, 60:70] = waves((10, 10, 10))
    sections = coded(VolumeObject("v", (VolumeGrid("density", values),)), step=0.02)
    alone = coded(VolumeObject("v", (VolumeGrid("density", values[48:80, 48:80, 48:80]),)), step=0.02)
    assert len(sections[syntax.VALUES]) - len(alone[syntax.VALUES]) < 0.004 * values.size / 8


def test_memory_maps_and_the_order_of_axes_in_memory_do_not_change_what_comes_back(tmp_path):
    values = waves((40, 24, 33))
    np.save(tmp_path / "v.npy", values)
    whole = round_trip(values, step=0.02, tile=32).values
    mapped = round_trip(np.load(tmp_path / "v.npy", mmap_mode="r"), step=0.02, tile=32).values
    turned = round_trip(np.asfortranarray(values), step=0.02, tile=32).values
    np.testing.assert_array_equal(mapped, whole)
    np.testing.assert_array_equal(turned, whole)


def test_the_same_input_gives_the_same_bytes():
    assert coded(full_volume(), psnr=45.0) == coded(full_volume(), psnr=45.0)


@pytest.mark.parametrize("values", [np.zeros((2, 2), np.float32), np.zeros((2, 2, 2), np.complex64)])
def test_grids_that_are_none_are_refused(values):
    with pytest.raises(UnsupportedSceneError, match="density"):
        round_trip(values, psnr=40.0)


def test_a_cancelled_job_stops():
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        encode_volume(full_volume(), VolumeWaveletSettings(psnr=40.0), Progress(cancel=token))
    with pytest.raises(Cancelled):
        decode_volume(coded(full_volume(), psnr=40.0), Progress(cancel=token))
