"""What many tiles are coded with is found from a few: the promise holds wherever the others differ."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from scene_codec.codecs.volume_wavelet.config import VolumeWaveletSettings
from scene_codec.codecs.volume_wavelet.encoder import encode_volume
from scene_codec.codecs.volume_wavelet.grid_source import GridSource
from scene_codec.codecs.volume_wavelet.rate_search import MOST_TILES, sample_boxes
from scene_codec.codecs.volume_wavelet.syntax import VOLUME, read_volume
from scene_codec.progress import Progress
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

SIDE, TILE = 128, 32


def coded(values, **changes):
    """Bytes of a volume, and the quality that is reached."""
    volume = VolumeObject("v", (VolumeGrid("g", values),))
    sections = encode_volume(volume, VolumeWaveletSettings(tile=TILE, **changes), Progress())
    own = {section.kind: section.payload for section in sections}
    return sum(map(len, own.values())), read_volume(own[VOLUME]).grids[0].quality


def noise(empty):
    field = gaussian_filter(np.random.default_rng(0).standard_normal((SIDE,) * 3), 2.0)
    values = ((field - field.min()) / np.ptp(field) * 255).astype(np.uint8)
    values[empty] = 0
    return values


SLABS = {axis: (slice(None),) * axis + (slice(0, TILE),) for axis in range(3)}


@pytest.mark.parametrize("axis", SLABS)
def test_an_empty_slab_on_any_side_does_not_spoil_the_rest(axis):
    values = noise(SLABS[axis])
    _, quality = coded(values, psnr=45.0)
    assert 45.0 <= quality.psnr < 45.3


def test_without_loss_no_side_takes_more_than_another():
    sizes = [coded(noise(slab), lossless=True)[0] for slab in SLABS.values()]
    assert max(sizes) < 1.1 * min(sizes)
    assert max(sizes) < 0.5 * SIDE**3


@pytest.mark.parametrize("wanted", [30.0, 60.0, 80.0])
def test_one_lively_corner_in_a_large_empty_volume_gets_its_quality(wanted):
    values = np.zeros((SIDE,) * 3, np.float32)
    values[100:108, 90:98, 33:41] = np.random.default_rng(1).standard_normal((8, 8, 8))
    assert coded(values, psnr=wanted)[1].psnr >= wanted


def test_a_sample_is_of_tiles_that_differ_and_lies_in_no_plane():
    values = noise(SLABS[2])
    source = GridSource(VolumeGrid("g", values), TILE)
    boxes = [source.boxes[number] for number in sample_boxes(source)]
    assert len(boxes) == MOST_TILES
    assert all(values[box].any() for box in boxes)
    for axis in range(3):
        assert len({box[axis].start for box in boxes}) > 1


def test_tiles_with_edges_of_the_active_voxels_are_in_the_sample():
    active = np.ones((SIDE,) * 3, bool)
    active[5] = False
    source = GridSource(VolumeGrid("g", np.full((SIDE,) * 3, 3, np.uint8), active=active), TILE)
    assert all(source.boxes[number][0].start == 0 for number in sample_boxes(source))
    assert len(source.lively) == (SIDE // TILE) ** 2
