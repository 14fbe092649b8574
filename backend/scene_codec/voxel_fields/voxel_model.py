"""What every voxel field offers to rendering, training and coding, whatever its values are stored as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from scene_codec.radiance.field_space import FieldRays
from scene_codec.radiance.occupancy import Corner
from scene_codec.radiance.scene_domain import SceneDomain


@dataclass(frozen=True, kw_only=True)
class DensityRule:
    """From stored values to densities, per unit of path.

    softplus : softplus(value + shift), as DVGO and TensoRF; otherwise value + shift where that is positive
    scale : by which the result is multiplied
    """

    softplus: bool
    shift: float = 0.0
    scale: float = 1.0

    def density(self, stored: Tensor) -> Tensor:
        """Return densities (n,), not negative, of stored values (n,)."""
        shifted = stored + self.shift
        positive = torch.nn.functional.softplus(shifted) if self.softplus else shifted.relu()
        return positive * self.scale


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is not worth evaluating, each as the public renderers have it.

    alpha : samples that are not more opaque do not count at all
    weight : samples with no more weight have no colour
    dark : share of light left below which a ray ends
    """

    alpha: float = 0.0
    weight: float = 0.0
    dark: float = 0.0


@dataclass(frozen=True, eq=False)
class Marching:
    """Even samples along rays.

    start : (n,) distance of a ray's first sample
    step : (n,) between samples, in the same units
    count : (n,) int64 samples
    path : (n,) length of path that each sample stands for
    """

    start: Tensor
    step: Tensor
    count: Tensor
    path: Tensor


class Probe(Protocol):
    """A field looked at in some points."""

    @property
    def density(self) -> Tensor:
        """Densities (n,) per unit of path, not negative."""

    def colours(self, chosen: Tensor, views: Tensor, ray: Tensor) -> Tensor:
        """Return the colours (m, 3) of some points.

        chosen : (m,) int64, which points
        views : (rays, 3) unit directions
        ray : (m,) int64, which direction each point is seen from
        """


class VoxelModel(Protocol):
    """Densities and colours in a box."""

    @property
    def limits(self) -> Limits:
        """What need not be evaluated."""

    @property
    def box(self) -> tuple[Corner, Corner]:
        """Corners of the box outside of which there is nothing."""

    def march(self, rays: FieldRays, domain: SceneDomain) -> Marching:
        """Return where the field's own renderer takes samples."""

    def may_hold(self, positions: Tensor) -> Tensor:
        """Return at which positions (n, 3) there may be something, (n,) bool."""

    def may_be_near(self, positions: Tensor, reach: float) -> Tensor:
        """Return around which positions (n, 3) there may be something, (n,) bool.

        False only where `may_hold` is so everywhere within a distance `reach` along each axis.
        """

    def probe(self, positions: Tensor) -> Probe:
        """Look at positions (n, 3)."""

    def parameters(self) -> dict[str, Tensor]:
        """Return what can be trained, by name."""

    def with_parameters(self, values: Mapping[str, Tensor]) -> Self:
        """Return the model with other values of the same names and shapes."""

    def to(self, device: torch.device) -> Self:
        """Return the model on a device."""


def slab(rays: FieldRays, box: tuple[Corner, Corner]) -> tuple[Tensor, Tensor]:
    """Return the distances (n,) at which rays enter and leave a box; a ray that misses enters behind."""
    device = rays.origins.device
    steep = torch.where(rays.directions == 0.0, 1e-6, rays.directions)
    one, other = ((torch.tensor(corner, device=device) - rays.origins) / steep for corner in box)
    return torch.minimum(one, other).amax(dim=1), torch.maximum(one, other).amin(dim=1)
