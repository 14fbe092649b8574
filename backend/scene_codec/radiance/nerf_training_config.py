"""Settings of the training of a NeRF, and the presets."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from scene_codec.errors import InvalidRequestError

MOST_SAMPLES = 4096

Octaves = Annotated[int, msgspec.Meta(ge=0, le=16)]
Count = Annotated[int, msgspec.Meta(ge=1, le=MOST_SAMPLES)]
Share = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]


class NerfTrainingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a NeRF is trained. The values shown are those of the preset."""

    networks: Literal["one", "pair"] = "one"
    """one: one network, sampled where a grid that follows it says that something is; pair: a coarse and a
    fine network, as published."""

    width: Annotated[int, msgspec.Meta(ge=2, le=1024)] = 128
    """Width of the layers; that before the colour has half of it."""

    depth: Annotated[int, msgspec.Meta(ge=1, le=16)] = 4
    """Layers before the density."""

    skips: tuple[Annotated[int, msgspec.Meta(ge=1, le=15)], ...] = ()
    """Which of these layers, counted from 0, get the position again; the published network has 5."""

    position_octaves: Octaves = 10
    """Frequencies in which positions are given; fewer make smoother scenes."""

    direction_octaves: Octaves = 4
    """Frequencies in which directions are given."""

    steps: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 5000
    """Optimisation steps."""

    learning_rate: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 3e-3
    """Rate of Adam at the start."""

    decay: Annotated[float, msgspec.Meta(ge=0.0, le=1e5)] = 0.0
    """Thousands of steps in which the rate falls to a tenth; 0 stands for all steps."""

    rays: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] = 8192
    """Pair: rays of each step. One: most rays of a step; they are as many as their samples allow."""

    batch_samples: Annotated[int, msgspec.Meta(ge=64, le=1 << 24)] = 8192
    """One: samples of a step, to which the number of rays is fitted."""

    samples: Count = 256
    """One: even steps from near to far. Pair: samples of the coarse network on each ray."""

    fine_samples: Annotated[int, msgspec.Meta(ge=0, le=MOST_SAMPLES)] = 128
    """Pair: further samples of the fine network, where the coarse one sees something."""

    cells: Annotated[int, msgspec.Meta(ge=4, le=256)] = 64
    """One: cells of the grid along the longest side of the scene."""

    sparsity: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 1e-3
    """One: weight of a penalty on density, without which fog of a plain background's colour fills the air."""

    density_noise: Annotated[float, msgspec.Meta(ge=0.0, le=100.0)] = 0.0
    """Pair: deviation of noise on the density in training; 1 was published for real captures."""

    crop_steps: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 0
    """So many steps at the start see the middle of the pictures alone; for a small object on a plain
    background."""

    crop_share: Share = 0.5
    """Part of width and height that this middle has."""

    size: Annotated[int, msgspec.Meta(ge=0, le=1 << 15)] = 0
    """Width in pixels that pictures are averaged down to; 0 leaves them as they are."""

    near: Annotated[float, msgspec.Meta(ge=0.0, le=1e6)] = 0.0
    """Depth at which rays begin; with far, in place of what the data set says or suggests."""

    far: Annotated[float, msgspec.Meta(ge=0.0, le=1e6)] = 0.0
    """Depth at which rays end; 0 leaves both to the data set."""

    seed: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0
    """Start of all random draws: the same seed, pictures, settings and machine give the same network."""


PRESETS: dict[str, tuple[str, NerfTrainingSettings]] = {
    "fast": ("one small network, for a processor", NerfTrainingSettings()),
    "large": (
        "one network of the published size, for a CUDA device",
        NerfTrainingSettings(
            width=256,
            depth=8,
            skips=(5,),
            steps=30_000,
            learning_rate=5e-4,
            rays=32_768,
            batch_samples=1 << 17,
            samples=512,
            cells=128,
        ),
    ),
    "paper": (
        "a coarse and a fine network, as published",
        NerfTrainingSettings(
            networks="pair",
            width=256,
            depth=8,
            skips=(5,),
            steps=200_000,
            learning_rate=5e-4,
            decay=250.0,
            rays=1024,
            samples=64,
            fine_samples=128,
            crop_steps=500,
        ),
    ),
}
"""What each preset is for, and its settings. `paper`: Mildenhall et al. 2020, section 5.3, with the numbers
of the released configurations (1024 rays, decay 250, the middle of the pictures for 500 steps)."""


def preset_settings(name: str) -> NerfTrainingSettings:
    """Return the settings of a preset. Raises `InvalidRequestError` for an unknown name."""
    if name not in PRESETS:
        raise InvalidRequestError(f"There is no preset '{name}'; choose one of: {', '.join(PRESETS)}.")
    return PRESETS[name][1]


def check_settings(settings: NerfTrainingSettings) -> None:
    """Raise `InvalidRequestError` when settings contradict each other."""
    if any(layer >= settings.depth for layer in settings.skips):
        raise InvalidRequestError(
            f"skips names layer {max(settings.skips)}, and the network has layers 0 to {settings.depth - 1}. "
            "Name a layer that is there, or raise depth."
        )
    if (settings.near or settings.far) and settings.near >= settings.far:
        raise InvalidRequestError(
            f"near is {settings.near:g} and far is {settings.far:g}: far must be given and be larger."
        )
    if settings.networks == "one" and settings.density_noise:
        raise InvalidRequestError("density_noise belongs to networks 'pair'; leave it out, or choose that.")
    if settings.networks == "pair" and settings.samples < 4:
        raise InvalidRequestError("networks 'pair' needs at least 4 samples on each ray.")
