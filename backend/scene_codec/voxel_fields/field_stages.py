"""The stages of a training: how each begins with what the one before has learnt."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from scene_codec.radiance.cameras import Camera
from scene_codec.radiance.occupancy import Corner
from scene_codec.voxel_fields.field_learner import FieldLearner
from scene_codec.voxel_fields.field_training_config import FEWEST_WIDTH, FieldTrainingSettings
from scene_codec.voxel_fields.held_cells import HeldCells
from scene_codec.voxel_fields.node_lattice import NodeIndex, NodeLattice
from scene_codec.voxel_fields.shading import LinearLayer, NetworkShader, PlainShader, Shader
from scene_codec.voxel_fields.table_training import TrainedTable
from scene_codec.voxel_fields.voxel_model import DensityRule, Limits

OPAQUE = 5e-3
BOX_OPAQUE = 2e-2
"""Opacity of a step from which on something may be around a node, and from which on the box holds it."""

SEEN = 1e-2
"""Weight that a sample beside a node must have had lately; what is hidden or hardly there is left out."""

THIN_SHARE = 0.25
"""Part of the largest opacity or weight from which on all this is so at the latest."""

_FEWEST_TOGETHER = 2
"""Nodes within one of each other, from which on they count for the box."""

BOX_LIMITS = Limits(alpha=1e-7, weight=1e-7, dark=1e-3)
PLAIN_LIMITS = Limits(alpha=1e-5, weight=1e-4, dark=1e-3)
FINE_LIMITS = Limits(alpha=1e-4, weight=1e-4, dark=1e-3)

_PLAIN_FEATURES = 3
_THINNEST = -4.0
_DENSEST = 10.0
"""Between which stored densities begin; what is thinner would hardly come back."""

_MOST_CAMERAS = 64
"""Of which is looked at what they see, at least where there are so many."""

_LAST_LAYER = 0.1
"""Of the usual size, for weights of the last layer of a network that begins with known colours."""


@dataclass(frozen=True)
class Box:
    """A box that is filled with nodes, and how dense a voxel is there at first.

    voxel : edge of a voxel when the box holds as many nodes as are wanted at the end
    """

    low: Corner
    high: Corner
    voxel: float

    @staticmethod
    def of_nodes(low: Corner, high: Corner, nodes: float) -> Box:
        """Return a box in which there shall be so many nodes at the end."""
        volume = math.prod(end - start for start, end in zip(low, high, strict=True))
        return Box(low, high, (volume / nodes) ** (1.0 / 3.0))

    def rule(self, opacity: float, lowered: float = 0.0) -> DensityRule:
        """Return the rule by which a stored 0 makes a voxel of that edge so opaque."""
        return DensityRule(
            softplus=True, shift=math.log(1.0 / (1.0 - opacity) - 1.0) - lowered, scale=1.0 / self.voxel
        )

    def edge(self, fewer: float) -> float:
        """Return the edge of a voxel when there are so many times fewer nodes."""
        return float(self.voxel * fewer ** (1.0 / 3.0))

    def lattice(self, fewer: float) -> NodeLattice:
        """Return so many times fewer nodes: along each axis as many as whole voxels fit."""
        edge = self.edge(fewer)
        x, y, z = (
            max(2, math.floor((end - start) / edge + 1e-4))
            for start, end in zip(self.low, self.high, strict=True)
        )
        return NodeLattice((x, y, z), self.low, self.high)


def box_search(
    box: Box, settings: FieldTrainingSettings, cameras: Sequence[Camera], device: torch.device
) -> FieldLearner:
    """Return the learner of the first stage: plain colours at all nodes.

    cameras : by how many of them see a node its steps become smaller, as published: what few cameras see is
        soon explained by something in front of each. Empty for all the same.
    """
    lattice = box.lattice(1.0)
    cells = HeldCells.of_nodes(lattice, torch.ones(lattice.nodes, dtype=torch.bool, device=device))
    rule = box.rule(settings.coarse_opacity)
    tables = fresh_tables(cells.index, _PLAIN_FEATURES)
    if cameras:
        seen = seen_share(lattice.positions(torch.arange(lattice.nodes)), cameras).to(device)
        for table in tables:
            table.shares = seen[:, None]
    return FieldLearner(cells, tables, PlainShader(), rule, BOX_LIMITS, box.voxel)


def seen_share(positions: Tensor, cameras: Sequence[Camera]) -> Tensor:
    """Return by how many cameras positions (n, 3) are seen, (n,), as a part of the largest such number.

    How lenses bend lines is passed over.
    """
    counts = torch.zeros(len(positions))
    for camera in cameras[:: max(1, len(cameras) // _MOST_CAMERAS)]:
        pose = torch.from_numpy(camera.pose).float()
        local = (positions - pose[:3, 3]) @ pose[:3, :3]
        depth = -local[:, 2]
        across = local[:, 0] * camera.focal_x + camera.centre_x * depth
        down = -local[:, 1] * camera.focal_y + camera.centre_y * depth
        inside = (across >= 0.0) & (across <= camera.width * depth)
        counts += inside & (down >= 0.0) & (down <= camera.height * depth) & (depth > 0.0)
    return counts / counts.max().clamp_min(1.0)


def fresh_tables(index: NodeIndex, features: int) -> tuple[TrainedTable, TrainedTable]:
    """Return tables of density and features that hold zeros."""
    count, device = len(index.held), index.row.device
    zeros = torch.zeros((count, 1), device=device), torch.zeros((count, features), device=device)
    return TrainedTable(zeros[0]), TrainedTable(zeros[1])


def found_box(learner: FieldLearner, nodes: float) -> Box | None:
    """Return the box around the nodes that are part of the scene, a voxel larger; None where there are none.

    Nodes without such a neighbour do not count: they are specks that one camera sees.
    """
    lattice = learner.cells.index.lattice
    opacity = learner.opacity()
    opaque = (opacity > _threshold(opacity, BOX_OPAQUE)).view(1, 1, *lattice.shape).float()
    around = F.avg_pool3d(opaque, 3, stride=1, padding=1) * 27.0
    chosen = (opaque * around > _FEWEST_TOGETHER - 0.5).flatten().nonzero().squeeze(1)
    if not len(chosen):
        return None
    places = lattice.positions(chosen).cpu()
    margin = torch.tensor(lattice.voxel)
    low = torch.maximum(places.amin(dim=0) - margin, torch.tensor(lattice.low)).tolist()
    high = torch.minimum(places.amax(dim=0) + margin, torch.tensor(lattice.high)).tolist()
    return Box.of_nodes((low[0], low[1], low[2]), (high[0], high[1], high[2]), nodes)


def going_on(
    learner: FieldLearner,
    box: Box,
    fewer: float,
    shader: Shader,
    settings: FieldTrainingSettings,
) -> FieldLearner:
    """Return a learner on another lattice that begins with the densities and colours of one before.

    fewer : how many times fewer nodes there are than at the end
    """
    lattice, rule = box.lattice(fewer), box.rule(settings.opacity)
    cells = HeldCells.of_nodes(lattice, _nearness(learner, lattice) > 0.0)
    density, features = fresh_tables(cells.index, shader.features)
    if settings.begin == "coarse":
        before = learner.cells.index.around(lattice.positions(cells.index.held))
        dense = before.mix(learner.rule.density(learner.density.values)) / rule.scale
        dense = dense.clamp_min(1e-12)
        stored = torch.where(dense > 20.0, dense, torch.log(torch.expm1(dense))) - rule.shift
        density.values = stored.clamp_(_THINNEST, _DENSEST)
        features.values[:, :_PLAIN_FEATURES] = before.mix(learner.features.values)[:, :_PLAIN_FEATURES]
    limits = PLAIN_LIMITS if isinstance(shader, PlainShader) else FINE_LIMITS
    return FieldLearner(cells, (density, features), shader, rule, limits, box.edge(fewer))


def refined(learner: FieldLearner, box: Box, fewer: float, lowering: float) -> FieldLearner:
    """Return a learner that goes on with the same field at more nodes, or at those that are still needed.

    lowering : by how much stored densities become smaller
    """
    before, index = learner.cells.index.lattice, learner.cells.index
    lattice = box.lattice(fewer)
    rule = DensityRule(softplus=True, shift=learner.rule.shift - lowering, scale=learner.rule.scale)
    known = resized(index.dense(learner.density.values).view(before.nodes, 1), before, lattice)
    needed = learner.opacity(_threshold(learner.largest, SEEN)) > learner.limits.alpha
    held = resized(needed.float()[:, None], before, lattice) > 0.0
    edge = box.edge(fewer)
    alpha = -torch.expm1(-rule.density(known) * (0.5 * edge))
    cells = HeldCells.of_nodes(lattice, ((alpha > learner.limits.alpha) & held).flatten())
    moved = [
        _moved(table, index, cells.index, keep_moments=not lowering)
        for table in (learner.density, learner.features)
    ]
    return FieldLearner(cells, (moved[0], moved[1]), learner.shader, rule, learner.limits, edge)


def resized(values: Tensor, lattice: NodeLattice, other: NodeLattice) -> Tensor:
    """Return values of all nodes (nodes, c) at the nodes of another lattice on the same box."""
    if lattice.shape == other.shape:
        return values
    grid = values.view(1, *lattice.shape, values.shape[1]).permute(0, 4, 1, 2, 3)
    larger = F.interpolate(grid, size=other.shape, mode="trilinear", align_corners=True)
    return larger[0].permute(1, 2, 3, 0).reshape(other.nodes, values.shape[1])


def fresh_network(
    settings: FieldTrainingSettings, generator: torch.Generator, device: torch.device
) -> NetworkShader:
    """Return a network; where stages go on from each other, one that shows the first three features.

    They pass through as themselves and negated, as a ReLU lets half of each through.
    """
    first = NetworkShader.first_inputs(settings.features, settings.direction_octaves, None, False)
    widths = [first, *[settings.width] * (settings.depth - 1), 3]
    layers: list[LinearLayer] = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        bound = inputs**-0.5
        weight = (torch.rand((outputs, inputs), generator=generator) * 2.0 - 1.0) * bound
        if settings.begin == "coarse":
            _pass_colours(weight, first=index == 0, last=index == settings.depth - 1)
        layers.append(
            (weight.to(device).requires_grad_(), torch.zeros(outputs, device=device).requires_grad_())
        )
    return NetworkShader(tuple(layers), settings.features, settings.direction_octaves)


def _pass_colours(weight: Tensor, *, first: bool, last: bool) -> None:
    """Set the weights (outputs, inputs) that hand three values on."""
    half = FEWEST_WIDTH // 2
    one = torch.eye(half)
    if last:
        weight *= _LAST_LAYER
        weight[:, :FEWEST_WIDTH] = torch.cat([one, -one], dim=1)
        return
    weight[:FEWEST_WIDTH] = 0.0
    if first:
        weight[:FEWEST_WIDTH, :half] = torch.cat([one, -one])
    else:
        weight[:FEWEST_WIDTH, :FEWEST_WIDTH] = torch.eye(FEWEST_WIDTH)


def _threshold(values: Tensor, usual: float) -> float:
    """Return from which opacity or weight on nodes count; while all is thin, from less on than usual."""
    return min(usual, THIN_SHARE * float(values.max())) if len(values) else usual


def _nearness(learner: FieldLearner, lattice: NodeLattice) -> Tensor:
    """Return whether something is near the nodes (nodes,) of another lattice, as a share of 1."""
    own = learner.cells.index.lattice
    opacity = learner.opacity(_threshold(learner.largest, SEEN))
    opacity = (opacity > _threshold(opacity, OPAQUE)).float()
    around = F.max_pool3d(opacity.view(1, 1, *own.shape), 3, stride=1, padding=1)
    device = around.device
    places = own.coordinates(lattice.positions(torch.arange(lattice.nodes, device=device)))
    places = 2.0 * places / (torch.tensor(own.shape, device=device) - 1) - 1.0
    grid = places.flip(1).view(1, 1, 1, -1, 3)
    return F.grid_sample(around, grid, align_corners=True, padding_mode="border").flatten()


def _moved(table: TrainedTable, before: NodeIndex, after: NodeIndex, *, keep_moments: bool) -> TrainedTable:
    """Return a table at other nodes of the same box."""
    lattices = before.lattice, after.lattice

    def at_held(values: Tensor) -> Tensor:
        dense = before.dense(values).view(before.lattice.nodes, values.shape[1])
        return resized(dense, *lattices).index_select(0, after.held)

    moved = TrainedTable(at_held(table.values))
    if keep_moments:
        moved.moments, moved.steps = at_held(table.moments), table.steps
    return moved
