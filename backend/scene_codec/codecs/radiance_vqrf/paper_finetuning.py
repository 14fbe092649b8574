r"""Joint fine-tuning of VQRF: all held nodes as if free, and every few steps those of one code equal again.

```text
rays --> trace --> colours --> squared error + entropy of what passes + error of points --> Adam
            ^                                                                                |
            +-- density, features, network <-- mean over nodes of the same code, every 10 --+
```

Source: Li et al. 2023, section 3.3, with the constants of the released code, whose losses are those of
DirectVoxGO's fine stage. Two deviations: moments begin at zero, as files need not have them, and nodes that
are left out stay so, where the released code moves them, takes them into the means and drops them at the end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from scene_codec.codecs.radiance_vqrf.supervision import Supervision
from scene_codec.codecs.training_state import ResumableTraining, kept_state
from scene_codec.errors import UnsupportedSceneError
from scene_codec.progress import Progress
from scene_codec.radiance.cameras import Rays
from scene_codec.radiance.field_space import to_field_space
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.grid_model import GridModel, NearestMask, visible_nodes
from scene_codec.voxel_fields.shading import HarmonicShader
from scene_codec.voxel_fields.table_training import FIRST_MOMENT, SECOND_MOMENT, TrainedTable
from scene_codec.voxel_fields.voxel_rendering import Trace, trace

CHECKPOINT_INTERVAL_S = 30.0
SYNC_INTERVAL = 10
MASK_INTERVAL = 1000
GRID_RATE = 0.79
NETWORK_RATE = 7.9e-3
"""Published rates for a setting of 1; that of the preset, 0.1, gives 0.079 and 7.9e-4."""

HARMONIC_RATE = 0.1
"""Of Plenoxels' coefficients, for which nothing was released: at the default 0.01, that of their training.

On a grid of 32 nodes along an axis 40 steps lose half a decibel with 0.079.
"""

_DECAY_STEPS = 20_000
_ENTROPY_WEIGHT = 1e-3
_POINT_WEIGHT = 1e-2
_LEAST_CLEAR = 1e-6
_TABLES = ("raw_density", "features")


@dataclass(frozen=True, eq=False)
class TiedRows:
    """Rows of a table that stand for codes.

    rows, codes : (m,) int64
    """

    rows: Tensor
    codes: Tensor

    def make_equal(self, table: Tensor, codebook: Tensor) -> None:
        """Replace rows of the same code by their mean, in place, and codes that are used by it as well.

        table, codebook : (rows, c), (codes, c)
        """
        own = table.index_select(0, self.rows)
        count = torch.bincount(self.codes, minlength=len(codebook))
        sums = torch.zeros_like(codebook).index_add_(0, self.codes, own)
        means = sums / count.clamp_min(1)[:, None]
        table.index_copy_(0, self.rows, means.index_select(0, self.codes))
        used = count > 0
        codebook[used] = means[used]


@dataclass(frozen=True, kw_only=True, eq=False)
class FinetuningPlan:
    """How a field is fine-tuned.

    pixels : (n,) which rays of the supply to draw from
    rate : `RadianceVqrfSettings.learning_rate`
    checkpoint : where an interrupted run leaves its state
    """

    pixels: Tensor
    steps: int
    rays: int
    rate: float
    seed: int = 0
    checkpoint: Path | None = None

    def draw(self, supply: Supervision, generator: torch.Generator) -> tuple[Rays, Tensor]:
        """Return the rays of a step and their colours."""
        drawn = torch.randint(len(self.pixels), (self.rays,), generator=generator)
        return supply.at(self.pixels[drawn].long())


def check_finite(error: Tensor, step: int) -> None:
    """Raise `UnsupportedSceneError` when a training diverged."""
    if not math.isfinite(float(error)):
        raise UnsupportedSceneError(f"Fine-tuning got lost in step {step}. Use a lower learning_rate.")


def finetune(
    model: GridModel,
    tied: TiedRows,
    codebook: Tensor,
    scene: tuple[Supervision, SceneDomain],
    plan: FinetuningPlan,
    progress: Progress,
) -> tuple[GridModel, Tensor]:
    """Return the model and the codebook after all steps. Raises `Cancelled`, leaving a checkpoint.

    Raises `UnsupportedSceneError` when the training diverges.
    """
    if not len(plan.pixels) or not plan.steps:
        return model, codebook
    supply, domain = scene
    run = _Run(model, tied, codebook, domain, plan)
    do_steps(run, supply, plan, progress)
    run.tied.make_equal(run.tables["features"].values, run.codebook)
    return run.model(), run.codebook


class FinetuningRun(ResumableTraining, Protocol):
    """A fine-tuning that has done a number of steps."""

    number: int

    def do_step(self, supply: Supervision) -> float:
        """Take one step; return the squared error of its batch."""


def do_steps(run: FinetuningRun, supply: Supervision, plan: FinetuningPlan, progress: Progress) -> None:
    """Do all remaining steps. Raises `Cancelled`, leaving a checkpoint, `UnsupportedSceneError`."""
    with kept_state(run, plan.checkpoint, CHECKPOINT_INTERVAL_S) as after_step:
        progress = progress.resumed(run.number / plan.steps)
        while run.number < plan.steps:
            error = run.do_step(supply)
            message = f"step {run.number}, {-10 * math.log10(max(error, 1e-12)):.1f} dB"
            progress.update(run.number / plan.steps, message)
            after_step()


def published_loss(seen: Trace, colours: Tensor, white: bool) -> tuple[Tensor, Tensor]:
    """Return the loss of rays and its squared error alone.

    colours : (rays, 3) that should be seen
    """
    error = (seen.pixels().over(white) - colours).square().mean()
    clear = seen.clear.clamp(_LEAST_CLEAR, 1.0 - _LEAST_CLEAR)
    entropy = -(clear * clear.log() + (1.0 - clear) * torch.log1p(-clear)).mean()
    shown, ray = seen.weights[seen.coloured].detach(), seen.samples.ray[seen.coloured]
    apart = (seen.colours - colours[ray]).square().sum(dim=1)
    points = (shown * apart).sum() / len(colours)
    return error + _ENTROPY_WEIGHT * entropy + _POINT_WEIGHT * points, error.detach()


class _Run:
    """The state of one fine-tuning."""

    def __init__(
        self, model: GridModel, tied: TiedRows, codebook: Tensor, domain: SceneDomain, plan: FinetuningPlan
    ) -> None:
        self._start, self._domain, self._plan = model, domain, plan
        self.tied, self.codebook = tied, codebook.clone()
        values = {name: value.detach().clone() for name, value in model.parameters().items()}
        self.tables = {name: TrainedTable(values.pop(name)) for name in _TABLES}
        self._network = {name: value.requires_grad_() for name, value in values.items()}
        self._optimiser = (
            torch.optim.Adam(list(self._network.values()), betas=(FIRST_MOMENT, SECOND_MOMENT))
            if self._network
            else None
        )
        harmonic = isinstance(model.shader, HarmonicShader)
        self._rates = {"raw_density": GRID_RATE, "features": HARMONIC_RATE if harmonic else GRID_RATE}
        self._generator = torch.Generator().manual_seed(plan.seed)
        self._mask = visible_nodes(model)
        self.number = 0

    def model(self) -> GridModel:
        """Return the field as it is."""
        tables = {name: table.values for name, table in self.tables.items()}
        network = {name: value.detach() for name, value in self._network.items()}
        return replace(self._start.with_parameters(tables | network), mask=self._mask)

    def do_step(self, supply: Supervision) -> float:
        """Take one step; return the squared error of its batch."""
        plan, device = self._plan, self.codebook.device
        if self.number and self.number % MASK_INTERVAL == 0:
            self._mask = visible_nodes(self.model())
        rays, colours = plan.draw(supply, self._generator)
        leaves = {name: table.values.detach().requires_grad_() for name, table in self.tables.items()}
        model = replace(self._start.with_parameters(leaves | self._network), mask=self._mask)
        seen = trace(model, to_field_space(rays.to(device), self._domain), self._domain)
        loss, error = published_loss(seen, colours.to(device), self._domain.white_background)
        check_finite(error, self.number)
        if loss.requires_grad:
            if self._optimiser is not None:
                self._optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self._move(leaves)
        self.number += 1
        if self.number % SYNC_INTERVAL == 0:
            self.tied.make_equal(self.tables["features"].values, self.codebook)
        return float(error)

    def _move(self, leaves: dict[str, Tensor]) -> None:
        """Take a step with Adam; rows without a gradient keep values and moments, as in DirectVoxGO."""
        rate = self._plan.rate * 0.1 ** (self.number / _DECAY_STEPS)
        for name, leaf in leaves.items():
            if leaf.grad is not None:
                rows = leaf.grad.any(dim=1).nonzero().squeeze(1)
                self.tables[name].step(rows, leaf.grad.index_select(0, rows), self._rates[name] * rate)
        if self._optimiser is not None:
            self._optimiser.param_groups[0]["lr"] = NETWORK_RATE * rate
            self._optimiser.step()

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        mask = self._mask
        return {
            "tables": {
                name: {"values": table.values, "moments": table.moments, "steps": table.steps}
                for name, table in self.tables.items()
            },
            "network": {name: value.detach() for name, value in self._network.items()},
            "optimiser": None if self._optimiser is None else self._optimiser.state_dict(),
            "codebook": self.codebook,
            "mask": (mask.held, mask.scale, mask.shift),
            "generator": self._generator.get_state(),
            "step": self.number,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what `state` returned."""
        for name, table in self.tables.items():
            stored = state["tables"][name]
            table.values.copy_(stored["values"])
            table.moments.copy_(stored["moments"])
            table.steps = stored["steps"]
        with torch.no_grad():
            for name, value in self._network.items():
                value.copy_(state["network"][name])
        if self._optimiser is not None:
            self._optimiser.load_state_dict(state["optimiser"])
        self.codebook.copy_(state["codebook"])
        held, scale, shift = state["mask"]
        self._mask = NearestMask(held.to(self.codebook.device), scale, shift)
        self._generator.set_state(state["generator"])
        self.number = state["step"]
