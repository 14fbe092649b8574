"""The NeCGS codec as the public API sees it. Imports torch only when it encodes or decodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from scene_codec.codecs.mesh_necgs import syntax
from scene_codec.codecs.mesh_necgs.config import (
    CODEC_NAME,
    DEFAULT_PRESET,
    FIXED_SETTINGS,
    PRESETS,
    MeshNecgsSettings,
    contradiction,
    settings_for,
)
from scene_codec.codecs.overrides import refuse_contradiction, with_overrides
from scene_codec.geometry.scene_object import SceneObject
from scene_codec.reports import CodecInfo, Details

if TYPE_CHECKING:
    from scene_codec.codecs.contract import CodedSet, EncodeItem, JobContext, ObjectDecoder


class MeshNecgsCodec:
    """Distance grids from an auto-decoder; one decoder per set, one small latent block per mesh."""

    info = CodecInfo(
        name=CODEC_NAME,
        content="mesh",
        summary="Sets of triangle meshes as latents of one shared neural decoder (after NeCGS, ICCV 2025)",
        default_preset=DEFAULT_PRESET,
        presets={name: explanation for name, (explanation, _) in PRESETS.items()},
        fixed_settings=FIXED_SETTINGS,
    )
    payload_version = syntax.PAYLOAD_VERSION
    shared_labels: Mapping[int, str] = syntax.SHARED_LABELS
    object_labels: Mapping[int, str] = syntax.OBJECT_LABELS
    detail_kinds: tuple[int, ...] = ()
    uses_torch = True

    def settings(self, preset: str | None, overrides: Mapping[str, Any]) -> MeshNecgsSettings:
        """Return a preset's settings with some fields replaced. Raises `InvalidRequestError`."""
        settings = with_overrides(CODEC_NAME, settings_for(preset), overrides)
        refuse_contradiction(CODEC_NAME, contradiction(settings))
        return settings

    def encode(
        self, objects: Sequence[EncodeItem], settings: msgspec.Struct, context: JobContext
    ) -> CodedSet:
        """Code a new set. Raises `UnsupportedSceneError` if nothing can be coded, `Cancelled`."""
        from scene_codec.codecs.mesh_necgs.encoder import encode_set

        assert isinstance(settings, MeshNecgsSettings)
        return encode_set(_meshes(objects), settings, context)

    def add(
        self,
        objects: Sequence[EncodeItem],
        shared: Mapping[int, bytes],
        settings: msgspec.Struct,
        context: JobContext,
    ) -> CodedSet:
        """Code more objects for a finished set, whose bytes stay as they are."""
        from scene_codec.codecs.mesh_necgs.encoder import add_to_set

        assert isinstance(settings, MeshNecgsSettings)
        return add_to_set(_meshes(objects), shared, settings, context)

    def details(self, sections: Mapping[int, bytes]) -> Details:
        """Return nothing: the sizes say all."""
        return {}

    def decoder(self, shared: Mapping[int, bytes], device: str) -> ObjectDecoder:
        """Return the decoder of a file. Raises `CorruptFileError`."""
        from scene_codec.codecs.mesh_necgs.decoder import SetDecoder
        from scene_codec.devices import resolve_device

        return SetDecoder(shared, resolve_device(device))


def _meshes(objects: Sequence[EncodeItem]) -> list[SceneObject]:
    """Return the objects, which the caller has checked to be meshes."""
    meshes = [item for item in objects if isinstance(item, SceneObject)]
    assert len(meshes) == len(objects)
    return meshes
