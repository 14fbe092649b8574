"""The wavelet codec for volumes: needs no model in the file, no torch, and decodes any part alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from scene_codec.codecs.overrides import with_overrides
from scene_codec.codecs.volume_parts.grid_description import grid_details
from scene_codec.codecs.volume_wavelet import syntax
from scene_codec.codecs.volume_wavelet.config import (
    CODEC_NAME,
    DEFAULT_PRESET,
    PRESETS,
    TARGETS,
    VolumeWaveletSettings,
    check_settings,
    settings_for,
)
from scene_codec.codecs.volume_wavelet.prediction_syntax import in_words, read_prediction
from scene_codec.errors import CorruptFileError
from scene_codec.reports import CodecInfo, Details
from scene_codec.volumes.volume import VolumeObject

if TYPE_CHECKING:
    from scene_codec.codecs.contract import CodedSet, EncodeItem, JobContext
    from scene_codec.progress import Progress


class VolumeWaveletCodec:
    """Tiles of wavelet coefficients, coded with a trained prior in integer arithmetic."""

    info = CodecInfo(
        name=CODEC_NAME,
        content="volume",
        summary="Volumes as wavelet coefficients: to a PSNR, an error bound, a size, or bit for bit",
        default_preset=DEFAULT_PRESET,
        presets={name: explanation for name, (explanation, _) in PRESETS.items()},
    )
    payload_version = syntax.PAYLOAD_VERSION
    shared_labels: Mapping[int, str] = {}
    object_labels: Mapping[int, str] = syntax.OBJECT_LABELS
    detail_kinds: tuple[int, ...] = (syntax.VOLUME, syntax.PREDICTION)
    uses_torch = False

    def settings(self, preset: str | None, overrides: Mapping[str, Any]) -> VolumeWaveletSettings:
        """Return a preset's settings with some fields replaced. Raises `InvalidRequestError`.

        Another target of quality takes the place of the preset's; two of them contradict each other, even
        if one is the preset's.
        """
        base = settings_for(preset)
        if any(overrides.get(name) not in (None, False) for name in TARGETS):
            plain = VolumeWaveletSettings()
            base = msgspec.structs.replace(base, **{name: getattr(plain, name) for name in TARGETS})
        settings = with_overrides(CODEC_NAME, base, overrides)
        check_settings(settings)
        return settings

    def encode(
        self, objects: Sequence[EncodeItem], settings: msgspec.Struct, context: JobContext
    ) -> CodedSet:
        """Code volumes one by one, frames with the help of those before.

        Raises `UnsupportedSceneError` when none could be, `Cancelled`.
        """
        from scene_codec.codecs.volume_parts.volume_series import code_each
        from scene_codec.codecs.volume_wavelet.sequence_encoding import SequenceEncoder

        assert isinstance(settings, VolumeWaveletSettings)
        encoder = SequenceEncoder([item.name for item in objects], settings)
        return code_each(objects, (), encoder.encode, context.progress)

    def add(
        self,
        objects: Sequence[EncodeItem],
        shared: Mapping[int, bytes],
        settings: msgspec.Struct,
        context: JobContext,
    ) -> CodedSet:
        """Code more volumes; they share nothing with those in the file."""
        return self.encode(objects, settings, context)

    def details(self, sections: Mapping[int, bytes]) -> Details:
        """Return what was stored of each grid and the quality that was reached. Raises `CorruptFileError`."""
        header = syntax.read_volume(sections[syntax.VOLUME])
        facts = [_grid_details(grid) for grid in header.grids]
        if syntax.PREDICTION in sections:
            prediction = read_prediction(sections[syntax.PREDICTION])
            names = [grid.name for grid in header.grids]
            for fact, grid in zip(facts, prediction.grids, strict=False):
                fact["predicted_from"] = None if grid is None else in_words(grid, prediction.previous, names)
        return {"grids": tuple(facts)}

    def decoder(self, shared: Mapping[int, bytes], device: str) -> VolumeWaveletDecoder:
        """Return the decoder of a file; the device plays no part."""
        return VolumeWaveletDecoder()


def _grid_details(grid: syntax.GridHeader) -> dict[str, Any]:
    """Return what is worth knowing of a grid. PSNR is None where decoding makes no error."""
    ranges = [(channel.low, channel.high) for channel in grid.channels]
    return grid_details(grid, ranges, grid.topology, grid.quality)


class VolumeWaveletDecoder:
    """Decodes the volumes of one file, any one with the few frames that it needs."""

    def decode(self, sections: Mapping[int, bytes], progress: Progress) -> VolumeObject:
        """Return a volume. Raises `CorruptFileError`, `Cancelled`."""
        return self.decode_frame(sections, None, progress)

    def needed_frame(self, sections: Mapping[int, bytes]) -> str:
        """Return the name of the frame before, when it is needed. Raises `CorruptFileError`."""
        from scene_codec.codecs.volume_wavelet.decoder import needed_frame

        return needed_frame(sections)

    def decode_frame(
        self, sections: Mapping[int, bytes], previous: VolumeObject | None, progress: Progress
    ) -> VolumeObject:
        """Return a volume that may need the frame before. Raises `CorruptFileError`, `Cancelled`."""
        from scene_codec.codecs.volume_wavelet.decoder import decode_volume

        try:
            return decode_volume(sections, progress, previous)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            # Numbers that only a hostile writer puts together, each of them allowed.
            raise CorruptFileError(f"The volume's parts do not fit together: {error}.") from error
