"""What nodes of a grid contribute to pictures, and how much pictures change with their values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scene_codec.progress import Progress
from scene_codec.radiance.cameras import Rays
from scene_codec.radiance.field_space import to_field_space
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.grid_model import GridModel, GridProbe
from scene_codec.voxel_fields.voxel_rendering import Trace, trace

RayDraw = Callable[[int, torch.Generator], Rays]
"""Returns so many random rays of the cameras that count."""


@dataclass(frozen=True, eq=False)
class NodeStatistics:
    """Sums over rays divided by their number, a row for each held node.

    importance : (rows,) weight of samples times the node's part in them (Li et al. 2023, equation 4)
    squares : (rows,) its square, an estimate of what is lost in the picture with the node
    density : (rows,) squared derivative of colours by the raw density, mean over the colour's channels
    features : (rows, c) likewise by the features
    coupling : (c, c) sum over nodes of the products of derivatives by features
    """

    importance: Tensor
    squares: Tensor
    density: Tensor
    features: Tensor
    coupling: Tensor


@dataclass(frozen=True)
class StatisticsPlan:
    """How many rays are looked at: `batches` times `rays`."""

    batches: int = 32
    rays: int = 4096


def node_statistics(
    model: GridModel,
    domain: SceneDomain,
    draw: RayDraw,
    plan: StatisticsPlan,
    generator: torch.Generator,
    progress: Progress,
) -> NodeStatistics:
    """Return what random rays tell of the nodes.

    The squared derivatives are exact on average only: those of a ray's three colours are added with random
    signs, as in Hutchinson's estimate of a diagonal. Raises `Cancelled`.
    """
    device = model.raw_density.device
    values = {
        name: value.detach().clone().requires_grad_(name in ("raw_density", "features"))
        for name, value in model.parameters().items()
    }
    watched = model.with_parameters(values)
    rows, channels = model.features.shape
    importance, squares, density = (torch.zeros(rows, device=device) for _ in range(3))
    features = torch.zeros((rows, channels), device=device)
    coupling = torch.zeros((channels, channels), device=device)
    for index in range(plan.batches):
        progress.update(index / plan.batches)
        rays = to_field_space(draw(plan.rays, generator).to(device), domain)
        seen = trace(watched, rays, domain)
        colours = seen.pixels().over(domain.white_background)
        signs = torch.randint(2, colours.shape, generator=generator).to(device) * 2.0 - 1.0
        with torch.no_grad():
            add_parts(seen, seen.place, seen.weights, importance, squares)
        if not colours.requires_grad:
            continue  # nothing was met
        by_density, by_features = torch.autograd.grad(
            (colours * signs).sum(), (values["raw_density"], values["features"]), allow_unused=True
        )
        density += by_density.squeeze(1).square()
        if by_features is not None:
            features += by_features.square()
            coupling += by_features.t() @ by_features
    count = float(plan.batches * plan.rays)
    return NodeStatistics(
        importance / count,
        squares / count,
        density / (3.0 * count),
        features / (3.0 * count),
        coupling / (3.0 * count),
    )


def add_parts(
    seen: Trace, place: Tensor, weights: Tensor, importance: Tensor, squares: Tensor | None = None
) -> None:
    """Add what samples owe to the nodes around them.

    place : (n,) int64, of samples among the points of the probe of a `GridModel`
    weights : (n,) their share of the pixel
    importance, squares : (rows,) sums of the nodes' parts and of their squares
    """
    assert isinstance(seen.probe, GridProbe)
    corners = seen.probe.corners.select(place)
    parts = (corners.weights * weights[:, None]).reshape(-1).to(importance.dtype)
    rows = corners.rows.reshape(-1)
    importance.index_add_(0, rows, parts)
    if squares is not None:
        squares.index_add_(0, rows, parts.square())
