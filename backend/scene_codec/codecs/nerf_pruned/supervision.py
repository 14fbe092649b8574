"""What the small network learns from: pictures of the scene, or what the large network shows of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from scene_codec.networks.radiance_mlp import RadianceMlp
from scene_codec.radiance.cameras import Rays
from scene_codec.radiance.compositing import optical_depth
from scene_codec.radiance.field_space import FieldRays, to_field_space
from scene_codec.radiance.occupancy import OccupancyGrid
from scene_codec.radiance.packed_rendering import render_packed
from scene_codec.radiance.ray_marching import Samples, march
from scene_codec.radiance.ray_supply import CameraSet, PictureRays
from scene_codec.radiance.scene_domain import SceneDomain


@dataclass(frozen=True, eq=False)
class TaughtPoints:
    """What the large network says of samples.

    opacity : (n,) of each sample by itself
    colour : (n, 3) in [0, 1]
    weights : (n,) part that each sample has in its ray's colour
    """

    opacity: Tensor
    colour: Tensor
    weights: Tensor


@dataclass(frozen=True, eq=False)
class SeenRays:
    """A batch of training.

    rays : in the field's space
    samples : packed, in occupied cells
    colours : (rays, 3) that should be seen
    points : what the samples themselves should be; None when only a ray's colour is known
    """

    rays: FieldRays
    samples: Samples
    colours: Tensor
    points: TaughtPoints | None = None


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
            pixels, weights = render_packed(density, colour, samples, inside, self._sampler.step)
            opacity = sample_opacity(density, inside, samples, self._sampler.step)
        colours = pixels.over(self._sampler.domain.white_background)
        return SeenRays(inside, samples, colours, TaughtPoints(opacity, colour.sigmoid(), weights))


def sample_opacity(density: Tensor, rays: FieldRays, samples: Samples, step: float) -> Tensor:
    """Return the opacity (n,) of samples by themselves from their raw density (n,)."""
    return 1.0 - torch.exp(-optical_depth(density, rays.lengths.index_select(0, samples.ray) * step))
