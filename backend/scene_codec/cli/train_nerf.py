"""`scene-codec train-nerf`: a radiance field from pictures of a scene."""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import tyro
from tyro.conf import Positional, arg

from scene_codec.cli.arguments import Device, OutputPath, parse
from scene_codec.cli.codec_settings import changed_settings
from scene_codec.cli.exit_codes import OK
from scene_codec.cli.interrupt import cancel_on_interrupt
from scene_codec.cli.terminal import duration, print_json, progress_bar, results, shown, size
from scene_codec.codecs.overrides import with_overrides
from scene_codec.errors import Cancelled, InvalidRequestError
from scene_codec.progress import Progress
from scene_codec.radiance.nerf_training_config import NerfTrainingSettings, check_settings, preset_settings

HELP = """Train a NeRF on pictures of a scene.

DATASET is a folder with pictures and their cameras, in one of these layouts:
  transforms_train.json (with _val and _test)   NeRF's own scenes, rendered with Blender
  transforms.json                               instant-ngp, nerfstudio, and what their tools make with COLMAP
  poses_bounds.npy with images/, images_8/ ...  forward-facing captures (LLFF)

Lenses must be undistorted. Transparent pictures are learnt in front of white, forward-facing ones in front of
black. Of a data set in one piece every eighth picture is kept out; these, or the split val or test, tell how
good the result is.

The result is a checkpoint in the layout of yenchenlin/nerf-pytorch, which other programs read too, with the
space that the scene takes up as one more entry (scene_domain).

Beside it OUTPUT.preview.png shows a view that was kept out, truth on the left, and is rewritten while
training runs. Ctrl-C stops cleanly. The same command then goes on where it stopped, from OUTPUT.checkpoint.

Presets (--preset): fast, one small network, for a processor; large, one network of the published size, for a
CUDA device; paper, a coarse and a fine network as published, which takes longest. By default large where
there is a CUDA device, fast elsewhere.

Examples:
  scene-codec train-nerf chair/ -o chair.tar
  scene-codec train-nerf chair/ -o chair.tar --size 200 --steps 20000
  scene-codec train-nerf my_room/transforms.json -o room.tar --near 0.2 --far 8
  scene-codec train-nerf fern/ -o fern.tar --preset paper --density-noise 1 --crop-steps 0

Then make it small:
  scene-codec encode chair.tar -o chair.nscene --images chair/
"""

CHECKPOINT_SUFFIX = ".checkpoint"
PREVIEW_SUFFIX = ".preview.png"
DEFAULT_PRESETS = {"cpu": "fast", "cuda": "large"}


@dataclass(frozen=True, kw_only=True)
class TrainNerfArguments:
    """What `train-nerf` takes."""

    dataset: Positional[Annotated[Path, arg(metavar="DATASET")]]
    """A folder with pictures and their cameras, or a JSON file that lists them."""

    output: OutputPath
    """The .tar file to write; an older one of that name is replaced when training has ended."""

    settings: Annotated[NerfTrainingSettings, arg(name="")]
    """How the network is trained; the values shown are those of the preset."""

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


class NerfReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `train-nerf` made.

    held_out_psnr : dB, mean of the views that were kept out; None without any
    """

    path: str
    file_bytes: int
    preset: str
    parameters: int
    pictures: int
    held_out_pictures: int
    steps: int
    training_psnr: float
    held_out_psnr: float | None
    preview: str | None
    device: str
    seconds: float


def train_nerf(arguments: list[str]) -> int:
    """Run `train-nerf` and return the exit status."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    early.add_argument("--preset")
    early.add_argument("--device", default="auto")
    known = early.parse_known_args(arguments)[0]
    name = known.preset or _preset_for(known.device)
    preset = preset_settings(name)
    default = TrainNerfArguments(dataset=tyro.MISSING, output=tyro.MISSING, settings=preset)
    options = parse(TrainNerfArguments, "train-nerf", HELP, arguments, default=default)
    _check(options)
    with cancel_on_interrupt() as token, progress_bar() as callback:
        try:
            report = _train(options, name, Progress(callback, token))
        except Cancelled as stop:
            if not _beside(options, CHECKPOINT_SUFFIX).exists():
                raise Cancelled("Training was stopped before its first step. Nothing was written.") from stop
            raise Cancelled(
                "Training was stopped. The same command goes on from "
                f"'{_beside(options, CHECKPOINT_SUFFIX)}'; delete that file to start again."
            ) from stop
    _show(report, as_json=options.json, changed=changed_settings(options.settings, preset))
    return OK


def _preset_for(device: str) -> str:
    """Return the preset for the device that is meant; that for a processor when it is not there."""
    if device == "cpu":
        return DEFAULT_PRESETS["cpu"]
    import torch

    return DEFAULT_PRESETS["cuda" if torch.cuda.is_available() else "cpu"]


def _check(options: TrainNerfArguments) -> None:
    """Refuse contradicting arguments before anything is read."""
    with_overrides("train-nerf", options.settings, {})  # checks every value
    check_settings(options.settings)
    if not (options.preview_every >= 0.0 and math.isfinite(options.preview_every)):
        raise InvalidRequestError("--preview-every must be a number of seconds, or 0.")
    if options.preview is not None and not options.preview_every:
        raise InvalidRequestError(
            "--preview names a picture, and --preview-every 0 makes none: leave one out."
        )
    if options.output.suffix.lower() != ".tar":
        raise InvalidRequestError(
            f"'{options.output.name}' must end with .tar: by that encode knows it for a trained NeRF."
        )
    for path in (options.output, options.preview):
        if path is not None and (path.is_dir() or not path.resolve().parent.is_dir()):
            raise InvalidRequestError(f"'{path}' cannot be written: it is a folder, or in none that exists.")


def _beside(options: TrainNerfArguments, suffix: str) -> Path:
    """Return the name of a file that belongs to the output."""
    return options.output.with_name(options.output.name + suffix)


def _train(options: TrainNerfArguments, preset: str, progress: Progress) -> NerfReport:
    """Train, write the checkpoint, and return what was made."""
    from scene_codec.devices import resolve_device
    from scene_codec.radiance.held_out_views import load_training_views
    from scene_codec.radiance.nerf_training import NerfTrainer, NerfTrainingRun

    started = time.monotonic()
    device = resolve_device(options.device)
    preview = (options.preview or _beside(options, PREVIEW_SUFFIX)) if options.preview_every else None
    checkpoint = _beside(options, CHECKPOINT_SUFFIX)
    run = NerfTrainingRun(
        checkpoint=checkpoint,
        preview=preview,
        preview_every_s=options.preview_every,
        device=str(device),
    )
    training, held_out = load_training_views(options.dataset, options.settings.size)
    trainer = NerfTrainer(training, held_out, options.settings, run, progress.part(0.0, 0.02, "reading"))
    trainer.run(progress.part(0.02, 0.98, "training"))
    psnr = trainer.held_out_psnr(progress.part(0.98, 1.0, "measuring"))
    trainer.write(options.output)
    checkpoint.unlink(missing_ok=True)
    return NerfReport(
        path=str(options.output),
        file_bytes=options.output.stat().st_size,
        preset=preset,
        parameters=trainer.parameters,
        pictures=len(training.images),
        held_out_pictures=0 if held_out is None else len(held_out.images),
        steps=trainer.step,
        training_psnr=trainer.points[-1].training_psnr,
        held_out_psnr=None if math.isnan(psnr) else psnr,
        preview=None if preview is None else str(preview),
        device=device.type,
        seconds=time.monotonic() - started,
    )


def _show(report: NerfReport, *, as_json: bool, changed: dict[str, object]) -> None:
    """Print the report."""
    if as_json:
        print_json(report)
        return
    results().print(
        f"{shown(report.path)}: {size(report.file_bytes)}, {report.parameters:,} parameters, "
        f"{report.steps:,} steps on {report.pictures:,} pictures, {report.device}, "
        f"{duration(report.seconds)}."
    )
    kept_out = "no views were kept out"
    if report.held_out_psnr is not None:
        kept_out = f"{report.held_out_psnr:.2f} dB on views that were kept out"
    results().print(f"PSNR {report.training_psnr:.2f} dB in training, {kept_out}.")
    words = "".join(f", {name} {value}" for name, value in changed.items())
    results().print(f"Preset {report.preset}{shown(words)}.")
