"""Our method between trained field and sections: nodes and values are kept as their bits are worth it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from scene_codec.bitstream import Section
from scene_codec.codecs.radiance_parts.weight_coding import IntegerLayer
from scene_codec.codecs.radiance_vqrf.config import RadianceVqrfSettings
from scene_codec.codecs.radiance_vqrf.field_parts import check_storable, grid_header
from scene_codec.codecs.radiance_vqrf.fine_tuning import FineTuning
from scene_codec.codecs.radiance_vqrf.grid_fitting import BITS_PER_KILOBYTE, FittedGrid, fit_grid
from scene_codec.codecs.radiance_vqrf.grid_pruning import rebased
from scene_codec.codecs.radiance_vqrf.quantised_grid import layers_of
from scene_codec.codecs.radiance_vqrf.scene_setup import SceneSetup
from scene_codec.codecs.radiance_vqrf.shader_rounding import PLAIN_LEVELS, TRAINED_LEVELS, integer_layers
from scene_codec.codecs.radiance_vqrf.stored_field import FieldHeader
from scene_codec.codecs.radiance_vqrf.supervision import supervision_of
from scene_codec.codecs.radiance_vqrf.syntax import CodedField, write_values
from scene_codec.codecs.radiance_vqrf.value_rates import rounded_to_rate
from scene_codec.progress import Progress
from scene_codec.voxel_fields.grid_model import GridModel
from scene_codec.voxel_fields.node_statistics import StatisticsPlan, node_statistics
from scene_codec.voxel_fields.plain_grids import plain_grid
from scene_codec.voxel_fields.voxel_checkpoint import VoxelCheckpoint
from scene_codec.voxel_fields.voxel_field import VoxelField

_WATCHED_SHARE = 0.08
_COMPARED_RAYS = 4096

Rounded = tuple[Tensor, Tensor, tuple[IntegerLayer, ...]]
"""Whole densities, whole features, and the layers of the network."""


def encode_to_rate(
    checkpoint: VoxelCheckpoint,
    before: VoxelField,
    scene: SceneSetup,
    settings: RadianceVqrfSettings,
    progress: Progress,
    folder: Path | None,
) -> tuple[FieldHeader, list[Section]]:
    """Return the description of a field and its other sections.

    Raises `UnsupportedSceneError` when nothing can be seen, `Cancelled`.
    """
    watching = progress.part(0.0, _WATCHED_SHARE, "looking at the nodes")
    model = rebased(plain_grid(before.model, watching))
    check_storable(grid_header(checkpoint, model, scene.domain, 0, model.features.shape[1]))
    generator = torch.Generator().manual_seed(settings.seed)
    seen = node_statistics(model, scene.domain, scene.cameras.draw, StatisticsPlan(), generator, watching)
    error_of = _error_to(model, scene, generator)
    fitted = fit_grid(model, seen, error_of, settings.error_per_kilobyte)
    if settings.steps:
        lessons = supervision_of(scene.pictures, before, scene.cameras)
        tuning = FineTuning(fitted, lessons, scene.domain, settings)
        part = progress.part(_WATCHED_SHARE, 1.0, "fine-tuning")
        tuning.run(part, None if folder is None else folder / "checkpoint.pt")
        tuned = tuning.quantised
        values = tuned.densities.values, tuned.features.values
        layers = integer_layers(tuned.layers, TRAINED_LEVELS)
    else:
        values = fitted.densities, fitted.features
        layers = integer_layers(layers_of(fitted.model.shader), PLAIN_LEVELS)
    rounded = (*_rounded(fitted, values, settings), layers)
    coded = _in_integers(checkpoint, fitted, rounded, scene)
    return coded.header, write_values(coded)


def _error_to(
    model: GridModel, scene: SceneSetup, generator: torch.Generator
) -> Callable[[GridModel], float]:
    """Return what tells the squared error of other fields to what a field shows."""
    rays = scene.cameras.draw(_COMPARED_RAYS, generator).to(model.raw_density.device)

    def shown(field: GridModel) -> Tensor:
        with torch.inference_mode():
            return VoxelField(field, scene.domain).render(rays).colour

    wanted = shown(model)
    return lambda field: float((shown(field) - wanted).square().mean())


def _rounded(
    fitted: FittedGrid, values: tuple[Tensor, Tensor], settings: RadianceVqrfSettings
) -> tuple[Tensor, Tensor]:
    """Return each value rounded by itself, as its error and its bits have it."""
    held = (fitted.model.index.row >= 0).view(fitted.model.index.lattice.shape).cpu().numpy()
    per_bit = settings.error_per_kilobyte / BITS_PER_KILOBYTE
    densities, features = values
    return (
        rounded_to_rate(densities, fitted.density_weights, per_bit, held),
        rounded_to_rate(features, fitted.feature_weights, per_bit, held),
    )


def _in_integers(
    checkpoint: VoxelCheckpoint, fitted: FittedGrid, rounded: Rounded, scene: SceneSetup
) -> CodedField:
    """Return whole values as a file holds them; nodes without any are left out."""
    densities, features, layers = rounded
    left = (densities != 0).squeeze(1) | (features != 0).any(dim=1)
    lattice = fitted.model.index.lattice
    held = torch.zeros(lattice.nodes, dtype=torch.bool)
    held[fitted.model.index.held[left].cpu()] = True
    return CodedField(
        header=grid_header(checkpoint, fitted.model, scene.domain, int(left.sum()), features.shape[1]),
        held=held.view(lattice.shape).numpy(),
        densities=densities[left].to(torch.int32).cpu().numpy(),
        density_step=fitted.density_step,
        features=features[left].to(torch.int32).cpu().numpy(),
        feature_step=fitted.feature_step,
        feature_map=fitted.feature_map.half().cpu().numpy(),
        layers=layers,
    )
