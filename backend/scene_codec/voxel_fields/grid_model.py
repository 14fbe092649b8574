"""Fields whose density and features lie on the nodes of one grid, in a table of the nodes that hold any.

Sources: Sun et al. 2022 (DVGO), Fridovich-Keil et al. 2022 (Plenoxels), Li et al. 2023 (VQRF); where their
renderers differ, the classes here have a field.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from scene_codec.radiance.field_space import FieldRays
from scene_codec.radiance.occupancy import Corner
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.node_lattice import CornerRows, NodeIndex
from scene_codec.voxel_fields.shading import Shader
from scene_codec.voxel_fields.voxel_model import DensityRule, Limits, Marching, slab


@dataclass(frozen=True)
class GridStep:
    """Distance between samples.

    size : in the field's units, or in voxels along the ray
    in_voxels : which of both
    """

    size: float
    in_voxels: bool = False


@dataclass(frozen=True, eq=False)
class NearestMask:
    """Where there may be something, by the nearest node of a grid of its own; nothing outside.

    held : (x, y, z) bool
    scale, shift : position * scale + shift is the place counted in nodes
    """

    held: Tensor
    scale: Corner
    shift: Corner

    def __call__(self, positions: Tensor) -> Tensor:
        """Return at which positions (n, 3) there may be something, (n,) bool."""
        scale, shift = (torch.tensor(values, device=positions.device) for values in (self.scale, self.shift))
        place = torch.addcmul(shift, positions, scale).round().long()
        size = torch.tensor(self.held.shape, device=positions.device)
        inside = ((place >= 0) & (place < size)).all(dim=1)
        place = torch.minimum(place.clamp_min(0), size - 1)
        flat = (place[:, 0] * self.held.shape[1] + place[:, 1]) * self.held.shape[2] + place[:, 2]
        found: Tensor = self.held.reshape(-1)[flat] & inside
        return found

    def near(self, positions: Tensor, reach: float) -> Tensor:
        """Return whether there may be something within a distance along each axis, (n,) bool."""
        nodes = [
            min(math.ceil(reach * abs(scale) + 0.5), count)
            for scale, count in zip(self.scale, self.held.shape, strict=True)
        ]
        widened = self._widened.get(tuple(nodes))
        if widened is None:
            widened = replace(self, held=dilated(self.held, nodes))
            self._widened[tuple(nodes)] = widened
        scale, shift = (torch.tensor(values, device=positions.device) for values in (self.scale, self.shift))
        last = torch.tensor(self.held.shape, device=positions.device) - 1
        place = torch.minimum(torch.addcmul(shift, positions, scale).round().long().clamp_min(0), last)
        flat = (place[:, 0] * self.held.shape[1] + place[:, 1]) * self.held.shape[2] + place[:, 2]
        found: Tensor = widened.held.reshape(-1)[flat]
        return found

    @cached_property
    def _widened(self) -> dict[tuple[int, ...], NearestMask]:
        return {}


def dilated(held: Tensor, nodes: list[int]) -> Tensor:
    """Return which nodes (x, y, z) have a held one so many nodes away, or nearer, along each axis."""
    grid = held[None, None].float()
    for axis, count in enumerate(nodes):
        window = [1, 1, 1]
        window[axis] = 2 * count + 1
        padding = [0, 0, 0]
        padding[axis] = count
        grid = F.max_pool3d(grid, tuple(window), stride=1, padding=tuple(padding))
    return grid[0, 0] > 0.5


@dataclass(frozen=True, eq=False)
class GridProbe:
    """A grid looked at in some points."""

    density: Tensor
    features: Tensor
    shader: Shader
    corners: CornerRows

    def colours(self, chosen: Tensor, views: Tensor, ray: Tensor) -> Tensor:
        """Return the colours (m, 3) of some points."""
        return self.shader.colours(self.corners.select(chosen).mix(self.features), views, ray)


@dataclass(frozen=True, eq=False)
class GridModel:
    """One grid.

    raw_density : (rows, 1), through the rule after interpolation
    features : (rows, features of the shader)
    mask : outside of which nothing is looked at; None where every place is
    """

    index: NodeIndex
    raw_density: Tensor
    features: Tensor
    shader: Shader
    rule: DensityRule
    step: GridStep
    limits: Limits = field(default_factory=Limits)
    mask: NearestMask | None = None

    @property
    def box(self) -> tuple[Corner, Corner]:
        """Corners of the box outside of which there is nothing."""
        return self.index.lattice.low, self.index.lattice.high

    def march(self, rays: FieldRays, domain: SceneDomain) -> Marching:
        """Return samples from where a ray enters the box, the first of them there."""
        enter, leave = slab(rays, self.box)
        start = enter.clamp_min(domain.near)
        size = torch.full_like(start, self.step.size)
        if self.step.in_voxels:
            voxel = torch.tensor(self.index.lattice.voxel, device=start.device)
            step = size / (rays.directions / voxel).norm(dim=1)
            path = step * rays.lengths
        else:
            step, path = size / rays.lengths, size
        count = ((leave - start) / step).floor().long() + 1
        return Marching(start, step, torch.where(leave > start, count, 0), path)

    def may_hold(self, positions: Tensor) -> Tensor:
        """Return at which positions (n, 3) there may be something, (n,) bool."""
        inside = self.index.lattice.contains(positions)
        return inside if self.mask is None else inside & self.mask(positions)

    def may_be_near(self, positions: Tensor, reach: float) -> Tensor:
        """Return around which positions (n, 3) there may be something, (n,) bool."""
        if self.mask is None:
            return torch.ones(len(positions), dtype=torch.bool, device=positions.device)
        return self.mask.near(positions, reach)

    def probe(self, positions: Tensor) -> GridProbe:
        """Look at positions (n, 3)."""
        corners = self.index.around(positions)
        density = self.rule.density(corners.mix(self.raw_density).squeeze(1))
        return GridProbe(density, self.features, self.shader, corners)

    def parameters(self) -> dict[str, Tensor]:
        """Return what can be trained, by name."""
        own = {"raw_density": self.raw_density, "features": self.features}
        return own | self.shader.parameters()

    def with_parameters(self, values: Mapping[str, Tensor]) -> GridModel:
        """Return the model with other values of the same names and shapes."""
        return replace(
            self,
            raw_density=values["raw_density"],
            features=values["features"],
            shader=self.shader.with_parameters(values),
        )

    def to(self, device: torch.device) -> GridModel:
        """Return the model on a device."""
        mask = self.mask and replace(self.mask, held=self.mask.held.to(device))
        moved = {name: value.to(device) for name, value in self.parameters().items()}
        return replace(self, index=self.index.to(device), mask=mask).with_parameters(moved)


def visible_nodes(model: GridModel) -> NearestMask:
    """Return the places around which a node is opaque enough to count in one step of the field's size.

    Of a node its neighbours are taken too: between them alpha is interpolated (VQRF's rebuilt mask).
    """
    lattice = model.index.lattice
    size = model.step.size * (min(lattice.voxel) if model.step.in_voxels else 1.0)
    empty = torch.zeros((1,), device=model.raw_density.device)
    alpha = -torch.expm1(-model.rule.density(model.raw_density.squeeze(1)) * size)
    background = float(-torch.expm1(-model.rule.density(empty) * size))
    dense = model.index.dense(alpha[:, None].detach(), background)[None, ..., 0]
    held = F.max_pool3d(dense[None], kernel_size=3, stride=1, padding=1)[0, 0] > model.limits.alpha
    shift = -0.5 if lattice.centred else 0.0
    x, y, z = (1.0 / voxel for voxel in lattice.voxel)
    low = lattice.low
    return NearestMask(held, (x, y, z), (shift - low[0] * x, shift - low[1] * y, shift - low[2] * z))
