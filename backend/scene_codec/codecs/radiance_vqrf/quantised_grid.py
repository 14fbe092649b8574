"""A grid whose values and network are rounded as the file holds them, and which can still be trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scene_codec.codecs.radiance_vqrf.decoder import float_layers
from scene_codec.codecs.radiance_vqrf.grid_fitting import FittedGrid
from scene_codec.codecs.radiance_vqrf.shader_rounding import integer_layers
from scene_codec.codecs.radiance_vqrf.value_rates import ValueRates
from scene_codec.radiance.field_space import FieldRays
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.field_learner import FieldLearner, FieldLoss, LitSamples, RayBatch, StepOutcome
from scene_codec.voxel_fields.held_cells import LONGEST_STEP, CellSamples, HeldCells
from scene_codec.voxel_fields.shading import LinearLayer, NetworkShader, Shader
from scene_codec.voxel_fields.table_training import TrainedTable, used_rows

_PLAIN = FieldLoss(entropy=0.0, points=0.0)
_NETWORK_BETAS = (0.9, 0.99)
_MOST_RARE = 100.0
"""Most steps without a ray that a value pays for at once."""

DENSITY_PACE = 3.0
"""How much farther raw densities move than features. Fields trained for little want 10; those of which
more is asked lose by it."""


Slopes = tuple[Tensor, Tensor]
"""Rows (m,) of a table and the gradients (m, c) of the squared error by their values."""


class _SlopeFinder(FieldLearner):
    """Finds which way the rows of tables should go and leaves it to others to move them."""

    found: tuple[Slopes, Slopes]

    def _move(
        self,
        lit: LitSamples,
        density: Tensor,
        coloured: CellSamples,
        features: Tensor | None,
        rate: float,
    ) -> None:
        """Keep the gradients."""
        none = torch.zeros(0, dtype=torch.int64, device=density.device)
        by_density = none, density.new_zeros((0, 1))
        by_features = none, density.new_zeros((0, self.features.values.shape[1]))
        if len(lit.weights):
            by_density = used_rows(lit.samples.rows, lit.samples.weights, density[:, None])
        if features is not None and len(coloured):
            by_features = used_rows(coloured.rows, coloured.weights, features)
        self.found = by_density, by_features


class QuantisedGrid:
    """Values in steps, real numbers that are rounded whenever they are seen.

    densities, features : tables of the nodes that are held
    network : weights and biases of the shader in turns, before rounding
    """

    def __init__(self, fitted: FittedGrid, network_levels: int) -> None:
        self._fitted = fitted
        self._network_levels = network_levels
        model = fitted.model
        lattice, device = model.index.lattice, model.raw_density.device
        opaque = torch.zeros(lattice.nodes, dtype=torch.bool, device=device)
        opaque[model.index.held] = True
        self.held: NDArray[np.bool_] = opaque.view(lattice.shape).cpu().numpy()
        cells = HeldCells.of_nodes(lattice, opaque)
        # Rows of the learner's tables are nodes of held cells, some of which hold nothing.
        self._place = cells.index.row[model.index.held].long()
        self._own = torch.full((len(cells.index.held),), -1, device=device)
        self._own[self._place] = torch.arange(len(self._place), device=device)
        self.densities = TrainedTable(fitted.densities.clone())
        self.features = TrainedTable(fitted.features.clone())
        self._hits = [torch.zeros(len(self._place), device=device) for _ in range(2)]
        self._steps = 0
        self.network = [value.detach().clone() for layer in layers_of(model.shader) for value in layer]
        self._optimiser = torch.optim.Adam(self.network or [torch.zeros(1)], betas=_NETWORK_BETAS)
        density, features = (TrainedTable(values) for values in self._tables())
        size = model.step.size / LONGEST_STEP
        self._learner = _SlopeFinder(cells, (density, features), model.shader, model.rule, model.limits, size)

    @property
    def layers(self) -> tuple[LinearLayer, ...]:
        """The layers of the shader's network, before rounding."""
        return tuple(zip(self.network[::2], self.network[1::2], strict=True))

    def rates(self) -> tuple[ValueRates, ValueRates]:
        """Return what the coder of nodes expects of densities and features as they are."""
        tables = (self.densities, self.features)
        density, features = (ValueRates.of(table.values, self.held) for table in tables)
        return density, features

    def meeting(self, rays: FieldRays, near: float) -> Tensor:
        """Return which rays (n,) bool come near nodes that are held; all others see the background alone."""
        return self._learner.cells.meeting(rays, self._learner.step_size, near)

    def observe(self, batch: RayBatch, domain: SceneDomain) -> StepOutcome:
        """Look along rays, and find which way all that is rounded should go."""
        learner = self._learner
        learner.density.values, learner.features.values = self._tables()
        learner.shader, self._seen = self._rounded_shader()
        return learner.step(batch, domain, _PLAIN, 0.0)

    def move(
        self, rates: tuple[ValueRates, ValueRates], per_error: float, rise: float, sizes: tuple[float, float]
    ) -> None:
        """Take a step by what was found.

        rates : of densities and features
        per_error : bits that a squared error of 1 is worth
        rise : weight of the bits
        sizes : how far features move, in their own units, and the network
        """
        fitted = self._fitted
        units = (
            torch.full((1, 1), fitted.density_step, device=self._own.device),
            fitted.feature_map.t() * fitted.feature_step,
        )
        tables = (self.densities, self.features)
        paces = ((DENSITY_PACE, fitted.density_step), (1.0, fitted.feature_step))
        self._steps += 1
        everything = zip(tables, self._hits, rates, self._learner.found, units, paces, strict=True)
        for table, hits, own, found, unit, (pace, step) in everything:
            rows = self._own[found[0]]
            chosen = rows >= 0
            rows = rows[chosen]
            hits[rows] += 1.0
            # Values move when rays meet them, and then pay for the steps in which none did.
            rarity = (self._steps / hits[rows]).clamp_max(_MOST_RARE)[:, None]
            # Counted in bits: gradients are then far above what Adam takes for zero.
            slope = own.slopes(table.values, rows).mul_(rarity * rise)
            slope += found[1][chosen] @ unit * per_error
            table.step(rows, slope, sizes[0] * pace / step)
        if self._seen and self._seen[0].grad is not None:
            for value, seen in zip(self.network, self._seen, strict=True):
                value.grad = seen.grad
            for group in self._optimiser.param_groups:
                group["lr"] = sizes[1]
            self._optimiser.step()

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        tables = (self.densities, self.features)
        return {
            "tables": [(table.values, table.moments, table.steps) for table in tables],
            "hits": self._hits,
            "moves": self._steps,
            "network": self.network,
            "optimiser": self._optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what `state` returned."""
        device = self._own.device
        for table, (values, moments, steps) in zip(
            (self.densities, self.features), state["tables"], strict=True
        ):
            table.values, table.moments, table.steps = values.to(device), moments.to(device), steps
        self._hits = [hits.to(device) for hits in state["hits"]]
        self._steps = state["moves"]
        for own, value in zip(self.network, state["network"], strict=True):
            own.copy_(value)
        self._optimiser.load_state_dict(state["optimiser"])

    def _tables(self) -> tuple[Tensor, Tensor]:
        """Return densities and features of the learner's rows, as the file would hold them."""
        fitted = self._fitted
        density = self.densities.values.round() * fitted.density_step
        features = (self.features.values.round() * fitted.feature_step) @ fitted.feature_map
        rows = len(self._own)
        tables = (density.new_zeros((rows, 1)), features.new_zeros((rows, features.shape[1])))
        for table, values in zip(tables, (density, features), strict=True):
            table[self._place] = values
        return tables

    def _rounded_shader(self) -> tuple[Shader, list[Tensor]]:
        """Return the shader with rounded weights that take gradients, and these weights."""
        shader, device = self._fitted.model.shader, self._own.device
        layers = float_layers(integer_layers(self.layers, self._network_levels))
        rounded = [value.to(device).requires_grad_() for layer in layers for value in layer]
        return shader.with_parameters(dict(zip(shader.parameters(), rounded, strict=True))), rounded


def layers_of(shader: Shader) -> tuple[LinearLayer, ...]:
    """Return the layers of a shader, none when it is no network."""
    return shader.layers if isinstance(shader, NetworkShader) else ()
