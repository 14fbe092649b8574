"""Settings of the codec for single surfaces and its presets."""

from __future__ import annotations

from typing import Annotated

import msgspec

from scene_codec.codecs.overrides import settings_of_preset

CODEC_NAME = "mesh-surface"
DEFAULT_PRESET = "balanced"
DEFAULT_ERROR = 0.1


class MeshSurfaceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How near a coded surface comes to its mesh. Every field changes the bytes."""

    target_error: Annotated[float, msgspec.Meta(ge=1e-4, le=10.0)] = DEFAULT_ERROR
    """Distance between the mesh and what comes back, in percent of the diagonal of the bounding box: the mean
    from either surface to the other, the larger one of both; of either surface no more than a hundredth is
    more than eight times as far off. It is measured after decoding; of all that was tried the smallest file
    that keeps it is written, or else the nearest."""

    target_size: Annotated[int, msgspec.Meta(ge=64, le=2**30)] | None = None
    """Bytes that each mesh may take, in place of an error: the best that fits is written, or else the
    smallest. The file's own parts come on top: some 20 bytes for one mesh; for several 50, and 12 and the
    name for each."""

    faces: Annotated[int, msgspec.Meta(ge=1, le=200_000)] | None = None
    """At most so many triangles come back: a budget for games and the web."""

    fit: Annotated[int, msgspec.Meta(ge=0, le=100)] = 6
    """Steps in which the simplified surface is fitted to the mesh; 0 takes the simplifier's."""

    bit_price: Annotated[float, msgspec.Meta(ge=0.0, le=10.0)] = 0.05
    """How much error a bit is worth when vertices are rounded, relative to a step's; 0 rounds to the
    nearest."""

    in_plane: Annotated[int, msgspec.Meta(ge=1, le=8)] = 2
    """How much coarser vertices are rounded along the surface than across it."""


PRESETS: dict[str, tuple[str, MeshSurfaceSettings]] = {
    "balanced": ("within 0.1 % of the diagonal on average", MeshSurfaceSettings()),
    "high": ("within 0.03 %, two to four times the bytes", MeshSurfaceSettings(target_error=0.03)),
    "small": ("within 0.3 %, a third of the bytes", MeshSurfaceSettings(target_error=0.3)),
    "fast": (
        "within 0.1 %, a third less time, a tenth more bytes",
        MeshSurfaceSettings(fit=2, bit_price=0.0),
    ),
}


def settings_for(preset: str | None) -> MeshSurfaceSettings:
    """Return the settings of a preset. Raises `InvalidRequestError` for an unknown one."""
    return settings_of_preset(PRESETS, preset or DEFAULT_PRESET, CODEC_NAME)


def contradiction(settings: MeshSurfaceSettings, changed: frozenset[str]) -> str | None:
    """Return which settings exclude each other, in words, or None. `changed` are those a user named."""
    if settings.target_size is not None and "target_error" in changed:
        return "target_size and target_error are two answers to the same question; give one"
    return None
