import dataclasses
import json
import math

import msgspec
import numpy as np
import pytest
import torch
from ball_pictures import write_ball

from scene_codec.errors import Cancelled, InvalidRequestError, UnsupportedSceneError
from scene_codec.progress import CancelToken, Progress
from scene_codec.radiance.cameras import camera_rays
from scene_codec.radiance.capture_domain import domain_of_pictures
from scene_codec.radiance.checkpoints import load_checkpoint
from scene_codec.radiance.fast_rendering import MarchingPlan, render_fast
from scene_codec.radiance.field_space import to_field_space
from scene_codec.radiance.held_out_views import HeldOutViews, load_training_views
from scene_codec.radiance.image_files import read_image
from scene_codec.radiance.lit_rendering import render_lit
from scene_codec.radiance.nerf_field import NerfPairField
from scene_codec.radiance.nerf_training import NerfTrainer
from scene_codec.radiance.nerf_training_config import NerfTrainingSettings, check_settings, preset_settings
from scene_codec.radiance.posed_images import load_posed_images
from scene_codec.radiance.ray_marching import march
from scene_codec.radiance.training_grid import TrainingGrid
from scene_codec.radiance.training_loop import TrainingRun
from scene_codec.radiance.training_rays import TrainingRays

ONE = NerfTrainingSettings(
    width=16,
    depth=2,
    position_octaves=3,
    direction_octaves=1,
    steps=12,
    batch_samples=1024,
    rays=256,
    samples=48,
    cells=12,
    learning_rate=5e-3,
)
PAIR = msgspec.structs.replace(ONE, networks="pair", rays=32, samples=12, fine_samples=8, density_noise=0.1)


@pytest.fixture(scope="module")
def ball(tmp_path_factory):
    return write_ball(tmp_path_factory.mktemp("ball"))


def trainer(folder, settings, **run):
    training, held_out = load_training_views(folder, settings.size)
    return NerfTrainer(training, held_out, settings, TrainingRun(**run), Progress())


def stop_after(steps):
    """Return progress that cancels the job once so many steps are done."""
    token = CancelToken()

    def callback(event):
        if f"step {steps:,} " in event.message:
            token.cancel()

    return Progress(callback, token)


def weights(path):
    return torch.load(path, weights_only=True)


def same(first, second):
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    return torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second


def mean_colour_psnr(folder):
    """Return the PSNR of views of which nothing is known but the mean colour of the pictures."""
    training, held_out = (load_posed_images(folder, split).images for split in ("train", "val"))
    mean = np.mean([image.load(True) for image in training], axis=(0, 1, 2))
    return np.mean([-10.0 * math.log10(np.mean((image.load(True) - mean) ** 2)) for image in held_out])


@pytest.mark.parametrize(
    "settings",
    [
        msgspec.structs.replace(ONE, steps=300),
        msgspec.structs.replace(PAIR, steps=300, rays=128, density_noise=0.0),
    ],
    ids=["one", "pair"],
)
def test_views_that_were_kept_out_become_far_better_than_their_mean_colour(ball, settings):
    learnt = trainer(ball, settings)
    learnt.run(Progress())
    assert learnt.held_out_psnr() > mean_colour_psnr(ball) + 4.0
    assert learnt.points[-1].training_psnr > learnt.points[0].training_psnr + 3.0


@pytest.mark.parametrize("settings", [ONE, PAIR], ids=["one", "pair"])
@pytest.mark.parametrize("stop", [1, 7])
def test_a_stopped_training_goes_on_to_the_same_file(ball, tmp_path, settings, stop):
    whole = trainer(ball, settings)
    whole.run(Progress())
    whole.write(tmp_path / "whole.tar")
    state = tmp_path / "state"
    with pytest.raises(Cancelled):
        trainer(ball, settings, checkpoint=state).run(stop_after(stop))
    continued = trainer(ball, settings, checkpoint=state)
    continued.run(Progress())
    continued.write(tmp_path / "continued.tar")
    assert same(weights(tmp_path / "whole.tar"), weights(tmp_path / "continued.tar"))
    assert continued.points == whole.points


def test_a_training_goes_on_with_its_grid_and_number_of_rays(ball, tmp_path):
    settings = msgspec.structs.replace(ONE, steps=60, samples=16)
    state = tmp_path / "state"
    with pytest.raises(Cancelled):
        trainer(ball, settings, checkpoint=state).run(stop_after(52))  # after the first look at all cells
    whole, continued = trainer(ball, settings), trainer(ball, settings, checkpoint=state)
    for learnt, name in ((whole, "whole.tar"), (continued, "continued.tar")):
        learnt.run(Progress())
        learnt.write(tmp_path / name)
    assert same(weights(tmp_path / "whole.tar"), weights(tmp_path / "continued.tar"))


def test_a_checkpoint_is_kept_with_the_first_preview_and_at_the_end(ball, tmp_path, monkeypatch):
    preview, state = tmp_path / "preview.png", tmp_path / "state"
    learnt = trainer(ball, ONE, checkpoint=state, preview=preview, preview_every_s=1e-3)
    saved = []
    monkeypatch.setattr(learnt, "_save", lambda path: saved.append((learnt.step, path, preview.exists())))
    learnt.run(Progress())
    assert saved == [(1, state, True), (ONE.steps, state, True)]


def test_a_training_that_is_killed_goes_on_from_the_last_checkpoint(ball, tmp_path):
    state = tmp_path / "state"
    kept = []

    def copy(event):
        if event.message.startswith("step 2 ") and state.exists():
            kept.append(state.read_bytes())

    whole = trainer(ball, ONE, checkpoint=state, preview=tmp_path / "p.png", preview_every_s=1e-3)
    whole.run(Progress(copy))
    state.write_bytes(kept[0])
    continued = trainer(ball, ONE, checkpoint=state)
    continued.run(Progress())
    assert continued.points == whole.points


def test_a_training_is_not_continued_with_other_settings_or_pictures(ball, tmp_path):
    state = tmp_path / "state"
    with pytest.raises(Cancelled):
        trainer(ball, ONE, checkpoint=state).run(stop_after(2))
    other = msgspec.structs.replace(ONE, learning_rate=1e-3)
    with pytest.raises(InvalidRequestError, match="other pictures or settings"):
        trainer(ball, other, checkpoint=state).run(Progress())
    fewer = write_ball(tmp_path / "fewer", splits=(("train", 7), ("val", 2)))
    with pytest.raises(InvalidRequestError, match="other pictures or settings"):
        trainer(fewer, ONE, checkpoint=state).run(Progress())
    state.write_bytes(b"nothing")
    with pytest.raises(InvalidRequestError, match="no checkpoint"):
        trainer(ball, ONE, checkpoint=state).run(Progress())


@pytest.mark.parametrize("settings", [ONE, PAIR], ids=["one", "pair"])
def test_a_written_file_loads_and_renders_the_same(ball, tmp_path, settings):
    learnt = trainer(ball, settings)
    learnt.run(Progress())
    learnt.write(tmp_path / "ball.tar")
    loaded = load_checkpoint([tmp_path / "ball.tar"])
    assert loaded.layout == "yenchenlin"
    assert loaded.step == settings.steps
    assert loaded.domain == learnt.domain
    assert (loaded.coarse is None) == (settings.networks == "one")
    rays = camera_rays(load_posed_images(ball, "val").images[0].camera)
    before = NerfPairField(*learnt.networks, learnt.domain).render(rays)
    after = NerfPairField(loaded.coarse, loaded.fine, loaded.domain).render(rays)
    assert torch.equal(before.colour, after.colour)
    assert torch.equal(before.depth, after.depth)


def test_a_file_has_the_names_and_the_optimiser_that_other_programs_expect(ball, tmp_path):
    settings = msgspec.structs.replace(PAIR, depth=4, skips=(2,))
    learnt = trainer(ball, settings)
    learnt.run(Progress())
    learnt.write(tmp_path / "ball.tar")
    content = weights(tmp_path / "ball.tar")
    names = [*(f"pts_linears.{index}" for index in range(4)), "views_linears.0"]
    names += ["feature_linear", "alpha_linear", "rgb_linear"]
    expected = [f"{name}.{kind}" for name in names for kind in ("weight", "bias")]
    assert list(content["network_fn_state_dict"]) == list(content["network_fine_state_dict"]) == expected
    shapes = [
        tuple(content[f"network_{which}_state_dict"][name].shape)
        for which in ("fn", "fine")
        for name in expected
    ]
    moments = content["optimizer_state_dict"]["state"]
    assert [tuple(moments[index]["exp_avg"].shape) for index in range(len(moments))] == shapes


def test_a_domain_that_is_none_is_refused(ball, tmp_path):
    learnt = trainer(ball, ONE)
    learnt.run(Progress())
    learnt.write(tmp_path / "ball.tar")
    content = weights(tmp_path / "ball.tar")
    good = content["scene_domain"]
    wrong = [
        {"near": 9.0},
        {"far": math.nan},
        {"low": (0.0, 0.0)},
        {"high": good["low"]},
        {"ndc": (1.0, -1.0)},
    ]
    wrong += [{"white_background": 1}, {"corner_width": -1}, {"near": "2"}, {"far": True}]
    for entries in [*({**good, **change} for change in wrong), {}, [], "text"]:
        torch.save({**content, "scene_domain": entries}, tmp_path / "wrong.tar")
        with pytest.raises(UnsupportedSceneError, match="scene_domain"):
            load_checkpoint([tmp_path / "wrong.tar"])


def test_a_training_that_diverges_says_what_to_do_and_keeps_nothing(ball, tmp_path, monkeypatch):
    learnt = trainer(ball, ONE, checkpoint=tmp_path / "state")
    with torch.no_grad():
        learnt.networks[1].colour.bias.fill_(math.nan)
    with pytest.raises(UnsupportedSceneError, match="lower --learning-rate"):
        learnt.run(Progress())
    assert not (tmp_path / "state").exists()


def test_a_network_without_any_density_is_noticed(ball):
    learnt = trainer(ball, msgspec.structs.replace(ONE, steps=60))
    with torch.no_grad():
        learnt.networks[1].density.weight.zero_()
        learnt.networks[1].density.bias.fill_(-100.0)
    with pytest.raises(UnsupportedSceneError, match="sees nothing"):
        learnt.run(Progress())


def test_too_few_pictures_are_refused(tmp_path):
    folder = write_ball(tmp_path / "two", splits=(("train", 2),))
    with pytest.raises(InvalidRequestError, match="2 pictures"):
        trainer(folder, ONE)


@pytest.mark.parametrize(
    "change",
    [{"skips": (2,)}, {"near": 2.0}, {"near": 3.0, "far": 2.0}, {"density_noise": 1.0}, {"crop_steps": -1}],
)
def test_contradicting_settings_are_refused(change):
    with pytest.raises((InvalidRequestError, msgspec.ValidationError)):
        check_settings(msgspec.convert({**msgspec.structs.asdict(ONE), **change}, NerfTrainingSettings))


def test_presets_have_names_and_agree_with_themselves():
    for name in ("fast", "large", "paper"):
        check_settings(preset_settings(name))
    with pytest.raises(InvalidRequestError, match="fast, large, paper"):
        preset_settings("slow")


def test_a_data_set_of_one_piece_keeps_every_eighth_picture_out(ball, tmp_path):
    folder = write_ball(tmp_path / "one", splits=(("train", 9),))
    (folder / "transforms_train.json").rename(folder / "transforms.json")
    training, held_out = load_training_views(folder, 0)
    assert (len(training.images), len(held_out.images)) == (7, 2)


def test_a_list_of_training_pictures_finds_the_others_beside_it(ball):
    training, held_out = load_training_views(ball / "transforms_train.json", 0)
    assert (len(training.images), len(held_out.images)) == (8, 2)


def test_without_other_views_nothing_is_measured_and_a_known_view_is_shown(tmp_path):
    folder = write_ball(tmp_path / "alone", splits=(("train", 4),))
    learnt = trainer(folder, ONE, preview=tmp_path / "preview.png", preview_every_s=1e-3)
    learnt.run(Progress())
    assert math.isnan(learnt.held_out_psnr())
    assert read_image(tmp_path / "preview.png").shape == (16, 32, 3)


def test_a_preview_shows_the_truth_beside_what_was_learnt(ball, tmp_path):
    learnt = trainer(ball, ONE, preview=tmp_path / "preview.png")
    learnt.run(Progress())
    assert not (tmp_path / "preview.png").exists()  # it has not lasted that long
    learnt.write(tmp_path / "ball.tar")
    shown = read_image(tmp_path / "preview.png")
    truth = load_posed_images(ball, "val").images[1].load(True)
    np.testing.assert_allclose(shown[:, :16], truth, atol=1 / 255)


def test_pictures_can_be_made_smaller(ball):
    training, held_out = load_training_views(ball, 8)
    assert {image.camera.width for image in (*training.images, *held_out.images)} == {8}


def test_the_first_steps_see_the_middle_alone(ball):
    images = load_posed_images(ball, "train")
    domain = domain_of_pictures(images)
    rays = TrainingRays(images, domain, (1, 0.5), Progress())
    whole, middle = (rays.draw(4000, step, torch.Generator().manual_seed(0))[1] for step in (1, 0))
    assert (middle == 1.0).all(dim=1).float().mean() < 0.5 * (whole == 1.0).all(dim=1).float().mean()


def test_all_that_rays_meet_lies_in_the_box(ball):
    images = load_posed_images(ball, "train")
    for ndc in (None, (2.8, 2.8)):
        limits = {"near": 0.0, "far": 1.0} if ndc else {}
        domain = domain_of_pictures(dataclasses.replace(images, ndc=ndc, **limits))
        low, high = torch.tensor(domain.low), torch.tensor(domain.high)
        for image in images.images:
            rays = to_field_space(camera_rays(image.camera), domain)
            for distance in (domain.near, domain.far):
                places = rays.origins + distance * rays.directions
                assert bool(((places >= low) & (places <= high)).all())


def test_rendering_for_training_agrees_with_that_for_viewing(ball):
    learnt = trainer(ball, msgspec.structs.replace(ONE, steps=60))
    learnt.run(Progress())
    network, domain = learnt.networks[1], learnt.domain
    grid = TrainingGrid(domain, 12, torch.device("cpu"))
    rays = to_field_space(camera_rays(load_posed_images(ball, "val").images[0].camera), domain)
    plan = MarchingPlan(samples=40)
    step = plan.step(domain)
    seen, density = render_lit(network, rays, march(rays, domain, grid.grid, step), step)
    with torch.no_grad():
        viewed = render_fast(network, grid.grid, rays, domain, plan)
    assert density.requires_grad
    # Viewing gives up rays of which 0.2 % of the light is left, and colours of weight 1e-3.
    torch.testing.assert_close(seen.over(True), viewed.over(True), atol=0.02, rtol=0.0)


def test_a_grid_loses_empty_cells_and_finds_dense_ones_again(ball):
    learnt = trainer(ball, ONE)
    network, generator = learnt.networks[1], torch.Generator().manual_seed(0)
    grid = TrainingGrid(learnt.domain, 8, torch.device("cpu"))
    assert grid.grid.share == 1.0
    with torch.no_grad():
        network.density.weight.zero_()
        network.density.bias.fill_(5.0)
    grid.update(network, generator, whole=True)
    assert grid.grid.share == 1.0
    with torch.no_grad():
        network.density.bias.fill_(-5.0)
    for _ in range(200):
        grid.update(network, generator, whole=False)
    assert not grid.is_empty  # they fade
    grid.update(network, generator, whole=True)
    assert grid.is_empty


def test_held_out_views_are_measured_at_the_same_pixels_each_time(ball):
    learnt = trainer(ball, ONE)
    views = HeldOutViews(load_posed_images(ball, "val"), 50)
    field = NerfPairField(None, learnt.networks[1], learnt.domain)
    assert views.measure(field) == views.measure(field)


def test_forward_facing_scenes_are_learnt_in_their_own_space(tmp_path):
    poses = []
    (tmp_path / "images").mkdir()
    from scene_codec.radiance.image_files import write_png

    for index in range(9):
        place = np.array([[0.1 * (index % 3)], [0.1 * (index // 3)], [0.0]])
        turn = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        matrix = np.concatenate([turn, place, [[16.0], [16.0], [20.0]]], axis=1)
        poses.append([*matrix.reshape(-1), 2.0, 10.0])
        write_png(tmp_path / "images" / f"{index}.png", np.full((16, 16, 3), [0.8, 0.3, 0.1]))
    np.save(tmp_path / "poses_bounds.npy", np.array(poses))
    learnt = trainer(tmp_path, msgspec.structs.replace(ONE, steps=120))
    learnt.run(Progress())
    assert learnt.domain.ndc == (2.5, 2.5)
    assert learnt.held_out_psnr() > 15.0
    with pytest.raises(InvalidRequestError, match="forward-facing"):
        trainer(tmp_path, msgspec.structs.replace(ONE, near=1.0, far=2.0))


def test_the_message_tells_loss_and_quality(ball):
    words = []
    learnt = trainer(ball, msgspec.structs.replace(ONE, steps=40))
    learnt.run(Progress(lambda event: words.append(event.message)))
    assert "step 39 of 40" in words[-1]
    assert "loss" in words[-1]
    assert "dB on views kept out" in words[-1]
    assert json.dumps(dataclasses.asdict(learnt.points[-1]))
