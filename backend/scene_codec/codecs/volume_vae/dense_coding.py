"""Blocks to bytes and back with the published network: latents as float32, or rounded and range coded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from scene_codec.entropy.packing import pack_integers, unpack_integers
from scene_codec.errors import CorruptFileError
from scene_codec.networks.block_vae import CORE_SIDE, DenseBlockVae
from scene_codec.volumes.blocks import Counts

BLOCKS_AT_ONCE = 4096

Blocks = NDArray[np.float32]


@dataclass(frozen=True)
class DenseCoding:
    """How blocks are coded.

    latent_step : quantisation step of the latents; 0 stores them as float32, 4 bytes each, as published
    """

    network: DenseBlockVae
    latent_step: float

    @property
    def side(self) -> int:
        """Voxels along a block's edge, margins included."""
        return CORE_SIDE + 2 * self.network.shape.margin

    def encode(self, blocks: Blocks) -> bytes:
        """Return the bytes of blocks (bx, by, bz, s, s, s) with values in [0, 1]."""
        flat = blocks.reshape(-1, self.side**3)
        latents = np.zeros((len(flat), self.network.shape.latents), np.float32)
        with torch.inference_mode():
            for start in range(0, len(flat), BLOCKS_AT_ONCE):
                part = torch.from_numpy(flat[start : start + BLOCKS_AT_ONCE]).to(self._device)
                latents[start : start + BLOCKS_AT_ONCE] = self.network.analyse(part).cpu().numpy()
        if self.latent_step == 0.0:
            return latents.astype("<f4").tobytes()
        steps = np.rint(latents.astype(np.float64) / self.latent_step).astype(np.int64)
        return pack_integers(list(steps.T))

    def decode(self, data: bytes, counts: Counts) -> Blocks:
        """Return the blocks (bx, by, bz, s, s, s) of coded bytes. Raises `CorruptFileError`."""
        latents = self._latents(data, int(np.prod(counts)))
        blocks = np.zeros((len(latents), self.side**3), np.float32)
        with torch.inference_mode():
            for start in range(0, len(latents), BLOCKS_AT_ONCE):
                part = torch.from_numpy(latents[start : start + BLOCKS_AT_ONCE]).to(self._device)
                blocks[start : start + BLOCKS_AT_ONCE] = self.network.synthesise(part).cpu().numpy()
        return blocks.reshape(*counts, self.side, self.side, self.side)

    def _latents(self, data: bytes, count: int) -> NDArray[np.float32]:
        """Return the latents (count, latents) of coded bytes."""
        width = self.network.shape.latents
        if self.latent_step == 0.0:
            if len(data) != 4 * count * width:
                raise CorruptFileError(
                    f"{count} blocks have {len(data)} bytes in place of {4 * count * width}."
                )
            latents = np.frombuffer(data, "<f4").astype(np.float32).reshape(count, width)
            if not np.isfinite(latents).all():
                raise CorruptFileError("A latent is not a finite number.")
            return latents
        steps = np.stack(unpack_integers(data, [(count,)] * width), axis=1)
        return (steps * self.latent_step).astype(np.float32)

    @property
    def _device(self) -> torch.device:
        return self.network.decoder_output.weight.device
