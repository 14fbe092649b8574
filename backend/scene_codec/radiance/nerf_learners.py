"""What a training of a NeRF learns, and its loss: one network with a grid, or a coarse and a fine network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from scene_codec.errors import UnsupportedSceneError
from scene_codec.networks.radiance_mlp import RadianceMlp, RadianceShape
from scene_codec.radiance.exact_rendering import SamplingPlan, render_exactly
from scene_codec.radiance.fast_rendering import MarchingPlan
from scene_codec.radiance.field import RadianceField
from scene_codec.radiance.field_space import to_field_space
from scene_codec.radiance.lit_rendering import render_lit
from scene_codec.radiance.nerf_field import NerfPairField, OccupiedNerfField
from scene_codec.radiance.nerf_training_config import NerfTrainingSettings
from scene_codec.radiance.ray_marching import march
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.radiance.training_grid import TrainingGrid
from scene_codec.radiance.training_rays import TrainingRays

_FIRST_UPDATES = (48, 96, 160, 256)
"""Steps before which all cells are looked at; while the network knows nothing, that has no hurry."""

_UPDATE_STEPS = 16
_RAMP_STEPS = 2000
_COARSEST = 0.125
"""Part of its samples that a ray has in the first step; they become all in the steps of the ramp."""

_FEWEST_RAYS = 64
_FOG = 0.1
"""Optical depth across a cell below which the penalty on density grows steadily; above, slower and slower."""

_EXCESS = 1.5
"""A batch that is so many times larger than wanted is cut."""


@dataclass(frozen=True, eq=False)
class BatchLoss:
    """What is minimised, and the squared error of the picture that it stands for."""

    loss: Tensor
    squared_error: float


class Learner(Protocol):
    """Networks that learn a scene from rays."""

    coarse: RadianceMlp | None
    fine: RadianceMlp

    def loss(self, step: int, rays: TrainingRays, generator: torch.Generator) -> BatchLoss:
        """Return the loss of a new batch."""

    def field(self) -> RadianceField:
        """Return the scene as it has been learnt so far."""

    def state(self) -> dict[str, object]:
        """Return all that the next step depends on, besides weights."""

    def restore(self, state: dict[str, object]) -> None:
        """Go back to a state."""


def make_learner(
    settings: NerfTrainingSettings, domain: SceneDomain, generator: torch.Generator, device: torch.device
) -> Learner:
    """Return a learner with fresh networks."""
    if settings.networks == "pair":
        return PairLearner(settings, domain, generator, device)
    return OneLearner(settings, domain, generator, device)


def network_shape(settings: NerfTrainingSettings) -> RadianceShape:
    """Return the shape of a network: that of the published one, in other sizes."""
    return RadianceShape(
        position_octaves=settings.position_octaves,
        direction_octaves=settings.direction_octaves,
        trunk=(settings.width,) * settings.depth,
        skips=tuple(sorted(set(settings.skips))),
        bottleneck=settings.width,
        view=(settings.width // 2,),
    )


class OneLearner:
    """One network, sampled in the occupied cells of a grid that follows it."""

    def __init__(
        self,
        settings: NerfTrainingSettings,
        domain: SceneDomain,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.coarse: RadianceMlp | None = None
        self.fine = RadianceMlp(network_shape(settings), generator).to(device)
        self._settings = settings
        self._domain = domain
        self._device = device
        self._grid = TrainingGrid(domain, settings.cells, device)
        self._rays = min(settings.rays, max(_FEWEST_RAYS, 4 * settings.batch_samples // settings.samples))

    def loss(self, step: int, rays: TrainingRays, generator: torch.Generator) -> BatchLoss:
        """Return the mean squared error of a batch whose samples are about as many as wanted.

        Raises `UnsupportedSceneError` when the network has lost all density.
        """
        self._update_grid(step, generator)
        ramp = max(1, min(_RAMP_STEPS, self._settings.steps // 4))
        share = _COARSEST ** (1.0 - min(1.0, step / ramp))
        length = (self._domain.far - self._domain.near) / (share * self._settings.samples)
        drawn, colours = rays.draw(self._rays, step, generator)
        seen_from = to_field_space(drawn.to(self._device), self._domain)
        samples = march(seen_from, self._domain, self._grid.grid, length, generator)
        wanted, found = self._settings.batch_samples, len(samples)
        if found > _EXCESS * wanted:
            kept = max(1, int(samples.ray[int(_EXCESS * wanted)]))
            seen_from = seen_from.select(torch.arange(kept, device=self._device))
            samples, colours = samples.select(samples.ray < kept), colours[:kept]
        most = max(self._settings.rays, _FEWEST_RAYS)
        self._rays = min(most, max(_FEWEST_RAYS, int(self._rays * min(2.0, wanted / max(found, 1)))))
        pixels, density = render_lit(self.fine, seen_from, samples, length)
        error = (pixels.over(self._domain.white_background) - colours.to(self._device)).square().mean()
        return BatchLoss(error + self._settings.sparsity * self._fog(density), float(error.detach()))

    def _fog(self, density: Tensor) -> Tensor:
        """Return the penalty on the raw density (n,) of samples; what is dense already pays hardly more."""
        if not len(density):
            return density.sum()
        return torch.log1p(density.relu() * (max(self._grid.grid.cell) / _FOG)).mean()

    def field(self) -> OccupiedNerfField:
        """Return the scene as it has been learnt so far."""
        plan = MarchingPlan(samples=self._settings.samples)
        return OccupiedNerfField(self.fine, self._grid.grid, self._domain, plan, refine=False)

    def state(self) -> dict[str, object]:
        """Return the grid and the size of the next batch."""
        return {"densities": self._grid.densities, "rays": self._rays}

    def restore(self, state: dict[str, object]) -> None:
        """Go back to a state."""
        densities, rays = state["densities"], state["rays"]
        assert isinstance(densities, Tensor)
        assert isinstance(rays, int)
        self._grid.restore(densities)
        self._rays = rays

    def _update_grid(self, step: int, generator: torch.Generator) -> None:
        whole = step in _FIRST_UPDATES
        if not whole and (step < _FIRST_UPDATES[-1] or step % _UPDATE_STEPS):
            return
        self._grid.update(self.fine, generator, whole=whole)
        if self._grid.is_empty:
            raise UnsupportedSceneError(
                f"After {step} steps the network sees nothing anywhere, and cannot learn from there. Try a "
                "lower --learning-rate or another --seed; for a small object on a plain background also "
                "--crop-steps 500."
            )


class PairLearner:
    """A coarse and a fine network, trained as published."""

    def __init__(
        self,
        settings: NerfTrainingSettings,
        domain: SceneDomain,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        shape = network_shape(settings)
        self.coarse: RadianceMlp | None = RadianceMlp(shape, generator).to(device)
        self.fine = RadianceMlp(shape, generator).to(device)
        self._settings = settings
        self._domain = domain
        self._device = device
        self._plan = SamplingPlan(
            coarse=settings.samples, fine=settings.fine_samples, density_noise=settings.density_noise
        )

    def loss(self, step: int, rays: TrainingRays, generator: torch.Generator) -> BatchLoss:
        """Return the sum of both networks' mean squared errors."""
        drawn, colours = rays.draw(self._settings.rays, step, generator)
        wanted = colours.to(self._device)
        seen_from = to_field_space(drawn.to(self._device), self._domain)
        seen = render_exactly((self.coarse, self.fine), seen_from, self._domain, self._plan, generator)
        white = self._domain.white_background
        coarse = (seen.coarse.over(white) - wanted).square().mean()
        fine = (seen.fine.over(white) - wanted).square().mean()
        return BatchLoss(coarse + fine, float(fine.detach()))

    def field(self) -> NerfPairField:
        """Return the scene as it has been learnt so far."""
        return NerfPairField(self.coarse, self.fine, self._domain, self._plan)

    def state(self) -> dict[str, object]:
        """Return nothing: all is in the weights."""
        return {}

    def restore(self, state: dict[str, object]) -> None:
        """Go back to a state."""
