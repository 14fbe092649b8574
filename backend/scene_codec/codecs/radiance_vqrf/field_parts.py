"""What a file says of a voxel field besides its values, as the renderer's own classes, and back."""

from __future__ import annotations

from torch import Tensor

from scene_codec.codecs.radiance_vqrf.stored_field import LENS, RULES, SPACE, FieldHeader, StoredShader
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.grid_model import GridModel, GridStep
from scene_codec.voxel_fields.node_lattice import NodeIndex, NodeLattice
from scene_codec.voxel_fields.shading import HarmonicShader, LinearLayer, NetworkShader, PlainShader, Shader
from scene_codec.voxel_fields.voxel_model import DensityRule, Limits


def lattice_of(header: FieldHeader) -> NodeLattice:
    """Return where the nodes of a field lie."""
    return NodeLattice(header.shape, header.domain.low, header.domain.high)


def grid_of(
    header: FieldHeader, index: NodeIndex, values: tuple[Tensor, Tensor], layers: tuple[LinearLayer, ...]
) -> GridModel:
    """Return a grid with the header's rules.

    values : raw densities (rows, 1) and features (rows, features)
    layers : of the shader's network, none when it is no network
    """
    shift, scale, size, alpha, weight, dark = RULES.unpack(header.rules)
    return GridModel(
        index,
        *values,
        shader_of(header.shader, layers),
        DensityRule(softplus=header.softplus, shift=shift, scale=scale),
        GridStep(size),
        Limits(alpha=alpha, weight=weight, dark=dark),
    )


def shader_of(stored: StoredShader, layers: tuple[LinearLayer, ...]) -> Shader:
    """Return a shader with the layers of its network, if it is one."""
    if stored.kind == "harmonics":
        return HarmonicShader(stored.features)
    if stored.kind == "plain":
        return PlainShader(stored.squashed, stored.features)
    octaves = None if stored.feature_octaves < 0 else stored.feature_octaves
    return NetworkShader(layers, stored.features, stored.view_octaves, octaves, stored.residual)


def stored_shader(shader: Shader) -> StoredShader:
    """Return what a file says of a shader, its weights apart."""
    if isinstance(shader, HarmonicShader):
        return StoredShader(kind="harmonics", features=shader.features)
    if isinstance(shader, PlainShader):
        return StoredShader(kind="plain", features=shader.features, squashed=shader.squashed)
    assert isinstance(shader, NetworkShader)
    return StoredShader(
        kind="network",
        features=shader.features,
        widths=tuple(len(bias) for _, bias in shader.layers[:-1]),
        view_octaves=shader.view_octaves,
        feature_octaves=-1 if shader.feature_octaves is None else shader.feature_octaves,
        residual=shader.residual,
    )


def pack_rules(model: GridModel) -> bytes:
    """Return `FieldHeader.rules`."""
    rule, limits = model.rule, model.limits
    return RULES.pack(rule.shift, rule.scale, model.step.size, limits.alpha, limits.weight, limits.dark)


def pack_space(domain: SceneDomain, lattice: NodeLattice) -> tuple[bytes, bytes]:
    """Return `FieldHeader.space` and `lens`: the box is that of the lattice."""
    space = SPACE.pack(domain.near, domain.far, *lattice.low, *lattice.high)
    return space, b"" if domain.ndc is None else LENS.pack(*domain.ndc)
