"""The published method between trained field and sections, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import torch

from scene_codec.bitstream import Section
from scene_codec.codecs.radiance_vqrf.config import RadianceVqrfSettings
from scene_codec.codecs.radiance_vqrf.field_parts import (
    check_storable,
    grid_header,
    lattice_of,
    limits_of,
    pack_space,
    rule_of,
    shader_of,
    step_of,
    stored_shader,
)
from scene_codec.codecs.radiance_vqrf.paper_grid import PaperFrame, PaperGrid, model_of
from scene_codec.codecs.radiance_vqrf.paper_method import check_planes, compress_as_published
from scene_codec.codecs.radiance_vqrf.paper_plane_syntax import read_planes, write_planes
from scene_codec.codecs.radiance_vqrf.paper_planes import model_of_planes
from scene_codec.codecs.radiance_vqrf.paper_syntax import read_paper, write_paper
from scene_codec.codecs.radiance_vqrf.scene_setup import SceneSetup
from scene_codec.codecs.radiance_vqrf.stored_field import RULES, SPACE, FieldHeader, StoredPlanes
from scene_codec.codecs.radiance_vqrf.supervision import supervision_of
from scene_codec.errors import CorruptFileError
from scene_codec.progress import Progress
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.factored_model import LINE_AXES, PLANE_AXES, FactoredModel, Factors, OverlapMask
from scene_codec.voxel_fields.grid_model import GridModel
from scene_codec.voxel_fields.node_lattice import NodeLattice
from scene_codec.voxel_fields.plain_grids import plain_grid
from scene_codec.voxel_fields.shading import LinearLayer, Shader
from scene_codec.voxel_fields.voxel_checkpoint import VoxelCheckpoint
from scene_codec.voxel_fields.voxel_field import VoxelField
from scene_codec.voxel_fields.voxel_model import VoxelModel


def encode_as_published(
    checkpoint: VoxelCheckpoint,
    before: VoxelField,
    scene: SceneSetup,
    settings: RadianceVqrfSettings,
    progress: Progress,
    folder: Path | None,
) -> tuple[FieldHeader, list[Section]]:
    """Return the description of a field and its other sections."""
    model: VoxelModel = before.model
    if isinstance(model, GridModel):
        model = plain_grid(model)
        draft = grid_header(checkpoint, model, scene.domain, 0, model.features.shape[1])
    else:
        assert isinstance(model, FactoredModel)
        check_planes(model)
        draft = _plane_header(checkpoint, model, scene.domain)
    check_storable(msgspec.structs.replace(draft, method="vqrf", codes=settings.codes))
    lessons = supervision_of(scene.pictures, before, scene.cameras)
    found = compress_as_published(model, scene.domain, lessons, settings, progress, folder)
    if isinstance(found, PaperGrid):
        assert isinstance(model, GridModel)
        header = grid_header(checkpoint, model, scene.domain, int(found.held.sum()), model.features.shape[1])
        sections = write_paper(found)
        codes = len(found.codebook)
    else:
        header = draft
        sections = write_planes(found)
        codes = len(found.density[0].codebook)
    marked = msgspec.structs.replace(header, method="vqrf", codes=codes)
    return marked, [Section(kind, content) for kind, content in sections.items()]


def decode_as_published(
    header: FieldHeader, sections: Mapping[int, bytes], device: torch.device
) -> VoxelModel:
    """Return the field in the sections besides its description. Raises `CorruptFileError`."""
    shader = shader_of(header.shader, _zero_layers(header))
    if header.planes is not None:
        frame = _plane_frame(header, header.planes, shader)
        return model_of_planes(read_planes(sections, frame, header.codes), frame, device)
    grid = PaperFrame(lattice_of(header), shader, rule_of(header), step_of(header), limits_of(header))
    found = read_paper(sections, grid, header.codes)
    held, features = int(found.held.sum()), header.shader.features
    if (held, features) != (header.nodes, header.coordinates):
        raise CorruptFileError(
            f"A voxel field holds {held} nodes of {features} features and not {header.nodes} of "
            f"{header.coordinates}."
        )
    return model_of(found, grid, device)


def _zero_layers(header: FieldHeader) -> tuple[LinearLayer, ...]:
    """Return layers of the right shapes."""
    return tuple(
        (torch.zeros((outputs, inputs)), torch.zeros(outputs)) for outputs, inputs in header.shader.sizes
    )


def _plane_header(checkpoint: VoxelCheckpoint, model: FactoredModel, domain: SceneDomain) -> FieldHeader:
    """Return the description of a field of planes and lines."""
    counts = {axis: line.shape[1] for axis, line in zip(LINE_AXES, model.density_factors.lines, strict=True)}
    lattice = NodeLattice((counts[0], counts[1], counts[2]), model.low, model.high)
    space, lens = pack_space(domain, lattice)
    mask = model.mask
    corners = (*mask.lattice.low, *mask.lattice.high) if mask is not None else (*model.low, *model.high)
    density, appearance = (
        tuple(len(plane) for plane in factors.planes) for factors in (model.density_factors, model.appearance)
    )
    limits = model.limits
    return FieldHeader(
        method="vqrf",
        family=checkpoint.family,
        shape=lattice.shape,
        softplus=model.rule.softplus,
        rules=RULES.pack(
            model.rule.shift, model.rule.scale, model.step, limits.alpha, limits.weight, limits.dark
        ),
        shader=stored_shader(model.shader),
        space=space,
        lens=lens,
        white_background=domain.white_background,
        planes=StoredPlanes(
            density=(density[0], density[1], density[2]),
            appearance=(appearance[0], appearance[1], appearance[2]),
            limits=SPACE.pack(model.near, model.far, *corners),
            mask=() if mask is None else mask.lattice.shape,
        ),
        source_parameters=checkpoint.parameter_bytes // 4,
    )


def _plane_frame(header: FieldHeader, planes: StoredPlanes, shader: Shader) -> FactoredModel:
    """Return a field of planes and lines of the right shapes, without values of its own."""
    lattice = lattice_of(header)
    near, far, *corners = SPACE.unpack(planes.limits)
    mask = None
    if planes.mask:
        x, y, z = planes.mask
        low, high = (corners[0], corners[1], corners[2]), (corners[3], corners[4], corners[5])
        mask = OverlapMask(NodeLattice((x, y, z), low, high), torch.zeros(1, dtype=torch.bool))
    return FactoredModel(
        low=lattice.low,
        high=lattice.high,
        density_factors=_factors(lattice.shape, planes.density),
        appearance=_factors(lattice.shape, planes.appearance),
        basis=torch.zeros(1).expand(shader.features, sum(planes.appearance)),
        shader=shader,
        rule=rule_of(header),
        step=step_of(header).size,
        near=near,
        far=far,
        limits=limits_of(header),
        mask=mask,
    )


def _factors(shape: tuple[int, int, int], components: tuple[int, int, int]) -> Factors:
    """Return factors of so many nodes that take no memory."""
    nothing = torch.zeros(1)
    return Factors(
        tuple(
            nothing.expand(count, shape[second], shape[first])
            for count, (first, second) in zip(components, PLANE_AXES, strict=True)
        ),
        tuple(nothing.expand(count, shape[axis]) for count, axis in zip(components, LINE_AXES, strict=True)),
    )
