r"""Fine-tuning of a quantised grid against error and bits.

```text
values in steps --round--> densities, features --> colours of rays --> squared error --\
   |                                                                                    + --> Adam on all
   +--> bits, as the coder of nodes would take ----> error_per_kilobyte * kilobytes ---/
```

What the coder expects of each value, and how surely, is looked up in the coder itself every so many steps and
held in between. Rounding is passed over on the way back.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from scene_codec.codecs.radiance_vqrf.config import RadianceVqrfSettings
from scene_codec.codecs.radiance_vqrf.grid_fitting import BITS_PER_KILOBYTE, FittedGrid
from scene_codec.codecs.radiance_vqrf.quantised_grid import QuantisedGrid
from scene_codec.codecs.radiance_vqrf.shader_rounding import TRAINED_LEVELS
from scene_codec.codecs.radiance_vqrf.supervision import Supervision
from scene_codec.codecs.radiance_vqrf.value_rates import ValueRates
from scene_codec.codecs.training_state import kept_state
from scene_codec.errors import UnsupportedSceneError
from scene_codec.progress import Progress
from scene_codec.radiance.cameras import Rays
from scene_codec.radiance.field_space import FieldRays, to_field_space
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.field_learner import RayBatch

CHECKPOINT_INTERVAL_S = 30.0
REFRESHES = 8
"""How often what the coder expects is looked up."""

RATE_RISE = 0.25
"""Part of the steps over which the weight of the rate rises to its full value."""

LAST_RATE = 0.02
"""Part of the learning rate that is left at the end."""

_MORE_DRAWN, _MOST_DRAWN = 1.1, 16
"""Rays that are drawn for each one that is wanted and comes near nodes: a bit more than their share says."""

NETWORK_RATE = 3e-3
"""Learning rate of the network at the start."""


class FineTuning:
    """The steps of one fine-tuning; can be stopped and continued from a checkpoint with the same result."""

    def __init__(
        self, fitted: FittedGrid, lessons: Supervision, domain: SceneDomain, settings: RadianceVqrfSettings
    ) -> None:
        self.quantised = QuantisedGrid(fitted, TRAINED_LEVELS)
        self._device = fitted.densities.device
        self._lessons, self._domain, self._settings = lessons, domain, settings
        self._generator = torch.Generator().manual_seed(settings.seed)
        self._rates: tuple[ValueRates, ValueRates] | None = None
        self._step = 0
        self._drawn, self._met = 1, 1

    def run(self, progress: Progress, checkpoint: Path | None = None) -> None:
        """Do all remaining steps. Raises `Cancelled`, leaving a checkpoint, `UnsupportedSceneError`."""
        total = self._settings.steps
        with kept_state(self, checkpoint, CHECKPOINT_INTERVAL_S) as after_step:
            progress = progress.resumed(self._step / max(total, 1))
            while self._step < total:
                decibel = -10.0 * math.log10(max(self._do_step(), 1e-12))
                progress.update(self._step / total, f"step {self._step:,}, {decibel:.1f} dB")
                after_step()

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        rates = self._rates
        return self.quantised.state() | {
            "rates": None if rates is None else [(own.expected, own.scale) for own in rates],
            "generator": self._generator.get_state(),
            "step": self._step,
            "drawn": (self._drawn, self._met),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what `state` returned."""
        self.quantised.restore(state)
        if state["rates"] is not None:
            first, second = (
                ValueRates(*(tensor.to(self._device) for tensor in own)) for own in state["rates"]
            )
            self._rates = (first, second)
        self._generator.set_state(state["generator"])
        self._step = state["step"]
        self._drawn, self._met = state["drawn"]

    def _do_step(self) -> float:
        """Take one step; return the squared error before it."""
        settings, done = self._settings, self._step / self._settings.steps
        if self._rates is None or self._step % max(1, settings.steps // REFRESHES) == 0:
            self._rates = self.quantised.rates()
        outcome = self.quantised.observe(self._batch(), self._domain)
        if not math.isfinite(outcome.squared_error):
            raise UnsupportedSceneError(
                f"Fine-tuning got lost in step {self._step}: the error is no number any more. Use a lower "
                "learning rate."
            )
        factor = LAST_RATE + (1.0 - LAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * done))
        self.quantised.move(
            self._rates,
            self._share * BITS_PER_KILOBYTE / settings.error_per_kilobyte,
            min(1.0, (done + 1e-3) / RATE_RISE),
            (settings.learning_rate * factor, NETWORK_RATE * factor),
        )
        self._step += 1
        return outcome.squared_error * self._share

    @property
    def _share(self) -> float:
        """Share of all rays that come near nodes; the error of the others does not depend on the field."""
        return self._met / self._drawn

    def _batch(self) -> RayBatch:
        """Return random rays of those that come near nodes that are held, and their colours."""
        wanted = self._settings.rays
        count = min(math.ceil(_MORE_DRAWN * wanted / self._share), _MOST_DRAWN * wanted)
        cameras = self._lessons.cameras
        pixel = torch.randint(cameras.pixels, (count,), generator=self._generator)
        met = self.quantised.meeting(self._inside(cameras.rays(pixel)), self._domain.near).cpu()
        self._drawn += count
        self._met += int(met.sum())
        # Of few rays none may come near a small thing: one that sees the background teaches nothing then.
        chosen = pixel[met][:wanted] if bool(met.any()) else pixel[:1]
        rays, colours = self._lessons.at(chosen)
        jitter = torch.zeros(len(colours))  # samples lie where they do when the field is seen
        return RayBatch(self._inside(rays), colours.to(self._device), jitter.to(self._device))

    def _inside(self, rays: Rays) -> FieldRays:
        return to_field_space(rays.to(self._device), self._domain)
