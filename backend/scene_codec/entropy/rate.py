"""Estimated bits inside training, under the probability models that the range coder uses (torch).

`RateModel` is the relaxed form of the parametric tables: bytes become real parameters, everything else is the
same, so that for integers its estimate is the size of the coded stream. `laplace_bits` is the quick form
without state.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from scene_codec.entropy.parametric import (
    FALL_IN_8THS,
    HEAVINESS_IN_16THS,
    MAX_REACH,
    PROBABILITY_BITS,
    SHAPE_COUNT,
    SHAPE_GEOMETRIC,
    SMALLEST_WEIGHT,
    WEIGHT_BITS,
    ParametricModel,
    byte_of_probability,
    probability_of_byte,
)
from scene_codec.entropy.parametric_fit import fit_parametric
from scene_codec.entropy.tables import ESCAPE_CLASS_BITS, TOTAL, TOTAL_BITS, SymbolTable, histogram_of

_HEAVINESS = tuple(value / 16 for value in HEAVINESS_IN_16THS) + (0.0,) * (SHAPE_COUNT - SHAPE_GEOMETRIC)
_FALL = (0.0,) * (SHAPE_GEOMETRIC + 1) + tuple(value / 8 for value in FALL_IN_8THS)
_LOG_SMALLEST = math.log(SMALLEST_WEIGHT) - WEIGHT_BITS * math.log(2.0)
_LARGEST_DISTANCE = 2 * MAX_REACH
_SMALLEST_DECAY = 1e-6
_SMALLEST_SCALE = 1e-3
_NEWTON_STEPS = 4


class RateModel(nn.Module):
    """Learnable or fitted two-sided distributions, one for each channel, and the bits of values under them.

    Either let an optimiser learn the parameters with the values, or call `fit` every few dozen steps: at the
    best parameters their gradient is zero, so that the values' gradient is right in both cases.

    limit : largest magnitude that occurs, for quantisers that clamp; None lets the tails run out
    """

    centre: Tensor

    def __init__(self, channels: int, limit: int | None = None) -> None:
        super().__init__()
        self.limit = limit
        self.right_logit = nn.Parameter(torch.zeros(channels))
        self.left_logit = nn.Parameter(torch.zeros(channels))
        self.shape = nn.Parameter(torch.full((channels,), float(SHAPE_GEOMETRIC)))
        self.centre_logit = nn.Parameter(torch.full((channels,), -math.log(2.0)))
        self.register_buffer("centre", torch.zeros(channels))

    def bits(self, values: Tensor) -> Tensor:
        """Return the estimated bits of each channel, (channels,).

        values : (..., channels), in steps. Of integers this is the size of the stream that `freeze()`'s
            tables give; their gradient is the mean slope to both neighbours. Between integers it is the
            likelihood of values with uniform noise of width 1 (Balle et al., ICLR 2017), probabilities
            interpolated linearly, which for noisy values overestimates distributions narrower than a step.
        """
        offsets = values.reshape(-1, values.shape[-1]) - self.centre
        if offsets.shape[0] == 0:
            return torch.zeros_like(self.centre)
        farthest = float(offsets.detach().abs().max())
        reach = min(max(math.ceil(farthest) + 1, self._reach()), _LARGEST_DISTANCE)
        inside = offsets.clamp(-reach, reach)
        table = self._bit_table(reach)
        bits: Tensor = _InterpolatedBits.apply(inside + reach, table)  # type: ignore[no-untyped-call]
        if farthest > reach:
            bits = bits + (offsets.abs() / reach).clamp_min(1.0).log2().sum(dim=0)
        return bits

    def fit(self, values: Tensor) -> None:
        """Set the parameters to those that code `values` (..., channels), rounded, in the fewest bytes."""
        channels = values.detach().reshape(-1, values.shape[-1]).round().to(torch.int64).cpu().numpy()
        models = [fit_parametric(*histogram_of(column), limit=self.limit) for column in channels.T]
        self._take_over(models)

    def freeze(self) -> list[SymbolTable]:
        """Return for each channel the table whose stored parameters come closest."""
        rows = zip(
            self.right_logit.sigmoid().tolist(),
            self.left_logit.sigmoid().tolist(),
            self.centre_logit.sigmoid().tolist(),
            self.shape.tolist(),
            self.centre.tolist(),
            strict=True,
        )
        return [
            ParametricModel(
                ratio=byte_of_probability(right),
                left_ratio=byte_of_probability(left),
                centre_probability=byte_of_probability(middle),
                shape=min(max(round(shape), 0), SHAPE_COUNT - 1),
                centre=int(centre),
                limit=self.limit,
            ).table()
            for right, left, middle, shape, centre in rows
        ]

    @torch.no_grad()
    def _take_over(self, models: list[ParametricModel]) -> None:
        unit = float(1 << PROBABILITY_BITS)
        rights = [probability_of_byte(model.ratio) / unit for model in models]
        lefts = [
            probability_of_byte(model.ratio if model.left_ratio is None else model.left_ratio) / unit
            for model in models
        ]
        tables = [model.table() for model in models]
        middles = [
            int(table.counts[model.centre - table.low]) / TOTAL
            for model, table in zip(models, tables, strict=True)
        ]
        for parameter, probabilities in (
            (self.right_logit, rights),
            (self.left_logit, lefts),
            (self.centre_logit, middles),
        ):
            parameter.copy_(torch.tensor(probabilities, dtype=torch.float64).logit())
        self.shape.copy_(torch.tensor([float(model.shape) for model in models]))
        self.centre.copy_(torch.tensor([float(model.centre) for model in models]))

    def _reach(self) -> int:
        """Return how far the farthest tail goes until its weight is cut off."""
        if self.limit is not None:
            return max(self.limit, 1)
        if float(self.shape.detach().min()) < SHAPE_GEOMETRIC:
            return MAX_REACH
        ratio = float(torch.maximum(self.left_logit, self.right_logit).detach().sigmoid().max())
        return min(MAX_REACH, 2 + math.ceil(_LOG_SMALLEST / math.log(min(max(ratio, 1e-6), 1 - 1e-6))))

    def _bit_table(self, reach: int) -> Tensor:
        """Return (channels, 2 * reach + 1): the bits of every symbol up to `reach` from the centre."""
        left, left_inside, left_tail = self._side(self.left_logit, reach)
        right, right_inside, right_tail = self._side(self.right_logit, reach)
        sides = left.sum(dim=1) + right.sum(dim=1)
        middle = sides * self.centre_logit.exp()
        total = middle + sides + left_tail + right_tail
        entries = left_inside.sum(dim=1) + right_inside.sum(dim=1) + 2
        per_weight = (TOTAL - entries) / total
        escape = TOTAL_BITS - (1 + (left_tail + right_tail) * per_weight).log2() + ESCAPE_CLASS_BITS
        parts = [(TOTAL_BITS - (1 + middle * per_weight).log2())[:, None]]
        steps = torch.arange(1, reach + 1, device=left.device)
        for weights, inside in ((right, right_inside), (left, left_inside)):
            distance = (steps - inside.sum(dim=1, keepdim=True)).clamp_min(1)
            stored = TOTAL_BITS - (1 + weights * per_weight[:, None]).log2()
            parts.append(torch.where(inside, stored, escape[:, None] + distance.log2()))
        return torch.cat([parts[2].flip(1), parts[0], parts[1]], dim=1)

    def _side(self, logit: Tensor, reach: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return one side: weights (channels, reach), which of them are stored, and the tail's weight."""
        gap = torch.sigmoid(-logit)[:, None]
        heaviness, fall = (_between(self.shape, points)[:, None] for points in (_HEAVINESS, _FALL))
        steps = torch.arange(reach + 1, device=logit.device, dtype=logit.dtype)
        log_decay = (1 - gap * fall).clamp_min(_SMALLEST_DECAY).log()
        log_ratios = torch.log1p(-gap / (1 + heaviness * gap * steps)) + steps * log_decay
        log_weights = log_ratios[:, :-1].cumsum(dim=1)
        farthest = MAX_REACH if self.limit is None else self.limit
        inside = (log_weights.detach() >= _LOG_SMALLEST) & (steps[1:] <= farthest)
        weights = torch.where(inside, log_weights.exp(), 0.0)
        if self.limit is not None:
            return weights, inside, torch.zeros_like(logit)
        last = inside.sum(dim=1, keepdim=True)
        ratio = log_ratios.gather(1, last).exp().squeeze(1)
        reached = weights.gather(1, (last - 1).clamp_min(0)).squeeze(1)
        return weights, inside, reached * ratio / (1 - ratio).clamp_min(2.0**-WEIGHT_BITS)


class _InterpolatedBits(torch.autograd.Function):
    """Bits at real positions between the entries of a table of bits, summed over each channel.

    positions : (n, channels) from 0 to the table's width minus 1
    table : (channels, width)
    """

    @staticmethod
    def forward(ctx: Any, positions: Tensor, table: Tensor) -> Tensor:  # noqa: ANN401 - torch's own signature
        channels, width = table.shape
        flat = table.reshape(-1)
        rows = torch.arange(channels, device=table.device) * width
        lower = positions.detach().floor().clamp(0, width - 2)
        fraction = positions.detach() - lower
        index = lower.to(torch.int64) + rows
        low_bits, high_bits = flat[index], flat[index + 1]
        least = torch.minimum(low_bits, high_bits)
        low_share = (1 - fraction) * (least - low_bits).exp2()
        high_share = fraction * (least - high_bits).exp2()
        likelihood = low_share + high_share
        ctx.save_for_backward(positions, table, index, low_share / likelihood, high_share / likelihood)
        return (least - likelihood.log2()).sum(dim=0)

    @staticmethod
    def backward(ctx: Any, grad_bits: Tensor) -> tuple[Tensor | None, Tensor | None]:  # noqa: ANN401
        positions, table, index, low_share, high_share = ctx.saved_tensors
        grad_positions: Tensor | None = None
        grad_table: Tensor | None = None
        flat = table.reshape(-1)
        if ctx.needs_input_grad[0]:
            fraction = positions - positions.floor()
            ratio = (flat[index] - flat[index + 1]).exp2()
            slope = (1 - ratio) / (math.log(2.0) * (1 - fraction + fraction * ratio))
            rows = torch.arange(table.shape[0], device=table.device) * table.shape[1]
            nearest = (index + (high_share > low_share) - rows).clamp(1, table.shape[1] - 2) + rows
            mean_slope = (flat[nearest + 1] - flat[nearest - 1]) / 2
            grad_positions = grad_bits * torch.where(fraction == 0, mean_slope, slope)
        if ctx.needs_input_grad[1]:
            flat_grad = torch.zeros_like(flat)
            flat_grad.index_add_(0, index.reshape(-1), (grad_bits * low_share).reshape(-1))
            flat_grad.index_add_(0, (index + 1).reshape(-1), (grad_bits * high_share).reshape(-1))
            grad_table = flat_grad.view_as(table)
        return grad_positions, grad_table


def laplace_bits(noisy: Tensor) -> Tensor:
    """Return the estimated bits, one number, of values with uniform noise under one Laplace model a channel.

    noisy : (..., channels), in steps, uniform noise from -1/2 to 1/2 added
    The scale follows from the mean magnitude in closed form, nothing is learned or kept. The estimate is the
    likelihood of noisy values (Balle et al., ICLR 2017); below about 1 bit a value rounding does better than
    that. Of few values the estimate is too low, as each of them has its part in the scale.
    """
    channels = noisy.reshape(-1, noisy.shape[-1])
    return laplace_bits_of(channels, _scale_of_noisy_laplace(channels.detach().abs().mean(dim=0)))


def laplace_bits_of(noisy: Tensor, scale: Tensor) -> Tensor:
    """Return the estimated bits, one number, of values with uniform noise under Laplace models.

    noisy : in steps; scale : in steps, of a shape that goes with that of the values
    """
    magnitudes = noisy.abs()
    outside = (magnitudes - 0.5).clamp_min(0.0)
    inside = (0.5 - magnitudes).clamp_min(0.0)
    # Mass of one step: around the centre both tails are taken from 1, elsewhere a difference of exponentials.
    central = -0.5 * (torch.expm1(-inside / scale) + torch.expm1(-(1.0 - inside) / scale))
    beside = -0.5 * torch.expm1(-1.0 / scale)
    nats = torch.where(inside > 0, -central.clamp_min(1e-30).log(), outside / scale - beside.log())
    return nats.sum() / math.log(2.0)


def _scale_of_noisy_laplace(mean_magnitude: Tensor) -> Tensor:
    """Return b where a Laplace variable of scale b plus uniform noise has this mean magnitude.

    Solves mean = 1/4 + 2 b^2 (1 - exp(-1 / 2b)) by Newton's method.
    """
    excess = (mean_magnitude - 0.25).clamp_min(2 * _SMALLEST_SCALE**2)
    scale = 0.5 * (excess + (excess * excess + 2 * excess).sqrt())
    for _ in range(_NEWTON_STEPS):
        decay = torch.exp(-0.5 / scale)
        error = 2 * scale * scale * (1 - decay) - excess
        scale = (scale - error / (4 * scale * (1 - decay) - decay)).clamp_min(_SMALLEST_SCALE)
    return scale


def _between(index: Tensor, points: tuple[float, ...]) -> Tensor:
    """Return the values at real indices into a list of numbers."""
    table = torch.from_numpy(np.array(points, dtype=np.float32)).to(index)
    position = index.clamp(0, len(points) - 1)
    lower = position.detach().floor().clamp_max(len(points) - 2)
    low, high = table[lower.to(torch.int64)], table[lower.to(torch.int64) + 1]
    return low + (position - lower) * (high - low)
