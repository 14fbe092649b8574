"""Settings of the block VAE codec for volumes, those of its training, and the presets of both."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from scene_codec.codecs.overrides import settings_of_preset

CODEC_NAME = "volume-vae"
DEFAULT_PRESET = "rate"

Positive = Annotated[int, msgspec.Meta(ge=1)]
Margin = Literal[0, 1, 2]
Blend = Literal["crop", "box", "smooth"]


class VolumeVaeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How volumes are coded with a trained model. Every field changes the bytes."""

    model: str = "rate"
    """Name of a model that ships with the package, or path of a .nscmodel file made by train-volume."""

    blend: Blend = "smooth"
    """How overlapping blocks become one volume: crop drops the margins, box is the paper's mean, smooth fades
    from block to block. All are the same for models without a margin."""

    psnr: Annotated[float, msgspec.Meta(ge=10.0, le=90.0)] = 45.0
    """Models trained for a rate: wanted PSNR of each grid in dB over its active voxels, reached to a few
    tenths (more where rounding to whole numbers decides)."""

    step: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.0
    """Models trained for a rate: quantisation step as a part of the largest range of the grid's channels; 0
    finds it from psnr."""

    rounding: Annotated[float, msgspec.Meta(ge=0.5, le=0.9)] = 0.62
    """Models trained for a rate: magnitudes are rounded up from this fraction on. Against 0.5, the plain
    rounding, 7 % fewer bytes at the same PSNR."""

    latents: Literal["float32", "quantised"] = "quantised"
    """Models of the published kind: latents as plain numbers, as published, or rounded and range coded."""

    latent_step: Annotated[float, msgspec.Meta(gt=0.0, le=16.0)] = 0.25
    """Models of the published kind: step of quantised latents; a quarter costs 0.1 to 0.6 dB."""


PRESETS: dict[str, tuple[str, VolumeVaeSettings]] = {
    "rate": (
        "our network, trained against the rate; any quality with one model",
        VolumeVaeSettings(),
    ),
    "paper-zero-margin": (
        "as published: 8^3 blocks alone, 32 float32 latents, 4 times smaller than 8-bit voxels",
        VolumeVaeSettings(model="paper-zero-margin", blend="crop", latents="float32"),
    ),
    "paper-two-wide": (
        "as published: 12^3 blocks that overlap by four voxels and are averaged, 32 float32 latents",
        VolumeVaeSettings(model="paper-two-wide", blend="box", latents="float32"),
    ),
    "paper-more-parameters": (
        "as published: as two-wide with 64 float32 latents and a hidden layer twice as wide",
        VolumeVaeSettings(model="paper-more-parameters", blend="box", latents="float32"),
    ),
}
"""What each preset is for, and its settings. `paper-*`: the three variants of the report's tables."""


class TrainingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a model is trained. The values shown are those of the preset."""

    network: Literal["rate", "dense"] = "rate"
    """rate: our network, trained against error and size together; dense: the published one."""

    latents: Annotated[int, msgspec.Meta(ge=1, le=511)] = 511
    """Numbers per block. The published network has 32 or 64; ours codes those that are zero for nothing."""

    margin: Margin = 0
    """Voxels beyond the 8^3 block that the network sees and predicts, for soft seams."""

    hidden: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 128
    """Width of the hidden layers."""

    epochs: Positive = 8
    """How often each block is seen."""

    minimum_steps: Positive = 1
    """Fewest steps however few the blocks; small sets are seen more often."""

    batch_size: Annotated[int, msgspec.Meta(ge=1, le=8192)] = 256
    """Blocks per step."""

    learning_rate: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 3e-4
    """Rate of Adam at the start."""

    decay: bool = True
    """Lower the rate along a cosine to zero; the published training kept it constant."""

    rate_weight: Annotated[float, msgspec.Meta(ge=0.0)] = 0.14
    """Network rate: weight of a bit per voxel against the squared error in squared quantisation steps. About
    0.12 is right for high qualities, more for low ones."""

    coarsest_step: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.25
    """Network rate: largest quantisation step that training draws, as a part of the range of values."""

    finest_step: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.008
    """Network rate: smallest quantisation step that training draws."""

    augment: bool = True
    """Move blocks off the lattice, turn and mirror them."""

    validation: Annotated[float, msgspec.Meta(ge=0.0, le=0.5)] = 0.15
    """Part of the volumes that is kept out of training and measured; with a single volume, of its blocks."""

    seed: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0
    """Start of all random draws: the same seed, input and machine give the same model."""


_PAPER = TrainingSettings(
    network="dense",
    latents=32,
    margin=0,
    hidden=128,
    epochs=8,
    batch_size=64,
    learning_rate=2e-4,
    decay=False,
    augment=False,
    validation=0.3,
)

TRAINING_PRESETS: dict[str, tuple[str, TrainingSettings]] = {
    "rate": ("our network, for any quality", TrainingSettings(epochs=20, minimum_steps=4000)),
    "paper-zero-margin": ("as published: 8^3 blocks, 32 latents", _PAPER),
    "paper-two-wide": (
        "as published: 12^3 blocks, 32 latents",
        msgspec.structs.replace(_PAPER, margin=2),
    ),
    "paper-more-parameters": (
        "as published: 12^3 blocks, 64 latents, 256 hidden",
        msgspec.structs.replace(_PAPER, margin=2, latents=64, hidden=256),
    ),
}
"""The report's section on training, with the rate of the released code (2e-4; the report says 1e-4)."""


def settings_for(preset: str | None) -> VolumeVaeSettings:
    """Return the settings of a preset. Raises `InvalidRequestError` for an unknown name."""
    return settings_of_preset(PRESETS, DEFAULT_PRESET if preset is None else preset)


def training_settings_for(preset: str | None) -> TrainingSettings:
    """Return the training settings of a preset. Raises `InvalidRequestError` for an unknown name."""
    return settings_of_preset(TRAINING_PRESETS, DEFAULT_PRESET if preset is None else preset)
