"""Everything that is optimised for a set: the decoder's weights, one latent block per mesh, and how both are rounded."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from scene_codec.codecs.mesh_necgs.config import MeshNecgsSettings
from scene_codec.networks.auto_decoder import AutoDecoder
from scene_codec.networks.decoder_shape import LATENT_RESOLUTION, DecoderShape, doublings
from scene_codec.networks.quantisation import FixedQuantiser, LearnedQuantiser, Rounded
from scene_codec.networks.surface_support import SurfaceSupport

INITIAL_LATENT_DEVIATION = 1.0 / 3.0
"""Latents start as normal noise of this deviation (paper's code)."""

INITIAL_LATENT_STEP = 0.1

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
    )


class SetModel(nn.Module):
    """The parameters of one set and the way they are rounded; decoding and the loss live elsewhere.

    latents : (n, c, 4, 4, 4) float32 parameter
    """

    def __init__(
        self, shape: DecoderShape, settings: MeshNecgsSettings, count: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.decoder = AutoDecoder(shape, generator)
        self.latents = nn.Parameter(initial_latents(shape, count, generator))
        parameters = list(self.decoder.parameters())
        learned = settings.quantiser == "learned"
        self.weight_quantisers = nn.ModuleList(
            LearnedQuantiser(_initial_step(parameter)) if learned else FixedQuantiser()
            for parameter in parameters
        )
        channels = shape.latent_channels
        self.latent_quantiser = (
            LearnedQuantiser(torch.full((channels,), INITIAL_LATENT_STEP)) if learned else FixedQuantiser()
        )

    def rounded_weights(self) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Return the rounded weights by name, and each tensor in steps, (1, k)."""
        values, in_steps = {}, []
        named = self.decoder.named_parameters()
        for (name, parameter), quantiser in zip(named, self.weight_quantisers, strict=True):
            rounded = quantiser(parameter.reshape(1, -1))
            values[name] = rounded.values.view_as(parameter)
            in_steps.append(rounded.in_steps)
        return values, in_steps

    def rounded_latents(self, ids: Sequence[int]) -> Rounded:
        """Return the rounded latents (n, c, 4, 4, 4) of some meshes, and the same in steps as (c, n * 64)."""
        chosen = self.latents[list(ids)]
        rows = chosen.transpose(0, 1).flatten(1)
        rounded = self.latent_quantiser(rows)
        side = LATENT_RESOLUTION
        blocks = rounded.values.view(len(rows), len(chosen), side, side, side).transpose(0, 1)
        return Rounded(blocks, rounded.in_steps)

    def decode(
        self, weights: dict[str, Tensor], latents: Tensor, supports: Sequence[SurfaceSupport] | None
    ) -> Tensor | list[Tensor]:
        """Decode with the given weights; see `AutoDecoder.forward`."""
        result: Tensor | list[Tensor] = functional_call(self.decoder, weights, (latents, supports))
        return result


def initial_latents(shape: DecoderShape, count: int, generator: torch.Generator) -> Tensor:
    """Return (count, c, 4, 4, 4) normal noise, one draw after another so that a longer set starts like a shorter."""
    size = (count, shape.latent_channels, *(LATENT_RESOLUTION,) * 3)
    return torch.randn(size, generator=generator) * INITIAL_LATENT_DEVIATION


def _initial_step(parameter: Tensor) -> Tensor:
    """Return a first step (1,): a sixteenth of the largest weight."""
    return (parameter.detach().abs().max() / 16.0).clamp_min(1e-3).reshape(1)
