"""Checkpoints of DirectVoxGO (Sun et al. 2022): fine_last.tar, and coarse_last.tar of its first stage."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from scene_codec.radiance.occupancy import Corner
from scene_codec.radiance.stored_domain import DOMAIN_KEY, stored_domain
from scene_codec.radiance.torch_archive import TorchArchive
from scene_codec.voxel_fields.grid_model import GridModel, GridStep, NearestMask
from scene_codec.voxel_fields.node_lattice import NodeIndex, NodeLattice
from scene_codec.voxel_fields.shading import NetworkShader, PlainShader, Shader
from scene_codec.voxel_fields.stored_entries import (
    MOST_NODES,
    StoredEntries,
    box_domain,
    checked_shape,
    foreign,
    misshapen,
    refused,
    shown,
)
from scene_codec.voxel_fields.stored_network import check_inputs, octaves_of, stored_layers
from scene_codec.voxel_fields.voxel_checkpoint import VoxelCheckpoint, parameter_bytes
from scene_codec.voxel_fields.voxel_model import DensityRule, Limits

STEP_RATIO = 0.5
"""Distance between samples in voxels: the published renderer's, which files do not hold."""

DARK = 1e-3
_MOST_FEATURES = 256
_INSTEAD = "Train it as DirectVoxGO with density_type and k0_type DenseGrid."


def read_dvgo(path: Path, archive: TorchArchive) -> VoxelCheckpoint:
    """Return the field of a checkpoint. Raises `UnsupportedSceneError` naming what does not fit."""
    top = StoredEntries(path, archive, archive.root)
    options, state = top.within("model_kwargs"), top.within("model_state_dict")
    refuse_other_models(options, state)
    density, features = _grid(state, "density.grid"), _grid(state, "k0.grid")
    shape = checked_shape(path, "density.grid", tuple(density.shape[1:]))
    if density.shape[0] != 1 or features.shape[1:] != density.shape[1:]:
        raise misshapen(path, "k0.grid", tuple(features.shape), f"that of density.grid, {shape}")
    low, high = state.corner("xyz_min"), state.corner("xyz_max")
    box = box_domain(path, low, high)
    domain = stored_domain(path, archive.root.get(DOMAIN_KEY)) or box
    lattice = NodeLattice(shape, low, high)
    model = GridModel(
        index=NodeIndex(lattice, torch.arange(lattice.nodes, dtype=torch.int32)),
        raw_density=_rows(density),
        features=_rows(features),
        shader=read_shader(options, state, "rgbnet.", len(features)),
        rule=density_rule(options, state, low, high),
        step=read_step(options, low, high),
        limits=read_limits(options),
        mask=_mask(state),
    )
    return VoxelCheckpoint(
        model=model,
        family="dvgo",
        domain=domain,
        source_bytes=path.stat().st_size,
        parameter_bytes=parameter_bytes(model),
        step=top.step("global_step"),
    )


def refuse_other_models(options: StoredEntries, state: StoredEntries) -> None:
    """Raise `UnsupportedSceneError` naming the model where it is another one of the same programs."""
    path = options.path
    if "mpi_depth" in options:
        raise refused(path, "a DirectMPIGO, for forward-facing scenes", _INSTEAD)
    if "bg_len" in options or "contracted_norm" in options:
        raise refused(path, "a DirectContractedVoxGO, for unbounded scenes", _INSTEAD)
    for key in ("density_type", "k0_type"):
        kind = options.text(key, "DenseGrid")
        if kind != "DenseGrid":
            raise refused(path, f"a DirectVoxGO with {key} {shown(kind)}", _INSTEAD)
    if options.flag("rgbnet_full_implicit", False):
        raise refused(path, "a DirectVoxGO with rgbnet_full_implicit", _INSTEAD)
    if "act_shift" not in state:
        raise foreign(path, "lacks model_state_dict: act_shift")


def read_shader(options: StoredEntries, state: StoredEntries, prefix: str, features: int) -> Shader:
    """Return what makes colours of so many features."""
    if not any(name.startswith(prefix) and name.endswith(".weight") for name in state.names):
        if features != 3:
            raise foreign(options.path, f"has {features} features and no network that makes colours of them")
        return PlainShader()
    return network_shader(options, state, state, prefix, features)


def network_shader(
    options: StoredEntries, state: StoredEntries, network: StoredEntries, prefix: str, features: int
) -> NetworkShader:
    """Return the network whose layers are called prefix.NUMBER, with options and state of the model."""
    residual = not options.flag("rgbnet_direct", False)
    octaves = octaves_of(state, "viewfreq")
    layers = stored_layers(network, prefix)
    if residual and features <= 3:
        raise foreign(options.path, f"has {features} features for a network and none besides the colour")
    inputs = NetworkShader.first_inputs(features, octaves, None, residual)
    check_inputs(network, layers, inputs, "features and encoded direction")
    return NetworkShader(layers, features, octaves, residual=residual)


def density_rule(options: StoredEntries, state: StoredEntries, low: Corner, high: Corner) -> DensityRule:
    """Return how stored densities are read: the interval is counted in voxels of the first size."""
    base = edge_length(low, high, options.positive("num_voxels_base"))
    return DensityRule(softplus=True, shift=state.number("act_shift"), scale=1.0 / base)


def read_step(options: StoredEntries, low: Corner, high: Corner) -> GridStep:
    """Return the distance between samples."""
    voxels = options.positive("num_voxels")
    if voxels > MOST_NODES:
        raise misshapen(options.path, "the grid", f"of {voxels:.3g} voxels", f"at most {MOST_NODES}")
    return GridStep(STEP_RATIO * edge_length(low, high, voxels))


def read_limits(options: StoredEntries) -> Limits:
    """Return what need not be evaluated."""
    threshold = options.number("fast_color_thres", 0.0)
    return Limits(alpha=threshold, weight=threshold, dark=DARK)


def edge_length(low: Corner, high: Corner, voxels: float) -> float:
    """Return the edge of so many equal cubes that fill a box."""
    sides = [end - start for start, end in zip(low, high, strict=True)]
    return math.cbrt(math.prod(sides) / voxels)


def _grid(state: StoredEntries, key: str) -> Tensor:
    """Return a dense grid (channels, x, y, z)."""
    grid = state.tensor(key, 5)
    if grid.shape[0] != 1 or not 1 <= grid.shape[1] <= _MOST_FEATURES:
        raise misshapen(state.path, key, tuple(grid.shape), f"1, 1 to {_MOST_FEATURES}, and three axes")
    return grid[0]


def _rows(grid: Tensor) -> Tensor:
    """Return a grid (channels, x, y, z) as rows (nodes, channels)."""
    return grid.flatten(1).t().contiguous()


def _mask(state: StoredEntries) -> NearestMask | None:
    """Return where there may be something, None where the file does not tell."""
    if "mask_cache.mask" not in state:
        return None
    held = state.array("mask_cache.mask", 3)
    scale, shift = state.corner("mask_cache.xyz2ijk_scale"), state.corner("mask_cache.xyz2ijk_shift")
    checked_shape(state.path, "mask_cache.mask", held.shape)
    return NearestMask(torch.from_numpy(held != 0), scale, shift)
