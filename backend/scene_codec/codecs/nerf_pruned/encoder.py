"""From trained radiance networks to the sections of a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch

from scene_codec.codecs.contract import CodedObject, CodedSet, ContentSize, EncodeItem, JobContext
from scene_codec.codecs.nerf_pruned.config import NerfPrunedSettings
from scene_codec.codecs.nerf_pruned.decoder import field_of
from scene_codec.codecs.nerf_pruned.integer_networks import quantised_integer_layers, share_of_zeros
from scene_codec.codecs.nerf_pruned.paper_method import prune_as_published
from scene_codec.codecs.nerf_pruned.scene_setup import SceneSetup, set_up_scene
from scene_codec.codecs.nerf_pruned.silent_neurons import without_silent_neurons
from scene_codec.codecs.nerf_pruned.supervision import (
    PictureSupervision,
    RaySampler,
    Supervision,
    TeacherSupervision,
)
from scene_codec.codecs.nerf_pruned.syntax import (
    CodedField,
    FieldHeader,
    StoredShape,
    pack_domain,
    write_field,
)
from scene_codec.codecs.nerf_pruned.training import Lessons, Retraining
from scene_codec.codecs.radiance_parts.field_jobs import (
    check_pictures,
    encode_each,
    reached_quality,
    state_of_pictures,
)
from scene_codec.codecs.radiance_parts.weight_coding import IntegerLayer
from scene_codec.networks.radiance_folding import folded
from scene_codec.networks.radiance_mlp import RadianceMlp
from scene_codec.networks.radiance_neurons import keep_neurons, neuron_scores, strongest
from scene_codec.networks.radiance_shape import RadianceShape
from scene_codec.progress import Progress
from scene_codec.radiance.checkpoint_source import CheckpointFile
from scene_codec.radiance.checkpoints import NerfPair, load_checkpoint
from scene_codec.radiance.field import RadianceField
from scene_codec.radiance.nerf_field import OccupiedNerfField
from scene_codec.radiance.visibility import refined
from scene_codec.scaling.cache import result_key

SET_UP_SHARE, CHECKED_SHARE, TRAINED_SHARE = 0.08, 0.09, 0.95
_SCORING_RAYS = 4096


def encode_fields(
    objects: Sequence[EncodeItem], settings: NerfPrunedSettings, context: JobContext
) -> CodedSet:
    """Return all fields coded, and as failures those that cannot be.

    Raises `UnsupportedSceneError` with the reasons when nothing is left, `InvalidRequestError`, `Cancelled`.
    """

    def encode(item: CheckpointFile, progress: Progress) -> CodedObject:
        pair = load_checkpoint(item.paths)
        folder = context.working_folder(_job_key(item, settings))
        field = encode_field(pair, settings, context.device, progress, folder)
        size = ContentSize(pair.parameter_bytes, pair.source_bytes, parameters=pair.parameter_bytes // 4)
        return CodedObject(item, write_field(field), size)

    return encode_each(objects, context, encode)


def encode_field(
    pair: NerfPair,
    settings: NerfPrunedSettings,
    device: torch.device,
    progress: Progress,
    folder: Path | None = None,
) -> CodedField:
    """Return a trained field in integers.

    folder : where an interrupted run leaves its state
    """
    if settings.method == "paper":
        return prune_as_published(pair, settings, device, progress, folder)
    teacher = folded(pair.fine).to(device)
    set_up = progress.part(0.0, SET_UP_SHARE, "looking for the scene")
    scene = set_up_scene(teacher, pair, settings, set_up)
    before = OccupiedNerfField(teacher, scene.grid, scene.domain)
    checking = progress.part(SET_UP_SHARE, CHECKED_SHARE, "looking at the pictures")
    check_pictures(before, scene.cameras, scene.pictures, checking)
    sampler = _sampler(teacher, scene, settings)
    student = _with_fewer_neurons(teacher, scene, sampler, settings)
    taught: Supervision = TeacherSupervision(teacher, scene.cameras, sampler)
    seen = taught if scene.pictures is None else PictureSupervision(scene.pictures, sampler)
    lessons = Lessons(taught, seen, scene.domain.white_background, sampler.step)
    training = Retraining(student, lessons, settings)
    checkpoint = None if folder is None else folder / "checkpoint.pt"
    training.run(progress.part(CHECKED_SHARE, TRAINED_SHARE, "retraining"), checkpoint)
    shape, layers = without_silent_neurons(student.shape, quantised_integer_layers(training.quantised))
    coded = CodedField(_header(pair, shape, layers, scene), (layers,), scene.grid.occupied.cpu().numpy())
    part = progress.part(TRAINED_SHARE, 1.0, "measuring")
    return _measured(coded, before, scene, part)


def _sampler(teacher: RadianceMlp, scene: SceneSetup, settings: NerfPrunedSettings) -> RaySampler:
    """Return where the rays of training are sampled."""
    with torch.inference_mode():
        dense = refined(teacher, scene.grid)
    step = (scene.domain.far - scene.domain.near) / settings.samples
    return RaySampler(scene.domain, scene.grid, dense, step)


def _job_key(item: CheckpointFile, settings: NerfPrunedSettings) -> str:
    """Return the name of a job's working folder: the same files and settings find their checkpoint again."""
    contents = [path.read_bytes() for path in item.paths]
    if settings.images:
        contents.append(state_of_pictures(Path(settings.images)))
    return result_key("nerf-pruned retraining 1", msgspec.json.encode(settings), contents)


def _with_fewer_neurons(
    teacher: RadianceMlp, scene: SceneSetup, sampler: RaySampler, settings: NerfPrunedSettings
) -> RadianceMlp:
    """Return the network that is trained: a copy of the large one, or of its strongest neurons."""
    generator = torch.Generator().manual_seed(settings.seed)
    drawn = scene.cameras.draw(_SCORING_RAYS, generator)
    rays, samples = sampler.sample(drawn, generator, everywhere=False)
    scores = neuron_scores(teacher, samples.positions(rays), rays.views[samples.ray])
    return keep_neurons(teacher, strongest(scores, settings.neurons))


def _header(
    pair: NerfPair, shape: RadianceShape, layers: Sequence[IntegerLayer], scene: SceneSetup
) -> FieldHeader:
    """Return the description of a field but for what was reached."""
    space, lens = pack_domain(scene.domain)
    zeros = share_of_zeros(shape, layers, folded(pair.fine).shape)
    return FieldHeader(
        networks=(StoredShape.of(shape),),
        space=space,
        lens=lens,
        white_background=scene.domain.white_background,
        corner_width=scene.domain.corner_width,
        cells=scene.grid.resolution,
        zeros=round(1000 * zeros),
        source_parameters=pair.parameter_bytes // 4,
    )


def _measured(coded: CodedField, before: RadianceField, scene: SceneSetup, progress: Progress) -> CodedField:
    """Return a coded field that says how well it shows what the networks showed, and what pictures show."""
    after = field_of(coded, before.device)
    reached = reached_quality(after, before, scene.cameras, scene.pictures, progress)
    return dataclasses.replace(coded, header=msgspec.structs.replace(coded.header, hundredths=reached))
