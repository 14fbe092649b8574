"""From named meshes to the sections of a file: fit, train, round, code, and look at what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scene_codec.bitstream import Section
from scene_codec.codecs.contract import CodedObject, CodedSet, ContentSize, JobContext
from scene_codec.codecs.mesh_necgs.config import MeshNecgsSettings
from scene_codec.codecs.mesh_necgs.decoder import SetDecoder
from scene_codec.codecs.mesh_necgs.model import PAPER_STEP, SetModel, decoder_shape
from scene_codec.codecs.mesh_necgs.supervision import make_supervision
from scene_codec.codecs.mesh_necgs.syntax import (
    ARCHITECTURE,
    LATENT_CODING,
    WEIGHTS,
    Architecture,
    CodedSurface,
    LatentCoding,
    write_architecture,
    write_latent_coding,
    write_object,
    write_weights,
)
from scene_codec.codecs.mesh_necgs.target_grids import (
    PreparedObject,
    TargetGrids,
    fit_targets,
    prepare_objects,
)
from scene_codec.codecs.mesh_necgs.training import Schedule, Trainer
from scene_codec.entropy.fitting import fit_table
from scene_codec.errors import UnsupportedSceneError
from scene_codec.geometry.scene_object import SceneObject
from scene_codec.progress import Progress
from scene_codec.reports import ObjectFailure
from scene_codec.scaling.cache import result_key

FIT_SHARE, TRAINED_SHARE = 0.15, 0.95


def encode_set(objects: Sequence[SceneObject], settings: MeshNecgsSettings, context: JobContext) -> CodedSet:
    """Train one decoder for all objects and return the file's sections.

    Raises `UnsupportedSceneError` when no object can be coded, `Cancelled`.
    """
    prepared, failures = prepare_objects(objects)
    folder = context.working_folder(job_key(prepared, settings, b"encode"))
    fitted, grids, unfitted = _fit(prepared, settings, folder, context.progress)
    failures += unfitted
    _require_some(fitted, failures)
    generator = torch.Generator().manual_seed(settings.seed)
    model = SetModel(decoder_shape(settings, len(fitted)), settings, grids, generator)
    model.to(context.device)
    supervision = make_supervision(grids, settings, context.device, generator)
    schedule = Schedule.of_set(settings, len(fitted))
    trainer = Trainer(model, supervision, settings, schedule, generator)
    trainer.run(context.progress.part(FIT_SHARE, TRAINED_SHARE, "training"), folder / "checkpoint.pt")
    shared, latents = _code_shared(model)
    grids.close()
    surfaces = _surfaces(fitted, grids, latents)
    coded, empty = _code_objects(fitted, surfaces, SetDecoder(shared, context.device), context)
    sections = tuple(Section(kind, payload) for kind, payload in shared.items())
    return CodedSet(shared=sections, objects=coded, failures=(*failures, *empty))


def add_to_set(
    objects: Sequence[SceneObject],
    shared: Mapping[int, bytes],
    settings: MeshNecgsSettings,
    context: JobContext,
) -> CodedSet:
    """Optimise the latents of new objects under the decoder of a finished file; the file's own bytes stay.

    Raises `UnsupportedSceneError` when no object can be coded, `CorruptFileError`, `Cancelled`.
    """
    decoder = SetDecoder(shared, context.device)
    architecture = decoder.architecture
    settings = msgspec.structs.replace(
        settings,
        resolution=architecture.resolution,
        latent_channels=architecture.latent_channels,
        widths=architecture.widths,
        deformation=architecture.outputs > 1,
        latents="free",
        head="pointwise" if architecture.pointwise_head else "convolution",
        residual=architecture.residual,
        supervision="near-surface" if architecture.pointwise_head else "dense",
        quantiser="fixed" if set(decoder.coding.steps) == {PAPER_STEP} else "learned",
    )
    prepared, failures = prepare_objects(objects)
    folder = context.working_folder(job_key(prepared, settings, b"add" + b"".join(shared.values())))
    fitted, grids, unfitted = _fit(prepared, settings, folder, context.progress)
    failures += unfitted
    _require_some(fitted, failures)
    generator = torch.Generator().manual_seed(settings.seed)
    model = SetModel(architecture.shape, settings, grids, generator)
    model.use_latent_steps(decoder.coding.steps)
    model.to(context.device)
    supervision = make_supervision(grids, settings, context.device, generator)
    schedule = Schedule.of_added(settings, len(fitted))
    weights: dict[str, Tensor] = dict(decoder.network.named_parameters())
    trainer = Trainer(model, supervision, settings, schedule, generator, frozen_weights=weights)
    trainer.run(context.progress.part(FIT_SHARE, TRAINED_SHARE, "optimising"), folder / "checkpoint.pt")
    latents = _round_latents(model)
    grids.close()
    coded, empty = _code_objects(fitted, _surfaces(fitted, grids, latents), decoder, context)
    return CodedSet(shared=(), objects=coded, failures=(*failures, *empty))


def job_key(prepared: Sequence[PreparedObject], settings: MeshNecgsSettings, purpose: bytes) -> str:
    """Return the name of a job's working folder: the same input and settings find their checkpoint again."""
    arrays = [
        array.tobytes() for item in prepared for array in (item.source.mesh.vertices, item.source.mesh.faces)
    ]
    return result_key("mesh-necgs training 1", msgspec.json.encode(settings), [purpose, *arrays])


def _fit(
    prepared: Sequence[PreparedObject], settings: MeshNecgsSettings, folder: Path, progress: Progress
) -> tuple[list[PreparedObject], TargetGrids, list[ObjectFailure]]:
    """Fit the target grids of the first stage."""
    part = progress.part(0.0, FIT_SHARE, "fitting")
    return fit_targets(prepared, settings.resolution, settings.deformation, folder, part)


def _require_some(fitted: Sequence[PreparedObject], failures: Sequence[ObjectFailure]) -> None:
    """Raise `UnsupportedSceneError` with all reasons when nothing is left to code."""
    if not fitted:
        reasons = "; ".join(f"{failure.name}: {failure.reason}" for failure in failures[:5])
        raise UnsupportedSceneError(
            f"None of the objects can be coded. {reasons}" if reasons else "There is no mesh."
        )


def _code_shared(model: SetModel) -> tuple[dict[int, bytes], NDArray[np.int32]]:
    """Return the shared sections of a trained model, and all latents in steps, (n, c, 64)."""
    weight_steps, latent_steps = model.freeze()
    with torch.no_grad():
        _, in_steps = model.rounded_weights()
    weights = [steps.round().to(torch.int32).cpu().numpy().reshape(-1) for steps in in_steps]
    latents = _round_latents(model)
    tables = [fit_table(latents[:, channel].reshape(-1)) for channel in range(latents.shape[1])]
    shape = model.decoder.shape
    architecture = Architecture(
        resolution=shape.resolution,
        latent_channels=shape.latent_channels,
        widths=shape.widths,
        outputs=shape.outputs,
        pointwise_head=shape.pointwise_head,
        residual=shape.residual,
    )
    shared = {
        ARCHITECTURE: write_architecture(architecture),
        WEIGHTS: write_weights(weight_steps, weights),
        LATENT_CODING: write_latent_coding(LatentCoding(tuple(latent_steps), tuple(tables))),
    }
    return shared, latents


def _round_latents(model: SetModel) -> NDArray[np.int32]:
    """Return all latents in steps, (n, c, 64) int32."""
    with torch.no_grad():
        in_steps = model.rounded_latents(range(len(model.latents))).in_steps
    return in_steps.round().to(torch.int32).transpose(1, 2).cpu().numpy()


def _surfaces(
    fitted: Sequence[PreparedObject], grids: TargetGrids, latents: NDArray[np.int32]
) -> list[CodedSurface]:
    """Return what is coded of each object."""
    return [
        CodedSurface(item.frame, np.ascontiguousarray(block), inflated)
        for item, block, inflated in zip(fitted, latents, grids.inflated, strict=True)
    ]


def _code_objects(
    fitted: Sequence[PreparedObject],
    surfaces: Sequence[CodedSurface],
    decoder: SetDecoder,
    context: JobContext,
) -> tuple[tuple[CodedObject, ...], list[ObjectFailure]]:
    """Return every object's section, and as failures the objects of which the decoder makes nothing."""
    coded, failures = [], []
    progress = context.progress.part(TRAINED_SHARE, 1.0, "coding")
    for index, (item, surface) in enumerate(zip(fitted, surfaces, strict=True)):
        if len(decoder.surface_mesh(surface).faces) == 0:
            reason = "nothing is left of it at this quality; use a smaller rate weight or a higher resolution"
            failures.append(ObjectFailure(name=item.source.name, reason=reason))
        else:
            coded.append(
                CodedObject(
                    item.source, write_object(surface, decoder.coding.tables), ContentSize.of(item.source)
                )
            )
        progress.update((index + 1) / len(fitted), item.source.name)
    return tuple(coded), failures
