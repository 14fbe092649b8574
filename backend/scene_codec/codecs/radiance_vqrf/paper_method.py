"""VQRF as published: nodes are left out, coded or kept by their importance, fine-tuned and rounded to 8 bits.

Source: Li et al. 2023, "Compressing Volumetric Radiance Fields to 1 MB". Where the paper is silent the
constants are those of the released code. One deviation: grids are read as DirectVoxGO reads them, with nodes
on the faces of the box, where that code has them half a voxel inside and loses a decibel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scene_codec.codecs.radiance_vqrf.config import RadianceVqrfSettings
from scene_codec.codecs.radiance_vqrf.grid_pruning import restricted
from scene_codec.codecs.radiance_vqrf.paper_codebook import CodebookPlan, learn_codebook, nearest_codes
from scene_codec.codecs.radiance_vqrf.paper_finetuning import FinetuningPlan, TiedRows, finetune
from scene_codec.codecs.radiance_vqrf.paper_grid import PaperGrid, halves
from scene_codec.codecs.radiance_vqrf.paper_importance import (
    ScenePass,
    look_at_all_rays,
    split_by_importance,
)
from scene_codec.codecs.radiance_vqrf.paper_plane_method import (
    look_at_planes,
    quantised_planes,
    stored_planes,
    tuned_planes,
)
from scene_codec.codecs.radiance_vqrf.paper_planes import PaperPlanes
from scene_codec.codecs.radiance_vqrf.paper_rounding import eight_bits
from scene_codec.codecs.radiance_vqrf.supervision import Supervision
from scene_codec.codecs.training_state import read_training_state, write_training_state
from scene_codec.errors import UnsupportedSceneError
from scene_codec.progress import Progress
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.factored_model import FactoredModel
from scene_codec.voxel_fields.grid_model import GridModel, visible_nodes
from scene_codec.voxel_fields.voxel_model import VoxelModel

LOOKED_SHARE, LEARNED_SHARE = 0.1, 0.35
CHECKPOINT = "checkpoint.pt"
RAYS_SEEN, CODEBOOK_LEARNED = "rays.pt", "codebook.pt"
"""Where an interrupted run leaves its state, and what came before fine-tuning."""


@dataclass(frozen=True, eq=False)
class PrunedGrid:
    """What is left of a grid.

    model : the held nodes, in their order
    importance : (rows,) of them
    kept : (rows,) bool, which have features of their own
    """

    model: GridModel
    importance: Tensor
    kept: Tensor


@dataclass(frozen=True, eq=False)
class CodedGrid:
    """A grid whose nodes are kept or stand for a code.

    model : densities and features as they are rendered
    kept : (rows,) bool
    tied : the other rows and their codes
    codebook : (k, c)
    """

    model: GridModel
    kept: Tensor
    tied: TiedRows
    codebook: Tensor


def compress_as_published(
    model: VoxelModel,
    domain: SceneDomain,
    supply: Supervision,
    settings: RadianceVqrfSettings,
    progress: Progress,
    folder: Path | None = None,
) -> PaperGrid | PaperPlanes:
    """Return a field in the integers of a file: a grid, or planes and lines for TensoRF-VM.

    model : on the device that is to compute
    folder : where an interrupted run leaves its state

    Raises `UnsupportedSceneError` for TensoRF-CP, and for fields of which nothing is seen; `Cancelled`.
    """
    looking = progress.part(0.0, LOOKED_SHARE, "looking at all rays")
    learning = progress.part(LOOKED_SHARE, LEARNED_SHARE, "learning a codebook")
    tuning = progress.part(LEARNED_SHARE, 1.0, "fine-tuning")
    if isinstance(model, FactoredModel):
        check_planes(model)
        surfaces = look_at_planes(model, domain, supply.cameras, looking)
        quantised = quantised_planes(model, surfaces, settings, learning)
        plan = finetuning_plan(surfaces.pixels, settings, folder)
        return stored_planes(tuned_planes(quantised, (supply, domain), plan, tuning))
    assert isinstance(model, GridModel)
    found = _remembered(
        None if folder is None else folder / RAYS_SEEN,
        lambda: vars(look_at_all_rays(model, domain, supply.cameras, looking)),
    )
    seen = ScenePass(**found)
    left = pruned(model, seen.importance.to(model.raw_density.device), settings)
    found = _remembered(
        None if folder is None else folder / CODEBOOK_LEARNED,
        lambda: {"codebook": learned_codebook(left, settings, learning)},
    )
    coded = vector_quantised(left, found["codebook"].to(model.raw_density.device))
    plan = finetuning_plan(seen.pixels, settings, folder)
    return rounded(fine_tuned(coded, (supply, domain), plan, tuning))


def check_planes(model: FactoredModel) -> None:
    """Raise `UnsupportedSceneError` for a field of lines alone."""
    if not model.density_factors.planes:
        raise UnsupportedSceneError(
            "A TensoRF of the kind CP has lines alone, and the method vqrf replaces vectors of nodes or "
            "texels by codes: there are none. Use the method rate."
        )


def finetuning_plan(
    pixels: Tensor, settings: RadianceVqrfSettings, folder: Path | None = None
) -> FinetuningPlan:
    """Return how a field is fine-tuned with rays of some pixels (n,)."""
    return FinetuningPlan(
        pixels=pixels,
        steps=settings.steps,
        rays=settings.rays,
        rate=settings.learning_rate,
        seed=settings.seed,
        checkpoint=None if folder is None else folder / CHECKPOINT,
    )


def pruned(model: GridModel, importance: Tensor, settings: RadianceVqrfSettings) -> PrunedGrid:
    """Return what is left of a grid. Raises `UnsupportedSceneError` when none of it is seen.

    importance : (rows,)
    """
    split = split_by_importance(importance, settings.prune, settings.keep)
    if not bool(split.held.any()):
        raise UnsupportedSceneError("The cameras see nothing of the radiance field.")
    left = restricted(model, split.held)
    order = model.index.row[left.index.held].long()
    return PrunedGrid(left, importance[order], split.kept[order])


def learned_codebook(grid: PrunedGrid, settings: RadianceVqrfSettings, progress: Progress) -> Tensor:
    """Return the codes (k, c) for features of nodes without features of their own. Raises `Cancelled`."""
    plan = CodebookPlan(
        codes=settings.codes,
        steps=settings.codebook_steps,
        expired=settings.expired_codes,
        weighted=settings.weighted,
    )
    coded = ~grid.kept
    generator = torch.Generator().manual_seed(settings.seed)
    vectors = grid.model.features.detach()[coded]
    return learn_codebook(vectors, grid.importance[coded], plan, generator, progress)


def vector_quantised(grid: PrunedGrid, codebook: Tensor) -> CodedGrid:
    """Return a grid with codes (k, c) for features, and everything else in eight bits."""
    rows = (~grid.kept).nonzero().squeeze(1)
    tied = TiedRows(rows, nearest_codes(grid.model.features.detach()[rows], codebook))
    device = codebook.device
    features = torch.zeros_like(grid.model.features)
    features[rows] = codebook[tied.codes]
    features[grid.kept] = eight_bits(grid.model.features[grid.kept]).values().to(device)
    density = eight_bits(grid.model.raw_density).values().to(device)
    model = replace(grid.model, raw_density=density, features=features)
    return CodedGrid(replace(model, mask=visible_nodes(model)), grid.kept, tied, codebook)


def fine_tuned(
    grid: CodedGrid, scene: tuple[Supervision, SceneDomain], plan: FinetuningPlan, progress: Progress
) -> CodedGrid:
    """Return a grid after joint fine-tuning. Raises `Cancelled`, leaving a checkpoint."""
    model, codebook = finetune(grid.model, grid.tied, grid.codebook, scene, plan, progress)
    return replace(grid, model=model, codebook=codebook)


def rounded(grid: CodedGrid) -> PaperGrid:
    """Return a grid as a file holds it."""
    model = grid.model
    held = torch.zeros(model.index.lattice.nodes, dtype=torch.bool)
    kept = torch.zeros_like(held)
    nodes = model.index.held.cpu()
    held[nodes] = True
    kept[nodes[grid.kept.cpu()]] = True
    return PaperGrid(
        held=held.numpy(),
        kept=kept.numpy(),
        density=eight_bits(model.raw_density),
        own=eight_bits(model.features[grid.kept]),
        codes=grid.tied.codes.cpu().numpy().astype(np.uint16),
        codebook=halves(grid.codebook),
        network=tuple(halves(values) for values in model.shader.parameters().values()),
    )


def _remembered(path: Path | None, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return what an earlier run left in a file, or make it and leave it there."""
    stored = None if path is None else read_training_state(path)
    if stored is None:
        stored = make()
        if path is not None:
            write_training_state(path, stored)
    return stored
