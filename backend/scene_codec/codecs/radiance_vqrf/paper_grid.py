"""A grid as VQRF stores it, and the grid that it stands for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scene_codec.codecs.radiance_vqrf.paper_rounding import EightBits
from scene_codec.voxel_fields.grid_model import GridModel, GridStep, visible_nodes
from scene_codec.voxel_fields.node_lattice import NodeIndex, NodeLattice
from scene_codec.voxel_fields.shading import Shader
from scene_codec.voxel_fields.voxel_model import DensityRule, Limits


@dataclass(frozen=True, eq=False)
class PaperFrame:
    """What a grid is besides its values.

    shader : of the right shape, with any values
    """

    lattice: NodeLattice
    shader: Shader
    rule: DensityRule
    step: GridStep
    limits: Limits

    @staticmethod
    def of(model: GridModel) -> PaperFrame:
        """Return the frame of a grid."""
        return PaperFrame(model.index.lattice, model.shader, model.rule, model.step, model.limits)


@dataclass(frozen=True, eq=False)
class PaperGrid:
    """A grid in integers and half floats.

    held, kept : (nodes,) bool, nodes that are stored, and those of them with features of their own
    density : (held nodes, 1) in eight bits
    own : (kept nodes, c) features in eight bits
    codes : (other held nodes,) uint16, rows of the codebook
    codebook : (k, c) float16
    network : float16 arrays, what `Shader.parameters` returns in its order
    """

    held: NDArray[np.bool_]
    kept: NDArray[np.bool_]
    density: EightBits
    own: EightBits
    codes: NDArray[np.uint16]
    codebook: NDArray[np.float16]
    network: tuple[NDArray[np.float16], ...]


def model_of(grid: PaperGrid, frame: PaperFrame, device: torch.device | None = None) -> GridModel:
    """Return the grid that stored values stand for; nodes that are left out count as zero."""
    held = torch.from_numpy(grid.held)
    kept = torch.from_numpy(grid.kept[grid.held])
    features = torch.zeros((len(kept), grid.codebook.shape[1]))
    features[kept] = grid.own.values()
    codebook = torch.from_numpy(grid.codebook.astype(np.float32))
    features[~kept] = codebook[torch.from_numpy(grid.codes.astype(np.int64))]
    names = frame.shader.parameters()
    network = {
        name: torch.from_numpy(values.astype(np.float32))
        for name, values in zip(names, grid.network, strict=True)
    }
    model = GridModel(
        index=NodeIndex.of_mask(frame.lattice, held),
        raw_density=grid.density.values(),
        features=features,
        shader=frame.shader.with_parameters(network),
        rule=frame.rule,
        step=frame.step,
        limits=frame.limits,
    )
    model = model if device is None else model.to(device)
    return replace(model, mask=visible_nodes(model))


def halves(values: Tensor) -> NDArray[np.float16]:
    """Return values as half floats, the largest of those for what is larger."""
    most = float(np.finfo(np.float16).max)
    return values.detach().float().cpu().clamp(-most, most).numpy().astype(np.float16)
