"""Settings of the codec for voxel radiance fields and its presets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from scene_codec.codecs.overrides import settings_of_preset

CODEC_NAME = "radiance-vqrf"
DEFAULT_PRESET = "balanced"

Quantile = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
Distance = Annotated[float, msgspec.Meta(ge=0.0, le=1e6)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class RadianceVqrfSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a voxel field is made small. Every field changes the bytes."""

    method: Literal["rate", "vqrf"] = "rate"
    """rate: nodes, values and networks are kept and rounded as their bits are worth it; vqrf: importance
    pruning, vector quantisation and 8-bit rounding as published."""

    error_per_kilobyte: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 2e-7
    """Squared error of the picture that 1000 bytes are worth; larger gives smaller files."""

    images: str = ""
    """Folder or JSON file with posed pictures of the scene, from which the small field learns. Without it the
    field learns from what the large one shows."""

    scale: Annotated[float, msgspec.Meta(gt=0.0, le=1e6)] = 1.5
    """Plenoxels: units of the world in one of the checkpoint, which does not tell; 1.5 for Blender scenes."""

    near: Distance | None = None
    """Where rays begin; by default as the pictures say, otherwise 0."""

    far: Distance | None = None
    """With near, how far away the scene is, by which cameras are placed and surfaces sampled; by default as
    the pictures say, otherwise behind the box. It is the box that ends rays."""

    background: Literal["auto", "white", "black"] = "auto"
    """What is behind the scene; auto: as the pictures say, otherwise white."""

    steps: Count = 1000
    """Steps of fine-tuning; 0 for none, which takes about a minute with 128 nodes along an axis."""

    rays: Annotated[int, msgspec.Meta(ge=16, le=1 << 20)] = 4096
    """Rays of each step, of those that come near what is there."""

    learning_rate: Annotated[float, msgspec.Meta(gt=0.0, le=10.0)] = 0.04
    """Rate of Adam for features at the start, in their units; with the method vqrf 0.1 stands for the
    published one."""

    prune: Quantile = 0.999
    """Method vqrf: part of the importance that the nodes that are kept have together."""

    keep: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.6
    """Method vqrf: part of the importance that nodes with features of their own have together."""

    codes: Annotated[int, msgspec.Meta(ge=2, le=1 << 16)] = 4096
    """Method vqrf: vectors of the codebook."""

    codebook_steps: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1000
    """Method vqrf: steps in which the codebook is learned."""

    expired_codes: Annotated[int, msgspec.Meta(ge=0, le=1 << 16)] = 10
    """Method vqrf: least used vectors that are replaced in each of these steps; 0 for none."""

    weighted: bool = True
    """Method vqrf: whether features of important nodes count more when the codebook is learned."""

    seed: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 0
    """Start of the random draws."""


PRESETS: dict[str, tuple[str, RadianceVqrfSettings]] = {
    "balanced": ("next to nothing lost", RadianceVqrfSettings()),
    "high": ("larger files, nothing lost", RadianceVqrfSettings(error_per_kilobyte=5e-8)),
    "small": (
        "about a decibel lost with 128 nodes along an axis, less with few",
        RadianceVqrfSettings(error_per_kilobyte=6e-7),
    ),
    "fast": (
        "without fine-tuning, larger, in about a minute with 128 nodes along an axis",
        RadianceVqrfSettings(steps=0, error_per_kilobyte=3e-8),
    ),
    "paper": (
        "importance pruning, 4096 codes, joint fine-tuning, 8 bits, deflate (Li et al. 2023)",
        RadianceVqrfSettings(method="vqrf", steps=9999, rays=8192, learning_rate=0.1),
    ),
}

UNUSED = {
    "vqrf": ("error_per_kilobyte",),
    "rate": ("prune", "keep", "codes", "codebook_steps", "expired_codes", "weighted"),
}
"""Settings that a method does not use; they are refused when they are changed."""


OF_FINE_TUNING = ("rays", "learning_rate")


def settings_for(preset: str | None) -> RadianceVqrfSettings:
    """Return the settings of a preset. Raises `InvalidRequestError` for an unknown one."""
    return settings_of_preset(PRESETS, preset or DEFAULT_PRESET, CODEC_NAME)


def unused(overrides: Mapping[str, Any], settings: RadianceVqrfSettings) -> str | None:
    """Return which of the settings that were given does nothing, or None."""
    idle = [name for name in OF_FINE_TUNING if name in overrides and settings.steps == 0]
    return f"{idle[0]} has no meaning with 0 steps" if idle else None


def contradiction(settings: RadianceVqrfSettings) -> str | None:
    """Return what cannot be meant together, or None."""
    if settings.near is not None and settings.far is not None and settings.near >= settings.far:
        return "near must be smaller than far"
    if settings.method == "vqrf" and settings.expired_codes >= settings.codes:
        return "expired_codes must be fewer than codes"
    if settings.method == "vqrf" and settings.keep > settings.prune:
        return "keep must not be larger than prune: what is left out has no features of its own"
    plain = RadianceVqrfSettings()
    for name in UNUSED[settings.method]:
        if getattr(settings, name) != getattr(plain, name):
            return f"{name} has no meaning with the method {settings.method}"
    return None
