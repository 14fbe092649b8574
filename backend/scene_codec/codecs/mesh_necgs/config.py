"""Settings of the NeCGS mesh codec and its presets."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from scene_codec.codecs.overrides import settings_of_preset
from scene_codec.networks.decoder_shape import doublings

CODEC_NAME = "mesh-necgs"
DEFAULT_PRESET = "balanced"

Resolution = Literal[32, 64, 128, 256]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Weight = Annotated[float, msgspec.Meta(ge=0.0, le=1e6)]


class MeshNecgsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a set of meshes is fitted and coded. Every field changes the bytes."""

    resolution: Resolution = 128
    """Grid vertices per axis. 128 holds details of about 1 % of a mesh's size; each step down halves them."""

    latent_channels: Annotated[int, msgspec.Meta(ge=1, le=64)] = 16
    """Channels of a mesh's 4 x 4 x 4 latent block."""

    widths: tuple[Annotated[int, msgspec.Meta(ge=1, le=256)], ...] = ()
    """Channels after each doubling of the resolution; empty means chosen from the number of meshes. A lower
    resolution has fewer doublings and leaves the last ones out."""

    latents: Literal["free", "encoded"] = "free"
    """free: parameters (auto-decoder); encoded: a network's output (auto-encoder, for comparison)."""

    head: Literal["pointwise", "convolution"] = "pointwise"
    """Last layer: pointwise allows training near the surface alone; convolution (3^3) is the paper's."""

    residual: bool = True
    """Whether each block hands the first channels of its input on to its output: learns in fewer steps."""

    deformation: bool = False
    """Whether the paper's displacement of grid vertices is coded too (TSDF-Def). Worth about 2 % of the error
    after coding."""

    quantiser: Literal["learned", "fixed"] = "learned"
    """learned: a step per latent channel and weight tensor, trained against the rate; fixed: the paper's."""

    supervision: Literal["near-surface", "dense"] = "near-surface"
    """near-surface: loss on the truncation band and a few far blocks; dense: the paper's loss on the whole
    grid."""

    rate_weight: Weight = 2e-6
    """Weight of one bit per mesh against the mean error in the band; larger gives smaller files."""

    masked_weight: Weight = 5.0
    """Dense supervision: weight of the error inside the truncation band (paper's lambda 1)."""

    ssim_weight: Weight = 10.0
    """Dense supervision: weight of 1 - SSIM of the distance grid (paper's lambda 2)."""

    feature_weight: Weight = 0.0
    """Dense supervision: weight of the mean magnitude of the latents (0.1 in the paper's code)."""

    epochs: Positive = 120
    """How often each mesh of the set is visited (400 in the paper)."""

    minimum_steps: Positive = 2000
    """Fewest steps however small the set; a decoder starts from nothing."""

    added_epochs: Positive = 300
    """How often each mesh is visited that is added to a finished set."""

    batch_size: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    """Meshes per optimisation step."""

    learning_rate: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 3e-3
    """Peak rate of Adam for the decoder's weights."""

    latent_rate: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 6e-3
    """Peak rate of Adam for the latents."""

    warmup: Annotated[float, msgspec.Meta(ge=0.0, le=0.9)] = 0.05
    """Part of the steps over which the rate rises linearly; a cosine brings it back to zero."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic inside the network while it is optimised, never when it decodes. bfloat16 halves the time of
    dense supervision on processors and GPUs that have it."""

    seed: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0
    """Start of all random draws: the same seed, input and machine give the same bytes."""


PAPER_WIDTHS = (64, 48, 32, 24, 16, 12)
"""Widths of the paper's largest decoder, with one more block for resolution 256."""

PAPER_SETTINGS = MeshNecgsSettings(
    resolution=128,
    widths=PAPER_WIDTHS,
    head="convolution",
    residual=False,
    deformation=True,
    quantiser="fixed",
    supervision="dense",
    rate_weight=0.0,
    feature_weight=0.1,
    epochs=400,
    minimum_steps=1000,
    batch_size=4,
    learning_rate=1e-3,
    latent_rate=1e-3,
    warmup=0.2,
)

PRESETS: dict[str, tuple[str, MeshNecgsSettings]] = {
    "balanced": (
        "the measured best trade of size, quality and time; 1 to 3 KB a mesh in a set",
        MeshNecgsSettings(),
    ),
    "fast": (
        "a look at what is possible: resolution 64 and a third of the steps",
        MeshNecgsSettings(resolution=64, epochs=60, minimum_steps=800),
    ),
    "small": (
        "fewest bytes: the rate weighs four times as much",
        MeshNecgsSettings(rate_weight=8e-6),
    ),
    "fine": (
        "less error, larger files and a longer run",
        MeshNecgsSettings(rate_weight=6e-7, epochs=250),
    ),
    "paper": (
        "NeCGS as published: its network, quantiser, loss and schedule; large for few meshes",
        PAPER_SETTINGS,
    ),
}
"""What each preset is for, and its settings. `paper`: section 4 and the released code's defaults."""

FIXED_SETTINGS = (
    *("resolution", "latent_channels", "widths", "latents", "head", "residual", "deformation", "quantiser"),
    *("supervision", "epochs", "minimum_steps", "learning_rate"),
)
"""Of the decoder and its training, which are done when meshes are added to a set."""


def contradiction(settings: MeshNecgsSettings) -> str | None:
    """Return why settings cannot be used together, or None."""
    if settings.head == "convolution" and settings.supervision == "near-surface":
        return (
            "head 'convolution' needs supervision 'dense'; near the surface only 'pointwise' can be trained"
        )
    defaults = MeshNecgsSettings()
    for name in ("masked_weight", "ssim_weight", "feature_weight"):
        if settings.supervision == "near-surface" and getattr(settings, name) != getattr(defaults, name):
            return f"{name} belongs to supervision 'dense'; near the surface there is no such term"
    wanted = doublings(settings.resolution)
    if settings.widths and len(settings.widths) < wanted:
        return f"resolution {settings.resolution} needs {wanted} widths, not {len(settings.widths)}"
    return None


def settings_for(preset: str | None) -> MeshNecgsSettings:
    """Return the settings of a preset. Raises `InvalidRequestError` for an unknown name."""
    return settings_of_preset(PRESETS, DEFAULT_PRESET if preset is None else preset)
