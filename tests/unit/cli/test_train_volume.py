import json

import numpy as np
import pytest

from scene_codec.cli.train_volume import train_volume
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


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        train_volume(["--help"])
    text = capsys.readouterr().out
    for word in ("--plot", "--latents", "--margin", "Examples", "Ctrl-C", "paper-two-wide"):
        assert word in text
