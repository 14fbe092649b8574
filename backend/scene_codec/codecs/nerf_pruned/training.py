r"""Retraining of a network that is pruned and rounded on the way, against error and bits.

```text
weights --mask, round--> network --> colours of rays --> squared error --\
   |        ^                                                             + --> Adam on weights and steps
   |        +-- scores, a share that rises --------------                 |
   +--> bits of weights --> error_per_kilobyte * kilobytes --------------/
```
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from scene_codec.codecs.nerf_pruned.config import NerfPrunedSettings
from scene_codec.codecs.nerf_pruned.pruning import MASKS_END, UPDATE_INTERVAL, WeightScores, prune, share_at
from scene_codec.codecs.nerf_pruned.quantised_network import SPARED, QuantisedNetwork
from scene_codec.codecs.nerf_pruned.supervision import (
    SeenRays,
    Supervision,
    TaughtPoints,
    sample_opacity,
)
from scene_codec.codecs.training_state import kept_state
from scene_codec.errors import UnsupportedSceneError
from scene_codec.networks.radiance_mlp import RadianceMlp
from scene_codec.networks.radiance_neurons import layer_inputs
from scene_codec.progress import Progress
from scene_codec.radiance.packed_rendering import render_packed

CHECKPOINT_INTERVAL_S = 30.0
ADAM_BETAS = (0.9, 0.99)
ADAM_EPSILON = 1e-12
"""Gradients of a squared error of 1e-3 by one of many weights are far below torch's 1e-8."""

WARM_UP_STEPS = 50
LAST_RATE = 0.02
"""Part of the learning rate that is left at the end."""

STEP_RATE = 2e-2
"""Learning rate of quantisation steps, in octaves."""

RATE_RISE = 0.35
"""Part of the steps over which the weight of the rate rises to its full value."""

ROUNDED_FROM = 0.85
"""Part of the steps after which quantisation steps are those of the file."""

EVERYWHERE_INTERVAL = 4
"""Every so many steps all occupied cells are sampled, so that none fills with fog; others cost half."""

_BITS_PER_KILOBYTE = 8000.0
_INPUTS_OBSERVED = 4096


@dataclass(frozen=True)
class TrainedPoint:
    """How far a training is: step, mean squared error of its batch, estimated bytes of the network."""

    step: int
    error: float
    bytes: float


@dataclass(frozen=True)
class Lessons:
    """What a network learns from.

    teacher : the large network, in the first part of the steps
    rays : colours of rays, in the rest
    step_length : between samples
    """

    teacher: Supervision
    rays: Supervision
    white_background: bool
    step_length: float


class Retraining:
    """The steps of one training; can be stopped and continued from a checkpoint with the same result."""

    def __init__(self, network: RadianceMlp, lessons: Lessons, settings: NerfPrunedSettings) -> None:
        device = network.density.weight.device
        self.quantised = QuantisedNetwork(network).to(device)
        self._student = RadianceMlp(network.shape).to(device).requires_grad_(False)
        self._lessons, self._settings = lessons, settings
        self._generator = torch.Generator().manual_seed(settings.seed)
        self._scores = WeightScores(self.quantised, settings.score)
        groups = _groups(self.quantised, settings)
        self._optimiser = torch.optim.Adam(groups, betas=ADAM_BETAS, eps=ADAM_EPSILON)
        self._peaks = [group["lr"] for group in self._optimiser.param_groups]
        self._step = 0

    def run(self, progress: Progress, checkpoint: Path | None = None) -> None:
        """Do all remaining steps. Raises `Cancelled`, leaving a checkpoint, `UnsupportedSceneError`."""
        total = self._settings.steps
        with kept_state(self, checkpoint, CHECKPOINT_INTERVAL_S) as after_step:
            progress = progress.resumed(self._step / max(total, 1))
            while self._step < total:
                point = self._do_step()
                message = f"step {point.step}, {_decibel(point.error):.1f} dB, {point.bytes / 1e3:.1f} KB"
                progress.update(point.step / total, message)
                after_step()
        self._finish()

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return {
            "network": self.quantised.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "observed": self._scores.observed,
            "generator": self._generator.get_state(),
            "step": self._step,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what `state` returned."""
        self.quantised.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        device = self._student.density.weight.device
        self._scores.observed = [own.to(device) for own in state["observed"]]
        self._generator.set_state(state["generator"])
        self._step = state["step"]

    def _do_step(self) -> TrainedPoint:
        """Take one step."""
        done = self._step / self._settings.steps
        for group, peak in zip(self._optimiser.param_groups, self._peaks, strict=True):
            group["lr"] = peak * _rate_at(self._step, self._settings.steps)
        if done >= ROUNDED_FROM:
            self._round_steps()
        everywhere = self._step % EVERYWHERE_INTERVAL == 0
        taught = done < self._settings.distillation
        lesson = self._lessons.teacher if taught else self._lessons.rays
        batch = lesson.draw(self._settings.rays, self._generator, everywhere=everywhere)
        if self._settings.prune > 0.0 and done < MASKS_END and self._step % UPDATE_INTERVAL == 0:
            self._prune(share_at(done, self._settings.prune), batch)
        self.quantised.let_return(done < MASKS_END)
        parameters, bits = self.quantised()
        error = self._error(parameters, batch, batch.points if taught else None)
        rise = min(1.0, (done + 1e-3) / RATE_RISE)
        loss = error + self._settings.error_per_kilobyte / _BITS_PER_KILOBYTE * rise * bits
        if not bool(torch.isfinite(loss)):
            raise UnsupportedSceneError(
                f"Retraining got lost in step {self._step}: the loss is no number any more. Use a lower "
                "learning rate."
            )
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        self._scores.observe_gradients()
        self._step += 1
        return TrainedPoint(self._step, float(error.detach()), float(bits.detach()) / 8.0)

    def _error(self, parameters: dict[str, Tensor], batch: SeenRays, points: TaughtPoints | None) -> Tensor:
        """Return the mean squared error of the colours of a batch, or that of its points."""
        inputs = (batch.samples.positions(batch.rays), batch.rays.views, batch.samples.ray)
        density, colour = functional_call(self._student, parameters, inputs)
        step = self._lessons.step_length
        if points is not None:
            opacity = sample_opacity(density, batch.rays, batch.samples, step)
            colours = (colour.sigmoid() - points.colour).square().mean(dim=1)
            errors = (opacity - points.opacity).square() + points.weights * colours
            total: Tensor = errors.sum() / len(batch.rays)
            return total
        pixels, _ = render_packed(density, colour, batch.samples, batch.rays, step)
        return (pixels.over(self._lessons.white_background) - batch.colours).square().mean()

    @torch.no_grad()
    def _prune(self, share: float, batch: SeenRays) -> None:
        """Choose the masks for a share of pruned weights."""
        if self._scores.wants_inputs:
            parameters, _ = self.quantised()
            self._student.load_state_dict(parameters)
            few = torch.arange(min(len(batch.samples), _INPUTS_OBSERVED), device=batch.samples.ray.device)
            samples = batch.samples.select(few)
            views = batch.rays.views[samples.ray]
            inputs = layer_inputs(self._student, samples.positions(batch.rays), views)
            prunable = [name for name in self.quantised.names if name not in SPARED]
            for index, name in enumerate(prunable):
                self._scores.observe_inputs(index, inputs[name])
        prune(self.quantised, share, self._scores.current())

    def _round_steps(self) -> None:
        """Go on with the quantisation steps that a file can hold."""
        for index in range(len(self.quantised.names)):
            if self.quantised.layer(index).log2_step.requires_grad:
                self.quantised.layer(index).round_steps()

    def _finish(self) -> None:
        """Leave the network as it will be stored."""
        self._round_steps()
        if self._settings.prune > 0.0:
            prune(self.quantised, self._settings.prune, self._final_scores())

    def _final_scores(self) -> list[Tensor]:
        """Return the scores of the last masks: what is masked stays so, and other weights go by magnitude."""
        return [
            (layer.weight.detach() / layer.log2_step.exp2()).abs() * layer.mask
            for layer in self.quantised.prunable
        ]


def _groups(network: QuantisedNetwork, settings: NerfPrunedSettings) -> list[dict[str, object]]:
    """Return what is optimised, at which peak rate."""
    steps = [own for name, own in network.named_parameters() if "log2" in name]
    values = [own for name, own in network.named_parameters() if "log2" not in name]
    return [{"params": values, "lr": settings.learning_rate}, {"params": steps, "lr": STEP_RATE}]


def _rate_at(step: int, steps: int) -> float:
    """Return the part of the peak rate at a step: a linear rise, then a cosine."""
    rise = min(1.0, (step + 1) / min(WARM_UP_STEPS, max(steps // 4, 1)))
    return rise * (LAST_RATE + (1.0 - LAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * step / steps)))


def _decibel(error: float) -> float:
    """Return a mean squared error of colours in [0, 1] as PSNR."""
    return -10.0 * math.log10(max(error, 1e-12))
