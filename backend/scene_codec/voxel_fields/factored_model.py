"""Fields that are sums of products of planes and lines, or of three lines (TensoRF).

Source: Chen et al. 2022, equations 3 (CP), 5 and 6 (VM); axes and orders as in the released code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from scene_codec.radiance.field_space import FieldRays
from scene_codec.radiance.occupancy import Corner
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.grid_model import NearestMask, dilated
from scene_codec.voxel_fields.node_lattice import NodeLattice
from scene_codec.voxel_fields.shading import Shader
from scene_codec.voxel_fields.voxel_model import DensityRule, Limits, Marching, slab

PLANE_AXES = ((0, 1), (0, 2), (1, 2))
"""Of each plane the axis along its rows and that along its columns."""

LINE_AXES = (2, 1, 0)
"""Of each line its axis; that which the plane of the same number leaves out."""


@dataclass(frozen=True, eq=False)
class Factors:
    """One factored tensor.

    planes : three of (components, nodes along the second axis, nodes along the first); none for CP
    lines : three of (components, nodes)
    """

    planes: tuple[Tensor, ...]
    lines: tuple[Tensor, ...]

    def products(self, places: Tensor) -> list[Tensor]:
        """Return the products (components, n) at places (n, 3) in [-1, 1]: three for VM, one for CP."""
        lines = [
            _sample_line(line, places[:, axis]) for line, axis in zip(self.lines, LINE_AXES, strict=True)
        ]
        if not self.planes:
            return [lines[0] * lines[1] * lines[2]]
        return [
            _sample_plane(plane, places[:, list(axes)]) * line
            for plane, axes, line in zip(self.planes, PLANE_AXES, lines, strict=True)
        ]

    def named(self, prefix: str) -> dict[str, Tensor]:
        """Return planes and lines by name."""
        planes = {f"{prefix}_plane.{index}": plane for index, plane in enumerate(self.planes)}
        return planes | {f"{prefix}_line.{index}": line for index, line in enumerate(self.lines)}

    def with_named(self, prefix: str, values: Mapping[str, Tensor]) -> Factors:
        """Return factors with other values of the same names."""
        return Factors(
            tuple(values[f"{prefix}_plane.{index}"] for index in range(len(self.planes))),
            tuple(values[f"{prefix}_line.{index}"] for index in range(len(self.lines))),
        )


@dataclass(frozen=True, eq=False)
class OverlapMask:
    """Where there may be something, by the nodes around: one of those with any weight is enough.

    held : (nodes,) bool, flat
    """

    lattice: NodeLattice
    held: Tensor

    def __call__(self, positions: Tensor) -> Tensor:
        """Return at which positions (n, 3) there may be something, (n,) bool."""
        flat, weights = self.lattice.corners(positions)
        found: Tensor = ((self.held[flat] * weights) > 0.0).any(dim=1)
        return found & self.lattice.contains(positions)

    def near(self, positions: Tensor, reach: float) -> Tensor:
        """Return whether there may be something within a distance along each axis, (n,) bool."""
        return self._as_nearest.near(positions, reach)

    @cached_property
    def _as_nearest(self) -> NearestMask:
        """The same nodes, and their neighbours, which the nearest node to a place between them may be."""
        x, y, z = (1.0 / side for side in self.lattice.voxel)
        low, half = self.lattice.low, 0.5 if self.lattice.centred else 0.0
        shift = (-low[0] * x - half, -low[1] * y - half, -low[2] * z - half)
        return NearestMask(dilated(self.held.view(self.lattice.shape), [1, 1, 1]), (x, y, z), shift)


@dataclass(frozen=True, eq=False)
class FactoredProbe:
    """A factored field looked at in some points."""

    density: Tensor
    model: FactoredModel
    places: Tensor

    def colours(self, chosen: Tensor, views: Tensor, ray: Tensor) -> Tensor:
        """Return the colours (m, 3) of some points."""
        return self.model.shader.colours(self.model.features_at(self.places[chosen]), views, ray)


@dataclass(frozen=True, eq=False)
class FactoredModel:
    """Factors of density and appearance in a box.

    low, high : corners of the box
    step : between samples, in the field's units
    basis : (features of the shader, components of all appearance factors)
    near, far : between which rays may enter the box, in units of length
    """

    low: Corner
    high: Corner
    density_factors: Factors
    appearance: Factors
    basis: Tensor
    shader: Shader
    rule: DensityRule
    step: float
    near: float
    far: float
    limits: Limits = field(default_factory=Limits)
    mask: OverlapMask | None = None

    @property
    def box(self) -> tuple[Corner, Corner]:
        """Corners of the box outside of which there is nothing."""
        return self.low, self.high

    def march(self, rays: FieldRays, domain: SceneDomain) -> Marching:
        """Return samples from where a ray enters the box; the last on the longest way stands for no path."""
        enter, leave = slab(rays, self.box)
        start = enter.clamp(self.near / rays.lengths, self.far / rays.lengths)
        start = torch.maximum(start, domain.near / rays.lengths)
        step = self.step / rays.lengths
        diagonal = sum((high - low) ** 2 for low, high in zip(self.low, self.high, strict=True)) ** 0.5
        most = int(diagonal / self.step)
        count = (((leave - start) / step).floor().long() + 1).clamp_max(most)
        return Marching(start, step, torch.where(leave > start, count, 0), torch.full_like(start, self.step))

    def may_hold(self, positions: Tensor) -> Tensor:
        """Return at which positions (n, 3) there may be something, (n,) bool."""
        low, high = (torch.tensor(corner, device=positions.device) for corner in self.box)
        inside = ((positions >= low) & (positions <= high)).all(dim=1)
        return inside if self.mask is None else inside & self.mask(positions)

    def may_be_near(self, positions: Tensor, reach: float) -> Tensor:
        """Return around which positions (n, 3) there may be something, (n,) bool."""
        if self.mask is None:
            return torch.ones(len(positions), dtype=torch.bool, device=positions.device)
        return self.mask.near(positions, reach)

    def probe(self, positions: Tensor) -> FactoredProbe:
        """Look at positions (n, 3)."""
        places = self._places(positions)
        return FactoredProbe(self.rule.density(self._stored_density(places)), self, places)

    def stored(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the density before its rule (n,) and the shader's features (n, features) at positions."""
        places = self._places(positions)
        return self._stored_density(places), self.features_at(places)

    def features_at(self, places: Tensor) -> Tensor:
        """Return the shader's features (n, features) at places (n, 3) in [-1, 1]."""
        return torch.cat(self.appearance.products(places)).t() @ self.basis.t()

    def _places(self, positions: Tensor) -> Tensor:
        """Return positions (n, 3) counted from -1 to 1 along the box."""
        low, high = (torch.tensor(corner, device=positions.device) for corner in self.box)
        return (positions - low) * (2.0 / (high - low)) - 1.0

    def _stored_density(self, places: Tensor) -> Tensor:
        return torch.stack([own.sum(dim=0) for own in self.density_factors.products(places)]).sum(dim=0)

    def parameters(self) -> dict[str, Tensor]:
        """Return what can be trained, by name."""
        own = {**self.density_factors.named("density"), **self.appearance.named("appearance")}
        return own | {"basis": self.basis} | self.shader.parameters()

    def with_parameters(self, values: Mapping[str, Tensor]) -> FactoredModel:
        """Return the model with other values of the same names and shapes."""
        return replace(
            self,
            density_factors=self.density_factors.with_named("density", values),
            appearance=self.appearance.with_named("appearance", values),
            basis=values["basis"],
            shader=self.shader.with_parameters(values),
        )

    def to(self, device: torch.device) -> FactoredModel:
        """Return the model on a device."""
        mask = self.mask and replace(self.mask, held=self.mask.held.to(device))
        moved = {name: value.to(device) for name, value in self.parameters().items()}
        return replace(self, mask=mask).with_parameters(moved)


def _sample_line(line: Tensor, place: Tensor) -> Tensor:
    """Return values (components, n) of a line (components, nodes) at places (n,) in [-1, 1]."""
    last = line.shape[1] - 1
    at = ((place + 1.0) * (0.5 * last)).clamp(0.0, float(last))
    base = at.floor().clamp_max(max(last - 1, 0))
    after = at - base
    below = base.long()
    above = (below + 1).clamp_max(last)
    return line[:, below] * (1.0 - after) + line[:, above] * after


def _sample_plane(plane: Tensor, places: Tensor) -> Tensor:
    """Return values (components, n) of a plane (components, rows, columns) at places (n, 2): column, row."""
    grid = places.view(1, -1, 1, 2)
    sampled = F.grid_sample(plane[None], grid, align_corners=True, padding_mode="border")
    return sampled.view(plane.shape[0], -1)


def node_counts(factors: Sequence[Tensor]) -> tuple[int, int, int]:
    """Return the nodes along x, y and z of three lines in the order of `LINE_AXES`."""
    along = {axis: line.shape[1] for axis, line in zip(LINE_AXES, factors, strict=True)}
    return along[0], along[1], along[2]
