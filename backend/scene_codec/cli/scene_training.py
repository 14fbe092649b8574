"""What the commands share that train a radiance field on pictures of a scene."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

import msgspec
from tyro.conf import Positional, arg

from scene_codec.cli.arguments import Device, OutputPath, early_parser
from scene_codec.cli.interrupt import cancel_on_interrupt
from scene_codec.cli.terminal import duration, progress_bar, results, shown, size
from scene_codec.errors import Cancelled, InvalidRequestError
from scene_codec.progress import Progress

if TYPE_CHECKING:
    from scene_codec.radiance.captured_views import PosedImageSet
    from scene_codec.radiance.training_loop import TrainingPoint, TrainingRun

CHECKPOINT_SUFFIX = ".checkpoint"
PREVIEW_SUFFIX = ".preview.png"
DEFAULT_PRESETS = {"cpu": "fast", "cuda": "large"}

DATASET_HELP = """\
DATASET is a folder with pictures and their cameras, in one of these layouts:
  transforms_train.json (with _val and _test)   NeRF's own scenes, rendered with Blender
  transforms.json                               instant-ngp, nerfstudio, and what their tools make with COLMAP
  poses_bounds.npy with images/, images_8/ ...  forward-facing captures (LLFF)
  intrinsics.txt with pose/ and rgb/            NSVF's scenes

Lenses may bend lines as OpenCV describes it (k1 to k3, p1, p2 in transforms.json). Transparent pictures are
learnt in front of white, forward-facing ones in front of black. Of a data set in one piece every eighth
picture is kept out; these, or the split val or test, tell how good the result is."""

STATE_HELP = """\
Beside it OUTPUT.preview.png shows a view that was kept out, truth on the left, and is rewritten while
training runs. OUTPUT.checkpoint is written with the first preview, then every minute, and when Ctrl-C stops
the training. The same command goes on from there, also after the program was killed."""


@dataclass(frozen=True, kw_only=True)
class SceneTrainingArguments:
    """What all of them take besides settings."""

    dataset: Positional[Annotated[Path, arg(metavar="DATASET")]]
    """A folder with pictures and their cameras, or a JSON file that lists them."""

    output: OutputPath
    """The .tar file to write; an older one of that name is replaced when training has ended."""

    preset: str | None = None
    """A named choice of settings. Flags given beside it win."""

    preview: Annotated[Path | None, arg(metavar="PNG")] = None
    """The picture that shows how training stands; OUTPUT.preview.png by default."""

    preview_every: float = 30.0
    """Seconds between two such pictures, more where they take long to make; 0 makes none."""

    device: Device = "auto"
    """Where to compute; auto takes a CUDA device when there is one."""

    json: bool = False
    """Print the report as JSON on stdout and nothing else there."""


class SceneReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was made.

    held_out_psnr : dB, mean of the views that were kept out; None without any
    """

    path: str
    file_bytes: int
    preset: str
    pictures: int
    held_out_pictures: int
    steps: int
    training_psnr: float
    held_out_psnr: float | None
    preview: str | None
    device: str
    seconds: float


class SceneTrainer(Protocol):
    """A training as these commands see it."""

    points: list[TrainingPoint]

    @property
    def step(self) -> int:
        """Steps done."""

    def run(self, progress: Progress) -> None:
        """Do all remaining steps."""

    def held_out_psnr(self, progress: Progress | None = None) -> float:
        """Return the mean PSNR in dB of views that were kept out; NaN without any."""

    def write(self, path: Path) -> None:
        """Write what has been learnt."""


Trainer = TypeVar("Trainer", bound=SceneTrainer)


def chosen_preset(arguments: list[str]) -> str:
    """Return the preset that is asked for, or else that of the device that is meant."""
    early = early_parser()
    early.add_argument("--preset")
    early.add_argument("--device", default="auto")
    known = early.parse_known_args(arguments)[0]
    if known.preset:
        return str(known.preset)
    if known.device == "cpu":
        return DEFAULT_PRESETS["cpu"]
    import torch

    return DEFAULT_PRESETS["cuda" if torch.cuda.is_available() else "cpu"]


def check_paths(options: SceneTrainingArguments) -> None:
    """Refuse contradicting arguments before anything is read."""
    if not (options.preview_every >= 0.0 and math.isfinite(options.preview_every)):
        raise InvalidRequestError("--preview-every must be a number of seconds, or 0.")
    if options.preview is not None and not options.preview_every:
        raise InvalidRequestError(
            "--preview names a picture, and --preview-every 0 makes none: leave one out."
        )
    if options.output.suffix.lower() != ".tar":
        raise InvalidRequestError(
            f"'{options.output.name}' must end with .tar: by that encode knows it for a trained field."
        )
    for path in (options.output, options.preview):
        if path is not None and (path.is_dir() or not path.resolve().parent.is_dir()):
            raise InvalidRequestError(f"'{path}' cannot be written: it is a folder, or in none that exists.")


def beside(options: SceneTrainingArguments, suffix: str) -> Path:
    """Return the name of a file that belongs to the output."""
    return options.output.with_name(options.output.name + suffix)


def train_scene(
    options: SceneTrainingArguments,
    preset: str,
    width: int,
    make_trainer: Callable[[PosedImageSet, PosedImageSet | None, TrainingRun, Progress], Trainer],
) -> tuple[Trainer, dict[str, Any]]:
    """Train with a bar until all is written; return the trainer, and the values of a `SceneReport`.

    width : that pictures are averaged down to, 0 for their own

    Raises `Cancelled` that says how to go on.
    """
    checkpoint = beside(options, CHECKPOINT_SUFFIX)
    with cancel_on_interrupt() as token, progress_bar() as callback:
        try:
            return _train(options, preset, width, make_trainer, Progress(callback, token))
        except Cancelled as stop:
            if not checkpoint.exists():
                raise Cancelled("Training was stopped before its first step. Nothing was written.") from stop
            raise Cancelled(
                "Training was stopped. The same command goes on from "
                f"'{checkpoint}'; delete that file to start again."
            ) from stop


def _train(
    options: SceneTrainingArguments,
    preset: str,
    width: int,
    make_trainer: Callable[[PosedImageSet, PosedImageSet | None, TrainingRun, Progress], Trainer],
    progress: Progress,
) -> tuple[Trainer, dict[str, Any]]:
    from scene_codec.devices import resolve_device
    from scene_codec.radiance.held_out_views import load_training_views
    from scene_codec.radiance.training_loop import TrainingRun

    started = time.monotonic()
    device = resolve_device(options.device)
    preview = (options.preview or beside(options, PREVIEW_SUFFIX)) if options.preview_every else None
    checkpoint = beside(options, CHECKPOINT_SUFFIX)
    run = TrainingRun(
        checkpoint=checkpoint,
        preview=preview,
        preview_every_s=options.preview_every,
        device=str(device),
    )
    training, held_out = load_training_views(options.dataset, width)
    trainer = make_trainer(training, held_out, run, progress.part(0.0, 0.02, "reading"))
    trainer.run(progress.part(0.02, 0.98, "training"))
    psnr = trainer.held_out_psnr(progress.part(0.98, 1.0, "measuring"))
    trainer.write(options.output)
    checkpoint.unlink(missing_ok=True)
    return trainer, {
        "path": str(options.output),
        "file_bytes": options.output.stat().st_size,
        "preset": preset,
        "pictures": len(training.images),
        "held_out_pictures": 0 if held_out is None else len(held_out.images),
        "steps": trainer.step,
        "training_psnr": trainer.points[-1].training_psnr,
        "held_out_psnr": None if math.isnan(psnr) else psnr,
        "preview": None if preview is None else str(preview),
        "device": device.type,
        "seconds": time.monotonic() - started,
    }


def show_report(report: SceneReport, made: str, changed: dict[str, object]) -> None:
    """Print a report in words.

    made : what is in the file
    changed : settings that differ from the preset's
    """
    results().print(
        f"{shown(report.path)}: {size(report.file_bytes)}, {made}, "
        f"{report.steps:,} steps on {report.pictures:,} pictures, {report.device}, "
        f"{duration(report.seconds)}."
    )
    kept_out = "no views were kept out"
    if report.held_out_psnr is not None:
        kept_out = f"{report.held_out_psnr:.2f} dB on views that were kept out"
    results().print(f"PSNR {report.training_psnr:.2f} dB in training, {kept_out}.")
    words = "".join(f", {name} {value}" for name, value in changed.items())
    results().print(f"Preset {report.preset}{shown(words)}.")
