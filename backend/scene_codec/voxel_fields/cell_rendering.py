"""Rays through held cells: densities first, and one colour for samples that lie next to each other.

Samples come in rounds from front to back; a ray whose light is used up takes no part in the next one. Of a
few samples in a row the features are averaged, and the network makes one colour of the mean. That is deferred
shading (Hedman et al. 2021, SNeRG; Reiser et al. 2023, MERF) in short pieces: with one colour for the whole
ray, fields that were not trained for it lose a decibel, and in pieces a hundredth.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from scene_codec.radiance.compositing import Pixels, depth_before, packed_sum
from scene_codec.radiance.field_space import FieldRays
from scene_codec.radiance.ray_marching import Samples
from scene_codec.voxel_fields.cell_table import CellTable
from scene_codec.voxel_fields.shading import Shader

_FIRST_ROUND = 2
"""Runs of each ray in the first round; each later round takes twice as many."""

_LARGEST_DEPTH = 60.0


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """What is left out of pictures that are made at once.

    alpha : samples that are not more opaque do not count
    weight : samples with no more weight have no features
    dark : share of light left below which a ray ends
    together : samples next to each other that are given one colour, that of their mean features; as many as
        one after the other within a run
    """

    alpha: float = 5e-3
    weight: float = 4e-3
    dark: float = 1e-2
    together: int = 2


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums along rays, and what is still to be shaded.

    number, depth : (rays,) weight times number of step, and optical depth
    groups : features (n, c), weights (n,) and rays (n,) of samples that are shaded together
    """

    number: Tensor
    depth: Tensor
    groups: list[tuple[Tensor, Tensor, Tensor]]


def render_cells(
    table: CellTable, shader: Shader, rays: FieldRays, near: float, thresholds: Thresholds
) -> Pixels:
    """Return what rays in the field's space see.

    near : distance along rays before which nothing is seen
    """
    count, device = len(rays), rays.origins.device
    known = table.cells.steps(rays, table.step, near, torch.zeros(count, device=device))
    sums = _Sums(torch.zeros(count, device=device), torch.zeros(count, device=device), [])
    run = table.cells.longest_run(table.step)
    ray, place = table.cells.runs(known, run)
    until = _FIRST_ROUND
    rank = Samples(ray, place).rank()
    while len(ray):
        now = rank < until
        chosen = now.nonzero().squeeze(1)
        _look_up(table, sums, known, (ray[chosen], place[chosen], run), thresholds)
        lit = torch.exp(-sums.depth) > thresholds.dark
        chosen = (~now & lit.index_select(0, ray)).nonzero().squeeze(1)
        ray, place, rank = ray[chosen], place[chosen], rank[chosen]
        until *= 2
    opacity = -torch.expm1(-sums.depth)
    distance = opacity * known[:, 7] + sums.number * known[:, 8]
    return Pixels(_colours(shader, rays, sums, opacity), distance, opacity)


def _look_up(
    table: CellTable,
    sums: _Sums,
    known: Tensor,
    runs: tuple[Tensor, Tensor, int],
    thresholds: Thresholds,
) -> None:
    """Add what lies in runs, given by ray, first sample and length, sorted by ray and distance."""
    ray, first, run = runs
    own = known.index_select(0, ray)
    number = first[:, None] + torch.arange(run, device=ray.device)
    cell, after = _cells_at(table, own, number)
    kept = ((cell >= 0) & (number < own[:, 6:7])).view(-1).nonzero().squeeze(1)
    cell = cell.view(-1).index_select(0, kept)
    after = [part.view(-1).index_select(0, kept) for part in after]
    raw = _between(table.densities.index_select(0, cell), after)
    dense = (raw > table.least_raw_density(thresholds.alpha)).nonzero().squeeze(1)
    depth = (table.rule.density(raw.index_select(0, dense)) * table.step).clamp_max_(_LARGEST_DEPTH)
    kept = kept.index_select(0, dense)
    ray = ray.index_select(0, kept.div(run, rounding_mode="floor"))
    passed = sums.depth.index_select(0, ray) + depth_before(depth, ray)
    weights = torch.exp(-passed) * -torch.expm1(-depth)
    sums.number.add_(packed_sum(weights * number.view(-1).index_select(0, kept), ray, len(known)))
    sums.depth.add_(packed_sum(depth, ray, len(known)))
    seen = (weights > thresholds.weight).nonzero().squeeze(1)
    if len(seen) == 0:
        return
    ray, weights, place = (
        ray.index_select(0, seen),
        weights.index_select(0, seen),
        dense.index_select(0, seen),
    )
    shares = _shares(weights, [part.index_select(0, place) for part in after])
    kept = kept.index_select(0, seen)
    within = kept.remainder(run)
    group = kept - within + within.div(thresholds.together, rounding_mode="floor")
    counts: Tensor = torch.unique_consecutive(group, return_counts=True)[1]
    ends = counts.cumsum(0)
    rows = table.rows.index_select(0, cell.index_select(0, place)).view(-1)
    features = F.embedding_bag(
        rows,
        table.features,
        (8 * (ends - counts)).to(rows.dtype),
        per_sample_weights=shares.view(-1),
        mode="sum",
    )
    weight = torch.segment_reduce(weights, "sum", lengths=counts)
    sums.groups.append((features, weight, ray.index_select(0, ends - 1)))


def _cells_at(table: CellTable, own: Tensor, number: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the held cell, or -1, at each sample (runs, run), and how far after its first node it lies."""
    flat, after = None, []
    for axis, nodes in enumerate(table.cells.index.lattice.shape):
        place = torch.addcmul(own[:, axis, None], own[:, 3 + axis, None], number).clamp_(0.0, nodes - 1)
        base = place.to(torch.int32).clamp_max_(nodes - 2)
        after.append(place - base)
        flat = base if flat is None else flat.mul_(nodes - 1).add_(base)
    assert flat is not None
    return table.cells.cell.index_select(0, flat.view(-1)).view(flat.shape), after


def _between(values: Tensor, after: list[Tensor]) -> Tensor:
    """Return values (n,) between eight of a cell's nodes (n, 8)."""
    values = values.t().contiguous()
    for part in after:
        half = len(values) // 2
        values = torch.lerp(values[:half], values[half:], part)
    return values[0]


def _shares(weights: Tensor, after: list[Tensor]) -> Tensor:
    """Return weights (n,) shared out among the eight nodes of a cell, (n, 8)."""
    shares = [weights]
    for part in after:
        far = [share * part for share in shares]
        shares = [half for share, own in zip(shares, far, strict=True) for half in (share - own, own)]
    return torch.stack(shares, dim=1)


def _colours(shader: Shader, rays: FieldRays, sums: _Sums, opacity: Tensor) -> Tensor:
    """Return the colours (rays, 3), premultiplied, that the groups along rays add up to."""
    colours = torch.zeros((len(rays), 3), device=opacity.device)
    if not sums.groups:
        return colours
    features, weight, ray = (torch.cat(parts) for parts in zip(*sums.groups, strict=True))
    shown = packed_sum(weight, ray, len(rays))
    chosen = (shown > 0.0).nonzero().squeeze(1)
    place = torch.zeros(len(rays), dtype=torch.int64, device=ray.device)
    place[chosen] = torch.arange(len(chosen), device=ray.device)
    own = shader.colours(features / weight[:, None], rays.views[chosen], place[ray])
    # What is too faint to have features is given the ray's mean colour.
    share = weight * (opacity / shown.clamp_min(1e-12))[ray]
    return colours.index_add_(0, ray, own * share[:, None])
