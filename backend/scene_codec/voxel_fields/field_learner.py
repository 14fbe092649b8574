"""The tables of a grid while they are trained, and a step on a batch of rays.

```text
rays -> samples in held cells -- table --> density -> weights -- where they count --> features -- shader
                                                         '----------> pixels <---------- colours <--'
```

Losses: Sun et al. 2022 (DVGO), equations 8 to 11. Their gradient goes back by hand: nothing but the shader
needs to be recorded, and the tables are moved where they were used alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scene_codec.radiance.compositing import depth_before, packed_sum
from scene_codec.radiance.field_space import FieldRays
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.grid_model import GridModel, GridStep
from scene_codec.voxel_fields.held_cells import LONGEST_STEP, CellSamples, HeldCells
from scene_codec.voxel_fields.shading import Shader
from scene_codec.voxel_fields.table_training import TrainedTable, mixed, used_rows
from scene_codec.voxel_fields.voxel_model import DensityRule, Limits

_LARGEST_DEPTH = 60.0
_LEAST_LIGHT = 1e-6
_FADING = 0.98
"""Of the largest weights in a step: what counts much is remembered longer than what hardly counts."""


@dataclass(frozen=True, kw_only=True)
class FieldLoss:
    """What is minimised besides the squared error.

    entropy : weight of the entropy of the light that passes, which makes pixels opaque or empty
    points : weight of the error that each point's own colour has
    """

    entropy: float
    points: float


@dataclass(frozen=True, eq=False)
class RayBatch:
    """Rays to learn from.

    colours : (rays, 3) in [0, 1], of their pixels
    jitter : (rays,) in [0, 1), see `HeldCells.march`
    """

    rays: FieldRays
    colours: Tensor
    jitter: Tensor


@dataclass(frozen=True)
class StepOutcome:
    """What a step on a batch came to: loss and squared error before it, and how many samples there were."""

    loss: float
    squared_error: float
    samples: int


@dataclass(frozen=True, eq=False)
class LitSamples:
    """Samples that light reaches and that are not clear.

    stored : (n,) values before the rule
    before : (n,) share of light that reaches each
    weights : (n,) share of the pixel
    clear : (rays,) share of light that passes all
    """

    samples: CellSamples
    stored: Tensor
    before: Tensor
    weights: Tensor
    clear: Tensor


class FieldLearner:
    """Tables that learn a scene from rays.

    voxel : edge of a voxel in the field's units, by which samples lie apart
    largest : (rows,) the largest weight that a sample beside each node has had, fading
    """

    def __init__(
        self,
        cells: HeldCells,
        tables: tuple[TrainedTable, TrainedTable],
        shader: Shader,
        rule: DensityRule,
        limits: Limits,
        voxel: float,
    ) -> None:
        self.cells = cells
        self.density, self.features = tables
        self.shader = shader
        self.rule = rule
        self.limits = limits
        self.voxel = voxel
        self.largest = torch.zeros(len(self.density.values), device=self.density.values.device)

    @property
    def step_size(self) -> float:
        """Distance between samples, in the field's units."""
        return LONGEST_STEP * self.voxel

    def model(self) -> GridModel:
        """Return the grid as it is."""
        return GridModel(
            self.cells.index,
            self.density.values,
            self.features.values,
            self.shader,
            self.rule,
            GridStep(self.step_size),
            self.limits,
            self.cells.mask(),
        )

    def opacity(self, seen: float = 0.0) -> Tensor:
        """Return the opacity (nodes,) of one step at each node; 0 where nothing is held.

        seen : 0 as well where no sample beside the node has had such a weight for long
        """
        alpha = -torch.expm1(-self.rule.density(self.density.values) * self.step_size)
        if seen:
            alpha = alpha * (self.largest >= seen)[:, None]
        return self.cells.index.dense(alpha).flatten()

    def step(self, batch: RayBatch, domain: SceneDomain, loss: FieldLoss, rate: float) -> StepOutcome:
        """Learn from rays; the gradients of the shader are added to those that it has."""
        count = len(batch.rays)
        found = self.cells.march(batch.rays, self.step_size, domain.near, batch.jitter)
        lit = self._lit(found, count)
        shown = (lit.weights > self.limits.weight).nonzero().squeeze(1)
        coloured, share = lit.samples.select(shown), lit.weights[shown]
        features = mixed(self.features.values, coloured.rows, coloured.weights).requires_grad_()
        seen = self.shader.colours(features, batch.rays.views, coloured.ray)
        own = seen.detach()
        pixels = packed_sum(own * share[:, None], coloured.ray, count)
        if domain.white_background:
            pixels += lit.clear[:, None]
        difference = pixels - batch.colours
        slope = difference * (2.0 / (3 * count))
        apart = own - batch.colours.index_select(0, coloured.ray)
        of_ray = slope.index_select(0, coloured.ray)
        if len(shown):
            wanted = share[:, None] * (of_ray + apart * (2.0 * loss.points / count))
            torch.autograd.backward([seen], [wanted])
        by_weight = torch.zeros_like(lit.weights)
        by_weight[shown] = (of_ray * own).sum(dim=1)
        passed = lit.clear.clamp(_LEAST_LIGHT, 1.0 - _LEAST_LIGHT)
        by_clear = (torch.log1p(-passed) - torch.log(passed)) * (loss.entropy / count)
        if domain.white_background:
            by_clear = by_clear + slope.sum(dim=1)
        by_density = depth_slope(lit, by_weight, by_clear) * self._rule_slope(lit.stored) * self.step_size
        self._move(lit, by_density, coloured, features.grad, rate)
        error = float(difference.square().mean())
        entropy = -(passed * torch.log(passed) + (1.0 - passed) * torch.log1p(-passed)).mean()
        points = (share * apart.square().sum(dim=1)).sum() / count
        return StepOutcome(
            error + loss.entropy * float(entropy) + loss.points * float(points), error, len(found)
        )

    def _lit(self, samples: CellSamples, rays: int) -> LitSamples:
        """Return which samples count, and how much."""
        stored = mixed(self.density.values, samples.rows, samples.weights).squeeze(1)
        depth = (self.rule.density(stored) * self.step_size).clamp_max(_LARGEST_DEPTH)
        chosen = (-torch.expm1(-depth) > self.limits.alpha).nonzero().squeeze(1)
        depth = depth[chosen]
        before = torch.exp(-depth_before(depth, samples.ray[chosen]))
        reached = (before >= self.limits.dark).nonzero().squeeze(1)
        chosen, depth, before = chosen[reached], depth[reached], before[reached]
        samples = samples.select(chosen)
        clear = torch.exp(-packed_sum(depth, samples.ray, rays))
        return LitSamples(samples, stored[chosen], before, before * -torch.expm1(-depth), clear)

    def _rule_slope(self, stored: Tensor) -> Tensor:
        """Return the gradient of the density by what is stored (n,)."""
        shifted = stored + self.rule.shift
        slope = shifted.sigmoid() if self.rule.softplus else (shifted > 0.0).float()
        return slope * self.rule.scale

    def _move(
        self,
        lit: LitSamples,
        density: Tensor,
        coloured: CellSamples,
        features: Tensor | None,
        rate: float,
    ) -> None:
        """Take a step of both tables."""
        if len(lit.weights):
            samples = lit.samples
            share = lit.weights[:, None].expand_as(samples.rows).flatten()
            self.largest.mul_(_FADING).scatter_reduce_(0, samples.rows.flatten(), share, "amax")
            rows, slope = used_rows(samples.rows, samples.weights, density[:, None])
            self.density.step(rows, slope, rate)
        if features is not None and len(coloured):
            rows, slope = used_rows(coloured.rows, coloured.weights, features)
            self.features.step(rows, slope, rate)


def depth_slope(lit: LitSamples, by_weight: Tensor, by_clear: Tensor) -> Tensor:
    """Return the gradient (n,) by the optical depth of samples.

    by_weight : (n,) gradient by their weights
    by_clear : (rays,) gradient by the light that passes
    """
    ray = lit.samples.ray
    total = (lit.weights * by_weight).double().cumsum(0)
    ends = torch.ones_like(ray, dtype=torch.bool)
    ends[:-1] = ray[1:] != ray[:-1]
    group = ends.cumsum(0) - ends.long()
    behind = (total[ends].index_select(0, group) - total).to(by_weight.dtype)
    passed = (lit.clear * by_clear).index_select(0, ray)
    return (lit.before - lit.weights) * by_weight - behind - passed
