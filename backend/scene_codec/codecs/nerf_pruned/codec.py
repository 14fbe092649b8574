"""The codec of radiance networks as the public API sees it. Imports torch only when it encodes or decodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from scene_codec.codecs.nerf_pruned import syntax
from scene_codec.codecs.nerf_pruned.config import (
    CODEC_NAME,
    DEFAULT_PRESET,
    PRESETS,
    NerfPrunedSettings,
    contradiction,
    settings_for,
)
from scene_codec.codecs.overrides import refuse_contradiction, with_overrides
from scene_codec.codecs.radiance_parts.field_details import quality_details, space_details
from scene_codec.reports import CodecInfo, Details

if TYPE_CHECKING:
    import torch

    from scene_codec.codecs.contract import CodedSet, EncodeItem, JobContext
    from scene_codec.progress import Progress
    from scene_codec.radiance.field import RadianceField


class NerfPrunedCodec:
    """Radiance networks: pruned, rounded against the rate, occupied cells in place of a coarse one."""

    info = CodecInfo(
        name=CODEC_NAME,
        content="radiance",
        summary="NeRF networks, pruned and retrained against error and bits (after Isik, 2021)",
        default_preset=DEFAULT_PRESET,
        presets={name: explanation for name, (explanation, _) in PRESETS.items()},
    )
    payload_version = syntax.PAYLOAD_VERSION
    shared_labels: Mapping[int, str] = syntax.SHARED_LABELS
    object_labels: Mapping[int, str] = syntax.OBJECT_LABELS
    detail_kinds: tuple[int, ...] = (syntax.FIELD,)
    uses_torch = True

    def settings(self, preset: str | None, overrides: Mapping[str, Any]) -> NerfPrunedSettings:
        """Return a preset's settings with some fields replaced. Raises `InvalidRequestError`."""
        settings = with_overrides(CODEC_NAME, settings_for(preset), overrides)
        refuse_contradiction(CODEC_NAME, contradiction(settings))
        return settings

    def encode(
        self, objects: Sequence[EncodeItem], settings: msgspec.Struct, context: JobContext
    ) -> CodedSet:
        """Code trained networks one by one.

        Raises `UnsupportedSceneError` if none can be coded, `InvalidRequestError`, `Cancelled`.
        """
        from scene_codec.codecs.nerf_pruned.encoder import encode_fields

        assert isinstance(settings, NerfPrunedSettings)
        return encode_fields(objects, settings, context)

    def add(
        self,
        objects: Sequence[EncodeItem],
        shared: Mapping[int, bytes],
        settings: msgspec.Struct,
        context: JobContext,
    ) -> CodedSet:
        """Code more networks; fields of a file share nothing."""
        return self.encode(objects, settings, context)

    def details(self, sections: Mapping[int, bytes]) -> Details:
        """Return sizes, space and the quality that was reached. Raises `CorruptFileError`."""
        return {"field": (_details(syntax.read_header(sections[syntax.FIELD])),)}

    def decoder(self, shared: Mapping[int, bytes], device: str) -> NerfPrunedDecoder:
        """Return the decoder of a file."""
        from scene_codec.devices import resolve_device

        return NerfPrunedDecoder(resolve_device(device))


def _details(header: syntax.FieldHeader) -> dict[str, Any]:
    """Return what is worth knowing of a field. PSNRs are None where nothing was measured."""
    shapes = [stored.shape for stored in header.networks]
    return {
        "networks": len(shapes),
        "trunk": shapes[0].trunk,
        "view": shapes[0].view,
        "weights_and_biases": sum(shape.parameters for shape in shapes),
        "before": header.source_parameters,
        "zero": header.zeros / 1000,
        **space_details(header.domain),
        "corner_width": header.domain.corner_width,
        "cells": header.cells or None,
        **quality_details(header.hundredths),
    }


class NerfPrunedDecoder:
    """Decodes the fields of one file, any one without the others."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def decode(self, sections: Mapping[int, bytes], progress: Progress) -> RadianceField:
        """Return a field that can be rendered. Raises `CorruptFileError`, `Cancelled`."""
        from scene_codec.codecs.nerf_pruned.decoder import decode_field

        progress.check_cancelled()
        return decode_field(sections, self._device)
