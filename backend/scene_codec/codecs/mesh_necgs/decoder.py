"""From the sections of a file back to meshes, one object at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from scene_codec.codecs.mesh_necgs.syntax import (
    ARCHITECTURE,
    LATENT_CODING,
    SHARED_LABELS,
    WEIGHTS,
    Architecture,
    CodedSurface,
    LatentCoding,
    read_architecture,
    read_latent_coding,
    read_object,
    read_weights,
)
from scene_codec.entropy.quantisers import dequantise
from scene_codec.errors import CorruptFileError
from scene_codec.geometry.inflation import deflated
from scene_codec.geometry.marching_cubes import extract
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.tsdf_grid import TsdfGrid
from scene_codec.networks.auto_decoder import AutoDecoder
from scene_codec.networks.decoder_shape import LATENT_RESOLUTION
from scene_codec.networks.near_surface import decoded_near_surface
from scene_codec.progress import Progress


class SetDecoder:
    """The decoder of one set; reads the shared sections once, then decodes any object on its own."""

    def __init__(self, shared: Mapping[int, bytes], device: torch.device) -> None:
        """Build the network. Raises `CorruptFileError` when a shared section is damaged or absent."""
        for kind in (ARCHITECTURE, WEIGHTS, LATENT_CODING):
            if kind not in shared:
                raise CorruptFileError(f"The file has no section with its {SHARED_LABELS[kind]}.")
        self.architecture: Architecture = read_architecture(shared[ARCHITECTURE])
        self.coding: LatentCoding = read_latent_coding(
            shared[LATENT_CODING], self.architecture.latent_channels
        )
        self._device = device
        self.network = AutoDecoder(self.architecture.shape)
        weights = read_weights(shared[WEIGHTS], self.architecture.shape)
        with torch.no_grad():
            for parameter, values in zip(self.network.parameters(), weights, strict=True):
                parameter.copy_(torch.from_numpy(values).view_as(parameter))
        self.network.to(device).requires_grad_(False)

    def decode(self, sections: Mapping[int, bytes], progress: Progress) -> TriangleMesh:
        """Return an object's mesh in scene units. Raises `CorruptFileError`, `Cancelled`."""
        progress.check_cancelled()
        return self.surface_mesh(read_object(sections, self.coding.tables))

    def surface_mesh(self, surface: CodedSurface) -> TriangleMesh:
        """Return the mesh, in scene units, that a coded surface stands for."""
        mesh = extract(self.grid(surface))
        if surface.inflated:
            mesh = deflated(mesh, self.architecture.resolution)
        return surface.frame.out_of(mesh)

    def grid(self, surface: CodedSurface) -> TsdfGrid:
        """Return the distance grid that a coded surface stands for; far from it only signs may be right."""
        with torch.inference_mode():
            output = self._output(self.latents(surface)).clamp(-1.0, 1.0).cpu()
        deformation = None
        if self.architecture.outputs > 1:
            deformation = np.ascontiguousarray(output[1:].permute(1, 2, 3, 0).numpy())
        return TsdfGrid(output[0].numpy(), deformation)

    def _output(self, latents: Tensor) -> Tensor:
        """Return the network's grid (o, K, K, K), all of it exact or that around its surface."""
        if self.architecture.shape.pointwise_head:
            return decoded_near_surface(self.network, latents)
        grid: Tensor = self.network(latents[None])[0]
        return grid

    def latents(self, surface: CodedSurface) -> Tensor:
        """Return the latent block (c, 4, 4, 4) of a coded surface."""
        channels = [
            dequantise(channel, step)
            for channel, step in zip(surface.latents, self.coding.steps, strict=True)
        ]
        block = torch.from_numpy(np.stack(channels)).view(-1, *(LATENT_RESOLUTION,) * 3)
        return block.to(self._device)
