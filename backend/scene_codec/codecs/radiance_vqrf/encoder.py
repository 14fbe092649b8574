"""From trained voxel fields to the sections of a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch

from scene_codec.bitstream import Section
from scene_codec.codecs.contract import CodedObject, CodedSet, ContentSize, EncodeItem, JobContext
from scene_codec.codecs.radiance_parts.field_jobs import (
    check_pictures,
    encode_each,
    reached_quality,
    state_of_files,
    state_of_pictures,
)
from scene_codec.codecs.radiance_vqrf.config import RadianceVqrfSettings
from scene_codec.codecs.radiance_vqrf.decoder import decode_field
from scene_codec.codecs.radiance_vqrf.paper_codec import encode_as_published
from scene_codec.codecs.radiance_vqrf.rate_method import encode_to_rate
from scene_codec.codecs.radiance_vqrf.scene_setup import SceneSetup, set_up_scene
from scene_codec.codecs.radiance_vqrf.syntax import field_section
from scene_codec.errors import InvalidRequestError
from scene_codec.progress import Progress
from scene_codec.radiance.checkpoint_source import CheckpointFile
from scene_codec.scaling.cache import result_key
from scene_codec.voxel_fields.field_files import load_voxel_field
from scene_codec.voxel_fields.svox2_checkpoint import BLENDER_SCALE
from scene_codec.voxel_fields.voxel_checkpoint import VoxelCheckpoint
from scene_codec.voxel_fields.voxel_field import VoxelField

SET_UP_SHARE, CHECKED_SHARE, ENCODED_SHARE = 0.03, 0.01, 0.95


def encode_fields(
    objects: Sequence[EncodeItem], settings: RadianceVqrfSettings, context: JobContext
) -> CodedSet:
    """Return all fields coded, and as failures those that cannot be.

    Raises `UnsupportedSceneError` with the reasons when nothing is left, `InvalidRequestError`, `Cancelled`.
    """
    if settings.scale != BLENDER_SCALE and not any(_is_plenoxels(item) for item in objects):
        raise InvalidRequestError("scale has no meaning here: only Plenoxels have units of their own.")

    def encode(item: CheckpointFile, progress: Progress) -> CodedObject:
        checkpoint = load_voxel_field(item.paths[0], scale=settings.scale)
        folder = context.working_folder(_job_key(item, settings))
        sections = encode_field(checkpoint, settings, context.device, progress, folder)
        size = ContentSize(
            checkpoint.parameter_bytes,
            checkpoint.source_bytes,
            parameters=checkpoint.parameter_bytes // 4,
        )
        return CodedObject(item, sections, size)

    return encode_each(objects, context, encode)


def _is_plenoxels(item: EncodeItem) -> bool:
    return isinstance(item, CheckpointFile) and item.voxels == "plenoxels"


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
    scene = set_up_scene(checkpoint, settings, progress.part(0.0, SET_UP_SHARE, "reading"))
    return encode_scene(
        checkpoint, scene, settings, device, progress.part(SET_UP_SHARE, 1.0, "encoding"), folder
    )


def encode_scene(
    checkpoint: VoxelCheckpoint,
    scene: SceneSetup,
    settings: RadianceVqrfSettings,
    device: torch.device,
    progress: Progress,
    folder: Path | None = None,
) -> tuple[Section, ...]:
    """Return a trained field's sections, its scene being known."""
    before = VoxelField(checkpoint.model.to(device), scene.domain)
    method = encode_as_published if settings.method == "vqrf" else encode_to_rate
    checking = progress.part(0.0, CHECKED_SHARE, "looking at the pictures")
    check_pictures(before, scene.cameras, scene.pictures, checking)
    part = progress.part(CHECKED_SHARE, ENCODED_SHARE, "encoding")
    header, sections = method(checkpoint, before, scene, settings, part, folder)
    stored = {section.kind: section.payload for section in (field_section(header), *sections)}
    measuring = progress.part(ENCODED_SHARE, 1.0, "measuring")
    reached = reached_quality(decode_field(stored, device), before, scene.cameras, scene.pictures, measuring)
    return (field_section(msgspec.structs.replace(header, hundredths=reached)), *sections)


def _job_key(item: CheckpointFile, settings: RadianceVqrfSettings) -> str:
    """Return the name of a job's working folder: the same files and settings find their checkpoint again."""
    paths = [below for path in item.paths for below in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    sources = [state_of_files(paths)]
    if settings.images:
        sources.append(state_of_pictures(Path(settings.images)))
    return result_key("radiance-vqrf fine-tuning 1", msgspec.json.encode(settings), sources)
