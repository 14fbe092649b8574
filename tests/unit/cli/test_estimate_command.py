import json

import numpy as np
import pytest

import scene_codec
from scene_codec import api
from scene_codec.cli.main import main
from scene_codec.errors import InvalidRequestError
from scene_codec.geometry.mesh_files import save_scene_object
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh
from scene_codec.volumes.volume import VolumeObject


@pytest.fixture
def statue(tmp_path):
    """A file of a bent sheet."""
    side = 12
    along, across = np.meshgrid(*[np.linspace(-1.0, 1.0, side + 1)] * 2, indexing="ij")
    vertices = np.stack([along, across, 0.3 * along**2], axis=-1).reshape(-1, 3)
    corner = (np.arange(side)[:, None] * (side + 1) + np.arange(side)).reshape(-1, 1)
    halves = [[0, side + 1, side + 2], [0, side + 2, 1]]
    mesh = TriangleMesh(vertices, np.concatenate([corner + half for half in halves]))
    save_scene_object(SceneObject("statue", mesh), tmp_path / "statue.ply")
    return tmp_path / "statue.ply"


def test_what_encoding_will_come_to_is_told_and_nothing_written(statue, tmp_path, capsys):
    before = sorted(tmp_path.iterdir())
    assert main(["estimate", str(statue), "--target-error", "0.5", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["changed"] == {"target_error": 0.5}
    assert report["objects"][0]["name"] == "statue"
    assert main(["estimate", str(statue), "--target-size", "300"]) == 0
    assert "statue" in capsys.readouterr().out
    assert sorted(tmp_path.iterdir()) == before


def test_its_help_teaches(capsys):
    with pytest.raises(SystemExit) as ending:
        main(["estimate", "--help"])
    assert ending.value.code == 0
    text = capsys.readouterr().out
    assert "--target-error" in text
    assert "scene-codec estimate statue.obj" in text


def test_a_codec_that_cannot_tell_is_refused(statue, capsys):
    assert main(["estimate", str(statue), "--codec", "mesh-necgs"]) == 2
    assert "mesh-surface" in capsys.readouterr().err


def test_decoded_meshes_keep_a_budget_of_triangles(statue, tmp_path, capsys):
    file = tmp_path / "x.nscene"
    assert main(["encode", str(statue), "-o", str(file), "--target-error", "0.05", "--json"]) == 0
    capsys.readouterr()
    assert main(["decode", str(file), "-o", str(tmp_path / "all"), "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)["objects"][0]["faces"]
    words = ["--triangles", "8", "--json"]
    assert main(["decode", str(file), "-o", str(tmp_path / "light"), *words]) == 0
    assert json.loads(capsys.readouterr().out)["objects"][0]["faces"] <= 8 < whole
    assert main(["decode", str(file), "-o", str(tmp_path / "none"), "--triangles", "0"]) == 2
    assert "at least 1 triangle" in capsys.readouterr().err


def test_a_budget_of_triangles_is_for_meshes(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.zeros((4, 4, 4), np.float32))
    file = tmp_path / "a.nscene"
    scene_codec.encode(tmp_path / "a.npy", file)
    assert main(["decode", str(file), "-o", str(tmp_path / "out"), "--triangles", "9"]) == 2
    assert "--triangles is for meshes" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(InvalidRequestError, match="for meshes"):
        api.decode(file, triangles=9)
    assert all(isinstance(item, VolumeObject) for item in api.decode(file))


def test_copies_share_what_was_simplified(statue, tmp_path):
    (item,) = api.decode(_encoded(statue, tmp_path))
    file = tmp_path / "two.nscene"
    scene_codec.encode([SceneObject("a", item.mesh), SceneObject("b", item.mesh)], file)
    one, two = api.decode(file, triangles=12)
    assert len(one.mesh.faces) <= 12
    assert np.array_equal(one.mesh.vertices, two.mesh.vertices)


def _encoded(statue, folder):
    file = folder / "one.nscene"
    scene_codec.encode(statue, file)
    return file
