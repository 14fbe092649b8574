"""`scene-codec train-volume`: a model of the block VAE for one's own kind of volumes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import tyro
from tyro.conf import Positional, arg

from scene_codec.cli.arguments import Device, Inputs, OutputPath, early_parser, parse
from scene_codec.cli.codec_settings import changed_settings
from scene_codec.cli.exit_codes import LEFT_OUT, OK
from scene_codec.cli.input_patterns import expand_patterns
from scene_codec.cli.interrupt import cancel_on_interrupt
from scene_codec.cli.terminal import duration, messages, print_json, progress_bar, results, shown, size
from scene_codec.codecs.volume_vae.config import TrainingSettings, training_settings_for
from scene_codec.errors import Cancelled, InvalidRequestError, UnsupportedSceneError
from scene_codec.progress import Progress
from scene_codec.reports import ObjectFailure
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

HELP = """Train a model of the codec volume-vae for one kind of volume.

Of most volumes the default codec, volume-wavelet, makes smaller files, and it needs no training: compare
with it before you rely on a model. The larger the set to encode, the better a model of one's own pays: its
decoding half, 0.8 MB with the default sizes, becomes part of the file.

Learns from all grids of the given files, or of the folders that hold them. A part of the volumes
(--validation) is kept out and tells how well the model does on what it has not seen: if --plot shows that
curve rising while the other one falls, there are too few volumes; add some, or --procedural ones.

Ctrl-C stops cleanly. The same command then goes on where it stopped, from OUTPUT.checkpoint.

Presets (--preset): rate, our network for any quality; paper-zero-margin, paper-two-wide and
paper-more-parameters, the published network in its three variants.

Examples:
  scene-codec train-volume scans/ -o scans.nscmodel --plot loss.png
  scene-codec train-volume smoke_*.vdb -o smoke.nscmodel --procedural 20 --epochs 40
  scene-codec train-volume ct.nrrd -o ct.nscmodel --preset paper-two-wide --latents 64

Then encode with it:
  scene-codec encode smoke_0040.vdb -o smoke.nscene --codec volume-vae --model smoke.nscmodel
"""

CHECKPOINT_SUFFIX = ".checkpoint"


@dataclass(frozen=True, kw_only=True)
class TrainVolumeArguments:
    """What `train-volume` takes."""

    output: OutputPath
    """The .nscmodel file to write; an older one of that name is replaced when training has ended."""

    settings: Annotated[TrainingSettings, arg(name="")]
    """How the model is trained; the values shown are those of the preset."""

    inputs: Positional[Inputs] = ()
    """Volume files (npy, npz, raw, NRRD, NIfTI, TIFF, VDB), folders, and patterns such as 'smoke_*.vdb'."""

    preset: str = "rate"
    """A named choice of settings. Flags given beside it win."""

    procedural: int = 0
    """Also learn from this many volumes made of random numbers: smoke, noise, solid parts, vessels."""

    procedural_side: int = 96
    """Voxels along the edge of those."""

    plot: Annotated[Path | None, arg(metavar="PNG")] = None
    """Draw the losses into this picture while training runs (needs matplotlib)."""

    device: Device = "auto"
    """Where to compute; auto takes a CUDA device when there is one."""

    json: bool = False
    """Print the report as JSON on stdout and nothing else there."""


class TrainReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `train-volume` made."""

    path: str
    model_bytes: int
    network: str
    volumes: int
    steps: int
    training_loss: float
    validation_loss: float
    device: str
    seconds: float
    failures: tuple[ObjectFailure, ...]


def train_volume(arguments: list[str]) -> int:
    """Run `train-volume` and return the exit status."""
    early = early_parser()
    early.add_argument("--preset", default="rate")
    preset = training_settings_for(early.parse_known_args(arguments)[0].preset)
    default = TrainVolumeArguments(output=tyro.MISSING, settings=preset)
    options = parse(TrainVolumeArguments, "train-volume", HELP, arguments, default=default)
    _check(options)
    found, failures = _load(options)
    with cancel_on_interrupt() as token, progress_bar() as callback:
        try:
            report = _train(options, found, failures, Progress(callback, token))
        except Cancelled as stop:
            raise Cancelled(
                f"Training was stopped. The same command goes on from '{_checkpoint(options)}'; delete that "
                "file to start again."
            ) from stop
    _show(report, as_json=options.json, changed=changed_settings(options.settings, preset))
    return LEFT_OUT if report.failures else OK


def _check(options: TrainVolumeArguments) -> None:
    """Refuse contradicting arguments before anything is read."""
    if not options.inputs and options.procedural < 1:
        raise InvalidRequestError("Name volumes to learn from, or ask for --procedural ones.")
    if not 0 <= options.procedural <= 10_000 or not 16 <= options.procedural_side <= 512:
        raise InvalidRequestError("--procedural must be 0 to 10000 and --procedural-side 16 to 512.")
    if options.settings.finest_step > options.settings.coarsest_step:
        raise InvalidRequestError("--finest-step must not be larger than --coarsest-step.")
    if options.output.is_dir() or not options.output.resolve().parent.is_dir():
        raise InvalidRequestError(
            f"'{options.output}' cannot be written: it is a folder, or in none that exists."
        )


def _checkpoint(options: TrainVolumeArguments) -> Path:
    return options.output.with_name(options.output.name + CHECKPOINT_SUFFIX)


def _load(options: TrainVolumeArguments) -> tuple[list[VolumeObject], list[ObjectFailure]]:
    """Return all volumes that can be read, and the others with the reason."""
    from scene_codec.volumes.procedural import procedural_volumes
    from scene_codec.volumes.volume_files import load_volume, volume_suffix

    found: list[VolumeObject] = []
    failures: list[ObjectFailure] = []
    paths: list[Path] = []
    for path in expand_patterns(options.inputs) if options.inputs else []:
        inside = (
            sorted(entry for entry in path.rglob("*") if volume_suffix(entry)) if path.is_dir() else [path]
        )
        paths += inside
    for path in paths:
        try:
            found.append(load_volume(path))
        except UnsupportedSceneError as problem:
            failures.append(ObjectFailure(name=str(path), reason=str(problem)))
    made = procedural_volumes(options.procedural, options.procedural_side, options.settings.seed)
    found += [VolumeObject(name, (VolumeGrid("density", values),)) for name, values in made]
    if not found:
        reasons = "; ".join(failure.reason for failure in failures[:5])
        raise UnsupportedSceneError(f"There is nothing to learn from. {reasons}".rstrip())
    return found, failures


def _train(
    options: TrainVolumeArguments,
    found: list[VolumeObject],
    failures: list[ObjectFailure],
    progress: Progress,
) -> TrainReport:
    """Train, write the model, and return what was made."""
    from scene_codec.codecs.volume_vae.model import ModelCard, save_model
    from scene_codec.codecs.volume_vae.training import TrainingPoint, TrainingRun, train_block_vae
    from scene_codec.codecs.volume_vae.training_blocks import training_volumes
    from scene_codec.codecs.volume_vae.training_plot import LossPlot
    from scene_codec.devices import resolve_device

    started = time.monotonic()
    device = resolve_device(options.device)
    plot = None if options.plot is None else LossPlot(options.plot)
    latest: list[TrainingPoint] = []

    def observe(points: Sequence[TrainingPoint]) -> None:
        latest[:] = points[-1:]
        if plot is not None:
            plot(points)

    volumes = training_volumes(found)
    card = ModelCard(name=options.output.stem, data=tuple(volume.name for volume in found)[:1000])
    run = TrainingRun(_checkpoint(options), observe, str(device))
    data = train_block_vae(volumes, options.settings, card, progress, run)
    save_model(options.output, data)
    _checkpoint(options).unlink(missing_ok=True)
    return TrainReport(
        path=str(options.output),
        model_bytes=len(data),
        network=options.settings.network,
        volumes=len(volumes),
        steps=latest[-1].steps,
        training_loss=latest[-1].training_loss,
        validation_loss=latest[-1].validation_loss,
        device=device.type,
        seconds=time.monotonic() - started,
        failures=tuple(failures),
    )


def _show(report: TrainReport, *, as_json: bool, changed: dict[str, object]) -> None:
    """Print the report."""
    if as_json:
        print_json(report)
        return
    results().print(
        f"{shown(report.path)}: {size(report.model_bytes)}, network {report.network}, {report.steps:,} steps "
        f"on {report.volumes:,} volumes, {report.device}, {duration(report.seconds)}."
    )
    results().print(
        f"Loss {report.training_loss:.5g} in training, {report.validation_loss:.5g} on what was kept out."
    )
    if changed:
        words = ", ".join(f"{name} {value}" for name, value in changed.items())
        results().print(f"Changed from the preset: {shown(words)}.")
    for failure in report.failures:
        messages().print(f"left out: {shown(failure.name)}: {shown(failure.reason)}")
