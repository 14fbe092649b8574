"""What a file says of a voxel field besides its values, as the renderer's own classes, and back."""

from __future__ import annotations

from scene_codec.codecs.radiance_vqrf.stored_field import (
    LENS,
    RULES,
    SPACE,
    FieldHeader,
    StoredShader,
    impossibility,
)
from scene_codec.errors import UnsupportedSceneError
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.grid_model import GridModel, GridStep
from scene_codec.voxel_fields.node_lattice import NodeLattice
from scene_codec.voxel_fields.shading import HarmonicShader, LinearLayer, NetworkShader, PlainShader, Shader
from scene_codec.voxel_fields.voxel_checkpoint import VoxelCheckpoint
from scene_codec.voxel_fields.voxel_model import DensityRule, Limits


def lattice_of(header: FieldHeader) -> NodeLattice:
    """Return where the nodes of a field lie."""
    return NodeLattice(header.shape, header.domain.low, header.domain.high)


def rule_of(header: FieldHeader) -> DensityRule:
    """Return how stored values become densities."""
    shift, scale, *_ = RULES.unpack(header.rules)
    return DensityRule(softplus=header.softplus, shift=shift, scale=scale)


def step_of(header: FieldHeader) -> GridStep:
    """Return the distance between samples."""
    return GridStep(RULES.unpack(header.rules)[2])


def limits_of(header: FieldHeader) -> Limits:
    """Return what is not worth evaluating."""
    _, _, _, alpha, weight, dark = RULES.unpack(header.rules)
    return Limits(alpha=alpha, weight=weight, dark=dark)


def grid_header(
    checkpoint: VoxelCheckpoint, model: GridModel, domain: SceneDomain, nodes: int, coordinates: int
) -> FieldHeader:
    """Return the description of a grid, but for what was reached."""
    space, lens = pack_space(domain, model.index.lattice)
    rule, limits = model.rule, model.limits
    return FieldHeader(
        method="rate",
        family=checkpoint.family,
        shape=model.index.lattice.shape,
        softplus=rule.softplus,
        rules=RULES.pack(rule.shift, rule.scale, model.step.size, limits.alpha, limits.weight, limits.dark),
        shader=stored_shader(model.shader),
        space=space,
        lens=lens,
        white_background=domain.white_background,
        nodes=nodes,
        coordinates=coordinates,
        source_parameters=checkpoint.parameter_bytes // 4,
    )


def check_storable(header: FieldHeader) -> None:
    """Raise `UnsupportedSceneError` for a field of which a file cannot tell, before it is made small."""
    fault = impossibility(header)
    if fault:
        raise UnsupportedSceneError(f"No file can hold a voxel field with {fault}.")


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


def pack_space(domain: SceneDomain, lattice: NodeLattice) -> tuple[bytes, bytes]:
    """Return `FieldHeader.space` and `lens`: the box is that of the lattice."""
    space = SPACE.pack(domain.near, domain.far, *lattice.low, *lattice.high)
    return space, b"" if domain.ndc is None else LENS.pack(*domain.ndc)
