import math
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from scene_codec.errors import Cancelled, InvalidRequestError, UnsupportedSceneError
from scene_codec.progress import CancelToken, Progress
from scene_codec.radiance.cameras import camera_rays
from scene_codec.radiance.held_out_views import load_training_views
from scene_codec.radiance.image_files import read_image, write_png
from scene_codec.radiance.posed_images import load_posed_images
from scene_codec.radiance.training_loop import TrainingRun
from scene_codec.voxel_fields.field_files import load_voxel_field
from scene_codec.voxel_fields.field_training import FieldTrainer
from scene_codec.voxel_fields.field_training_config import (
    FieldTrainingSettings,
    check_settings,
    preset_settings,
)
from scene_codec.voxel_fields.voxel_field import VoxelField

sys.path.insert(0, str(Path(__file__).parents[1] / "radiance"))
from ball_pictures import write_ball

QUICK = FieldTrainingSettings(
    nodes=16,
    features=4,
    width=8,
    depth=2,
    direction_octaves=1,
    steps=24,
    coarse_share=0.3,
    plain_share=0.2,
    coarse_nodes=10,
    growth=(0.1, 0.3),
    batch_samples=4096,
    learning_rate=0.3,
)


@pytest.fixture(scope="module")
def ball(tmp_path_factory):
    return write_ball(tmp_path_factory.mktemp("ball"))


def trainer(folder, settings, **run):
    training, held_out = load_training_views(folder, settings.size)
    return FieldTrainer(training, held_out, settings, TrainingRun(**run), Progress())


def stop_after(steps):
    """Return progress that cancels the job once so many steps are done."""
    token = CancelToken()

    def callback(event):
        if f"step {steps:,} " in event.message:
            token.cancel()

    return Progress(callback, token)


def mean_colour_psnr(folder):
    """Return the PSNR of views of which nothing is known but the mean colour of the pictures."""
    training, held_out = (load_posed_images(folder, split).images for split in ("train", "val"))
    mean = np.mean([image.load(True) for image in training], axis=(0, 1, 2))
    return np.mean([-10.0 * math.log10(np.mean((image.load(True) - mean) ** 2)) for image in held_out])


def test_views_that_were_kept_out_become_far_better_than_their_mean_colour(ball):
    learnt = trainer(ball, msgspec.structs.replace(QUICK, steps=120, batch_samples=8192))
    learnt.run(Progress())
    assert learnt.held_out_psnr() > mean_colour_psnr(ball) + 4.0
    assert learnt.points[-1].training_psnr > learnt.points[0].training_psnr + 3.0
    assert math.prod(learnt.nodes) <= 16**3


@pytest.mark.parametrize("stop", [1, 9, 21])
def test_a_stopped_training_goes_on_to_the_same_file(ball, tmp_path, stop):
    whole = trainer(ball, QUICK)
    whole.run(Progress())
    whole.write(tmp_path / "whole.tar")
    state = tmp_path / "state"
    with pytest.raises(Cancelled):
        trainer(ball, QUICK, checkpoint=state).run(stop_after(stop))
    continued = trainer(ball, QUICK, checkpoint=state)
    continued.run(Progress())
    continued.write(tmp_path / "continued.tar")
    assert (tmp_path / "whole.tar").read_bytes() == (tmp_path / "continued.tar").read_bytes()
    assert continued.points == whole.points


def test_the_published_protocol_runs(ball, tmp_path):
    settings = msgspec.structs.replace(
        preset_settings("paper"), steps=60, nodes=12, coarse_nodes=8, width=8, rays=64, coarse_opacity=1e-3
    )
    learnt = trainer(ball, settings)
    learnt.run(Progress())
    learnt.write(tmp_path / "ball.tar")
    before = settings.opacity / (1.0 - settings.opacity)
    assert learnt.field().model.rule.shift == pytest.approx(math.log(before) - 4.0)
    assert load_voxel_field(tmp_path / "ball.tar").step == 60


def test_a_training_is_not_continued_with_other_settings(ball, tmp_path):
    state = tmp_path / "state"
    with pytest.raises(Cancelled):
        trainer(ball, QUICK, checkpoint=state).run(stop_after(2))
    other = msgspec.structs.replace(QUICK, learning_rate=0.2)
    with pytest.raises(InvalidRequestError, match="other pictures or settings"):
        trainer(ball, other, checkpoint=state).run(Progress())


def test_a_written_file_loads_and_renders_the_same(ball, tmp_path):
    learnt = trainer(ball, QUICK)
    learnt.run(Progress())
    learnt.write(tmp_path / "ball.tar")
    loaded = load_voxel_field(tmp_path / "ball.tar")
    assert loaded.family == "dvgo"
    assert loaded.step == QUICK.steps
    assert loaded.domain == learnt.domain
    rays = camera_rays(load_posed_images(ball, "val").images[0].camera)
    with torch.no_grad():
        before = learnt.field().render(rays)
        after = VoxelField(loaded.model, loaded.domain).render(rays)
    torch.testing.assert_close(before.colour, after.colour, atol=1e-5, rtol=0.0)
    assert after.opacity.max() > 0.01


def test_a_training_that_diverges_says_what_to_do_and_keeps_nothing(ball, tmp_path):
    learnt = trainer(ball, QUICK, checkpoint=tmp_path / "state")
    learnt._learner.features.values.fill_(math.nan)
    with pytest.raises(UnsupportedSceneError, match="lower --learning-rate"):
        learnt.run(Progress())
    assert not (tmp_path / "state").exists()


def test_a_scene_in_which_nothing_is_seen_is_noticed(ball):
    learnt = trainer(ball, msgspec.structs.replace(QUICK, learning_rate=1e-6))
    learnt._learner.density.values.fill_(-100.0)
    with pytest.raises(UnsupportedSceneError, match="nothing is seen"):
        learnt.run(Progress())


def test_too_few_pictures_are_refused(tmp_path):
    folder = write_ball(tmp_path / "two", splits=(("train", 2),))
    with pytest.raises(InvalidRequestError, match="2 pictures"):
        trainer(folder, QUICK)


@pytest.mark.parametrize(
    "change",
    [
        {"near": 2.0},
        {"near": 3.0, "far": 2.0},
        {"coarse_share": 0.6, "plain_share": 0.4},
        {"growth": (0.2, 0.2)},
        {"growth": (1.0,)},
        {"width": 4},
        {"nodes": 2},
        {"opacity": 0.0},
    ],
)
def test_contradicting_settings_are_refused(change):
    with pytest.raises((InvalidRequestError, msgspec.ValidationError)):
        check_settings(msgspec.convert({**msgspec.structs.asdict(QUICK), **change}, FieldTrainingSettings))


def test_presets_have_names_and_agree_with_themselves():
    for name in ("fast", "large", "paper"):
        check_settings(preset_settings(name))
    with pytest.raises(InvalidRequestError, match="fast, large, paper"):
        preset_settings("slow")


def test_a_preview_shows_the_truth_beside_what_was_learnt(ball, tmp_path):
    learnt = trainer(ball, QUICK, preview=tmp_path / "preview.png", preview_every_s=1e-3)
    learnt.run(Progress())
    shown = read_image(tmp_path / "preview.png")
    truth = load_posed_images(ball, "val").images[1].load(True)
    np.testing.assert_allclose(shown[:, :16], truth, atol=1 / 255)


def test_forward_facing_scenes_are_learnt_in_their_own_space(tmp_path):
    poses = []
    (tmp_path / "images").mkdir()
    for index in range(9):
        place = np.array([[0.1 * (index % 3)], [0.1 * (index // 3)], [0.0]])
        turn = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        matrix = np.concatenate([turn, place, [[16.0], [16.0], [20.0]]], axis=1)
        poses.append([*matrix.reshape(-1), 2.0, 10.0])
        write_png(tmp_path / "images" / f"{index}.png", np.full((16, 16, 3), [0.8, 0.3, 0.1]))
    np.save(tmp_path / "poses_bounds.npy", np.array(poses))
    learnt = trainer(tmp_path, msgspec.structs.replace(QUICK, steps=60))
    learnt.run(Progress())
    assert learnt.domain.ndc == (2.5, 2.5)
    assert learnt.held_out_psnr() > 15.0
    with pytest.raises(InvalidRequestError, match="forward-facing"):
        trainer(tmp_path, msgspec.structs.replace(QUICK, near=1.0, far=2.0))
