"""What nodes of a grid contribute to all rays at hand, and which of them are left out, coded or kept.

Source: Li et al. 2023 (VQRF), section 3.1, with samples and threshold of the released code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scene_codec.progress import Progress
from scene_codec.radiance.field_space import FieldRays, to_field_space
from scene_codec.radiance.ray_supply import CameraSet
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.grid_model import GridModel, visible_nodes
from scene_codec.voxel_fields.node_statistics import add_parts
from scene_codec.voxel_fields.shading import PlainShader
from scene_codec.voxel_fields.voxel_model import VoxelModel
from scene_codec.voxel_fields.voxel_rendering import Trace, occupied_samples, trace

RAYS_AT_ONCE = 4096
_ADDED = 1e-6
"""To every importance before the sums of a split, as in the released code."""


@dataclass(frozen=True, eq=False)
class ScenePass:
    """What one look at all rays tells.

    importance : (rows,) float64 for each held node, sum over samples of their weight times the node's part
    pixels : (n,) int32, rays that pass through places where there may be something
    """

    importance: Tensor
    pixels: Tensor


@dataclass(frozen=True, eq=False)
class Split:
    """What becomes of nodes: nothing is held of some, some have features of their own, the others a code.

    held, kept : (rows,) bool; all that are kept are held
    """

    held: Tensor
    kept: Tensor


def look_at_all_rays(
    model: GridModel, domain: SceneDomain, cameras: CameraSet, progress: Progress
) -> ScenePass:
    """Return the importance of all nodes, and which rays are worth training with. Raises `Cancelled`."""
    rows = len(model.raw_density)
    device = model.raw_density.device
    importance = torch.zeros(rows, dtype=torch.float64, device=device)
    # Colours do not matter here, and a network would take most of the time.
    plain = replace(
        model,
        features=torch.zeros((rows, 3), device=device),
        shader=PlainShader(),
        mask=model.mask or visible_nodes(model),
    )
    met = []
    with torch.no_grad():
        for pixels, seen in trace_all_rays(plain, domain, cameras, device, progress):
            met.append(pixels)
            add_parts(seen, seen.place[seen.coloured], seen.weights[seen.coloured], importance)
    return ScenePass(importance, torch.cat(met))


def trace_all_rays(
    model: VoxelModel, domain: SceneDomain, cameras: CameraSet, device: torch.device, progress: Progress
) -> Iterator[tuple[Tensor, Trace]]:
    """Yield, some rays at a time, those (n,) int32 that pass something, and what they meet.

    Raises `Cancelled`.
    """
    for start in range(0, cameras.pixels, RAYS_AT_ONCE):
        progress.update(start / cameras.pixels, f"ray {start:,} of {cameras.pixels:,}")
        pixel = torch.arange(start, min(start + RAYS_AT_ONCE, cameras.pixels))
        rays = to_field_space(cameras.rays(pixel).to(device), domain)
        meeting = rays_that_meet(model, rays, domain)
        yield pixel[meeting.cpu()].int(), trace(model, rays.select(meeting), domain)


def rays_that_meet(model: VoxelModel, rays: FieldRays, domain: SceneDomain) -> Tensor:
    """Return which rays (n,) bool have a sample where there may be something."""
    samples, _ = occupied_samples(model, rays, model.march(rays, domain))
    meeting = torch.zeros(len(rays), dtype=torch.bool, device=samples.ray.device)
    meeting[samples.ray] = True
    return meeting


def share_threshold(importance: Tensor, share: float) -> float:
    """Return the importance above which nodes have so much of the whole importance together."""
    ordered = (importance.double() + _ADDED).sort().values
    sums = ordered.cumsum(0)
    above = (sums > (1.0 - share) * sums[-1]).nonzero()
    return float(ordered[above[0, 0]] if len(above) else ordered[-1])


def split_by_importance(importance: Tensor, prune: float, keep: float) -> Split:
    """Return which nodes are held and kept.

    importance : (rows,)
    prune : part of the whole importance that the held nodes have together
    keep : likewise of nodes with features of their own
    """
    held = importance > share_threshold(importance, prune)
    return Split(held, held & (importance > share_threshold(importance, keep)))
