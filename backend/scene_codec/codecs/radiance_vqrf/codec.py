"""The codec of voxel radiance fields as the public API sees it. Imports torch only when it works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from scene_codec.codecs.overrides import refuse_contradiction, with_overrides
from scene_codec.codecs.radiance_parts.field_details import quality_details, space_details
from scene_codec.codecs.radiance_vqrf import syntax
from scene_codec.codecs.radiance_vqrf.config import (
    CODEC_NAME,
    DEFAULT_PRESET,
    PRESETS,
    RadianceVqrfSettings,
    contradiction,
    settings_for,
    unused,
)
from scene_codec.codecs.radiance_vqrf.stored_field import FieldHeader, read_header
from scene_codec.reports import CodecInfo, Details

if TYPE_CHECKING:
    import torch

    from scene_codec.codecs.contract import CodedSet, EncodeItem, JobContext
    from scene_codec.progress import Progress
    from scene_codec.radiance.field import RadianceField


class RadianceVqrfCodec:
    """Voxel radiance fields: nodes, values and networks are kept and rounded as their bits are worth it."""

    info = CodecInfo(
        name=CODEC_NAME,
        content="radiance",
        summary="voxel fields of DVGO, Plenoxels, TensoRF, VQRF, rounded against error and bits",
        default_preset=DEFAULT_PRESET,
        presets={name: explanation for name, (explanation, _) in PRESETS.items()},
    )
    payload_version = syntax.PAYLOAD_VERSION
    shared_labels: Mapping[int, str] = syntax.SHARED_LABELS
    object_labels: Mapping[int, str] = syntax.OBJECT_LABELS
    detail_kinds: tuple[int, ...] = (syntax.FIELD,)
    uses_torch = True

    def settings(self, preset: str | None, overrides: Mapping[str, Any]) -> RadianceVqrfSettings:
        """Return a preset's settings with some fields replaced. Raises `InvalidRequestError`."""
        settings = with_overrides(CODEC_NAME, settings_for(preset), overrides)
        refuse_contradiction(CODEC_NAME, contradiction(settings) or unused(overrides, settings))
        return settings

    def encode(
        self, objects: Sequence[EncodeItem], settings: msgspec.Struct, context: JobContext
    ) -> CodedSet:
        """Code trained voxel fields one by one.

        Raises `UnsupportedSceneError` if none can be coded, `InvalidRequestError`, `Cancelled`.
        """
        from scene_codec.codecs.radiance_vqrf.encoder import encode_fields

        assert isinstance(settings, RadianceVqrfSettings)
        return encode_fields(objects, settings, context)

    def add(
        self,
        objects: Sequence[EncodeItem],
        shared: Mapping[int, bytes],
        settings: msgspec.Struct,
        context: JobContext,
    ) -> CodedSet:
        """Code more fields; those of a file share nothing."""
        return self.encode(objects, settings, context)

    def details(self, sections: Mapping[int, bytes]) -> Details:
        """Return sizes, space and the quality that was reached. Raises `CorruptFileError`."""
        return {"field": (_details(read_header(sections[syntax.FIELD])),)}

    def decoder(self, shared: Mapping[int, bytes], device: str) -> RadianceVqrfDecoder:
        """Return the decoder of a file."""
        from scene_codec.devices import resolve_device

        return RadianceVqrfDecoder(resolve_device(device))


def _details(header: FieldHeader) -> dict[str, Any]:
    """Return what is worth knowing of a field. PSNRs are None where nothing was measured."""
    return {
        "family": header.family,
        "method": header.method,
        "lattice": header.shape,
        "nodes": header.nodes,
        "features": header.shader.features,
        "shader": header.shader.kind,
        "shader_widths": header.shader.widths,
        "before": header.source_parameters,
        **space_details(header.domain),
        **quality_details(header.hundredths),
    }


class RadianceVqrfDecoder:
    """Decodes the fields of one file, any one without the others."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def decode(self, sections: Mapping[int, bytes], progress: Progress) -> RadianceField:
        """Return a field that can be rendered. Raises `CorruptFileError`, `Cancelled`."""
        from scene_codec.codecs.radiance_vqrf.decoder import decode_field

        progress.check_cancelled()
        return decode_field(sections, self._device)
