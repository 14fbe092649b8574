import json
import signal
import sys
from pathlib import Path

import pytest

from scene_codec.cli.main import main
from scene_codec.cli.train_nerf import train_nerf
from scene_codec.errors import InvalidRequestError
from scene_codec.radiance import nerf_training
from scene_codec.radiance.checkpoints import load_checkpoint

sys.path.insert(0, str(Path(__file__).parents[1] / "radiance"))
from ball_pictures import write_ball

QUICK = [
    "--width",
    "8",
    "--depth",
    "2",
    "--position-octaves",
    "2",
    "--direction-octaves",
    "1",
    "--steps",
    "6",
]
QUICK += ["--batch-samples", "256", "--samples", "24", "--cells", "6", "--device", "cpu"]


@pytest.fixture(scope="module")
def ball(tmp_path_factory):
    return write_ball(tmp_path_factory.mktemp("ball"))


def test_a_folder_of_pictures_becomes_a_checkpoint_and_a_preview(ball, tmp_path, capfdbinary):
    out = tmp_path / "ball.tar"
    assert train_nerf([str(ball), "-o", str(out), "--json", *QUICK]) == 0
    report = json.loads(capfdbinary.readouterr().out)
    assert report["file_bytes"] == out.stat().st_size
    assert (report["preset"], report["pictures"], report["held_out_pictures"]) == ("fast", 8, 2)
    assert report["held_out_psnr"] > 0.0
    loaded = load_checkpoint([out])
    assert loaded.step == report["steps"] == 6
    assert loaded.parameter_bytes == 4 * report["parameters"]
    assert loaded.domain.white_background
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ball.tar", "ball.tar.preview.png"]


def test_the_report_in_words_names_what_was_changed(ball, tmp_path, capfd):
    words = ["train-nerf", str(ball), "-o", str(tmp_path / "ball.tar"), "--preview-every", "0", *QUICK]
    assert main(words) == 0
    shown = capfd.readouterr().out
    assert "views that were kept out" in shown
    assert "Preset fast, width 8" in shown
    assert [path.name for path in tmp_path.iterdir()] == ["ball.tar"]


def test_the_published_protocol_trains_two_networks(ball, tmp_path):
    words = [str(ball), "-o", str(tmp_path / "ball.tar"), "--preset", "paper", *QUICK, "--skips"]
    assert (
        train_nerf([*words, "--rays", "8", "--fine-samples", "4", "--preview", str(tmp_path / "p.png")]) == 0
    )
    assert load_checkpoint([tmp_path / "ball.tar"]).coarse is not None
    assert (tmp_path / "p.png").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--preset", "unknown"],
        ["--near", "3", "--far", "2"],
        ["--skips", "9"],
        ["--preview-every", "-1"],
        ["--preview", "p.png", "--preview-every", "0"],
        ["--preview", "missing/p.png"],
        ["--output", "missing/ball.tar"],
        ["--output", "."],
        ["--output", "ball.nscene"],
        ["--output", "folder.tar"],
        ["--steps", "0"],
    ],
)
def test_contradicting_arguments_are_refused_before_anything_is_done(ball, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.tar").mkdir()
    with pytest.raises((InvalidRequestError, SystemExit)):
        train_nerf([str(ball), "-o", "ball.tar", *QUICK, *words])
    assert list(tmp_path.iterdir()) == [tmp_path / "folder.tar"]


def test_a_folder_without_pictures_is_one_line(tmp_path, capfd):
    assert main(["train-nerf", str(tmp_path), "-o", str(tmp_path / "x.tar"), *QUICK]) == 2
    assert "no set of posed pictures" in capfd.readouterr().err


def test_ctrl_c_leaves_a_state_from_which_the_same_command_goes_on(ball, tmp_path, monkeypatch, capfd):
    words = ["train-nerf", str(ball), *QUICK]
    assert main([*words, "-o", str(tmp_path / "whole.tar")]) == 0
    steps = []

    class Interrupted(nerf_training.NerfTrainer):
        def _do_step(self):
            steps.append(self.step)
            if len(steps) == 3:
                signal.raise_signal(signal.SIGINT)
            super()._do_step()

    monkeypatch.setattr(nerf_training, "NerfTrainer", Interrupted)
    target = tmp_path / "ball.tar"
    assert main([*words, "-o", str(target)]) == 130
    assert "goes on from" in capfd.readouterr().err
    assert not target.exists()
    assert main([*words, "-o", str(target)]) == 0
    assert steps == [0, 1, 2, 3, 4, 5]
    assert not list(tmp_path.glob("*.checkpoint"))
    whole, resumed = (load_checkpoint([tmp_path / name]).fine for name in ("whole.tar", "ball.tar"))
    for after, expected in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert after.equal(expected)
