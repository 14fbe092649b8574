"""Grids as files that DirectVoxGO reads: fine_last.tar, with one more entry for the space of the scene."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scene_codec.bitstream.atomic_file import open_atomically
from scene_codec.errors import InvalidRequestError
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.radiance.stored_domain import DOMAIN_KEY
from scene_codec.voxel_fields.dvgo_checkpoint import STEP_RATIO
from scene_codec.voxel_fields.grid_model import GridModel
from scene_codec.voxel_fields.shading import NetworkShader, PlainShader

_MASK_THRESHOLD = 1e-3
_MOST_STRETCHED = 0.05
"""Share by which the distance between samples may change for a grid that the layout can say."""


def write_dvgo_checkpoint(path: Path, model: GridModel, domain: SceneDomain, step: int) -> None:
    """Write a checkpoint in one step. Nodes that hold nothing are written as zeros, which read the same.

    The program finds the size of the grid again from the distance between samples, so that distance is
    moved, by less than a node's share, to where it does.

    Raises `InvalidRequestError` for a grid that the layout cannot say: nodes at the centres of cells,
    spherical harmonics, densities without a softplus, samples counted in voxels.
    """
    _check(model)
    state = _box(model)
    state["act_shift"] = torch.tensor([model.rule.shift])
    if isinstance(model.shader, NetworkShader):
        state["viewfreq"] = 2.0 ** torch.arange(model.shader.view_octaves)
    for name, table in (("density", model.raw_density), ("k0", model.features)):
        state[f"{name}.grid"] = model.index.dense(table.detach()).cpu().permute(3, 0, 1, 2)[None].contiguous()
        state |= {f"{name}.{key}": values.clone() for key, values in _box(model).items()}
    state |= _network(model) | _mask(model)
    content = {
        "global_step": step,
        "model_kwargs": _options(model, state["mask_cache.mask"].shape),
        "model_state_dict": state,
        "optimizer_state_dict": {},
        DOMAIN_KEY: dataclasses.asdict(domain),
    }
    with open_atomically(path) as stream:
        torch.save(content, stream)


def _check(model: GridModel) -> None:
    """Raise `InvalidRequestError` for a grid that the layout cannot say."""
    lattice, shader = model.index.lattice, model.shader
    reason = None
    if lattice.centred:
        reason = "its values lie at the centres of cells"
    elif not model.rule.softplus:
        reason = "its densities are not made by a softplus"
    elif model.step.in_voxels:
        reason = "its samples are counted in voxels"
    elif isinstance(shader, NetworkShader):
        widths = {len(bias) for _, bias in shader.layers[:-1]}
        if shader.feature_octaves is not None or len(shader.layers) < 2 or len(widths) > 1:
            reason = "its network is wired otherwise"
    elif not isinstance(shader, PlainShader) or not shader.squashed:
        reason = "its colours are made otherwise"
    if reason is not None:
        raise InvalidRequestError(f"This field cannot be written in the layout of DirectVoxGO: {reason}.")


def _options(model: GridModel, mask_shape: torch.Size) -> dict[str, object]:
    """Return the arguments of the class that the program makes of them."""
    shader = model.shader
    network = shader if isinstance(shader, NetworkShader) else None
    sides = _sides(model)
    voxel = _voxel_size(model)
    base = 1.0 / model.rule.scale
    low, high = (np.array(corner, np.float32) for corner in model.box)
    return {
        "xyz_min": low,
        "xyz_max": high,
        "num_voxels": _count(math.prod(sides) / voxel**3),
        "num_voxels_base": _count(math.prod(sides) / base**3),
        "alpha_init": 1.0 / (1.0 + math.exp(-model.rule.shift)),
        "voxel_size_ratio": torch.tensor(voxel / base),
        "mask_cache_path": None,
        "mask_cache_thres": _MASK_THRESHOLD,
        "mask_cache_world_size": list(mask_shape),
        "fast_color_thres": model.limits.alpha,
        "density_type": "DenseGrid",
        "k0_type": "DenseGrid",
        "density_config": {},
        "k0_config": {},
        "rgbnet_dim": network.features if network else 0,
        "rgbnet_direct": not network.residual if network else False,
        "rgbnet_full_implicit": False,
        "rgbnet_depth": len(network.layers) if network else 3,
        "rgbnet_width": len(network.layers[0][1]) if network else 128,
        "viewbase_pe": network.view_octaves if network else 4,
    }


def _voxel_size(model: GridModel) -> float:
    """Return the edge of a voxel of which the program finds the size of the grid, closest to the model's."""
    own = model.step.size / STEP_RATIO
    if _found_shape(model, own) == model.index.lattice.shape:
        return own
    pairs = list(zip(_sides(model), model.index.lattice.shape, strict=True))
    least = max(side / (count + 1) for side, count in pairs)
    most = min(side / count for side, count in pairs)
    margin = 1e-3 * (most - least)
    voxel = min(max(own, least + margin), most - margin)
    if _found_shape(model, voxel) != model.index.lattice.shape or abs(voxel / own - 1.0) > _MOST_STRETCHED:
        raise InvalidRequestError(
            "This field cannot be written in the layout of DirectVoxGO: its voxels are no cubes, or its "
            f"samples are not {STEP_RATIO} voxels apart."
        )
    return voxel


def _found_shape(model: GridModel, voxel: float) -> tuple[int, ...]:
    """Return the size of the grid that the program finds, in its precision."""
    low, high = (torch.tensor(corner) for corner in model.box)
    sides = high - low
    edge = (sides.prod() / _count(math.prod(_sides(model)) / voxel**3)).pow(1 / 3)
    return tuple((sides / edge).long().tolist())


def _count(voxels: float) -> int | float:
    """Return a number of voxels, whole where it is one but for rounding."""
    whole = round(voxels)
    return whole if abs(voxels - whole) <= 1e-6 * voxels else voxels


def _sides(model: GridModel) -> list[float]:
    low, high = model.box
    return [end - start for start, end in zip(low, high, strict=True)]


def _box(model: GridModel) -> dict[str, Tensor]:
    low, high = (torch.tensor(corner) for corner in model.box)
    return {"xyz_min": low, "xyz_max": high}


def _network(model: GridModel) -> dict[str, Tensor]:
    """Return the layers by the names that they have there: 0, 2.0, 3.0 ..., and the last."""
    if not isinstance(model.shader, NetworkShader):
        return {}
    layers = model.shader.layers
    names = ["0", *(f"{index + 1}.0" for index in range(1, len(layers) - 1)), str(len(layers))]
    state = {}
    for name, (weight, bias) in zip(names, layers, strict=True):
        state[f"rgbnet.{name}.weight"] = weight.detach().cpu().clone()
        state[f"rgbnet.{name}.bias"] = bias.detach().cpu().clone()
    return state


def _mask(model: GridModel) -> dict[str, Tensor]:
    """Return where there may be something: everywhere where the model does not tell."""
    lattice, mask = model.index.lattice, model.mask
    if mask is None:
        held = torch.ones(lattice.shape, dtype=torch.bool)
        scale = torch.tensor([1.0 / voxel for voxel in lattice.voxel])
        shift = -torch.tensor(lattice.low) * scale
    else:
        held, scale, shift = mask.held.cpu(), torch.tensor(mask.scale), torch.tensor(mask.shift)
    return {
        "mask_cache.mask": held,
        "mask_cache.xyz2ijk_scale": scale,
        "mask_cache.xyz2ijk_shift": shift,
    }
