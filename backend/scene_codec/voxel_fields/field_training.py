r"""Training of a voxel field on the pictures of a scene.

```text
all that cameras see, few nodes --> box around the scene, plain colours --> network, more and more nodes
```

Source: Sun et al. 2022 (DVGO). Unlike there, by default, each stage goes on from the densities and colours of
the one before, and only nodes around cells that may hold something have values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from scene_codec.errors import UnsupportedSceneError
from scene_codec.progress import Progress
from scene_codec.radiance.capture_domain import domain_of_pictures
from scene_codec.radiance.captured_views import PosedImageSet
from scene_codec.radiance.field_space import to_field_space
from scene_codec.radiance.training_loop import TrainingLoop, TrainingRun, with_limits
from scene_codec.radiance.training_rays import TrainingRays
from scene_codec.voxel_fields.dvgo_writer import write_dvgo_checkpoint
from scene_codec.voxel_fields.field_learner import FieldLoss, RayBatch
from scene_codec.voxel_fields.field_schedule import Change, FieldSchedule
from scene_codec.voxel_fields.field_stages import (
    Box,
    box_search,
    found_box,
    fresh_network,
    going_on,
    refined,
)
from scene_codec.voxel_fields.field_state import learner_of, learner_state
from scene_codec.voxel_fields.field_training_config import FieldTrainingSettings, check_settings
from scene_codec.voxel_fields.shading import NetworkShader, PlainShader
from scene_codec.voxel_fields.table_training import FIRST_MOMENT, SECOND_MOMENT
from scene_codec.voxel_fields.voxel_field import VoxelField

LOSS = "field 1"
"""Part of what checkpoints are told apart by: a training does not go on with the loss of another release."""

_BOX_FACTOR = 10.0
"""By which the weights of both further losses are larger while the box is looked for, as published."""

_FIRST_RAYS = 256
_FEWEST_RAYS = 16
_LARGEST_GROWTH = 2.0


class FieldTrainer(TrainingLoop):
    """The training of one voxel field."""

    def __init__(
        self,
        training: PosedImageSet,
        held_out: PosedImageSet | None,
        settings: FieldTrainingSettings,
        run: TrainingRun,
        progress: Progress,
    ) -> None:
        """Load the pictures. Raises `InvalidRequestError` for contradictions and too few pictures."""
        check_settings(settings)
        training = with_limits(training, settings.near, settings.far)
        super().__init__(training, held_out, settings.steps, run)
        self._settings = settings
        self._device = torch.device(run.device)
        self._schedule = FieldSchedule(settings)
        self.domain = domain_of_pictures(training)
        self._rays = TrainingRays(training, self.domain, (0, 1.0), progress)
        self._generator = torch.Generator().manual_seed(settings.seed)
        self._box = Box.of_nodes(self.domain.low, self.domain.high, settings.coarse_nodes**3)
        cameras = [] if self.domain.ndc is not None else [image.camera for image in training.images]
        self._learner = box_search(self._box, settings, cameras, self._device)
        self._network: torch.optim.Adam | None = None
        self._count = _FIRST_RAYS if settings.batch_samples else settings.rays
        self._purpose = f"{LOSS} {settings} {self.domain} {self._rays.fingerprint()}"

    @property
    def nodes(self) -> tuple[int, int, int]:
        """Nodes along each axis."""
        return self._learner.cells.index.lattice.shape

    @property
    def held_nodes(self) -> int:
        """Nodes that hold values."""
        return len(self._learner.density.values)

    def field(self) -> VoxelField:
        """Return the scene as it has been learnt so far."""
        return VoxelField(self._learner.model(), self.domain)

    def write(self, path: Path) -> None:
        """Write the field as it stands, and the last preview."""
        write_dvgo_checkpoint(path, self._learner.model(), self.domain, self._step)
        self.write_last_preview()

    def _optimise(self) -> tuple[float, float]:
        change = self._schedule.change(self._step)
        if change is not None:
            self._change(change)
        settings = self._settings
        factor = _BOX_FACTOR if self._step < self._schedule.box_end else 1.0
        loss = FieldLoss(entropy=settings.entropy * factor, points=settings.point_colours * factor)
        share = self._schedule.rate(self._step)
        if self._network is not None:
            self._network.zero_grad(set_to_none=True)
            for group in self._network.param_groups:
                group["lr"] = settings.network_rate * share
        rate = settings.plain_rate if self._network is None else settings.learning_rate
        outcome = self._learner.step(self._batch(), self.domain, loss, rate * share)
        if self._network is not None:
            self._network.step()
        self._fit_rays(outcome.samples)
        return outcome.loss, outcome.squared_error

    def _batch(self) -> RayBatch:
        """Return random rays."""
        rays, colours = self._rays.draw(self._count, self._step, self._generator)
        jitter = torch.rand(self._count, generator=self._generator)
        seen_from = to_field_space(rays.to(self._device), self.domain)
        return RayBatch(seen_from, colours.to(self._device), jitter.to(self._device))

    def _fit_rays(self, samples: int) -> None:
        """Choose the number of rays of the next step."""
        wanted = self._settings.batch_samples
        if wanted:
            fitted = int(self._count * min(_LARGEST_GROWTH, wanted / max(samples, 1)))
            self._count = min(self._settings.rays, max(_FEWEST_RAYS, fitted))

    def _change(self, change: Change) -> None:
        """Begin a stage, or part of one."""
        settings = self._settings
        if change.finds_box:
            box = found_box(self._learner, settings.nodes**3)
            if box is None:
                raise self._nothing_seen()
            self._box = box
        if change.colours == "same":
            self._learner = refined(self._learner, self._box, change.fewer, settings.lowering * change.grown)
        elif change.colours == "network":
            shader = fresh_network(settings, self._generator, self._device)
            self._learner = going_on(self._learner, self._box, change.fewer, shader, settings)
            self._network = self._optimiser_of(shader)
        else:
            self._learner = going_on(self._learner, self._box, change.fewer, PlainShader(), settings)
        if not self.held_nodes:
            raise self._nothing_seen()
        if settings.batch_samples and (change.grown or change.colours != "same"):
            self._count = min(self._count, _FIRST_RAYS)

    def _nothing_seen(self) -> UnsupportedSceneError:
        return UnsupportedSceneError(
            f"After {self._step} steps nothing is seen anywhere, and there is nothing to go on with. Try "
            "more --steps, a lower --learning-rate or another --seed."
        )

    def _optimiser_of(self, shader: NetworkShader) -> torch.optim.Adam:
        return torch.optim.Adam(
            list(shader.parameters().values()),
            lr=self._settings.network_rate,
            betas=(FIRST_MOMENT, SECOND_MOMENT),
        )

    def _advice(self) -> str:
        return f"Try a lower --learning-rate, such as {self._settings.learning_rate / 3:.2g}."

    def _state(self) -> dict[str, object]:
        return {
            "box": (self._box.low, self._box.high, self._box.voxel),
            "learner": learner_state(self._learner),
            "network": None if self._network is None else self._network.state_dict(),
            "generator": self._generator.get_state(),
            "rays": self._count,
        }

    def _go_back(self, state: dict[str, Any]) -> None:
        self._box = Box(*state["box"])
        self._learner = learner_of(state["learner"], self._device)
        self._generator.set_state(state["generator"])
        self._count = state["rays"]
        if isinstance(self._learner.shader, NetworkShader):
            self._network = self._optimiser_of(self._learner.shader)
            self._network.load_state_dict(state["network"])
