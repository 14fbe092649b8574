"""From trained voxel fields to the sections of a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from scene_codec.bitstream import Section
from scene_codec.codecs.contract import CodedObject, CodedSet, ContentSize, EncodeItem, JobContext
from scene_codec.codecs.radiance_vqrf.config import RadianceVqrfSettings
from scene_codec.codecs.radiance_vqrf.decoder import decode_field
from scene_codec.codecs.radiance_vqrf.paper_codec import encode_as_published
from scene_codec.codecs.radiance_vqrf.rate_method import encode_to_rate
from scene_codec.codecs.radiance_vqrf.scene_setup import SceneSetup, set_up_scene
from scene_codec.codecs.radiance_vqrf.syntax import field_section
from scene_codec.errors import UnsupportedSceneError
from scene_codec.progress import Progress
from scene_codec.radiance.checkpoint_source import CheckpointFile
from scene_codec.radiance.field import RadianceField
from scene_codec.radiance.ray_supply import CameraSet
from scene_codec.reports import ObjectFailure
from scene_codec.scaling.cache import result_key
from scene_codec.voxel_fields.field_files import load_voxel_field
from scene_codec.voxel_fields.voxel_checkpoint import VoxelCheckpoint
from scene_codec.voxel_fields.voxel_field import VoxelField

SET_UP_SHARE, ENCODED_SHARE = 0.03, 0.95
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
    part = progress.part(0.0, ENCODED_SHARE, "encoding")
    header, sections = method(checkpoint, before, scene, settings, part, folder)
    stored = {section.kind: section.payload for section in (field_section(header), *sections)}
    measuring = progress.part(ENCODED_SHARE, 1.0, "measuring")
    reached = _reached(decode_field(stored, device), before, scene, measuring)
    return (field_section(msgspec.structs.replace(header, hundredths=reached)), *sections)


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


def _reached(
    after: RadianceField, before: RadianceField, scene: SceneSetup, progress: Progress
) -> tuple[int, int]:
    """Return how well a field shows what the large one showed, and what pictures show; see `FieldHeader`."""
    generator = torch.Generator().manual_seed(1)
    pixel = torch.randint(scene.cameras.pixels, (_CHECK_RAYS,), generator=generator)
    seen = _colours(after, scene.cameras, pixel, progress.part(0.0, 0.5, "measuring"))
    shown = _colours(before, scene.cameras, pixel, progress.part(0.5, 1.0, "measuring"))
    to_pictures = -1
    if scene.pictures is not None:
        to_pictures = _hundredths(seen, scene.pictures.at(pixel)[1])
    return _hundredths(seen, shown), to_pictures


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
