"""Settings of the codec for radiance networks and its presets."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from scene_codec.codecs.overrides import settings_of_preset

CODEC_NAME = "nerf-pruned"
DEFAULT_PRESET = "balanced"

Share = Annotated[float, msgspec.Meta(ge=0.0, le=0.99)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Distance = Annotated[float, msgspec.Meta(ge=0.0, le=1e6)]


class NerfPrunedSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a radiance network is made small. Every field changes the bytes."""

    prune: Share = 0.0
    """Share of the weights that become zero; more do where the rate says so. Heads and biases are
    spared."""

    error_per_kilobyte: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 5e-5
    """Squared error of the picture that 1000 bytes are worth; larger gives smaller files."""

    images: str = ""
    """Folder or JSON file with posed pictures of the scene, from which the small network learns. Without it
    the network learns from what the large one shows."""

    scene: Literal["auto", "object", "forward-facing"] = "auto"
    """Space of the network: object: world space, also for forward-facing pictures with a network that was
    trained without normalised device coordinates (--no_ndc); forward-facing: in these. auto: as the pictures
    or the checkpoint say, otherwise object."""

    near: Distance | None = None
    """Where rays begin; by default as the pictures say, otherwise 2 (0 when forward-facing)."""

    far: Distance | None = None
    """Where rays end; by default as the pictures say, otherwise 6 (1 when forward-facing)."""

    background: Literal["auto", "white", "black"] = "auto"
    """What is behind the scene; auto: as the pictures say, otherwise white for objects."""

    corner_width: Annotated[int, msgspec.Meta(ge=0, le=32768)] | None = None
    """Width of the pictures that the network was trained with, if its rays went through the corners of
    pixels, as in all code that descends from the original; 0 for rays through centres. By default found by
    comparing with the pictures. Without pictures it is 0, and such networks are shown half a pixel off."""

    method: Literal["rate", "paper"] = "rate"
    """rate: pruned, quantised and retrained step by step against error and bits, occupied cells in place of
    the coarse network; paper: both networks, pruned once by magnitude, retrained with the mask fixed."""

    score: Literal["steps", "magnitude", "activation", "gradient"] = "steps"
    """Which weights go first: smallest in quantisation steps, in magnitude, in magnitude times the
    deviation of their input, or in magnitude times the gradient."""

    neurons: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 1.0
    """Share of each hidden layer's neurons that stay. Fewer neurons render faster, as zeros alone do
    not."""

    distillation: Share = 0.0
    """Part of the steps, at the start, in which density and colour of points follow the large network, before
    the colours of rays are learned."""

    steps: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 1500
    """Steps of retraining."""

    rays: Annotated[int, msgspec.Meta(ge=16, le=1 << 20)] = 1024
    """Rays of each step."""

    learning_rate: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 1.5e-3
    """Peak rate of Adam. Small networks need a higher one than large ones."""

    learning_rate_policy: Literal["stage", "restart"] = "stage"
    """Method paper: rate at which the training had arrived, or the one that it started with, as it happens
    when the original code is resumed."""

    samples: Annotated[int, msgspec.Meta(ge=16, le=4096)] = 256
    """Even steps from near to far in retraining."""

    cells: Annotated[int, msgspec.Meta(ge=8, le=256)] = 64
    """Cells along the longest side of the grid that says where the scene is."""

    seed: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 0
    """Start of the random draws."""


PRESETS: dict[str, tuple[str, NerfPrunedSettings]] = {
    "balanced": (
        "about a twenty-fifth of both networks' size, little lost",
        NerfPrunedSettings(),
    ),
    "high": (
        "larger files, next to nothing lost",
        NerfPrunedSettings(error_per_kilobyte=1e-5),
    ),
    "small": (
        "about a fortieth, one to three decibels lost",
        NerfPrunedSettings(error_per_kilobyte=3e-4),
    ),
    "paper": (
        "both networks, 90 % pruned once by magnitude, 500 steps of retraining (Isik 2021)",
        NerfPrunedSettings(prune=0.9, method="paper", score="magnitude", steps=500),
    ),
}


UNUSED = {
    "paper": ("error_per_kilobyte", "distillation", "samples", "learning_rate"),
    "rate": ("learning_rate_policy",),
}
"""Settings that a method does not use; they are refused when they are changed."""


def settings_for(preset: str | None) -> NerfPrunedSettings:
    """Return the settings of a preset. Raises `InvalidRequestError` for an unknown one."""
    return settings_of_preset(PRESETS, preset or DEFAULT_PRESET, CODEC_NAME)


def contradiction(settings: NerfPrunedSettings) -> str | None:
    """Return what cannot be meant together, or None."""
    if settings.near is not None and settings.far is not None and settings.near >= settings.far:
        return "near must be smaller than far"
    if settings.method == "paper" and settings.neurons < 1.0:
        return "the paper's method keeps all neurons"
    if settings.method == "paper" and settings.score != "magnitude":
        return "the paper's method prunes by magnitude"
    plain = NerfPrunedSettings()
    for name in UNUSED[settings.method]:
        if getattr(settings, name) != getattr(plain, name):
            return f"{name} has no meaning with the method {settings.method}"
    return None
