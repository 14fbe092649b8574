"""What the small network learns from: pictures of the scene, or what the large network shows of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from scene_codec.networks.radiance_mlp import RadianceMlp
from scene_codec.radiance.cameras import Rays
from scene_codec.radiance.field_space import FieldRays, to_field_space
from scene_codec.radiance.occupancy import OccupancyGrid
from scene_codec.radiance.packed_rendering import render_packed
from scene_codec.radiance.ray_marching import Samples, march
from scene_codec.radiance.ray_supply import CameraSet, PictureRays
from scene_codec.radiance.scene_domain import SceneDomain


@dataclass(frozen=True, eq=False)
class SeenRays:
    """A batch of training.

    rays : in the field's space
    samples : packed, in occupied cells
    colours : (rays, 3) that should be seen
    """

    rays: FieldRays
    samples: Samples
    colours: Tensor


class Supervision(Protocol):
    """Draws batches."""

    def draw(self, rays: int, generator: torch.Generator, *, everywhere: bool) -> SeenRays:
        """Return so many random rays with samples and colours.

        everywhere : with samples in all occupied cells, not only where the large network has density
        """


@dataclass(frozen=True, eq=False)
class RaySampler:
    """Where rays are sampled.

    grid : all occupied cells
    dense : the parts of them where the large network has density
    step : between samples
    """

    domain: SceneDomain
    grid: OccupancyGrid
    dense: OccupancyGrid
    step: float

    def sample(
        self, rays: Rays, generator: torch.Generator, *, everywhere: bool
    ) -> tuple[FieldRays, Samples]:
        """Return rays in the field's space and their samples, shifted at random."""
        inside = to_field_space(rays.to(self.grid.occupied.device), self.domain)
        grid = self.grid if everywhere else self.dense
        return inside, march(inside, self.domain, grid, self.step, generator)


class PictureSupervision:
    """Colours are those of pictures."""

    def __init__(self, pictures: PictureRays, sampler: RaySampler) -> None:
        self._pictures, self._sampler = pictures, sampler

    def draw(self, rays: int, generator: torch.Generator, *, everywhere: bool) -> SeenRays:
        """Return so many random rays with samples and colours."""
        drawn, colours = self._pictures.draw(rays, generator)
        inside, samples = self._sampler.sample(drawn, generator, everywhere=everywhere)
        return SeenRays(inside, samples, colours.to(inside.origins.device))


class TeacherSupervision:
    """Colours are those that the large network shows at the same samples: distillation without pictures."""

    def __init__(self, teacher: RadianceMlp, cameras: CameraSet, sampler: RaySampler) -> None:
        self._teacher, self._cameras, self._sampler = teacher, cameras, sampler

    def draw(self, rays: int, generator: torch.Generator, *, everywhere: bool) -> SeenRays:
        """Return so many random rays with samples and colours."""
        drawn = self._cameras.draw(rays, generator)
        inside, samples = self._sampler.sample(drawn, generator, everywhere=everywhere)
        with torch.no_grad():
            density, colour = self._teacher(samples.positions(inside), inside.views, samples.ray)
            pixels, _ = render_packed(density, colour, samples, inside, self._sampler.step)
        return SeenRays(inside, samples, pixels.over(self._sampler.domain.white_background))
