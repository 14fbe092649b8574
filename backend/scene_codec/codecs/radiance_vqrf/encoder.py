"""From trained voxel fields to the sections of a file."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from scene_codec.bitstream import Section
from scene_codec.codecs.contract import CodedObject, CodedSet, ContentSize, EncodeItem, JobContext
from scene_codec.codecs.radiance_parts.weight_coding import IntegerLayer
from scene_codec.codecs.radiance_vqrf.config import RadianceVqrfSettings
from scene_codec.codecs.radiance_vqrf.decoder import model_of
from scene_codec.codecs.radiance_vqrf.field_parts import pack_rules, pack_space, stored_shader
from scene_codec.codecs.radiance_vqrf.fine_tuning import FineTuning
from scene_codec.codecs.radiance_vqrf.grid_fitting import BITS_PER_KILOBYTE, FittedGrid, fit_grid
from scene_codec.codecs.radiance_vqrf.grid_pruning import rebased
from scene_codec.codecs.radiance_vqrf.quantised_grid import layers_of
from scene_codec.codecs.radiance_vqrf.scene_setup import SceneSetup, set_up_scene
from scene_codec.codecs.radiance_vqrf.shader_rounding import PLAIN_LEVELS, TRAINED_LEVELS, integer_layers
from scene_codec.codecs.radiance_vqrf.stored_field import FieldHeader
from scene_codec.codecs.radiance_vqrf.supervision import supervision_of
from scene_codec.codecs.radiance_vqrf.syntax import CodedField, write_field
from scene_codec.codecs.radiance_vqrf.value_rates import rounded_to_rate
from scene_codec.errors import UnsupportedSceneError
from scene_codec.progress import Progress
from scene_codec.radiance.checkpoint_source import CheckpointFile
from scene_codec.radiance.field import RadianceField
from scene_codec.radiance.ray_supply import CameraSet
from scene_codec.reports import ObjectFailure
from scene_codec.scaling.cache import result_key
from scene_codec.voxel_fields.field_files import load_voxel_field
from scene_codec.voxel_fields.node_statistics import StatisticsPlan, node_statistics
from scene_codec.voxel_fields.plain_grids import plain_grid
from scene_codec.voxel_fields.voxel_checkpoint import VoxelCheckpoint
from scene_codec.voxel_fields.voxel_field import VoxelField

SET_UP_SHARE, WATCHED_SHARE, TUNED_SHARE = 0.03, 0.1, 0.95
_CHECK_RAYS = 20_000


def encode_fields(
    objects: Sequence[EncodeItem], settings: RadianceVqrfSettings, context: JobContext
) -> CodedSet:
    """Return all fields coded, and as failures those that cannot be.

    Raises `UnsupportedSceneError` with the reasons when nothing is left, `InvalidRequestError`, `Cancelled`.
    """
    coded: list[CodedObject] = []
    failures: list[ObjectFailure] = []
    for index, item in enumerate(objects):
        assert isinstance(item, CheckpointFile)
        part = context.progress.part(index / len(objects), (index + 1) / len(objects), item.name)
        try:
            checkpoint = load_voxel_field(item.paths[0], scale=settings.scale)
            folder = context.working_folder(_job_key(item, settings))
            sections = encode_field(checkpoint, settings, context.device, part, folder)
            parameters = checkpoint.parameter_bytes // 4
            size = ContentSize(checkpoint.parameter_bytes, checkpoint.source_bytes, parameters=parameters)
            coded.append(CodedObject(item, sections, size))
        except UnsupportedSceneError as problem:
            failures.append(ObjectFailure(name=item.name, reason=str(problem)))
    if not coded:
        reasons = "; ".join(f"{failure.name}: {failure.reason}" for failure in failures[:5])
        raise UnsupportedSceneError(f"No radiance field could be encoded. {reasons}".rstrip())
    return CodedSet(shared=(), objects=tuple(coded), failures=tuple(failures))


def encode_field(
    checkpoint: VoxelCheckpoint,
    settings: RadianceVqrfSettings,
    device: torch.device,
    progress: Progress,
    folder: Path | None = None,
) -> tuple[Section, ...]:
    """Return a trained field's sections.

    folder : where an interrupted run leaves its state
    """
    set_up = progress.part(0.0, SET_UP_SHARE, "reading")
    scene = set_up_scene(checkpoint, settings, set_up)
    before = VoxelField(checkpoint.model.to(device), scene.domain)
    watching = progress.part(SET_UP_SHARE, WATCHED_SHARE, "looking at the nodes")
    model = rebased(plain_grid(before.model, watching))
    generator = torch.Generator().manual_seed(settings.seed)
    seen = node_statistics(model, scene.domain, scene.cameras.draw, StatisticsPlan(), generator, watching)
    fitted = fit_grid(model, seen, settings.error_per_kilobyte)
    coded = _coded(checkpoint, fitted, scene, settings, before, progress, folder)
    return write_field(_measured(coded, before, scene, progress.part(TUNED_SHARE, 1.0, "measuring")))


def _coded(
    checkpoint: VoxelCheckpoint,
    fitted: FittedGrid,
    scene: SceneSetup,
    settings: RadianceVqrfSettings,
    before: VoxelField,
    progress: Progress,
    folder: Path | None,
) -> CodedField:
    """Return a fitted grid in integers: fine-tuned, or each value rounded by itself."""
    if settings.steps:
        lessons = supervision_of(scene.pictures, before, scene.cameras)
        tuning = FineTuning(fitted, lessons, scene.domain, settings)
        part = progress.part(WATCHED_SHARE, TUNED_SHARE, "fine-tuning")
        tuning.run(part, None if folder is None else folder / "checkpoint.pt")
        tuned = tuning.quantised
        densities, features = tuned.densities.values.round(), tuned.features.values.round()
        layers = integer_layers(tuned.layers, TRAINED_LEVELS)
    else:
        held = (fitted.model.index.row >= 0).view(fitted.model.index.lattice.shape).cpu().numpy()
        per_bit = settings.error_per_kilobyte / BITS_PER_KILOBYTE
        densities = rounded_to_rate(fitted.densities, fitted.density_weights, per_bit, held)
        features = rounded_to_rate(fitted.features, fitted.feature_weights, per_bit, held)
        layers = integer_layers(layers_of(fitted.model.shader), PLAIN_LEVELS)
    return _integers(checkpoint, fitted, (densities, features), layers, scene)


def _integers(
    checkpoint: VoxelCheckpoint,
    fitted: FittedGrid,
    values: tuple[Tensor, Tensor],
    layers: tuple[IntegerLayer, ...],
    scene: SceneSetup,
) -> CodedField:
    """Return whole values as a file holds them; nodes without any are left out."""
    densities, features = values
    left = (densities != 0).squeeze(1) | (features != 0).any(dim=1)
    lattice = fitted.model.index.lattice
    held = torch.zeros(lattice.nodes, dtype=torch.bool)
    held[fitted.model.index.held[left].cpu()] = True
    space, lens = pack_space(scene.domain, lattice)
    model = fitted.model
    header = FieldHeader(
        method="rate",
        family=checkpoint.family,
        shape=lattice.shape,
        softplus=model.rule.softplus,
        rules=pack_rules(model),
        shader=stored_shader(model.shader),
        space=space,
        lens=lens,
        white_background=scene.domain.white_background,
        nodes=int(left.sum()),
        coordinates=features.shape[1],
        source_parameters=checkpoint.parameter_bytes // 4,
    )
    return CodedField(
        header=header,
        held=held.view(lattice.shape).numpy(),
        densities=densities[left].to(torch.int32).cpu().numpy(),
        density_step=fitted.density_step,
        features=features[left].to(torch.int32).cpu().numpy(),
        feature_step=fitted.feature_step,
        feature_map=fitted.feature_map.half().cpu().numpy(),
        layers=layers,
    )


def _job_key(item: CheckpointFile, settings: RadianceVqrfSettings) -> str:
    """Return the name of a job's working folder: the same files and settings find their checkpoint again."""
    sources = [_state_of(path) for path in item.paths]
    if settings.images:
        sources.append(_state_of(Path(settings.images)))
    return result_key("radiance-vqrf fine-tuning 1", msgspec.json.encode(settings), sources)


def _state_of(path: Path) -> bytes:
    """Return what tells whether a file or folder has changed: names, sizes and times of its files."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    states = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
    return repr(states).encode()


def _measured(coded: CodedField, before: RadianceField, scene: SceneSetup, progress: Progress) -> CodedField:
    """Return a coded field that says how well it shows what the field showed, and what pictures show."""
    after = VoxelField(model_of(coded, before.device), scene.domain)
    generator = torch.Generator().manual_seed(1)
    pixel = torch.randint(scene.cameras.pixels, (_CHECK_RAYS,), generator=generator)
    seen = _colours(after, scene.cameras, pixel, progress.part(0.0, 0.5, "measuring"))
    shown = _colours(before, scene.cameras, pixel, progress.part(0.5, 1.0, "measuring"))
    to_pictures = -1
    if scene.pictures is not None:
        to_pictures = _hundredths(seen, scene.pictures.at(pixel)[1])
    header = msgspec.structs.replace(coded.header, hundredths=(_hundredths(seen, shown), to_pictures))
    return dataclasses.replace(coded, header=header)


def _colours(field: RadianceField, cameras: CameraSet, pixel: Tensor, progress: Progress) -> Tensor:
    """Return what a field shows at pixels (n,), on the CPU."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(pixel), field.rays_at_once):
            progress.update(start / len(pixel))
            rays = cameras.rays(pixel[start : start + field.rays_at_once]).to(field.device)
            parts.append(field.render(rays).colour.cpu())
    return torch.cat(parts)


def _hundredths(seen: Tensor, wanted: Tensor) -> int:
    """Return the PSNR between colours (n, 3) in hundredths of a decibel."""
    error = float((seen - wanted).square().mean())
    return max(0, round(-1000.0 * math.log10(max(error, 1e-20))))
