"""Volumes one after the other, frames of a sequence with the help of the frame before."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from scene_codec.bitstream import Section
from scene_codec.codecs.volume_wavelet.config import VolumeWaveletSettings
from scene_codec.codecs.volume_wavelet.decoder import decode_volume
from scene_codec.codecs.volume_wavelet.encoder import encode_volume
from scene_codec.progress import Progress
from scene_codec.volumes.frame_names import follows
from scene_codec.volumes.volume import VolumeObject

_ENCODING_SHARE = 0.9


class SequenceEncoder:
    """Encodes volumes in a given order; keeps the last frame as a decoder will have it."""

    def __init__(self, names: Sequence[str], settings: VolumeWaveletSettings) -> None:
        """Take the names of all volumes, those that will fail included."""
        self._settings = settings
        self._next = dict(pairwise(names))
        self._place = _places_in_sequences(names)
        self._previous: VolumeObject | None = None

    def encode(self, volume: VolumeObject, progress: Progress) -> tuple[Section, ...]:
        """Return the sections of the next volume. Raises `UnsupportedSceneError`, `Cancelled`."""
        previous, self._previous = self._previous, None
        if self._stands_alone(volume.name) or (previous and not follows(volume.name, previous.name)):
            previous = None
        part = progress.part(0.0, _ENCODING_SHARE, volume.name)
        sections = encode_volume(volume, self._settings, part, previous)
        following = self._next.get(volume.name)
        if following is not None and follows(following, volume.name) and not self._stands_alone(following):
            coded = {section.kind: section.payload for section in sections}
            part = progress.part(_ENCODING_SHARE, 1.0, volume.name)
            self._previous = decode_volume(coded, part, previous, volume.name)
        return sections

    def _stands_alone(self, name: str) -> bool:
        return self._place[name] % self._settings.keyframes == 0


def _places_in_sequences(names: Sequence[str]) -> dict[str, int]:
    """Return for each volume how many frames of its sequence come right before it."""
    places: dict[str, int] = {}
    before = ""
    for name in names:
        places[name] = places[before] + 1 if before and follows(name, before) else 0
        before = name
    return places
