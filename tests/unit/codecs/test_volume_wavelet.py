"""The wavelet codec: any type, shape and value comes back as promised; a damaged file gets no further."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scene_codec
from scene_codec.codecs.volume_wavelet import syntax
from scene_codec.codecs.volume_wavelet.codec import VolumeWaveletCodec
from scene_codec.codecs.volume_wavelet.config import PRESETS, VolumeWaveletSettings
from scene_codec.codecs.volume_wavelet.decoder import VolumeReader, decode_region, decode_volume
from scene_codec.codecs.volume_wavelet.encoder import encode_volume
from scene_codec.codecs.volume_wavelet.size_search import size_of_file
from scene_codec.errors import (
    Cancelled,
    CorruptFileError,
    InvalidRequestError,
    SceneCodecError,
    UnsupportedSceneError,
)
from scene_codec.progress import CancelToken, Progress
from scene_codec.volumes.volume import VALUE_TYPES, VolumeGrid, VolumeObject

sides = st.sampled_from([1, 2, 7, 8, 9, 13, 17])
shapes = st.tuples(sides, sides, sides)
FLOATS = ("float16", "float32", "float64")


def waves(shape, seed=0):
    """Smooth values from 0 to 1 with a little noise."""
    generator = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*(np.arange(side) / 5 for side in shape[:3]), indexing="ij")
    smooth = 0.45 + 0.2 * np.sin(x + seed) * np.cos(y) + 0.2 * np.sin(z + 0.5 * x)
    noise = 0.01 * generator.standard_normal(shape)
    return (smooth.reshape(smooth.shape + (1,) * (len(shape) - 3)) + noise).clip(0, 1).astype(np.float32)


def typed(values, name):
    """The same values over most of the range of a type."""
    dtype = np.dtype(name)
    if dtype.kind == "b":
        return values > 0.5
    if dtype.kind == "f":
        return ((values - 0.3) * 100).astype(dtype)
    info = np.iinfo(dtype)
    low = 0.95 * float(info.min)
    return (values.astype(np.float64) * (0.9 * float(info.max) - low) + low).astype(dtype)


def coded(volume, **changes):
    sections = encode_volume(volume, VolumeWaveletSettings(**changes), Progress())
    return {section.kind: section.payload for section in sections}


def round_trip(values=None, grid=None, **changes):
    if grid is None:
        channels = values.shape[3] if values.ndim == 4 else 1
        grid = VolumeGrid("density", values, background=(0.0,) * channels)
    return decode_volume(coded(VolumeObject("v", (grid,)), **changes), Progress()).grids[0]


def psnr(original, restored):
    wide = original.astype(np.float64)
    error = np.mean((restored.astype(np.float64) - wide) ** 2)
    return -10 * np.log10(max(error, 1e-300) / np.ptp(wide) ** 2)


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


def smoke(shape=(20, 9, 33), seed=3):
    active = waves(shape, seed) > 0.55
    values = np.where(active, waves(shape), 0.25).astype(np.float32)
    return VolumeGrid("density", values, active, corner=(-4, 5, 6), background=(0.25,), kind="fog volume")


def full_volume():
    matrix = np.diag([0.1, 0.2, 0.3, 1.0])
    matrix[:3, 3] = (1, 2, 3)
    notes = {"creator": "Körper", "frame": 3, "scale": 0.5, "ids": (1, 2, 3), "way": (0.5, 2.0), "ok": True}
    first = smoke()
    first = VolumeGrid(
        "density", first.values, first.active, first.corner, (0.25,), matrix, "fog volume", True, notes
    )
    shifted = np.roll(smoke().active, 1, axis=0)
    velocity = np.where(shifted[..., None], waves((*shifted.shape, 3)), 0).astype(np.float32)
    second = VolumeGrid("v", velocity, shifted, (-5, 5, 6), (0.0, 0.0, 0.0), kind="staggered")
    return VolumeObject("smoke", (first, second), file_format="vdb", metadata={"file": "x"})


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


_EXAMPLE = []


def region_example():
    """A volume of two grids of which the second one's topology is coded with the first one's."""
    if not _EXAMPLE:
        first = smoke((70, 33, 50))
        other = VolumeGrid("b", first.values[3:, 2:], first.active[3:, 2:], (-1, 7, 6), (0.25,))
        sections = coded(VolumeObject("v", (first, other)), psnr=40.0, tile=32)
        assert VolumeReader(sections).header.grids[1].reference == 0
        _EXAMPLE.append((sections, decode_volume(sections, Progress()).grids[1]))
    return _EXAMPLE[0]


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


@pytest.mark.parametrize("wanted", [{"psnr": 40.0}, {"lossless": True}])
def test_damaged_sections_are_refused(wanted):
    sections = coded(full_volume(), **wanted)
    for kind, data in sections.items():
        if not data:
            continue
        for wrong in (b"", data[:-1], data + b"\0"):
            with pytest.raises(CorruptFileError):
                decode_volume(sections | {kind: wrong}, Progress())
    with pytest.raises(CorruptFileError, match="description"):
        decode_volume({}, Progress())


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.data())
def test_changed_bytes_end_in_an_error_or_in_another_volume(data):
    if not _SMALL:
        _SMALL.append(coded(VolumeObject("v", (smoke((9, 8, 10)),)), lossless=True))
    sections = dict(_SMALL[0])
    kind = data.draw(st.sampled_from([kind for kind, own in sections.items() if own]))
    changed = bytearray(sections[kind])
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(SceneCodecError):
        decode_volume(sections | {kind: bytes(changed)}, Progress())


_SMALL = []


def test_damage_of_one_tile_leaves_the_others_readable():
    sections, _ = region_example()
    values = bytearray(sections[syntax.VALUES])
    values[-1] ^= 1
    damaged = sections | {syntax.VALUES: bytes(values)}
    decode_region(damaged, 0, (0, 0, 0), (10, 10, 10))
    with pytest.raises(CorruptFileError, match="checksum"):
        decode_volume(damaged, Progress())


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
