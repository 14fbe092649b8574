"""Settings of the training of a voxel field, and the presets."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from scene_codec.errors import InvalidRequestError

MOST_NODES = 640
FEWEST_WIDTH = 6
"""Of a network that begins by showing the colours that have been learnt without it."""

Share = Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)]
Weight = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Nodes = Annotated[int, msgspec.Meta(ge=4, le=MOST_NODES)]
Rate = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]


class FieldTrainingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a voxel field is trained. The values shown are those of the preset."""

    nodes: Nodes = 128
    """Cube root of the number of nodes in the box around the scene."""

    features: Annotated[int, msgspec.Meta(ge=3, le=64)] = 12
    """Values of a node besides its density, from which the network makes colours."""

    width: Annotated[int, msgspec.Meta(ge=2, le=1024)] = 64
    """Width of the network's layers."""

    depth: Annotated[int, msgspec.Meta(ge=2, le=8)] = 3
    """Layers of the network."""

    direction_octaves: Annotated[int, msgspec.Meta(ge=0, le=16)] = 4
    """Frequencies in which directions are given."""

    steps: Annotated[int, msgspec.Meta(ge=4, le=10_000_000)] = 3000
    """Optimisation steps of all stages together."""

    coarse_share: Share = 0.07
    """Part of the steps that look for the box around the scene, in all that cameras see, with colours that
    do not depend on the direction."""

    plain_share: Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)] = 0.1
    """Part of the steps that go on in that box with such colours, before the network comes; 0 for none."""

    coarse_nodes: Nodes = 64
    """Cube root of the number of nodes for finding the box."""

    growth: tuple[Share, ...] = (0.1, 0.2, 0.3)
    """Parts of the remaining steps after which there are twice as many nodes; as many at the end as asked
    for."""

    begin: Literal["coarse", "even"] = "coarse"
    """coarse: densities begin as the stage before has left them; even: alike everywhere, as published."""

    opacity: Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)] = 1e-4
    """Opacity of one voxel where nothing has been learnt."""

    coarse_opacity: Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)] = 1e-3
    """The same while the box is looked for."""

    lowering: Annotated[float, msgspec.Meta(ge=0.0, le=10.0)] = 0.0
    """By how much all stored densities are lowered when the number of nodes doubles; 1 was published."""

    learning_rate: Rate = 0.1
    """Rate of Adam for nodes, at the start of the network."""

    plain_rate: Rate = 0.3
    """The same, with plain colours."""

    network_rate: Rate = 1e-3
    """Rate of Adam for the network, at the start."""

    decay: Annotated[float, msgspec.Meta(ge=0.0, le=1e5)] = 0.0
    """Thousands of steps in which rates fall to a tenth; 0 stands for all steps of the network."""

    rays: Annotated[int, msgspec.Meta(ge=16, le=1 << 20)] = 8192
    """Most rays of a step; they are as many as their samples allow."""

    batch_samples: Annotated[int, msgspec.Meta(ge=0, le=1 << 26)] = 32768
    """Samples of a step, to which the number of rays is fitted; 0 does not fit it."""

    entropy: Weight = 1e-3
    """Weight of the entropy of the light that passes the scene; ten times as much for finding the box."""

    point_colours: Weight = 1e-2
    """Weight of the error of each point's own colour; ten times as much for finding the box."""

    size: Annotated[int, msgspec.Meta(ge=0, le=1 << 15)] = 0
    """Width in pixels that pictures are averaged down to; 0 leaves them as they are."""

    near: Annotated[float, msgspec.Meta(ge=0.0, le=1e6)] = 0.0
    """Depth at which rays begin; with far, in place of what the data set says or suggests."""

    far: Annotated[float, msgspec.Meta(ge=0.0, le=1e6)] = 0.0
    """Depth at which rays end; 0 leaves both to the data set."""

    seed: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0
    """Start of all random draws: the same seed, pictures, settings and machine give the same field."""


PRESETS: dict[str, tuple[str, FieldTrainingSettings]] = {
    "fast": ("some minutes on a processor", FieldTrainingSettings()),
    "large": (
        "a finer grid and a larger network, for a CUDA device",
        FieldTrainingSettings(
            nodes=192,
            width=128,
            steps=16_000,
            coarse_nodes=100,
            rays=16_384,
            batch_samples=1 << 19,
        ),
    ),
    "paper": (
        "as published",
        FieldTrainingSettings(
            nodes=160,
            width=128,
            steps=25_000,
            coarse_share=0.2,
            plain_share=0.0,
            coarse_nodes=100,
            growth=(0.05, 0.1, 0.15, 0.2),
            begin="even",
            opacity=1e-2,
            coarse_opacity=1e-6,
            lowering=1.0,
            plain_rate=0.1,
            decay=20.0,
            batch_samples=0,
        ),
    ),
}
"""What each preset is for, and its settings. `paper`: Sun et al. 2022, section 5 and the numbers of the
released configuration (5000 and 20 000 steps of 8192 rays, 160^3 voxels)."""


def preset_settings(name: str) -> FieldTrainingSettings:
    """Return the settings of a preset. Raises `InvalidRequestError` for an unknown name."""
    if name not in PRESETS:
        raise InvalidRequestError(f"There is no preset '{name}'; choose one of: {', '.join(PRESETS)}.")
    return PRESETS[name][1]


def check_settings(settings: FieldTrainingSettings) -> None:
    """Raise `InvalidRequestError` when settings contradict each other."""
    if settings.coarse_share + settings.plain_share >= 1.0:
        raise InvalidRequestError(
            "coarse_share and plain_share leave no steps for the network: their sum must be below 1."
        )
    if any(after <= before for before, after in zip(settings.growth, settings.growth[1:], strict=False)):
        raise InvalidRequestError("growth must name rising parts of the steps, such as 0.1 0.2 0.3.")
    if (settings.near or settings.far) and settings.near >= settings.far:
        raise InvalidRequestError(
            f"near is {settings.near:g} and far is {settings.far:g}: far must be given and be larger."
        )
    if settings.begin == "coarse" and settings.width < FEWEST_WIDTH:
        raise InvalidRequestError(
            f"width {settings.width} is too little for begin 'coarse': it takes {FEWEST_WIDTH} at least."
        )
