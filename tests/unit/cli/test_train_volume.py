import json
import signal

import numpy as np
import pytest

import scene_codec
from scene_codec.cli.main import main
from scene_codec.cli.train_volume import train_volume
from scene_codec.codecs.volume_vae import training
from scene_codec.codecs.volume_vae.model import load_model
from scene_codec.errors import InvalidRequestError

QUICK = ["--epochs", "1", "--minimum-steps", "2", "--hidden", "2", "--latents", "7", "--device", "cpu"]


def test_a_model_is_trained_from_files_and_folders(tmp_path, capfdbinary):
    values = np.random.default_rng(0).random((24, 24, 24)).astype(np.float32)
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", values)
    (tmp_path / "in" / "broken.npy").write_bytes(b"nothing")
    out = tmp_path / "m.nscmodel"
    assert train_volume([str(tmp_path / "in"), "-o", str(out), "--json", *QUICK]) == 1
    report = json.loads(capfdbinary.readouterr().out)
    assert report["model_bytes"] == out.stat().st_size
    assert "broken.npy" in report["failures"][0]["name"]
    assert load_model(str(out)).header.latents == 7
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["m.nscmodel"]


def test_procedural_volumes_alone_are_enough(tmp_path):
    out = tmp_path / "m.nscmodel"
    words = ["-o", str(out), "--procedural", "2", "--procedural-side", "16", *QUICK]
    assert train_volume(words) == 0
    assert load_model(str(out)).header.card.data == ("smoke 0", "turbulence 0")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--procedural", "-1"],
        ["--procedural", "1", "--procedural-side", "4"],
        ["--procedural", "1", "--finest-step", "0.5"],
        ["--procedural", "1", "--preset", "unknown"],
    ],
)
def test_contradicting_arguments_are_refused_before_anything_is_done(tmp_path, words):
    with pytest.raises((InvalidRequestError, SystemExit)):
        train_volume(["-o", str(tmp_path / "m.nscmodel"), *words])
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_a_state_from_which_the_same_command_goes_on(tmp_path, monkeypatch, capfd):
    words = ["train-volume", "--procedural", "2", "--procedural-side", "16", *QUICK, "--minimum-steps", "6"]
    assert main([*words, "-o", str(tmp_path / "whole.nscmodel")]) == 0
    steps = []

    class Interrupted(training.Trainer):
        def _do_step(self):
            steps.append(self._step)
            if len(steps) == 3:
                signal.raise_signal(signal.SIGINT)
            return super()._do_step()

    monkeypatch.setattr(training, "Trainer", Interrupted)
    target = tmp_path / "m.nscmodel"
    assert main([*words, "-o", str(target)]) == 130
    assert "goes on" in capfd.readouterr().err
    assert not target.exists()
    assert main([*words, "-o", str(target)]) == 0
    assert steps == [0, 1, 2, 3, 4, 5]
    whole, resumed = (load_model(str(tmp_path / name)) for name in ("whole.nscmodel", "m.nscmodel"))
    for after, expected in zip(resumed.network.parameters(), whole.network.parameters(), strict=True):
        np.testing.assert_array_equal(after, expected)
    assert not list(tmp_path.glob("*.checkpoint"))


def test_a_scene_encoded_with_a_trained_model_decodes_without_its_file(tmp_path):
    model, volume, scene = (tmp_path / name for name in ("m.nscmodel", "v.npy", "v.nscene"))
    x, y, z = np.meshgrid(*[np.linspace(0, 3, 24)] * 3, indexing="ij")
    np.save(volume, np.sin(x + y) * np.cos(z))
    assert main(["train-volume", str(volume), "-o", str(model), *QUICK, "--latents", "200"]) == 0
    flags = ["--codec", "volume-vae", "--model", str(model), "--psnr", "35"]
    assert main(["encode", str(volume), "-o", str(scene), *flags]) == 0
    model.unlink()
    (item,) = scene_codec.decode(scene, device="cpu")
    assert np.sqrt(np.mean((item.grids[0].values - np.load(volume)) ** 2)) < 2 * 10 ** (-33 / 20)


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        train_volume(["--help"])
    text = capsys.readouterr().out
    for word in ("--plot", "--latents", "--margin", "Examples", "Ctrl-C", "paper-two-wide"):
        assert word in text
