"""`scene-codec train-field`: a voxel field from pictures of a scene."""

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
from scene_codec.voxel_fields.field_training_config import (
    FieldTrainingSettings,
    check_settings,
    preset_settings,
)

if TYPE_CHECKING:
    from scene_codec.radiance.captured_views import PosedImageSet
    from scene_codec.radiance.training_loop import TrainingRun
    from scene_codec.voxel_fields.field_training import FieldTrainer

HELP = f"""Train a voxel field on pictures of a scene: densities and features on a grid, and a small network.

{DATASET_HELP}

The result is a checkpoint in the layout of DirectVoxGO (fine_last.tar), with the space that the scene takes
up as one more entry (scene_domain). That program reads those of bounded scenes. One of a forward-facing
capture is a plain field in normalised device coordinates, whose lens only that entry tells.

{STATE_HELP}

A voxel field is learnt in minutes where a network (train-nerf) takes hours, and is a larger file before it
is encoded.

Presets (--preset): fast, for a processor; large, a finer grid and a larger network, for a CUDA device;
paper, as published, which takes longest. By default large where there is a CUDA device, fast elsewhere.

Examples:
  scene-codec train-field chair/ -o chair.tar
  scene-codec train-field chair/ -o chair.tar --size 200 --steps 6000
  scene-codec train-field my_statue/transforms.json -o statue.tar --near 0.2 --far 8 --nodes 160

Then make it small:
  scene-codec encode chair.tar -o chair.nscene --images chair/
"""


@dataclass(frozen=True, kw_only=True)
class TrainFieldArguments(SceneTrainingArguments):
    """What `train-field` takes."""

    settings: Annotated[FieldTrainingSettings, arg(name="")]
    """How the field is trained; the values shown are those of the preset."""


class FieldReport(SceneReport, frozen=True, kw_only=True):
    """What `train-field` made.

    nodes : along each axis
    held_nodes : those that hold values
    """

    nodes: tuple[int, int, int]
    held_nodes: int


def train_field(arguments: list[str]) -> int:
    """Run `train-field` and return the exit status."""
    name = chosen_preset(arguments)
    preset = preset_settings(name)
    default = TrainFieldArguments(dataset=tyro.MISSING, output=tyro.MISSING, settings=preset)
    options = parse(TrainFieldArguments, "train-field", HELP, arguments, default=default)
    settings = options.settings
    with_overrides("train-field", settings, {})  # checks every value
    check_settings(settings)
    check_paths(options)

    def make_trainer(
        training: PosedImageSet, held_out: PosedImageSet | None, run: TrainingRun, progress: Progress
    ) -> FieldTrainer:
        from scene_codec.voxel_fields import field_training

        return field_training.FieldTrainer(training, held_out, settings, run, progress)

    trainer, values = train_scene(options, name, settings.size, make_trainer)
    report = FieldReport(**values, nodes=trainer.nodes, held_nodes=trainer.held_nodes)
    if options.json:
        print_json(report)
    else:
        grid = " x ".join(str(count) for count in report.nodes)
        made = f"{grid} nodes of which {report.held_nodes:,} hold values"
        show_report(report, made, changed_settings(settings, preset))
    return OK
