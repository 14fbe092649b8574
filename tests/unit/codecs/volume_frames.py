"""A made sequence: a cloud that drifts, its temperature, and the velocities that carry it."""

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from scene_codec.codecs.volume_wavelet.config import VolumeWaveletSettings
from scene_codec.codecs.volume_wavelet.encoder import encode_volume
from scene_codec.progress import Progress
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

SHAPE = (24, 20, 28)
WAY = (1.7, -0.6, 2.2)
"""Voxels from frame to frame."""

SPEED = 12.5
"""Units of velocity that are one voxel a frame."""


def cloud(number, dtype=np.float32):
    """The values of a frame, (x, y, z), and which are active."""
    field = gaussian_filter(np.random.default_rng(5).standard_normal((48, 48, 64)), 2.5)
    field = (field / np.abs(field).max()).astype(np.float32)
    lattice = np.indices(SHAPE, dtype=np.float32)
    places = [axis + 12.0 - number * step for axis, step in zip(lattice, WAY, strict=True)]
    values = map_coordinates(field, places, order=3, mode="grid-wrap").astype(np.float32)
    values += 0.0005 * np.random.default_rng(number).standard_normal(SHAPE).astype(np.float32)
    active = values > 0.05
    values = np.where(active, values, np.float32(0.0))
    if np.dtype(dtype).kind in "iu":
        values = np.rint(values * 200)
    return values.astype(dtype), active


def frame(number, name="", dtype=np.float32, *, moving=True):
    """One frame with the grid density; `moving`: velocity before it and temperature behind it."""
    values, active = cloud(number, dtype)
    density = VolumeGrid("density", values, active=active, kind="fog volume")
    grids = [density]
    if moving:
        velocity = np.broadcast_to(np.float32(SPEED) * np.array(WAY, np.float32), (*SHAPE, 3)).copy()
        x, _, z = np.indices(SHAPE, dtype=np.float32)
        velocity[..., 0] += 4.0 * np.sin(z / 5)
        velocity[..., 2] += 4.0 * np.cos(x / 7)
        velocity += 0.01 * np.random.default_rng(number).standard_normal(velocity.shape).astype(np.float32)
        flow = VolumeGrid(
            "velocity", velocity, active=np.ones(SHAPE, bool), background=(0.0,) * 3, kind="staggered"
        )
        heat = 3 * values + 0.002 * np.random.default_rng(number + 99).standard_normal(SHAPE)
        heat = np.where(active, heat, 0).astype(values.dtype)
        grids = [flow, density, VolumeGrid("temperature", heat, active=active, kind="fog volume")]
    return VolumeObject(name or f"cloud_{number:04d}", tuple(grids), file_format="vdb")


def sections_of(volume, previous=None, **changes):
    changes = changes or {"psnr": 45.0}
    coded = encode_volume(volume, VolumeWaveletSettings(**changes), Progress(), previous)
    return {section.kind: section.payload for section in coded}


def psnr(decoded, original):
    difference = (decoded.values.astype(float) - original.values.astype(float))[original.active]
    values = original.values[original.active].astype(float)
    extent = np.ptp(values.reshape(len(values), -1), axis=0).max()
    return 20 * np.log10(extent / np.sqrt((difference**2).mean()))


def assert_same(first, second):
    assert [grid.name for grid in first.grids] == [grid.name for grid in second.grids]
    for one, other in zip(first.grids, second.grids, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
        np.testing.assert_array_equal(one.active, other.active)
