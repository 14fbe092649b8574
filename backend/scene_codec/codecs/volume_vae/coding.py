"""The way a model codes blocks, by its kind."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.volume_vae.dense_coding import DenseCoding
from scene_codec.codecs.volume_vae.model import BlockModel
from scene_codec.codecs.volume_vae.rate_coding import RateCoding
from scene_codec.errors import CorruptFileError
from scene_codec.networks.block_vae import DenseBlockVae
from scene_codec.volumes.blocks import Counts


class BlockCoding(Protocol):
    """Blocks (bx, by, bz, s, s, s) with values in [0, 1] to bytes and back."""

    def encode(self, blocks: NDArray[np.float32]) -> bytes:
        """Return the bytes of some blocks."""

    def decode(self, data: bytes, counts: Counts) -> NDArray[np.float32]:
        """Return the blocks of some bytes. Raises `CorruptFileError`."""


def coding_of(model: BlockModel, step: float, rounding: float = 0.5) -> BlockCoding:
    """Return how a model codes blocks with a step, see `ChannelHeader`; `rounding` is for encoding alone.

    Raises `CorruptFileError` for a step that the model cannot have.
    """
    if isinstance(model.network, DenseBlockVae):
        return DenseCoding(model.network, step)
    if step <= 0.0:
        raise CorruptFileError("A channel of the volume has no quantisation step, and its model needs one.")
    return RateCoding(model.network, model.contexts, step, rounding)
