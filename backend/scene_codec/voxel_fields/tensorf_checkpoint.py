"""Checkpoints of TensoRF (Chen et al. 2022), decomposed into planes and lines (VM) or lines alone (CP)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scene_codec.errors import UnsupportedSceneError
from scene_codec.radiance.occupancy import Corner
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.radiance.torch_archive import TorchArchive
from scene_codec.voxel_fields.factored_model import (
    LINE_AXES,
    PLANE_AXES,
    FactoredModel,
    Factors,
    OverlapMask,
)
from scene_codec.voxel_fields.node_lattice import NodeLattice
from scene_codec.voxel_fields.shading import HarmonicShader, NetworkShader, PlainShader, Shader
from scene_codec.voxel_fields.stored_entries import (
    StoredEntries,
    box_domain,
    checked_shape,
    foreign,
    misshapen,
    refused,
    shown,
)
from scene_codec.voxel_fields.stored_network import check_inputs, octaves, stored_layers
from scene_codec.voxel_fields.voxel_checkpoint import VoxelCheckpoint, parameter_bytes
from scene_codec.voxel_fields.voxel_model import DensityRule, Limits

_MOST_COMPONENTS = 1024
_MOST_SAMPLES = 1 << 14
"""Along a ray; a grid of 640 nodes along each axis has 2200."""

_NETWORKS = ("MLP_Fea", "MLP")
_INSTEAD = "Train it as TensorVMSplit or TensorCP with shadingMode MLP_Fea, MLP, SH or RGB."


def read_tensorf(path: Path, archive: TorchArchive) -> VoxelCheckpoint:
    """Return the field of a checkpoint. Raises `UnsupportedSceneError` naming what does not fit."""
    top = StoredEntries(path, archive, archive.root)
    options, state = top.within("kwargs"), top.within("state_dict")
    if "plane_coef" in state or "line_coef" in state:
        raise refused(path, "a TensoRF of the class TensorVM", _INSTEAD)
    corners = options.numbers("aabb", 6)
    low, high = _corner(corners[:3]), _corner(corners[3:])
    shape = options.shape("gridSize")
    domain = _domain(options, box_domain(path, low, high))
    planes = "density_plane.0" in state
    density, appearance = (_factors(state, name, shape, planes) for name in ("density", "app"))
    shader = _shader(options, state)
    basis = state.tensor("basis_mat.weight", 2)
    wanted = (shader.features, sum(len(line) for line in appearance.lines[: 3 if planes else 1]))
    if tuple(basis.shape) != wanted:
        raise misshapen(path, "basis_mat.weight", tuple(basis.shape), str(wanted))
    model = FactoredModel(
        low=low,
        high=high,
        density_factors=density,
        appearance=appearance,
        basis=basis,
        shader=shader,
        rule=_rule(options),
        step=_step(options, low, high, shape),
        near=domain.near,
        far=domain.far,
        limits=Limits(weight=options.number("rayMarch_weight_thres", 1e-4)),
        mask=_mask(top),
    )
    return VoxelCheckpoint(
        model=model,
        family="tensorf-vm" if planes else "tensorf-cp",
        domain=domain,
        source_bytes=path.stat().st_size,
        parameter_bytes=parameter_bytes(model),
        step=0,
    )


def _domain(options: StoredEntries, box: SceneDomain) -> SceneDomain:
    """Return the space between the near and the far of the file."""
    near, far = options.numbers("near_far", 2)
    if (near, far) == (0.0, 1.0):
        what = "a TensoRF of a forward-facing scene, whose file does not hold the focal length,"
        raise refused(options.path, what.removesuffix(","), "Train it in world space.")
    if not 0.0 <= near < far <= 1e6:
        raise UnsupportedSceneError(f"'{options.path.name}': rays from {near} to {far} see nothing.")
    return SceneDomain(near=near, far=far, white_background=True, low=box.low, high=box.high)


def _rule(options: StoredEntries) -> DensityRule:
    """Return how densities are read."""
    scale = options.positive("distance_scale")
    kind = options.text("fea2denseAct", "softplus")
    if kind == "softplus":
        return DensityRule(softplus=True, shift=options.number("density_shift"), scale=scale)
    if kind == "relu":
        return DensityRule(softplus=False, scale=scale)
    raise refused(options.path, f"a TensoRF with fea2denseAct {shown(kind)}", _INSTEAD)


def _step(options: StoredEntries, low: Corner, high: Corner, shape: tuple[int, int, int]) -> float:
    """Return the distance between samples."""
    edges = [(end - start) / (count - 1) for start, end, count in zip(low, high, shape, strict=True)]
    step = sum(edges) / 3.0 * options.positive("step_ratio")
    if math.dist(low, high) / step > _MOST_SAMPLES:
        raise UnsupportedSceneError(
            f"'{options.path.name}': its step_ratio would take more than {_MOST_SAMPLES} samples for a ray."
        )
    return step


def _factors(state: StoredEntries, name: str, shape: tuple[int, int, int], planes: bool) -> Factors:
    """Return the factors called name_plane.0 and so on."""
    lines = [state.tensor(f"{name}_line.{index}", 4) for index in range(3)]
    for index, (line, axis) in enumerate(zip(lines, LINE_AXES, strict=True)):
        _check(state, f"{name}_line.{index}", line, (shape[axis], 1))
    if not planes:
        if len({line.shape[1] for line in lines}) > 1:
            raise misshapen(
                state.path, f"{name}_line.1", tuple(lines[1].shape), "as many components as others"
            )
        return Factors((), tuple(line[0, :, :, 0].contiguous() for line in lines))
    surfaces = [state.tensor(f"{name}_plane.{index}", 4) for index in range(3)]
    for index, (plane, (across, down)) in enumerate(zip(surfaces, PLANE_AXES, strict=True)):
        _check(state, f"{name}_plane.{index}", plane, (shape[down], shape[across]))
        if plane.shape[1] != lines[index].shape[1]:
            raise misshapen(
                state.path, f"{name}_plane.{index}", tuple(plane.shape), "as many components as its line"
            )
    return Factors(
        tuple(plane[0] for plane in surfaces), tuple(line[0, :, :, 0].contiguous() for line in lines)
    )


def _check(state: StoredEntries, name: str, values: Tensor, size: tuple[int, int]) -> None:
    shape = tuple(values.shape)
    if shape[0] != 1 or not 1 <= shape[1] <= _MOST_COMPONENTS or shape[2:] != size:
        raise misshapen(state.path, name, shape, f"1, the components, {size[0]} and {size[1]}")


def _shader(options: StoredEntries, state: StoredEntries) -> Shader:
    """Return what makes colours of features."""
    mode = options.text("shadingMode", "MLP_Fea")
    features = int(options.number("app_dim"))
    if mode in _NETWORKS:
        directions = octaves(options, "view_pe", 6)
        own = octaves(options, "fea_pe", 6) if mode == "MLP_Fea" else None
        layers = stored_layers(state, "renderModule.mlp.")
        inputs = NetworkShader.first_inputs(features, directions, own, residual=False)
        check_inputs(state, layers, inputs, "features and encodings")
        return NetworkShader(layers, features, directions, feature_octaves=own)
    plain: dict[str, Shader] = {"SH": HarmonicShader(), "RGB": PlainShader(squashed=False)}
    if mode not in plain:
        raise refused(options.path, f"a TensoRF with shadingMode {shown(mode)}", _INSTEAD)
    if features != plain[mode].features:
        raise foreign(options.path, f"has {features} features for the shadingMode {mode}")
    return plain[mode]


def _mask(top: StoredEntries) -> OverlapMask | None:
    """Return where there may be something, None where the file does not tell."""
    if "alphaMask.mask" not in top:
        return None
    *ones, along, down, across = top.numbers("alphaMask.shape", 5)
    if ones != [1.0, 1.0]:
        raise misshapen(top.path, "alphaMask.shape", (*ones, along, down, across), "two ones in front")
    shape = checked_shape(top.path, "alphaMask.shape", (across, down, along))
    count = math.prod(shape)
    packed = top.array("alphaMask.mask", 1)
    if packed.dtype != np.uint8 or packed.shape != ((count + 7) // 8,):
        raise misshapen(top.path, "alphaMask.mask", packed.shape, f"{(count + 7) // 8} bytes")
    corners = top.numbers("alphaMask.aabb", 6)
    low, high = _corner(corners[:3]), _corner(corners[3:])
    box_domain(top.path, low, high)
    held = np.unpackbits(packed.view(np.uint8), count=count).reshape(shape[::-1]).transpose().astype(bool)
    flat = torch.from_numpy(np.ascontiguousarray(held).reshape(-1))
    return OverlapMask(NodeLattice(shape, low, high), flat)


def _corner(values: tuple[float, ...]) -> Corner:
    x, y, z = values
    return x, y, z
