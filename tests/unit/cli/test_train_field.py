import json
import signal
import sys
from pathlib import Path

import pytest

from scene_codec.cli.main import main
from scene_codec.cli.train_field import train_field
from scene_codec.errors import InvalidRequestError
from scene_codec.voxel_fields import field_training
from scene_codec.voxel_fields.field_files import load_voxel_field

sys.path.insert(0, str(Path(__file__).parents[1] / "radiance"))
from ball_pictures import write_ball

QUICK = ["--nodes", "12", "--coarse-nodes", "8", "--features", "4", "--width", "8", "--depth", "2"]
QUICK += ["--direction-octaves", "1", "--growth", "0.3", "--steps", "12", "--coarse-share", "0.4"]
QUICK += ["--plain-share", "0.2", "--learning-rate", "0.3", "--batch-samples", "2048", "--device", "cpu"]


@pytest.fixture(scope="module")
def ball(tmp_path_factory):
    return write_ball(tmp_path_factory.mktemp("ball"))


def test_a_folder_of_pictures_becomes_a_field_and_a_preview(ball, tmp_path, capfdbinary):
    out = tmp_path / "ball.tar"
    assert train_field([str(ball), "-o", str(out), "--json", *QUICK]) == 0
    report = json.loads(capfdbinary.readouterr().out)
    assert report["file_bytes"] == out.stat().st_size
    assert (report["preset"], report["pictures"], report["held_out_pictures"]) == ("fast", 8, 2)
    assert report["held_out_psnr"] > 0.0
    assert report["held_nodes"] > 0
    loaded = load_voxel_field(out)
    assert loaded.step == report["steps"] == 12
    assert list(loaded.model.index.lattice.shape) == report["nodes"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ball.tar", "ball.tar.preview.png"]


def test_the_report_in_words_names_what_was_changed(ball, tmp_path, capfd):
    words = ["train-field", str(ball), "-o", str(tmp_path / "ball.tar"), "--preview-every", "0", *QUICK]
    assert main(words) == 0
    shown = capfd.readouterr().out
    assert "hold values" in shown
    assert "views that were kept out" in shown
    assert "Preset fast, nodes 12" in shown
    assert [path.name for path in tmp_path.iterdir()] == ["ball.tar"]


@pytest.mark.parametrize(
    "words",
    [
        ["--preset", "unknown"],
        ["--near", "3", "--far", "2"],
        ["--growth", "0.5", "0.2"],
        ["--coarse-share", "0.9"],
        ["--preview-every", "-1"],
        ["--preview", "p.png", "--preview-every", "0"],
        ["--output", "missing/ball.tar"],
        ["--output", "ball.nscene"],
        ["--output", "folder.tar"],
        ["--steps", "0"],
    ],
)
def test_contradicting_arguments_are_refused_before_anything_is_done(ball, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.tar").mkdir()
    with pytest.raises((InvalidRequestError, SystemExit)):
        train_field([str(ball), "-o", "ball.tar", *QUICK, *words])
    assert list(tmp_path.iterdir()) == [tmp_path / "folder.tar"]


def test_a_folder_without_pictures_is_one_line(tmp_path, capfd):
    assert main(["train-field", str(tmp_path), "-o", str(tmp_path / "x.tar"), *QUICK]) == 2
    assert "no set of posed pictures" in capfd.readouterr().err


def test_ctrl_c_leaves_a_state_from_which_the_same_command_goes_on(ball, tmp_path, monkeypatch, capfd):
    words = ["train-field", str(ball), *QUICK]
    assert main([*words, "-o", str(tmp_path / "whole.tar")]) == 0
    steps = []

    class Interrupted(field_training.FieldTrainer):
        def _do_step(self):
            steps.append(self.step)
            if len(steps) == 8:
                signal.raise_signal(signal.SIGINT)
            super()._do_step()

    monkeypatch.setattr(field_training, "FieldTrainer", Interrupted)
    target = tmp_path / "ball.tar"
    assert main([*words, "-o", str(target)]) == 130
    assert "goes on from" in capfd.readouterr().err
    assert not target.exists()
    assert main([*words, "-o", str(target)]) == 0
    assert steps == list(range(12))
    assert not list(tmp_path.glob("*.checkpoint"))
    assert target.read_bytes() == (tmp_path / "whole.tar").read_bytes()
