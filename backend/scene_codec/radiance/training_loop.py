"""What all trainings on the pictures of a scene share: steps, measurements, previews, and going on later."""

from __future__ import annotations

import abc
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from scene_codec.bitstream.atomic_file import open_atomically
from scene_codec.errors import InvalidRequestError, UnsupportedSceneError
from scene_codec.progress import Progress
from scene_codec.radiance.captured_views import PosedImageSet
from scene_codec.radiance.field import RadianceField
from scene_codec.radiance.held_out_views import HeldOutViews, write_preview

FEWEST_PICTURES = 3

CHECKPOINT_INTERVAL_S = 60.0
"""A checkpoint is also kept with the first preview, which shows that there is something to keep."""

PREVIEW_SHARE = 10.0
"""Previews come at least so many times their own duration apart."""

MEASUREMENTS = 20
"""How often in a training the held out views are measured, with few pixels."""

QUICK_PIXELS = 256
THOROUGH_PIXELS = 4096
"""Pixels of each held out view that are measured while training runs, and at its end."""


@dataclass(frozen=True)
class TrainingPoint:
    """How training stands: means since the last point, and of views it never sees.

    training_psnr : dB, of the batches
    held_out_psnr : dB, of few pixels; NaN without such views
    """

    step: int
    loss: float
    training_psnr: float
    held_out_psnr: float


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """Where a training computes, keeps what a later run goes on from, and shows how it stands.

    preview_every_s : seconds from one picture to the next; 0 for none
    """

    checkpoint: Path | None = None
    preview: Path | None = None
    preview_every_s: float = 30.0
    device: str = "cpu"


class TrainingLoop(abc.ABC):
    """The steps of one training; can be stopped and continued from a checkpoint with the same result."""

    def __init__(
        self, training: PosedImageSet, held_out: PosedImageSet | None, steps: int, run: TrainingRun
    ) -> None:
        """Prepare all but the steps. Raises `InvalidRequestError` for too few pictures."""
        if len(training.images) < FEWEST_PICTURES:
            raise InvalidRequestError(
                f"There are {len(training.images)} pictures to learn from; it takes {FEWEST_PICTURES} at "
                "least, and some dozens from all sides for a good result."
            )
        self._steps = steps
        self._run = run
        self._purpose = ""  # by which checkpoints are told apart: loss, settings, pictures
        self._held_out = None if held_out is None else HeldOutViews(held_out, THOROUGH_PIXELS)
        self._quick = None if held_out is None else HeldOutViews(held_out, QUICK_PIXELS)
        shown = self._held_out.images if self._held_out else training.images
        self._shown = shown[len(shown) // 2]
        self._recent: list[tuple[float, float]] = []
        self._step = 0
        self.points: list[TrainingPoint] = []
        self._previewed = (time.monotonic(), 0.0)

    @property
    def step(self) -> int:
        """Steps done."""
        return self._step

    @abc.abstractmethod
    def field(self) -> RadianceField:
        """Return the scene as it has been learnt so far."""

    @abc.abstractmethod
    def _optimise(self) -> tuple[float, float]:
        """Take one optimisation step, and return loss and squared error before it."""

    @abc.abstractmethod
    def _state(self) -> dict[str, object]:
        """Return everything that the next step depends on, besides what all trainings have."""

    @abc.abstractmethod
    def _go_back(self, state: dict[str, Any]) -> None:
        """Go back to what `_state` returned."""

    @abc.abstractmethod
    def _advice(self) -> str:
        """Return what to try when training diverges."""

    def run(self, progress: Progress) -> None:
        """Do all remaining steps.

        Raises `Cancelled`, leaving a checkpoint from which another run goes on; `UnsupportedSceneError` when
        training diverges; `InvalidRequestError` for the checkpoint of another training.
        """
        checkpoint, steps = self._run.checkpoint, self._steps
        if checkpoint is not None and checkpoint.exists():
            self._restore(checkpoint)
            progress = progress.resumed(self._step / steps)
        saved, kept = time.monotonic(), False
        try:
            while self._step < steps:
                progress.update(self._step / steps, self._standing())
                self._do_step()
                if self._step == steps or self._step % max(1, steps // MEASUREMENTS) == 0:
                    self._measure()
                first = self._preview_when_due() and not kept
                if checkpoint is not None and (first or time.monotonic() - saved > CHECKPOINT_INTERVAL_S):
                    self._save(checkpoint)
                    saved, kept = time.monotonic(), True
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
        return math.nan if self._held_out is None else self._held_out.measure(self.field(), progress)

    def write_last_preview(self) -> None:
        """Write the preview as it stands, if one is wanted."""
        if self._run.preview is not None and self._run.preview_every_s:
            write_preview(self._run.preview, self._shown, self.field())

    def _do_step(self) -> None:
        """Take one optimisation step. Raises `UnsupportedSceneError` when training diverges."""
        loss, error = self._optimise()
        if not math.isfinite(error):
            raise UnsupportedSceneError(
                f"Training diverged in step {self._step + 1}: its loss is no number any more. "
                f"{self._advice()}"
            )
        self._recent.append((loss, error))
        self._step += 1

    def _standing(self) -> str:
        """Return in words how far training is."""
        words = f"step {self._step:,} of {self._steps:,}"
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
        held_out = math.nan if self._quick is None else self._quick.measure(self.field())
        self.points.append(TrainingPoint(self._step, sum(losses) / len(losses), training, held_out))

    def _preview_when_due(self) -> bool:
        """Rewrite the preview when the last one is old enough, seldom where it takes long; tell whether."""
        path, every = self._run.preview, self._run.preview_every_s
        began = time.monotonic()
        last, took = self._previewed
        if path is None or not every or began - last < max(every, PREVIEW_SHARE * took):
            return False
        write_preview(path, self._shown, self.field())
        ended = time.monotonic()
        self._previewed = ended, ended - began
        return True

    def _save(self, path: Path) -> None:
        """Write everything that the next step depends on."""
        state = self._state() | {
            "purpose": self._purpose,
            "step": self._step,
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
        self._step, self._recent = state["step"], list(state["recent"])
        self.points = [TrainingPoint(*point) for point in state["points"]]
        self._go_back(state)


def with_limits(images: PosedImageSet, near: float, far: float) -> PosedImageSet:
    """Return pictures with the depths that the user gave; far 0 leaves those of the data set."""
    if not far:
        return images
    if images.ndc is not None:
        raise InvalidRequestError(
            "near and far cannot be chosen for a forward-facing scene: they are 0 and 1."
        )
    return replace(images, near=near, far=far)
