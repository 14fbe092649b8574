"""From the sections of a file back to meshes, one object at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from scene_codec.codecs.mesh_necgs.syntax import (
    ARCHITECTURE,
    LATENT_TABLES,
    SURFACE,
    WEIGHTS,
    Architecture,
    CodedSurface,
    read_architecture,
    read_latent_tables,
    read_surface,
    read_weights,
)
from scene_codec.entropy.tables import SymbolTable
from scene_codec.geometry.marching_cubes import extract
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.tsdf_grid import TsdfGrid
from scene_codec.networks.auto_decoder import AutoDecoder
from scene_codec.networks.decoder_shape import LATENT_RESOLUTION
from scene_codec.networks.quantisation import step_size


class SetDecoder:
    """The decoder of one set; reads the shared sections once, then decodes any object on its own."""

    def __init__(self, shared: Mapping[int, bytes], device: torch.device) -> None:
        """Raises `CorruptFileError` when a shared section is damaged or impossible."""
        self.architecture: Architecture = read_architecture(shared[ARCHITECTURE])
        self.tables: list[SymbolTable] = read_latent_tables(
            shared[LATENT_TABLES], self.architecture.latent_channels
        )
        self._device = device
        self.network = AutoDecoder(self.architecture.shape)
        in_steps = read_weights(shared[WEIGHTS], self.architecture.shape)
        with torch.no_grad():
            exponents = self.architecture.weight_exponents
            for parameter, values, exponent in zip(
                self.network.parameters(), in_steps, exponents, strict=True
            ):
                parameter.copy_(torch.from_numpy(values).view_as(parameter) * step_size(exponent))
        self.network.to(device).requires_grad_(False)

    def decode(self, sections: Mapping[int, bytes]) -> TriangleMesh:
        """Return an object's mesh in scene units. Raises `CorruptFileError`."""
        return self.surface_mesh(read_surface(sections[SURFACE], self.tables))

    def surface_mesh(self, surface: CodedSurface) -> TriangleMesh:
        """Return the mesh, in scene units, that a coded surface stands for."""
        return surface.frame.out_of(extract(self.grid(surface)))

    def grid(self, surface: CodedSurface) -> TsdfGrid:
        """Return the distance grid that a coded surface stands for."""
        with torch.inference_mode():
            output = self.network(self.latents(surface)[None])[0].clamp(-1.0, 1.0).cpu()
        deformation = None
        if self.architecture.outputs > 1:
            deformation = np.ascontiguousarray(output[1:].permute(1, 2, 3, 0).numpy())
        return TsdfGrid(output[0].numpy(), deformation)

    def latents(self, surface: CodedSurface) -> Tensor:
        """Return the latent block (c, 4, 4, 4) of a coded surface."""
        steps = torch.tensor([step_size(exponent) for exponent in self.architecture.latent_exponents])
        values = torch.from_numpy(surface.latents).to(torch.float32) * steps[:, None]
        return values.view(-1, *(LATENT_RESOLUTION,) * 3).to(self._device)
