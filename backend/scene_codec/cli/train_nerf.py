"""`scene-codec train-nerf`: a radiance field from pictures of a scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro
from tyro.conf import arg

from scene_codec.cli.arguments import parse
from scene_codec.cli.codec_settings import changed_settings
from scene_codec.cli.exit_codes import OK
from scene_codec.cli.scene_training import (
    DATASET_HELP,
    STATE_HELP,
    SceneReport,
    SceneTrainingArguments,
    check_paths,
    chosen_preset,
    show_report,
    train_scene,
)
from scene_codec.cli.terminal import print_json
from scene_codec.codecs.overrides import with_overrides
from scene_codec.progress import Progress
from scene_codec.radiance.nerf_training_config import NerfTrainingSettings, check_settings, preset_settings

if TYPE_CHECKING:
    from scene_codec.radiance.captured_views import PosedImageSet
    from scene_codec.radiance.nerf_training import NerfTrainer
    from scene_codec.radiance.training_loop import TrainingRun

HELP = f"""Train a NeRF on pictures of a scene.

{DATASET_HELP}

The result is a checkpoint in the layout of yenchenlin/nerf-pytorch, which other programs read too, with the
space that the scene takes up as one more entry (scene_domain).

{STATE_HELP}

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


@dataclass(frozen=True, kw_only=True)
class TrainNerfArguments(SceneTrainingArguments):
    """What `train-nerf` takes."""

    settings: Annotated[NerfTrainingSettings, arg(name="")]
    """How the network is trained; the values shown are those of the preset."""


class NerfReport(SceneReport, frozen=True, kw_only=True):
    """What `train-nerf` made."""

    parameters: int


def train_nerf(arguments: list[str]) -> int:
    """Run `train-nerf` and return the exit status."""
    name = chosen_preset(arguments)
    preset = preset_settings(name)
    default = TrainNerfArguments(dataset=tyro.MISSING, output=tyro.MISSING, settings=preset)
    options = parse(TrainNerfArguments, "train-nerf", HELP, arguments, default=default)
    settings = options.settings
    with_overrides("train-nerf", settings, {})  # checks every value
    check_settings(settings)
    check_paths(options)

    def make_trainer(
        training: PosedImageSet, held_out: PosedImageSet | None, run: TrainingRun, progress: Progress
    ) -> NerfTrainer:
        from scene_codec.radiance import nerf_training

        return nerf_training.NerfTrainer(training, held_out, settings, run, progress)

    trainer, values = train_scene(options, name, settings.size, make_trainer)
    report = NerfReport(**values, parameters=trainer.parameters)
    if options.json:
        print_json(report)
    else:
        show_report(report, f"{report.parameters:,} parameters", changed_settings(settings, preset))
    return OK
