"""Damaged sections of the wavelet codec: refused, or another volume, and never more than what is damaged."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wavelet_volumes import coded, full_volume, region_example, smoke

from scene_codec.codecs.volume_wavelet import syntax
from scene_codec.codecs.volume_wavelet.decoder import decode_region, decode_volume
from scene_codec.errors import CorruptFileError, SceneCodecError
from scene_codec.progress import Progress
from scene_codec.volumes.volume import VolumeObject


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


_SMALL = []


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


def test_damage_of_one_tile_leaves_the_others_readable():
    sections, _ = region_example()
    values = bytearray(sections[syntax.VALUES])
    values[-1] ^= 1
    damaged = sections | {syntax.VALUES: bytes(values)}
    decode_region(damaged, 0, (0, 0, 0), (10, 10, 10))
    with pytest.raises(CorruptFileError, match="checksum"):
        decode_volume(damaged, Progress())
