r"""Training of a radiance field on the pictures of a scene.

```text
random pixels -> rays -> samples -- network --> density, colour -> pixels -- squared error to the pictures
                            ^------ grid of occupied cells, or coarse network
```
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from scene_codec.networks.radiance_mlp import RadianceMlp
from scene_codec.progress import Progress
from scene_codec.radiance.capture_domain import domain_of_pictures
from scene_codec.radiance.captured_views import PosedImageSet
from scene_codec.radiance.checkpoint_writer import ordered_parameters, write_checkpoint
from scene_codec.radiance.field import RadianceField
from scene_codec.radiance.nerf_learners import make_learner
from scene_codec.radiance.nerf_training_config import NerfTrainingSettings, check_settings
from scene_codec.radiance.training_loop import TrainingLoop, TrainingRun, with_limits
from scene_codec.radiance.training_rays import TrainingRays

LOSS = "nerf 1"
"""Part of what checkpoints are told apart by: a training does not go on with the loss of another release."""

_LATE_DECAY = 0.1
_WARM_UP_STEPS = 100
"""Steps in which the rate of one network rises to its full value; without, plain pictures can empty it."""


class NerfTrainer(TrainingLoop):
    """The training of one network, or of a coarse and a fine one."""

    def __init__(
        self,
        training: PosedImageSet,
        held_out: PosedImageSet | None,
        settings: NerfTrainingSettings,
        run: TrainingRun,
        progress: Progress,
    ) -> None:
        """Load the pictures. Raises `InvalidRequestError` for contradictions and too few pictures."""
        check_settings(settings)
        training = with_limits(training, settings.near, settings.far)
        super().__init__(training, held_out, settings.steps, run)
        self._settings = settings
        self.domain = domain_of_pictures(training)
        crop = settings.crop_steps, settings.crop_share
        self._rays = TrainingRays(training, self.domain, crop, progress)
        self._generator = torch.Generator().manual_seed(settings.seed)
        self._learner = make_learner(settings, self.domain, self._generator, torch.device(run.device))
        self._optimiser = torch.optim.Adam(ordered_parameters(self.networks), lr=settings.learning_rate)
        self._purpose = f"{LOSS} {settings} {self.domain} {self._rays.fingerprint()}"

    @property
    def networks(self) -> tuple[RadianceMlp | None, RadianceMlp]:
        """The coarse network, if any, and the fine one."""
        return self._learner.coarse, self._learner.fine

    @property
    def parameters(self) -> int:
        """Weights and biases of all networks."""
        return sum(network.shape.parameters for network in self._present())

    def field(self) -> RadianceField:
        """Return the scene as it has been learnt so far."""
        return self._learner.field()

    def write(self, path: Path) -> None:
        """Write the networks as they stand, and the last preview."""
        write_checkpoint(path, self.networks, self.domain, self._step, self._optimiser)
        self.write_last_preview()

    def _optimise(self) -> tuple[float, float]:
        settings = self._settings
        horizon = settings.decay * 1000.0 or float(settings.steps)
        rate = settings.learning_rate * _LATE_DECAY ** (self._step / horizon)
        if settings.networks == "one":
            rate *= min(1.0, (self._step + 1) / _WARM_UP_STEPS)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        batch = self._learner.loss(self._step, self._rays, self._generator)
        if batch.loss.requires_grad:  # no sample, no gradient
            self._optimiser.zero_grad(set_to_none=True)
            batch.loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
        return float(batch.loss.detach()), batch.squared_error

    def _advice(self) -> str:
        return f"Try a lower --learning-rate, such as {self._settings.learning_rate / 3:.2g}."

    def _state(self) -> dict[str, object]:
        return {
            "networks": [network.state_dict() for network in self._present()],
            "optimiser": self._optimiser.state_dict(),
            "generator": self._generator.get_state(),
            "learner": self._learner.state(),
        }

    def _go_back(self, state: dict[str, Any]) -> None:
        for network, weights in zip(self._present(), state["networks"], strict=True):
            network.load_state_dict(weights)
        self._optimiser.load_state_dict(state["optimiser"])
        self._generator.set_state(state["generator"])
        self._learner.restore(state["learner"])

    def _present(self) -> Sequence[RadianceMlp]:
        return [network for network in self.networks if network is not None]
