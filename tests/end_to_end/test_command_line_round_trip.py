"""The `scene-codec` command as a user meets it: real processes, real files, the smallest settings."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from scene_codec.geometry.mesh_files import save_scene_object
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh

SMALL = (
    "--codec", "mesh-necgs",
    "--resolution", "32", "--minimum-steps", "400", "--epochs", "10", "--added-epochs", "150",
    "--rate-weight", "1e-7", "--device", "cpu",
)  # fmt: skip
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}


def ball(stretch=(1.0, 1.0, 1.0)):
    """Return an ellipsoid of 24 x 48 quads."""
    polar = np.linspace(0.0, np.pi, 25)
    around = np.linspace(0.0, 2.0 * np.pi, 48, endpoint=False)
    grid = np.meshgrid(polar, around, indexing="ij")
    sine = np.sin(grid[0])
    points = np.stack([sine * np.cos(grid[1]), sine * np.sin(grid[1]), np.cos(grid[0])], axis=2)
    row, column = np.meshgrid(np.arange(24), np.arange(48), indexing="ij")
    a, b = row * 48 + column, row * 48 + (column + 1) % 48
    upper = np.stack([a, a + 48, b + 48], axis=2)
    lower = np.stack([a, b + 48, b], axis=2)
    faces = np.concatenate([upper.reshape(-1, 3), lower.reshape(-1, 3)])
    return TriangleMesh(points.reshape(-1, 3) * np.array(stretch), faces)


def run(*arguments, expect=0):
    """Run the command in a process of its own; return its stdout as JSON."""
    result = subprocess.run(
        [sys.executable, "-m", "scene_codec", *map(str, arguments)],
        capture_output=True, env=ENVIRONMENT, check=False,
    )  # fmt: skip
    assert result.returncode == expect, result.stderr.decode()
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two originals, one hopeless file, and the set they were encoded into."""
    folder = tmp_path_factory.mktemp("meshes")
    originals = folder / "originals"
    originals.mkdir()
    save_scene_object(SceneObject("Ball", ball()), originals / "Ball.ply")
    save_scene_object(SceneObject("Kürbis", ball((1.0, 1.0, 0.7))), originals / "Kürbis.ply")
    (originals / "broken.obj").write_text("v 0 0 0\n", encoding="utf-8")
    report = run("encode", originals, "-o", folder / "set.nscene", *SMALL, "--json", expect=1)
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    return folder


def test_what_cannot_be_encoded_is_named_and_the_rest_is_written(folder):
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert [item["name"] for item in report["objects"]] == ["Ball", "Kürbis"]
    assert [failure["name"] for failure in report["failures"]] == ["broken.obj"]
    assert report["file_bytes"] == (folder / "set.nscene").stat().st_size


def test_inspect_accounts_for_every_byte(folder):
    report = run("inspect", folder / "set.nscene", "--json")
    parts = report["header_bytes"] + sum(part["bytes"] for part in report["shared"])
    assert parts + sum(item["bytes"] for item in report["objects"]) == report["file_bytes"]


def test_decoded_meshes_lie_on_the_originals(folder):
    report = run(
        "evaluate", folder / "set.nscene", "--reference", folder / "originals", "--json", "-",
        "--samples", "2000", expect=1,
    )  # fmt: skip
    assert report["not_decoded"] == ["broken"]
    assert [item["name"] for item in report["objects"]] == ["Ball", "Kürbis"]
    for item in report["objects"]:
        # One cell of the grid of 32 vertices is 0.065 wide; a mesh that came back is closer than half of it.
        assert item["error"]["decoded_to_reference_mean"] < 0.03, item["name"]
        assert item["error"]["reference_to_decoded_mean"] < 0.03, item["name"]


def test_one_object_of_a_set_decodes_to_the_same_mesh_as_with_the_others(folder, tmp_path):
    run("decode", folder / "set.nscene", "-o", tmp_path / "all", "--json")
    run("decode", folder / "set.nscene", "-o", tmp_path / "one", "--only", "Kürbis", "--json")
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["Kürbis.ply"]
    alone = (tmp_path / "one" / "Kürbis.ply").read_bytes()
    assert alone == (tmp_path / "all" / "Kürbis.ply").read_bytes()


def test_an_added_mesh_leaves_the_old_ones_as_they_were(folder, tmp_path):
    save_scene_object(SceneObject("Egg", ball((0.8, 0.8, 1.0))), tmp_path / "Egg.ply")
    grown = tmp_path / "grown.nscene"
    report = run("add", folder / "set.nscene", tmp_path / "Egg.ply", "-o", grown, "--json")
    assert [item["name"] for item in report["objects"]] == ["Egg"]
    run("decode", folder / "set.nscene", "-o", tmp_path / "before", "--json")
    run("decode", grown, "-o", tmp_path / "after", "--json")
    names = sorted(path.name for path in (tmp_path / "after").iterdir())
    assert names == ["Ball.ply", "Egg.ply", "Kürbis.ply"]
    for path in (tmp_path / "before").iterdir():
        assert path.read_bytes() == (tmp_path / "after" / path.name).read_bytes()


def test_a_damaged_file_is_one_clear_line(folder, tmp_path):
    damaged = tmp_path / "damaged.nscene"
    damaged.write_bytes((folder / "set.nscene").read_bytes()[:-20])
    report = run("decode", damaged, "-o", tmp_path / "out", "--json", expect=2)
    assert report["error"]["code"] == "corrupt-file"
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send Ctrl-C to one process")
def test_ctrl_c_ends_with_130_and_leaves_no_file(folder, tmp_path):
    output = tmp_path / "never.nscene"
    command = [
        sys.executable, "-m", "scene_codec", "encode", str(folder / "originals" / "Ball.ply"),
        "-o", str(output),
        *SMALL[:4], "--minimum-steps", "1000000", "--device", "cpu", "--json",
    ]  # fmt: skip
    variables = ENVIRONMENT | {"SCENE_CODEC_CACHE": str(tmp_path / "cache" / "results")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=variables) as process:
        # The job's lock appears when the work begins, after the handler is in place.
        while not list(tmp_path.rglob("in-use")) and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        answer, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors.decode()
    assert json.loads(answer)["error"]["code"] == "cancelled"
    assert not output.exists()
    assert list(tmp_path.glob("*.nscene*")) == []
    assert list(tmp_path.glob(".*.tmp")) == []
