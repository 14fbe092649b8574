"""Sizes of the shape decoder; free of torch, so that a file can be listed without it."""

from __future__ import annotations

from dataclasses import dataclass

LATENT_RESOLUTION = 4
"""Latents are a 4 x 4 x 4 block per mesh (NeCGS, section 3.2); each decoder block doubles the resolution."""


@dataclass(frozen=True, kw_only=True)
class DecoderShape:
    """Sizes of a decoder: one width per doubling from 4 to `resolution`, the kind of head and of blocks.

    residual : whether a block hands its input's first channels on to its output
    """

    resolution: int
    latent_channels: int
    widths: tuple[int, ...]
    outputs: int
    pointwise_head: bool
    residual: bool

    @property
    def doublings(self) -> int:
        """Number of blocks between the latent block and the grid."""
        return doublings(self.resolution)


def doublings(resolution: int) -> int:
    """Return how often the latent resolution is doubled to reach `resolution`, a power of two."""
    return (resolution // LATENT_RESOLUTION).bit_length() - 1
