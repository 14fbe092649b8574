r"""Optimisation of a set, or of the latents of added meshes under a finished decoder.

```text
latents --round--> decoder(round(weights)) --> grid --> distortion  \\
   |                     |                                           + --> Adam on latents, weights and steps
   +--> bits of latents  +--> bits of weights --> rate_weight * bits /
```
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scene_codec.codecs.mesh_necgs.config import MeshNecgsSettings
from scene_codec.codecs.mesh_necgs.model import SetModel
from scene_codec.codecs.mesh_necgs.supervision import Supervision
from scene_codec.codecs.training_state import kept_state
from scene_codec.entropy.rate import laplace_bits
from scene_codec.entropy.straight_through import round_straight_through
from scene_codec.networks.surface_support import SurfaceSupport
from scene_codec.progress import Progress

CHECKPOINT_INTERVAL_S = 60.0
ADAM_BETAS = (0.9, 0.99)
REFIT_INTERVAL = 100
"""Steps after which the latents' distributions are fitted again."""

RATE_RISE = 0.5
"""Part of the steps over which the weight of the rate rises to its full value."""

STEP_RATE_FACTOR = 3.0
"""Quantisation steps start far from their place and move in octaves: they learn faster than weights."""


@dataclass(frozen=True)
class Schedule:
    """How many steps there are and which meshes each one sees."""

    count: int
    batch_size: int
    steps: int

    @staticmethod
    def of_set(settings: MeshNecgsSettings, count: int) -> Schedule:
        """Return the schedule of the joint optimisation of `count` meshes."""
        batch = min(settings.batch_size, count)
        steps = max(settings.minimum_steps, -(-settings.epochs * count // batch))
        return Schedule(count, batch, steps)

    @staticmethod
    def of_added(settings: MeshNecgsSettings, count: int) -> Schedule:
        """Return the schedule for the latents of `count` added meshes."""
        batch = min(settings.batch_size, count)
        return Schedule(count, batch, -(-settings.added_epochs * count // batch))

    def rate_at(self, step: int, warmup: float) -> float:
        """Return the part of the peak rate at a step: linear rise, then a cosine to zero."""
        done = (step + 1) / self.steps
        if done < warmup:
            return done / warmup
        return 0.5 + 0.5 * math.cos(math.pi * (done - warmup) / (1.0 - warmup))


class Trainer:
    """Runs the steps of one optimisation.

    Can be stopped and continued from a checkpoint with the same result.
    """

    def __init__(
        self,
        model: SetModel,
        supervision: Supervision,
        settings: MeshNecgsSettings,
        schedule: Schedule,
        generator: torch.Generator,
        *,
        frozen_weights: dict[str, Tensor] | None = None,
    ) -> None:
        self._model = model
        self._supervision = supervision
        self._settings = settings
        self._schedule = schedule
        self._generator = generator
        self._frozen_weights = frozen_weights
        self._optimiser = torch.optim.Adam(
            _parameter_groups(model, settings, frozen_weights), betas=ADAM_BETAS
        )
        self._peaks = [group["lr"] for group in self._optimiser.param_groups]
        self._order: list[int] = []
        self._step = 0

    def run(self, progress: Progress, checkpoint: Path | None = None) -> None:
        """Do all remaining steps. Raises `Cancelled`, leaving a checkpoint from which another run goes on."""
        with kept_state(self, checkpoint, CHECKPOINT_INTERVAL_S) as after_step:
            while self._step < self._schedule.steps:
                distortion, bits = self._do_step()
                self._step += 1
                message = f"step {self._step}, error {distortion:.4f}, {bits / 8:.0f} bytes a mesh"
                progress.update(self._step / self._schedule.steps, message)
                after_step()

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return {
            "model": self._model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "supervision": self._supervision.state(),
            "generator": self._generator.get_state(),
            "order": self._order,
            "step": self._step,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what `state` returned."""
        self._model.load_state_dict(state["model"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._supervision.restore(state["supervision"])
        self._generator.set_state(state["generator"])
        self._order, self._step = state["order"], state["step"]

    def _do_step(self) -> tuple[float, float]:
        """Take one optimisation step; return its distortion and the estimated bits per mesh."""
        rate = self._schedule.rate_at(self._step, self._settings.warmup)
        for group, peak in zip(self._optimiser.param_groups, self._peaks, strict=True):
            group["lr"] = peak * rate
        ids = self._next_ids()
        weights, weight_bits = self._weights()
        latents = self._model.rounded_latents(ids)
        distortion = self._supervision.distortion(
            lambda blocks, supports: self._decode(weights, blocks, supports), latents.values, ids
        )
        bits = self._latent_bits(latents.in_steps) / len(ids) + weight_bits / self._schedule.count
        loss = distortion + self._rate_weight() * bits
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        return float(distortion.detach()), float(bits.detach())

    def _decode(
        self, weights: dict[str, Tensor], latents: Tensor, supports: Sequence[SurfaceSupport] | None
    ) -> Tensor | list[Tensor]:
        """Decode in the arithmetic that the settings ask for; the loss is always taken in float32."""
        reduced = self._settings.precision == "bfloat16"
        with torch.autocast(latents.device.type, torch.bfloat16, enabled=reduced):
            decoded = self._model.decode(weights, latents, supports)
        return decoded.float() if isinstance(decoded, Tensor) else [one.float() for one in decoded]

    def _weights(self) -> tuple[dict[str, Tensor], Tensor]:
        """Return the rounded weights and their estimated bits; none for a finished decoder."""
        none = torch.zeros((), device=self._model.latents.device)
        if self._frozen_weights is not None:
            return self._frozen_weights, none
        weights, in_steps = self._model.rounded_weights()
        if self._settings.rate_weight == 0.0:
            return weights, none
        return weights, torch.stack([self._weight_bits(steps) for steps in in_steps]).sum()

    def _weight_bits(self, in_steps: Tensor) -> Tensor:
        """Return the estimated bits of a tensor's values in steps (k, 1).

        Uniform noise stands for rounding, whose derivative is useless (Balle et al. 2017).
        """
        noise = torch.rand(in_steps.shape, generator=self._generator).to(in_steps.device)
        return laplace_bits(in_steps + noise - 0.5)

    def _latent_bits(self, in_steps: Tensor) -> Tensor:
        """Return the estimated bits of latents in steps (n, 64, c) under the set's current distributions."""
        if self._settings.rate_weight == 0.0:
            return torch.zeros((), device=in_steps.device)
        if self._step % REFIT_INTERVAL == 0:
            with torch.no_grad():
                self._model.latent_rate.fit(self._model.rounded_latents(range(self._schedule.count)).in_steps)
        return self._model.latent_rate.bits(round_straight_through(in_steps)).sum()

    def _rate_weight(self) -> float:
        """Return the weight of a bit at this step: a network squeezed too early learns slowly."""
        rise = min(1.0, (self._step + 1) / (RATE_RISE * self._schedule.steps))
        return self._settings.rate_weight * rise * rise

    def _next_ids(self) -> list[int]:
        """Return the meshes of the next step: a new shuffle whenever all have had their turn."""
        if len(self._order) < self._schedule.batch_size:
            self._order += torch.randperm(self._schedule.count, generator=self._generator).tolist()
        ids, self._order = self._order[: self._schedule.batch_size], self._order[self._schedule.batch_size :]
        return ids


def _parameter_groups(
    model: SetModel, settings: MeshNecgsSettings, frozen_weights: dict[str, Tensor] | None
) -> list[dict[str, object]]:
    """Return what is optimised, at which peak rate; under a finished decoder the latents alone."""
    groups: list[dict[str, object]] = [{"params": [model.latents], "lr": settings.latent_rate}]
    if frozen_weights is None:
        steps: Sequence[nn.Parameter] = [
            parameter for name, parameter in model.named_parameters() if name.endswith("log2_step")
        ]
        groups.append({"params": list(model.decoder.parameters()), "lr": settings.learning_rate})
        if model.encoder is not None:
            groups.append({"params": list(model.encoder.parameters()), "lr": settings.learning_rate})
        if steps:
            groups.append({"params": steps, "lr": settings.learning_rate * STEP_RATE_FACTOR})
    return groups
