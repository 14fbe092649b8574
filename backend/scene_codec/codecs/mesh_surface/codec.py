"""The codec of single surfaces as the public API sees it. It needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from scene_codec.codecs.mesh_surface import syntax
from scene_codec.codecs.mesh_surface.config import (
    CODEC_NAME,
    DEFAULT_PRESET,
    PRESETS,
    MeshSurfaceSettings,
    contradiction,
    settings_for,
)
from scene_codec.codecs.overrides import refuse_contradiction, with_overrides
from scene_codec.geometry.scene_object import SceneObject
from scene_codec.progress import Progress
from scene_codec.reports import CodecInfo, Details, ObjectFailure

if TYPE_CHECKING:
    from scene_codec.codecs.contract import (
        CodedSet,
        EncodeItem,
        JobContext,
        ObjectDecoder,
        ObjectEstimate,
    )


class MeshSurfaceCodec:
    """Triangles chosen, placed and rounded for the surface they stand for; each mesh for itself."""

    info = CodecInfo(
        name=CODEC_NAME,
        content="mesh",
        summary="Single meshes, open or closed, as fitted, context-coded triangles; a wanted error or size",
        default_preset=DEFAULT_PRESET,
        presets={name: explanation for name, (explanation, _) in PRESETS.items()},
        quality_settings=("target_error", "target_size", "faces"),
        estimates=True,
    )
    payload_version = syntax.PAYLOAD_VERSION
    shared_labels: Mapping[int, str] = syntax.SHARED_LABELS
    object_labels: Mapping[int, str] = syntax.OBJECT_LABELS
    detail_kinds: tuple[int, ...] = (syntax.SURFACE,)
    uses_torch = False

    def settings(self, preset: str | None, overrides: Mapping[str, Any]) -> MeshSurfaceSettings:
        """Return a preset's settings with some fields replaced. Raises `InvalidRequestError`."""
        settings = with_overrides(CODEC_NAME, settings_for(preset), overrides)
        refuse_contradiction(CODEC_NAME, contradiction(settings, frozenset(overrides)))
        return settings

    def encode(
        self, objects: Sequence[EncodeItem], settings: msgspec.Struct, context: JobContext
    ) -> CodedSet:
        """Code meshes one by one. Raises `UnsupportedSceneError` if none can be coded, `Cancelled`."""
        from scene_codec.codecs.mesh_surface.encoder import encode_surfaces

        assert isinstance(settings, MeshSurfaceSettings)
        meshes = [item for item in objects if isinstance(item, SceneObject)]
        assert len(meshes) == len(objects)
        return encode_surfaces(meshes, settings, context)

    def add(
        self,
        objects: Sequence[EncodeItem],
        shared: Mapping[int, bytes],
        settings: msgspec.Struct,
        context: JobContext,
    ) -> CodedSet:
        """Code more meshes; those of a file share nothing."""
        return self.encode(objects, settings, context)

    def estimate(
        self, objects: Sequence[EncodeItem], settings: msgspec.Struct, progress: Progress
    ) -> tuple[list[ObjectEstimate], list[ObjectFailure]]:
        """Return about what each mesh will come to, and those that cannot be coded. Raises `Cancelled`."""
        from scene_codec.codecs.mesh_surface.estimate import estimate_surfaces

        assert isinstance(settings, MeshSurfaceSettings)
        return estimate_surfaces(
            [item for item in objects if isinstance(item, SceneObject)], settings, progress
        )

    def details(self, sections: Mapping[int, bytes]) -> Details:
        """Return triangles, step, and the error that was reached in percent of the diagonal.

        Raises `CorruptFileError`.
        """
        surface = syntax.read_surface(sections)
        return {
            "surface": (
                {
                    "faces": surface.faces << 2 * surface.levels,
                    "control_faces": surface.faces,
                    "levels": surface.levels,
                    "creased": surface.creased,
                    "bytes": len(sections[syntax.SURFACE]),
                    "closed": surface.closed,
                    "error_percent": 100.0 * surface.error.value,
                    "step": surface.step.value * surface.place.scale,
                },
            )
        }

    def decoder(self, shared: Mapping[int, bytes], device: str) -> ObjectDecoder:
        """Return the decoder of a file."""
        from scene_codec.codecs.mesh_surface.decoder import SurfaceDecoder

        return SurfaceDecoder()
