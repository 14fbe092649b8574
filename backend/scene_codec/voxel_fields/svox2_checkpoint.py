"""Checkpoints of Plenoxels (Fridovich-Keil et al. 2022) in the layout of svox2: ckpt.npz."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scene_codec.errors import InvalidRequestError, UnsupportedSceneError
from scene_codec.radiance.occupancy import Corner
from scene_codec.voxel_fields.grid_model import GridModel, GridStep
from scene_codec.voxel_fields.node_lattice import NodeIndex, NodeLattice
from scene_codec.voxel_fields.npz_members import NpzMembers
from scene_codec.voxel_fields.shading import HARMONICS, HarmonicShader
from scene_codec.voxel_fields.stored_entries import (
    MOST_NODES,
    box_domain,
    checked_shape,
    finite,
    misshapen,
    refused,
)
from scene_codec.voxel_fields.voxel_checkpoint import VoxelCheckpoint, parameter_bytes
from scene_codec.voxel_fields.voxel_model import DensityRule, Limits

BLENDER_SCALE = 1.5
"""Units of the world per unit of the file: scenes from Blender were made smaller by 2 / 3 for training."""

_FEATURES = 3 * HARMONICS
_STEP = 0.5
_DARK = 1e-7
_FLOATS = ("f2", "f4", "f8")
_SPHERICAL_HARMONICS = 1
_OTHER_BASES = {4: "a learnt texture as its basis", 255: "a network as its basis"}
_INSTEAD = "Train it with spherical harmonics of the second degree."


def read_svox2(path: Path, scale: float = BLENDER_SCALE) -> VoxelCheckpoint:
    """Return the field of a checkpoint.

    scale : units of the world per unit of the file

    Raises `UnsupportedSceneError` naming what does not fit.
    """
    if not (math.isfinite(scale) and 1e-3 <= scale <= 1e3):
        raise InvalidRequestError(f"The scale of a voxel field is {scale} and must be 0.001 to 1000.")
    with NpzMembers(path) as file:
        _refuse_others(file)
        radius, centre = _corner(file, "radius"), _corner(file, "center")
        links = file.array("links", ("i4", "i8"), 3, MOST_NODES)
        shape = checked_shape(path, "links", links.shape)
        density, features = _rows(file, links.size)
    low = _scaled(centre, radius, -scale, scale)
    high = _scaled(centre, radius, scale, scale)
    domain = box_domain(path, low, high)
    lattice = NodeLattice(shape, low, high, centred=True, clamped=True)
    model = GridModel(
        index=NodeIndex(lattice, _links(path, links, len(density))),
        raw_density=density,
        features=features,
        shader=HarmonicShader(),
        rule=DensityRule(softplus=False, scale=1.0 / scale),
        step=GridStep(_STEP, in_voxels=True),
        limits=Limits(dark=_DARK),
    )
    return VoxelCheckpoint(
        model=model,
        family="plenoxels",
        domain=domain,
        source_bytes=path.stat().st_size,
        parameter_bytes=parameter_bytes(model),
        step=0,
    )


def _refuse_others(file: NpzMembers) -> None:
    """Raise `UnsupportedSceneError` naming what a field has that is not read."""
    if any(name.startswith("background_") for name in file.names):
        raise refused(file.path, "a Plenoxels field with background layers", "Train it without.")
    if "basis_type" in file.names:
        kind = int(file.array("basis_type", ("i1", "u1", "i2", "i4", "i8"), 0, 1).item())
        if kind != _SPHERICAL_HARMONICS:
            what = _OTHER_BASES.get(kind, f"the basis {kind}")
            raise refused(file.path, f"a Plenoxels field with {what}", _INSTEAD)


def _rows(file: NpzMembers, nodes: int) -> tuple[Tensor, Tensor]:
    """Return the densities (rows, 1) and coefficients (rows, 27) of the nodes that hold any."""
    if "data" in file.names:
        both = finite(file.path, "data", file.array("data", _FLOATS, 2, nodes * (1 + _FEATURES)))
        density, features = both[:, :1].contiguous(), both[:, 1:].contiguous()
    else:
        density = finite(file.path, "density_data", file.array("density_data", _FLOATS, 2, nodes))
        features = finite(file.path, "sh_data", file.array("sh_data", _FLOATS, 2, nodes * _FEATURES))
    if features.shape[1] != _FEATURES:
        raise refused(file.path, f"a Plenoxels field with {features.shape[1]} coefficients", _INSTEAD)
    if density.shape != (len(features), 1) or len(features) == 0:
        raise misshapen(
            file.path, "the table of densities", tuple(density.shape), f"{len(features)} rows of one"
        )
    return density, features


def _links(path: Path, links: NDArray[np.generic], rows: int) -> Tensor:
    """Return which row each node has, (nodes,) int32, -1 for none."""
    found = np.maximum(links.reshape(-1), -1)  # below -1: how far the next held node is at least
    if int(found.max()) >= rows:
        raise UnsupportedSceneError(
            f"'{path.name}' is damaged: links point to row {int(found.max())} of {rows}."
        )
    held = found[found >= 0]
    if len(held) != rows or int(np.bincount(held, minlength=rows).max()) > 1:
        raise UnsupportedSceneError(
            f"'{path.name}' is damaged: {len(held)} links share {rows} rows, and each should have its own."
        )
    return torch.from_numpy(found.astype(np.int32))


def _corner(file: NpzMembers, name: str) -> Corner:
    x, y, z = finite(file.path, name, file.array(name, _FLOATS, 1, 3)).tolist()
    return x, y, z


def _scaled(centre: Corner, radius: Corner, sign: float, scale: float) -> Corner:
    x, y, z = (scale * middle + sign * half for middle, half in zip(centre, radius, strict=True))
    return x, y, z
