"""What is asked of the wavelet codec, a quality or a size, is what the file has."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wavelet_volumes import coded, psnr, round_trip, shapes, typed, waves

import scene_codec
from scene_codec.codecs.volume_wavelet.codec import VolumeWaveletCodec
from scene_codec.codecs.volume_wavelet.config import PRESETS, VolumeWaveletSettings
from scene_codec.codecs.volume_wavelet.decoder import decode_volume
from scene_codec.codecs.volume_wavelet.encoder import encode_volume
from scene_codec.codecs.volume_wavelet.size_search import size_of_file
from scene_codec.errors import InvalidRequestError, UnsupportedSceneError
from scene_codec.progress import Progress
from scene_codec.volumes.volume import VALUE_TYPES, VolumeGrid, VolumeObject


@pytest.mark.parametrize("wanted", [30.0, 45.0, 60.0])
@pytest.mark.parametrize("name", ["float32", "uint16"])
def test_the_wanted_psnr_is_reached_and_hardly_exceeded(wanted, name):
    values = typed(waves((48, 40, 32)), name)
    assert wanted <= psnr(values, round_trip(values, psnr=wanted).values) <= wanted + 0.15


def test_the_wanted_psnr_is_reached_beyond_the_sample():
    values = waves((32, 32, 32 * 12))
    values[:, :, 100:200] = 0.5
    reached = psnr(values, round_trip(values, psnr=45.0, tile=32).values)
    assert 45.0 <= reached <= 45.15


def test_the_quality_in_the_file_is_the_one_that_decoding_reaches():
    values = typed(waves((20, 24, 17)), "float32")
    sections = coded(VolumeObject("v", (VolumeGrid("d", values),)), psnr=40.0)
    restored = decode_volume(sections, Progress()).grids[0].values
    (grid,) = VolumeWaveletCodec().details(sections)["grids"]
    assert grid["psnr"] == pytest.approx(psnr(values, restored), abs=1e-4)
    assert grid["box_psnr"] == grid["psnr"]
    assert grid["max_error"] == pytest.approx(float(np.abs(values - restored).max()), rel=1e-6)


def placed(*grids):
    """A volume with a name, a place and notes of its host, all of which take bytes of a file."""
    matrix = np.eye(4)
    matrix[:3, 3] = (0.1, 2, 3)
    return VolumeObject("Körper", grids, matrix, b"where it was")


def encoded_file(volume, path, **changes):
    report = scene_codec.encode(volume, path, settings=changes, device="cpu")
    assert report.file_bytes == path.stat().st_size
    return path.stat().st_size


@pytest.mark.parametrize("target", [1500, 6000, 20_000])
def test_the_wanted_size_of_the_file_is_approached_from_below(target, tmp_path):
    volume = placed(VolumeGrid("a", waves((40, 32, 32))), VolumeGrid("b", waves((32, 32, 32), 1)))
    assert 0.96 * target <= encoded_file(volume, tmp_path / "a.nscene", target_size=target) <= target


@settings(derandomize=True, max_examples=10, deadline=None)
@given(shapes, st.sampled_from(VALUE_TYPES), st.integers(400, 5000), st.integers(0, 3))
def test_a_wanted_size_is_never_exceeded(shape, name, target, seed):
    volume = placed(VolumeGrid("a", typed(waves(shape, seed), name)))
    chosen = VolumeWaveletSettings(target_size=target)
    sections = encode_volume(volume, chosen, Progress())
    assert size_of_file(volume, sections) <= target


@pytest.mark.parametrize("name", ["uint8", "uint16", "float32", "bool"])
def test_what_fits_without_loss_is_stored_without(name, tmp_path):
    labels = np.repeat(np.arange(64, dtype=np.uint16)[::-1] * 977 % 251, 8 * 8 * 8).reshape(32, 32, 32)
    volume = placed(VolumeGrid("a", labels.astype(name)))
    least = encoded_file(volume, tmp_path / "a.nscene", lossless=True)
    assert encoded_file(volume, tmp_path / "b.nscene", target_size=least) == least
    assert encoded_file(volume, tmp_path / "b.nscene", target_size=10**6) == least


def test_a_size_that_cannot_be_reached_is_refused_with_the_least_one():
    with pytest.raises(UnsupportedSceneError, match="at least"):
        coded(VolumeObject("v", (VolumeGrid("a", waves((16, 16, 16))),)), target_size=50)


def test_exactly_one_target_is_in_force():
    codec = VolumeWaveletCodec()
    assert codec.settings(None, {}).psnr == 45.0
    assert codec.settings(None, {"max_error": 2.0}) == VolumeWaveletSettings(max_error=2.0)
    assert codec.settings("lossless", {"psnr": 40.0}) == VolumeWaveletSettings(psnr=40.0)
    assert codec.settings("small", {"tile": 64}) == VolumeWaveletSettings(psnr=38.0, tile=64)
    for preset, (_, own) in PRESETS.items():
        assert codec.settings(preset, {}) == own
    with pytest.raises(InvalidRequestError, match="exactly one"):
        codec.settings(None, {"psnr": 40.0, "lossless": True})
    with pytest.raises(InvalidRequestError, match="exactly one"):
        codec.settings(None, {"psnr": 45.0, "max_error": 1.0})
    assert codec.settings(None, {"psnr": 45.0, "max_error": None}).psnr == 45.0
    with pytest.raises(InvalidRequestError, match="exact"):
        codec.settings("lossless", {"topology": "tolerant"})
    with pytest.raises(InvalidRequestError, match="has no setting"):
        codec.settings(None, {"blend": "box"})
    with pytest.raises(InvalidRequestError, match="wrong"):
        codec.settings(None, {"tile": 100})
