r"""Training of a radiance field on the pictures of a scene.

```text
random pixels -> rays -> samples -- network --> density, colour -> pixels -- squared error to the pictures
                            ^------ grid of occupied cells, or coarse network
```
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from scene_codec.bitstream.atomic_file import open_atomically
from scene_codec.errors import InvalidRequestError, UnsupportedSceneError
from scene_codec.networks.radiance_mlp import RadianceMlp
from scene_codec.progress import Progress
from scene_codec.radiance.capture_domain import domain_of_pictures
from scene_codec.radiance.captured_views import PosedImageSet
from scene_codec.radiance.checkpoint_writer import ordered_parameters, write_checkpoint
from scene_codec.radiance.held_out_views import HeldOutViews, write_preview
from scene_codec.radiance.nerf_learners import make_learner
from scene_codec.radiance.nerf_training_config import NerfTrainingSettings, check_settings
from scene_codec.radiance.training_rays import TrainingRays

FEWEST_PICTURES = 3
LOSS = "nerf 1"
"""Part of what checkpoints are told apart by: a training does not go on with the loss of another release."""

CHECKPOINT_INTERVAL_S = 60.0
PREVIEW_SHARE = 10.0
"""Previews come at least so many times their own duration apart."""

MEASUREMENTS = 20
"""How often in a training the held out views are measured, with few pixels."""

QUICK_PIXELS = 256
THOROUGH_PIXELS = 4096
"""Pixels of each held out view that are measured while training runs, and at its end."""

_LATE_DECAY = 0.1
_WARM_UP_STEPS = 100
"""Steps in which the rate of one network rises to its full value; without, plain pictures can empty it."""


@dataclass(frozen=True)
class NerfTrainingPoint:
    """How training stands: means since the last point, and of views it never sees.

    training_psnr : dB, of the batches
    held_out_psnr : dB, of few pixels; NaN without such views
    """

    step: int
    loss: float
    training_psnr: float
    held_out_psnr: float


@dataclass(frozen=True, kw_only=True)
class NerfTrainingRun:
    """Where a training computes, keeps what a later run goes on from, and shows how it stands.

    preview_every_s : seconds from one picture to the next; 0 for none
    """

    checkpoint: Path | None = None
    preview: Path | None = None
    preview_every_s: float = 30.0
    device: str = "cpu"


class NerfTrainer:
    """The steps of one training; can be stopped and continued from a checkpoint with the same result."""

    def __init__(
        self,
        training: PosedImageSet,
        held_out: PosedImageSet | None,
        settings: NerfTrainingSettings,
        run: NerfTrainingRun,
        progress: Progress,
    ) -> None:
        """Load the pictures. Raises `InvalidRequestError` for contradictions and too few pictures."""
        check_settings(settings)
        if len(training.images) < FEWEST_PICTURES:
            raise InvalidRequestError(
                f"There are {len(training.images)} pictures to learn from; it takes {FEWEST_PICTURES} at "
                "least, and some dozens from all sides for a good result."
            )
        training = _with_limits(training, settings)
        self._settings = settings
        self._run = run
        self.domain = domain_of_pictures(training)
        crop = settings.crop_steps, settings.crop_share
        self._rays = TrainingRays(training, self.domain, crop, progress)
        self._held_out = None if held_out is None else HeldOutViews(held_out, THOROUGH_PIXELS)
        self._quick = None if held_out is None else HeldOutViews(held_out, QUICK_PIXELS)
        shown = self._held_out.images if self._held_out else training.images
        self._shown = shown[len(shown) // 2]
        self._generator = torch.Generator().manual_seed(settings.seed)
        self._learner = make_learner(settings, self.domain, self._generator, torch.device(run.device))
        self._optimiser = torch.optim.Adam(ordered_parameters(self.networks), lr=settings.learning_rate)
        self._purpose = f"{LOSS} {settings} {self.domain} {self._rays.fingerprint()}"
        self._recent: list[tuple[float, float]] = []
        self._step = 0
        self.points: list[NerfTrainingPoint] = []
        self._previewed = (time.monotonic(), 0.0)

    @property
    def step(self) -> int:
        """Steps done."""
        return self._step

    @property
    def networks(self) -> tuple[RadianceMlp | None, RadianceMlp]:
        """The coarse network, if any, and the fine one."""
        return self._learner.coarse, self._learner.fine

    @property
    def parameters(self) -> int:
        """Weights and biases of all networks."""
        return sum(network.shape.parameters for network in self._present())

    def run(self, progress: Progress) -> None:
        """Do all remaining steps.

        Raises `Cancelled`, leaving a checkpoint from which another run goes on; `UnsupportedSceneError` when
        training diverges; `InvalidRequestError` for the checkpoint of another training.
        """
        checkpoint, steps = self._run.checkpoint, self._settings.steps
        if checkpoint is not None and checkpoint.exists():
            self._restore(checkpoint)
            progress = progress.resumed(self._step / steps)
        saved = time.monotonic()
        try:
            while self._step < steps:
                progress.update(self._step / steps, self._standing())
                self._do_step()
                if self._step == steps or self._step % max(1, steps // MEASUREMENTS) == 0:
                    self._measure()
                self._preview_when_due()
                if checkpoint is not None and time.monotonic() - saved > CHECKPOINT_INTERVAL_S:
                    self._save(checkpoint)
                    saved = time.monotonic()
            if checkpoint is not None:
                self._save(checkpoint)  # what follows can be stopped too
        except UnsupportedSceneError:
            raise  # what has diverged is not kept
        except BaseException:
            if checkpoint is not None and self._step:
                self._save(checkpoint)
            raise

    def held_out_psnr(self, progress: Progress | None = None) -> float:
        """Return the mean PSNR in dB of views that were kept out; NaN without any. Raises `Cancelled`."""
        return math.nan if self._held_out is None else self._held_out.measure(self._learner.field(), progress)

    def write(self, path: Path) -> None:
        """Write the networks as they stand, and the last preview."""
        write_checkpoint(path, self.networks, self.domain, self._step, self._optimiser)
        if self._run.preview is not None and self._run.preview_every_s:
            write_preview(self._run.preview, self._shown, self._learner.field())

    def _do_step(self) -> None:
        """Take one optimisation step."""
        settings = self._settings
        horizon = settings.decay * 1000.0 or float(settings.steps)
        rate = settings.learning_rate * _LATE_DECAY ** (self._step / horizon)
        if settings.networks == "one":
            rate *= min(1.0, (self._step + 1) / _WARM_UP_STEPS)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        batch = self._learner.loss(self._step, self._rays, self._generator)
        if not math.isfinite(batch.squared_error):
            raise UnsupportedSceneError(
                f"Training diverged in step {self._step + 1}: its loss is no number any more. Try a lower "
                f"--learning-rate, such as {settings.learning_rate / 3:.2g}."
            )
        if batch.loss.requires_grad:  # no sample, no gradient
            self._optimiser.zero_grad(set_to_none=True)
            batch.loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
        self._recent.append((float(batch.loss.detach()), batch.squared_error))
        self._step += 1

    def _standing(self) -> str:
        """Return in words how far training is."""
        words = f"step {self._step:,} of {self._settings.steps:,}"
        if not self.points:
            return words
        latest = self.points[-1]
        words += f", loss {latest.loss:.4g}, {latest.training_psnr:.1f} dB"
        if not math.isnan(latest.held_out_psnr):
            words += f", {latest.held_out_psnr:.1f} dB on views kept out"
        return words

    def _measure(self) -> None:
        """Note how training stands."""
        losses, errors = zip(*self._recent, strict=True)
        self._recent.clear()
        error = sum(errors) / len(errors)
        training = -10.0 * math.log10(max(error, 1e-12))
        held_out = math.nan if self._quick is None else self._quick.measure(self._learner.field())
        self.points.append(NerfTrainingPoint(self._step, sum(losses) / len(losses), training, held_out))

    def _preview_when_due(self) -> None:
        """Rewrite the preview when the last one is old enough; seldom where it takes long."""
        path, every = self._run.preview, self._run.preview_every_s
        began = time.monotonic()
        last, took = self._previewed
        if path is None or not every or began - last < max(every, PREVIEW_SHARE * took):
            return
        write_preview(path, self._shown, self._learner.field())
        ended = time.monotonic()
        self._previewed = ended, ended - began

    def _save(self, path: Path) -> None:
        """Write everything that the next step depends on."""
        state = {
            "purpose": self._purpose,
            "step": self._step,
            "networks": [network.state_dict() for network in self._present()],
            "optimiser": self._optimiser.state_dict(),
            "generator": self._generator.get_state(),
            "learner": self._learner.state(),
            "recent": self._recent,
            "points": [(p.step, p.loss, p.training_psnr, p.held_out_psnr) for p in self.points],
        }
        with open_atomically(path) as stream:
            torch.save(state, stream)

    def _restore(self, path: Path) -> None:
        """Go back to what `_save` wrote."""
        try:
            state = torch.load(path, weights_only=True, map_location="cpu")
        except Exception as error:  # torch raises whatever its reader of foreign files happens to meet
            raise InvalidRequestError(f"'{path}' is no checkpoint. Delete or rename it.") from error
        if not isinstance(state, dict) or state.get("purpose") != self._purpose:
            raise InvalidRequestError(
                f"The checkpoint '{path}' belongs to a training with other pictures or settings. Give the "
                "same ones to go on with it, or delete it to start again."
            )
        for network, weights in zip(self._present(), state["networks"], strict=True):
            network.load_state_dict(weights)
        self._optimiser.load_state_dict(state["optimiser"])
        self._generator.set_state(state["generator"])
        self._learner.restore(state["learner"])
        self._step, self._recent = state["step"], list(state["recent"])
        self.points = [NerfTrainingPoint(*point) for point in state["points"]]

    def _present(self) -> Sequence[RadianceMlp]:
        return [network for network in self.networks if network is not None]


def _with_limits(images: PosedImageSet, settings: NerfTrainingSettings) -> PosedImageSet:
    """Return pictures with the depths that the user gave, if any."""
    if not settings.far:
        return images
    if images.ndc is not None:
        raise InvalidRequestError(
            "near and far cannot be chosen for a forward-facing scene: they are 0 and 1."
        )
    return PosedImageSet(
        layout=images.layout,
        images=images.images,
        near=settings.near,
        far=settings.far,
        ndc=None,
        white_background=images.white_background,
    )
