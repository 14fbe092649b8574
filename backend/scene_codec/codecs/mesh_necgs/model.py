"""What is optimised for a set: the decoder's weights, one latent block per mesh, and how both are rounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from scene_codec.codecs.mesh_necgs.config import MeshNecgsSettings
from scene_codec.codecs.mesh_necgs.supervision import GridSource
from scene_codec.entropy.quantisers import QuantisationStep
from scene_codec.entropy.rate import RateModel
from scene_codec.entropy.straight_through import NECGS_LEVELS_PER_UNIT, LearnedStep, quantise_clamped
from scene_codec.networks.auto_decoder import AutoDecoder
from scene_codec.networks.decoder_shape import LATENT_RESOLUTION, DecoderShape, doublings
from scene_codec.networks.grid_encoder import GridEncoder
from scene_codec.networks.surface_support import SurfaceSupport

INITIAL_LATENT_DEVIATION = 1.0 / 3.0
"""Latents start as normal noise of this deviation (paper's code)."""

INITIAL_LATENT_STEP = 0.1

PAPER_STEP = QuantisationStep.nearest(1.0 / NECGS_LEVELS_PER_UNIT)

DEFAULT_WIDTHS = {4: (16, 12, 10, 8, 6, 4), 24: (20, 16, 14, 10, 8, 6)}
LARGE_SET_WIDTHS = (24, 20, 16, 12, 8, 6)


def decoder_shape(settings: MeshNecgsSettings, count: int) -> DecoderShape:
    """Return the sizes of the decoder for a set of `count` meshes."""
    widths = settings.widths or next(
        (widths for limit, widths in DEFAULT_WIDTHS.items() if count <= limit), LARGE_SET_WIDTHS
    )
    return DecoderShape(
        resolution=settings.resolution,
        latent_channels=settings.latent_channels,
        widths=tuple(widths[: doublings(settings.resolution)]),
        outputs=4 if settings.deformation else 1,
        pointwise_head=settings.head == "pointwise",
        residual=settings.residual,
    )


class Rounded(NamedTuple):
    """Rounded values, and the values in steps before rounding, from which the rate is estimated."""

    values: Tensor
    in_steps: Tensor


class SetModel(nn.Module):
    """The parameters of one set and the way they are rounded; the loss lives elsewhere.

    latents : (n, c, 4, 4, 4) float32 parameter; unused when an encoder makes the latents from the grids
    """

    def __init__(
        self, shape: DecoderShape, settings: MeshNecgsSettings, grids: GridSource, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.decoder = AutoDecoder(shape, generator)
        self.latents = nn.Parameter(initial_latents(shape, len(grids), generator))
        self.encoder = GridEncoder(shape, generator) if settings.latents == "encoded" else None
        self._grids = grids
        self.latent_rate = RateModel(shape.latent_channels).requires_grad_(False)
        self.weight_steps: nn.ModuleList | None = None
        self.latent_steps: LearnedStep | None = None
        if settings.quantiser == "learned":
            self.weight_steps = nn.ModuleList(
                LearnedStep(1, _initial_step(parameter)) for parameter in self.decoder.parameters()
            )
            self.latent_steps = LearnedStep(shape.latent_channels, INITIAL_LATENT_STEP)

    def rounded_weights(self) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Return the rounded weights by name, and each tensor in steps, (k, 1)."""
        values, in_steps = {}, []
        for index, (name, parameter) in enumerate(self.decoder.named_parameters()):
            step = None if self.weight_steps is None else self.weight_steps[index]
            rounded = _rounded(parameter.reshape(-1, 1), step)
            values[name] = rounded.values.view_as(parameter)
            in_steps.append(rounded.in_steps)
        return values, in_steps

    def rounded_latents(self, ids: Sequence[int]) -> Rounded:
        """Return the rounded latents (n, c, 4, 4, 4) of some meshes, and the same in steps as (n, 64, c)."""
        blocks = self.latents[list(ids)] if self.encoder is None else self._encoded(self.encoder, ids)
        rows = blocks.flatten(2).transpose(1, 2)
        rounded = _rounded(rows, self.latent_steps)
        side = LATENT_RESOLUTION
        blocks = rounded.values.transpose(1, 2).reshape(len(rows), -1, side, side, side)
        return Rounded(blocks, rounded.in_steps)

    def _encoded(self, encoder: nn.Module, ids: Sequence[int]) -> Tensor:
        """Return what the encoder makes of some meshes' grids, (n, c, 4, 4, 4)."""
        device = self.latents.device
        blocks = []
        for index in ids:  # one at a time: a whole set of grids does not fit into memory
            grid = torch.from_numpy(self._grids[index].astype(np.float32)).to(device)
            blocks.append(encoder(grid.permute(3, 0, 1, 2)[None]))
        return torch.cat(blocks)

    def decode(
        self, weights: dict[str, Tensor], latents: Tensor, supports: Sequence[SurfaceSupport] | None
    ) -> Tensor | list[Tensor]:
        """Decode with the given weights; see `AutoDecoder.forward`."""
        result: Tensor | list[Tensor] = functional_call(self.decoder, weights, (latents, supports))
        return result

    def use_latent_steps(self, steps: Sequence[QuantisationStep]) -> None:
        """Take over the latents' steps of a file and learn them no more."""
        if self.latent_steps is not None:
            with torch.no_grad():
                self.latent_steps.log2_step.copy_(torch.tensor([step.value for step in steps]).log2())
            self.latent_steps.requires_grad_(False)

    def freeze(self) -> tuple[list[QuantisationStep], list[QuantisationStep]]:
        """Return the steps that a file holds, of the weight tensors and of the latent channels."""
        if self.weight_steps is None or self.latent_steps is None:
            tensors, channels = len(list(self.decoder.parameters())), self.latents.shape[1]
            return [PAPER_STEP] * tensors, [PAPER_STEP] * channels
        weight_steps = [step.freeze()[0] for step in self.weight_steps if isinstance(step, LearnedStep)]
        return weight_steps, self.latent_steps.freeze()


def initial_latents(shape: DecoderShape, count: int, generator: torch.Generator) -> Tensor:
    """Return (count, c, 4, 4, 4) normal noise."""
    size = (count, shape.latent_channels, *(LATENT_RESOLUTION,) * 3)
    return torch.randn(size, generator=generator) * INITIAL_LATENT_DEVIATION


def _rounded(values: Tensor, step: nn.Module | None) -> Rounded:
    """Round (..., channels) values with a learned step, or to the paper's levels."""
    if step is None:
        levels = quantise_clamped(values)
        return Rounded(levels, values.clamp(-1.0, 1.0) * NECGS_LEVELS_PER_UNIT)
    assert isinstance(step, LearnedStep)
    return Rounded(step(values)[0], step.in_steps(values))


def _initial_step(parameter: Tensor) -> float:
    """Return a first step: a sixteenth of the largest weight."""
    return max(float(parameter.detach().abs().max()) / 16.0, 1e-3)
