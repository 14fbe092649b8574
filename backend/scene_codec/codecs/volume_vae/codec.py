"""The block VAE as a codec of volumes. Imports torch only when it encodes or decodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from scene_codec.codecs.overrides import with_overrides
from scene_codec.codecs.volume_parts.grid_description import grid_details
from scene_codec.codecs.volume_vae import syntax
from scene_codec.codecs.volume_vae.config import (
    CODEC_NAME,
    DEFAULT_PRESET,
    PRESETS,
    VolumeVaeSettings,
    settings_for,
)
from scene_codec.errors import InvalidRequestError
from scene_codec.reports import CodecInfo, Details
from scene_codec.volumes.volume import VolumeObject

if TYPE_CHECKING:
    from scene_codec.bitstream import Section
    from scene_codec.codecs.contract import CodedSet, EncodeItem, JobContext
    from scene_codec.codecs.volume_vae.model import BlockModel
    from scene_codec.progress import Progress


class VolumeVaeCodec:
    """Blocks of 8 x 8 x 8 voxels as latents of a network that ships with the package or lies in the file."""

    info = CodecInfo(
        name=CODEC_NAME,
        content="volume",
        summary="Volumes as blocks of latents (after Neural volume compression, 2023), any value type",
        default_preset=DEFAULT_PRESET,
        presets={name: explanation for name, (explanation, _) in PRESETS.items()},
        fixed_settings=("model",),
    )
    payload_version = syntax.PAYLOAD_VERSION
    shared_labels: Mapping[int, str] = syntax.SHARED_LABELS
    object_labels: Mapping[int, str] = syntax.OBJECT_LABELS
    detail_kinds: tuple[int, ...] = (syntax.VOLUME,)
    uses_torch = True

    def settings(self, preset: str | None, overrides: Mapping[str, Any]) -> VolumeVaeSettings:
        """Return a preset's settings with some fields replaced. Raises `InvalidRequestError`."""
        return with_overrides(CODEC_NAME, settings_for(preset), overrides)

    def encode(
        self, objects: Sequence[EncodeItem], settings: msgspec.Struct, context: JobContext
    ) -> CodedSet:
        """Code volumes one by one, for which a model is needed.

        Raises `UnsupportedSceneError` when none could, `InvalidRequestError` for the model, `Cancelled`.
        """
        from scene_codec.codecs.volume_parts.volume_series import code_each
        from scene_codec.codecs.volume_vae.encoder import encode_volume, model_sections
        from scene_codec.codecs.volume_vae.model import load_model

        assert isinstance(settings, VolumeVaeSettings)
        model = load_model(settings.model)
        shared = model_sections(model)
        model.to(context.device)

        def encode(volume: VolumeObject, progress: Progress) -> tuple[Section, ...]:
            return encode_volume(volume, settings, model, progress)

        return code_each(objects, shared, encode, context.progress)

    def add(
        self,
        objects: Sequence[EncodeItem],
        shared: Mapping[int, bytes],
        settings: msgspec.Struct,
        context: JobContext,
    ) -> CodedSet:
        """Code more volumes with the model that the file names.

        Raises `InvalidRequestError` for a file that holds the decoding half of a model only.
        """
        from scene_codec.codecs.volume_vae.model import load_model, shipped_models

        assert isinstance(settings, VolumeVaeSettings)
        identity = shared.get(syntax.MODEL_REFERENCE)
        names = [name for name in shipped_models() if load_model(name).identity == identity]
        if not names:
            raise InvalidRequestError(
                "The file holds a model of its own, which can only decode. Encode all volumes again with the "
                "file of that model."
            )
        coded = self.encode(objects, msgspec.structs.replace(settings, model=names[0]), context)
        return replace(coded, shared=())

    def details(self, sections: Mapping[int, bytes]) -> Details:
        """Return what was stored of each grid and the quality that was reached. Raises `CorruptFileError`."""
        header = syntax.read_volume(sections[syntax.VOLUME])
        return {"grids": tuple(_grid_details(grid) for grid in header.grids)}

    def decoder(self, shared: Mapping[int, bytes], device: str) -> VolumeVaeDecoder:
        """Return the decoder of a file. Raises `CorruptFileError`, `UnsupportedVersionError`."""
        from scene_codec.codecs.volume_vae.decoder import model_of
        from scene_codec.devices import resolve_device

        return VolumeVaeDecoder(model_of(shared, resolve_device(device)))


def _grid_details(grid: syntax.GridHeader) -> dict[str, Any]:
    """Return what is worth knowing of a grid. PSNR is None where decoding makes no error."""
    ranges = [(channel.low, channel.high) for channel in grid.channels]
    return grid_details(grid, ranges, "exact" if grid.masked else "dense", grid.quality)


class VolumeVaeDecoder:
    """Decodes the volumes of one file, any one without the others."""

    def __init__(self, model: BlockModel) -> None:
        self._model = model

    def decode(self, sections: Mapping[int, bytes], progress: Progress) -> VolumeObject:
        """Return a volume. Raises `CorruptFileError`, `Cancelled`."""
        from scene_codec.codecs.volume_vae.decoder import decode_volume

        return decode_volume(sections, self._model, progress)
