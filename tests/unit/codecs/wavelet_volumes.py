"""Volumes for tests of the wavelet codec, made by the tests themselves, and what becomes of them."""

import numpy as np
from hypothesis import strategies as st

from scene_codec.codecs.volume_wavelet.config import VolumeWaveletSettings
from scene_codec.codecs.volume_wavelet.decoder import VolumeReader, decode_volume
from scene_codec.codecs.volume_wavelet.encoder import encode_volume
from scene_codec.progress import Progress
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

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
