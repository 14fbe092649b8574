"""What the codec of volumes promises of every voxel: exact without loss, and never beyond a bound.

All value types, shapes of one voxel and more a side, layouts in memory, values at the ends of their types.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scene_codec.codecs.volume_wavelet.codec import VolumeWaveletCodec
from scene_codec.codecs.volume_wavelet.config import VolumeWaveletSettings
from scene_codec.codecs.volume_wavelet.decoder import decode_volume
from scene_codec.codecs.volume_wavelet.encoder import encode_volume
from scene_codec.progress import Progress
from scene_codec.volumes.volume import VALUE_TYPES, VolumeGrid, VolumeObject

WHOLE = tuple(name for name in VALUE_TYPES if np.dtype(name).kind in "iu")
FLOATS = tuple(name for name in VALUE_TYPES if np.dtype(name).kind == "f")
SIDES = (1, 7, 8, 9, 11, 13, 17)
shapes = st.tuples(*[st.sampled_from(SIDES)] * 3)
LARGEST_FLOAT = float(np.finfo(np.float64).max)


def restored(grid, **target):
    """The grid once coded and decoded, and what the file says of the error."""
    sections = encode_volume(VolumeObject("v", (grid,)), VolumeWaveletSettings(**target), Progress())
    payloads = {section.kind: section.payload for section in sections}
    (details,) = VolumeWaveletCodec().details(payloads)["grids"]
    return decode_volume(payloads, Progress()).grids[0], details


def largest_error(before, after):
    """The largest difference of finite values, exactly."""
    finite = np.isfinite(before) if before.dtype.kind == "f" else np.ones(before.shape, bool)
    changed = finite & (before != after)
    pairs = set(zip(before[changed].tolist(), after[changed].tolist(), strict=True))
    return max((abs(Fraction(one) - Fraction(other)) for one, other in pairs), default=0)


def assert_kept(grid, bound):
    """No finite active value is farther off than the bound; all others come back bit for bit."""
    after, details = restored(grid, max_error=bound)
    assert after.values.dtype == grid.values.dtype.newbyteorder("=")
    assert after.values.shape == grid.values.shape
    if grid.active is not None:
        np.testing.assert_array_equal(after.active, grid.active)
    chosen = ... if grid.active is None else grid.active
    before, own = grid.values[chosen].astype(after.values.dtype), after.values[chosen]
    error = largest_error(before, own)
    assert error <= Fraction(bound)
    assert details["max_error"] == pytest.approx(float(error), rel=1e-6, abs=1e-300)
    if before.dtype.kind == "f":
        odd = ~np.isfinite(before)
        assert own[odd].tobytes() == before[odd].tobytes()


def assert_exact(grid):
    """Every active voxel comes back bit for bit."""
    after, details = restored(grid, lossless=True)
    chosen = ... if grid.active is None else grid.active
    native = grid.values.dtype.newbyteorder("=")
    assert after.values.dtype == native
    assert after.values[chosen].tobytes() == grid.values[chosen].astype(native).tobytes()
    assert details["max_error"] == 0.0
    assert details["psnr"] is None


def smooth(shape, seed):
    """Smooth values from 0 to 1 with a little noise."""
    generator = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.arange(side) / 6 for side in shape[:3]), indexing="ij")
    waves = 0.5 + 0.2 * np.sin(axes[0] + seed) * np.cos(axes[1]) + 0.25 * np.sin(axes[2] + 0.5 * axes[0])
    waves = waves.reshape(waves.shape + (1,) * (len(shape) - 3))
    return (waves + 0.005 * generator.standard_normal(shape)).clip(0.0, 1.0)


def whole_numbers(dtype, low, high, shares):
    """Whole numbers from low to high, exactly, also where float64 has none."""
    scaled = [min(low + int(share * (high - low)), high) for share in shares.reshape(-1).tolist()]
    return np.array(scaled, object).astype(dtype).reshape(shares.shape)


@st.composite
def whole_grids(draw):
    """Whole numbers over all, or over a little part anywhere, of the range of their type."""
    info = np.iinfo(draw(st.sampled_from(WHOLE)))
    extent = draw(st.sampled_from([0, 1, 2, 3, 100, 5000, 2**29, 2**30, 2**31, 2**53, 2**64]))
    extent = min(extent, int(info.max) - int(info.min))
    place = draw(st.sampled_from([0.0, 0.3, 1.0]))
    low = int(info.min) + int(place * (int(info.max) - int(info.min) - extent))
    low = min(low, int(info.max) - extent)
    shares = smooth(draw(shapes), draw(st.integers(0, 3)))
    if draw(st.booleans()):
        shares = np.rint(shares)
    return VolumeGrid("d", whole_numbers(info.dtype, low, low + extent, shares))


@settings(derandomize=True, max_examples=15, deadline=None)
@given(whole_grids())
def test_whole_numbers_of_any_range_are_exact_without_loss(grid):
    assert_exact(grid)


@settings(derandomize=True, max_examples=25, deadline=None)
@given(whole_grids(), st.sampled_from([5e-324, 0.3, 1.0, 1.5, 2.0, 99.0, 700.0, 2.0**29, 2.0**45, 1e30]))
def test_whole_numbers_of_any_range_keep_any_bound(grid, bound):
    assert_kept(grid, bound)


@pytest.mark.parametrize("name", ["int64", "uint64"])
@pytest.mark.parametrize("bound", [1, 200, 700])
@pytest.mark.parametrize("end", ["min", "max"])
def test_whole_numbers_at_the_ends_of_64_bits_do_not_wrap_around(name, bound, end):
    """Float64 has every 1024th or 2048th of these numbers: a correction may reach beyond the type."""
    info = np.iinfo(name)
    steps = np.arange(9 * 8 * 7).reshape(9, 8, 7) * 977 % 4001
    low = int(info.min) if end == "min" else int(info.max) - 4000
    values = np.array([low + int(step) for step in steps.flat], object).astype(name).reshape(steps.shape)
    assert_kept(VolumeGrid("d", values), float(bound))
    assert_exact(VolumeGrid("d", values))


@st.composite
def float_grids(draw):
    """Numbers of any magnitude and offset, some of them denormal, infinite or none."""
    dtype = np.dtype(draw(st.sampled_from(FLOATS)))
    info = np.finfo(dtype)
    largest, least = float(info.max), float(info.smallest_subnormal)
    scale = draw(st.sampled_from([least, 100 * least, float(info.tiny), 1e-3, 1.0, 300.0, largest / 2]))
    offset = draw(st.sampled_from([0.0, 1.0, -1000.0, largest / 4, -largest / 2]))
    values = (2.0 * smooth(draw(shapes), draw(st.integers(0, 3))) - 1.0) * scale + offset
    generator = np.random.default_rng(draw(st.integers(0, 3)))
    odd = [np.nan, -np.nan, np.inf, -np.inf, largest, -largest, least, -least, 0.0, -0.0]
    rate = draw(st.sampled_from([0.0, 0.02, 0.5]))
    places = generator.random(values.shape) < rate
    values[places] = generator.choice(odd, int(places.sum()))
    return VolumeGrid("d", values.astype(dtype))


BOUNDS = st.sampled_from([5e-324, 1e-310, 1e-40, 1e-7, 1e-3, 0.1, 30.0, 1e5, 1e300, LARGEST_FLOAT])


@settings(derandomize=True, max_examples=25, deadline=None)
@given(float_grids(), BOUNDS)
def test_floats_of_any_magnitude_keep_any_bound(grid, bound):
    assert_kept(grid, bound)


@settings(derandomize=True, max_examples=15, deadline=None)
@given(float_grids(), st.floats(0.3, 300.0))
def test_floats_keep_bounds_of_a_few_of_their_own_steps(grid, steps):
    finite = grid.values[np.isfinite(grid.values)]
    largest = np.abs(finite).max(initial=0)
    with np.errstate(over="ignore", invalid="ignore"):
        spacing = float(np.spacing(largest.astype(grid.values.dtype)))
    if math.isfinite(spacing) and steps * spacing > 0.0:
        assert_kept(grid, steps * spacing)


@settings(derandomize=True, max_examples=15, deadline=None)
@given(float_grids())
def test_floats_are_exact_without_loss(grid):
    assert_exact(grid)


def arranged(values, layout):
    """The same values otherwise in memory."""
    if layout == "big-endian":
        return values.astype(values.dtype.newbyteorder(">"))
    if layout == "column-major":
        return np.asfortranarray(values)
    if layout == "every second":
        wide = np.zeros((*values.shape[:2], 2 * values.shape[2], *values.shape[3:]), values.dtype)
        wide[:, :, ::2] = values
        return wide[:, :, ::2]
    return values[::-1, :, ::-1]


LAYOUTS = ("big-endian", "column-major", "every second", "backwards")


@settings(derandomize=True, max_examples=15, deadline=None)
@given(
    st.sampled_from(VALUE_TYPES),
    st.sampled_from(LAYOUTS),
    shapes,
    st.integers(0, 4),
    st.sampled_from([None, 0.4, 2.0, 1000.0]),
)
@example("float32", "big-endian", (9, 8, 7), 3, 2.0)
def test_any_layout_channels_and_mask(name, layout, shape, channels, bound):
    dtype = np.dtype(name)
    shares = smooth((*shape, channels) if channels else shape, channels)
    info = np.iinfo(dtype) if dtype.kind in "iu" else None
    if info is not None:
        values = whole_numbers(dtype, int(info.min), int(info.max), shares)
    else:
        values = shares > 0.5 if dtype.kind == "b" else (300.0 * shares - 100.0).astype(dtype)
    values = arranged(values, layout)
    active = smooth(shape, 7) > 0.55 if channels % 2 else None
    grid = VolumeGrid("d", values, active, background=(0.0,) * max(channels, 1))
    if bound is None:
        assert_exact(grid)
    else:
        assert_kept(grid, bound)


@settings(derandomize=True, max_examples=8, deadline=None)
@given(st.sampled_from([*WHOLE, *FLOATS]), shapes, st.sampled_from([1e-3, 0.2, 1.0, 5.0]))
def test_level_sets_keep_bounds_and_sides(name, shape, bound):
    dtype = np.dtype(name)
    axes = np.meshgrid(*(np.arange(side) - side / 2 for side in shape), indexing="ij")
    distance = np.sqrt(sum(axis**2 for axis in axes)) - 3.0
    signed = dtype.kind != "u"
    clipped = np.clip(distance, -2.0 if signed else 0.0, 2.0) * (1 if dtype.kind == "f" else 20)
    values = clipped.astype(dtype)
    width = 2 if dtype.kind == "f" else 40
    active = np.abs(clipped) < width
    if not signed:
        active |= distance < 0
    grid = VolumeGrid("surface", values, active, background=(float(width),), kind="level set")
    assert_kept(grid, bound)
    assert_exact(grid)
    after, _ = restored(grid, max_error=bound)
    np.testing.assert_array_equal(after.values[~active], values[~active])


@pytest.mark.parametrize("name", VALUE_TYPES)
@pytest.mark.parametrize("shape", [(1, 7, 8), (7, 8, 1), (9, 9, 9), (1, 1, 1), (2, 1, 31)])
def test_every_type_in_every_small_shape(name, shape):
    dtype = np.dtype(name)
    shares = smooth(shape, 1)
    values = shares > 0.5 if dtype.kind == "b" else (100.0 * shares).astype(dtype)
    assert_exact(VolumeGrid("d", values))
    assert_kept(VolumeGrid("d", values), 3.0)
