"""Training sees every block, learns, can be stopped and continued, and gives the same model each time."""

import msgspec
import numpy as np
import pytest
import torch

from scene_codec.codecs.volume_vae.config import TrainingSettings
from scene_codec.codecs.volume_vae.model import ModelCard, read_model
from scene_codec.codecs.volume_vae.rate_loss import LatentWidths, window_of
from scene_codec.codecs.volume_vae.training import Trainer, TrainingRun, split_blocks, train_block_vae
from scene_codec.codecs.volume_vae.training_blocks import TrainingBlocks, TrainingVolume, training_volumes
from scene_codec.codecs.volume_vae.training_plot import LossPlot
from scene_codec.errors import Cancelled, InvalidRequestError, UnsupportedSceneError
from scene_codec.progress import CancelToken, Progress
from scene_codec.volumes.blocks import cut_blocks
from scene_codec.volumes.procedural import procedural_volumes
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

TINY = TrainingSettings(latents=26, hidden=4, epochs=1, minimum_steps=12, batch_size=16)
TINY_DENSE = msgspec.structs.replace(TINY, network="dense", margin=1, augment=False)


def volumes(count=5):
    return [TrainingVolume(name, values) for name, values in procedural_volumes(count, 24, 7)]


def train(settings=TINY, run=None, progress=None):
    return train_block_vae(volumes(), settings, ModelCard(name="tiny"), progress or Progress(), run)


def test_seed_bug_5_every_block_that_holds_something_is_seen():
    # The seed read back the first ten thousand blocks only.
    values = np.ones((216, 200, 176), np.uint8)
    values[0] = 0
    blocks = TrainingBlocks([TrainingVolume("large", values), *volumes()], 0, Progress())
    assert len(blocks) > 27 * 25 * 22
    assert {int(index) for index in blocks.volume_of(np.arange(len(blocks)))} == set(range(6))


def test_blocks_are_those_of_the_volume():
    (volume,) = volumes(1)
    for margin in range(3):
        blocks = TrainingBlocks([volume], margin, Progress())
        everything = cut_blocks(volume.values, margin)
        occupied = cut_blocks(volume.values, 0).mean(axis=(3, 4, 5)) > 1e-5
        np.testing.assert_allclose(blocks.take(np.arange(len(blocks))), everything[occupied], atol=1e-6)


def test_volumes_that_hold_nothing_are_refused():
    with pytest.raises(UnsupportedSceneError, match="constant"):
        TrainingBlocks([TrainingVolume("empty", np.zeros((9, 9, 9)))], 0, Progress())


def test_validation_blocks_are_of_other_volumes():
    blocks = TrainingBlocks(volumes(), 0, Progress())
    training, validation = split_blocks(blocks, TINY)
    assert len(training) + len(validation) == len(blocks)
    assert not set(blocks.volume_of(training)) & set(blocks.volume_of(validation))


def test_of_a_single_volume_some_blocks_are_kept_out():
    blocks = TrainingBlocks(volumes(1), 0, Progress())
    training, validation = split_blocks(blocks, TINY)
    assert 0 < len(validation) < len(training)


@pytest.mark.parametrize("settings", [TINY, TINY_DENSE])
def test_the_same_seed_gives_the_same_model(settings):
    assert train(settings) == train(settings)
    assert train(settings) != train(msgspec.structs.replace(settings, seed=1))


@pytest.mark.parametrize("settings", [TINY, TINY_DENSE])
def test_a_training_that_is_stopped_goes_on_to_the_same_model(settings, tmp_path):
    checkpoint = tmp_path / "c"
    token = CancelToken()

    def stop(points):
        if points[-1].step == 5:
            token.cancel()

    with pytest.raises(Cancelled):
        train(settings, TrainingRun(checkpoint, stop), Progress(None, token))
    assert checkpoint.exists()
    seen = []
    continued = train(settings, TrainingRun(checkpoint, lambda points: seen.append(len(points))))
    assert seen[0] == 6
    assert continued == train(settings)


def test_the_checkpoint_of_another_training_is_refused(tmp_path):
    checkpoint = tmp_path / "c"
    checkpoint.write_bytes(b"no checkpoint")
    with pytest.raises(InvalidRequestError, match="no checkpoint"):
        train(run=TrainingRun(checkpoint))
    trainer = Trainer(TrainingBlocks(volumes(), 0, Progress()), TINY, TrainingRun())
    trainer._save(checkpoint)
    with pytest.raises(InvalidRequestError, match="other volumes or settings"):
        train(msgspec.structs.replace(TINY, seed=5), TrainingRun(checkpoint))


def test_the_dense_network_learns():
    settings = msgspec.structs.replace(TINY_DENSE, minimum_steps=300, learning_rate=5e-3)
    points = []
    train(settings, TrainingRun(observer=lambda seen: points.append(seen[-1])))
    assert points[-1].validation_loss < 0.5 * points[0].validation_loss


def test_our_network_learns():
    settings = msgspec.structs.replace(TINY, minimum_steps=200, learning_rate=1e-3)
    blocks = TrainingBlocks(volumes(), 0, Progress())
    trainer = Trainer(blocks, settings, TrainingRun())
    trainer.run(Progress())
    losses = [point.validation_loss for point in trainer.points]
    assert min(losses[-5:]) < losses[0]


def test_a_trained_model_has_contexts_that_rise_with_the_class():
    model = read_model(train())
    means = model.contexts[1:].astype(float).mean(axis=1)
    assert means[-1] > means[0] + 8
    assert model.header.card.steps == 12


def test_the_bits_of_a_class_do_not_depend_on_how_many_blocks_of_it_there_are():
    generator = np.random.default_rng(0)
    widths = LatentWidths(np.rint(generator.laplace(0.0, 1.5, (4000, 26))).astype(np.int32))
    noisy = torch.from_numpy(
        generator.laplace(0.0, 1.5, (4000, 26)) + generator.uniform(-0.5, 0.5, (4000, 26))
    )
    classes = torch.full((4000,), 5)
    with torch.no_grad():
        one_by_one = sum(float(widths.bits(noisy[i : i + 1], classes[:1])) for i in range(400))
        together = float(widths.bits(noisy[:400], classes[:400]))
    assert one_by_one == pytest.approx(together, rel=1e-4)
    # log2(2 e b) bits are the entropy of a Laplace variable of width b.
    assert one_by_one / noisy[:400].numel() == pytest.approx(np.log2(2 * np.e * 1.5), rel=0.05)


def test_blocks_without_latents_have_no_bits():
    widths = LatentWidths(np.zeros((8, 26), np.int32))
    assert float(widths.bits(torch.rand(8, 26), torch.zeros(8, dtype=torch.int64)).detach()) == 0.0


def test_the_weights_of_a_blocks_voxels_sum_to_its_core():
    for margin in range(3):
        assert window_of(margin).sum() == pytest.approx(512, rel=1e-6)


def test_every_channel_of_every_grid_is_a_training_volume():
    grids = (
        VolumeGrid("a", np.ones((8, 8, 8))),
        VolumeGrid("v", np.ones((8, 8, 8, 3))),
        VolumeGrid("e", np.ones((0, 8, 8))),
    )
    assert [item.name for item in training_volumes([VolumeObject("o", grids)])] == [
        "o a 0",
        "o v 0",
        "o v 1",
        "o v 2",
    ]


def test_the_plot_is_a_picture_of_the_losses(tmp_path):
    pytest.importorskip("matplotlib")
    train(run=TrainingRun(observer=LossPlot(tmp_path / "loss.png")))
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_procedural_volumes_are_the_same_for_the_same_seed():
    first, second = (dict(procedural_volumes(5, 24, 3)) for _ in range(2))
    assert len(first) == 5
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])
        assert (values.min(), values.max(), values.dtype) == (0.0, 1.0, np.float32)
        assert values.std() > 0.01


def test_torch_has_no_part_in_the_draws_of_training():
    torch.manual_seed(1)
    first = train()
    torch.manual_seed(2)
    assert train() == first
