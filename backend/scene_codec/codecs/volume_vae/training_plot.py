"""The losses of a training as a picture that is drawn again every few seconds."""

from __future__ import annotations

import importlib.util
import io
import time
from collections.abc import Sequence
from pathlib import Path

from scene_codec.bitstream import write_atomically
from scene_codec.codecs.volume_vae.training import TrainingPoint
from scene_codec.errors import MissingDependencyError

INTERVAL_S = 10.0


class LossPlot:
    """Draws training and validation loss into a PNG file; hand it to a training as its observer."""

    def __init__(self, path: Path, interval_s: float = INTERVAL_S) -> None:
        """Take the picture's path. Raises `MissingDependencyError` without matplotlib."""
        if importlib.util.find_spec("matplotlib") is None:
            raise MissingDependencyError("Plots of the loss need matplotlib.", extra="plots")
        self._path = path
        self._interval_s = interval_s
        self._drawn: float | None = None

    def __call__(self, points: Sequence[TrainingPoint]) -> None:
        """Draw the losses unless that was done a moment ago; the last ones are always drawn."""
        now = time.monotonic()
        finished = points[-1].step == points[-1].steps
        if self._drawn is not None and not finished and now - self._drawn < self._interval_s:
            return
        self._drawn = now
        write_atomically(self._path, [_picture(points)])


def _picture(points: Sequence[TrainingPoint]) -> bytes:
    # Without pyplot there is no global state and no window.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    steps = [point.step for point in points]
    axes.plot(steps, [point.training_loss for point in points], label="training", linewidth=1, alpha=0.6)
    axes.plot(steps, [point.validation_loss for point in points], label="validation", linewidth=2)
    axes.set_xlabel(f"step of {points[-1].steps}")
    axes.set_ylabel("loss")
    axes.set_yscale("log")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=100)
    return target.getvalue()
