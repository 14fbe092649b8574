import json

import numpy as np
import pytest

from scene_codec import api
from scene_codec.cli.main import main
from scene_codec.errors import Cancelled
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh
from scene_codec.reports import FileSummary, ObjectSummary

TRIANGLE = TriangleMesh(np.eye(3), np.array([[0, 1, 2]]))
NAMES = ["Cube", "cube", "../../escape", "CON"]


def summary(names):
    return FileSummary(
        path="f", file_bytes=1, container_version=1, codec="c", payload_version=1, header_bytes=1, shared=(),
        objects=tuple(
            ObjectSummary(name=name, bytes=1, sections=(), transform=(), host_bytes=0, instance_of=None)
            for name in names
        ),
    )  # fmt: skip


@pytest.fixture
def scene(monkeypatch):
    """A file that holds `NAMES`; the list gets every name that was really decoded."""
    decoded = []

    def decode(_file, *, only=None, triangles=None, device, progress, failures):
        for name in only or NAMES:
            progress.check_cancelled()
            decoded.append(name)
            yield SceneObject(name, TRIANGLE)

    monkeypatch.setattr(api, "inspect", lambda _file: summary(NAMES))
    monkeypatch.setattr(api, "decode", decode)
    return decoded


@pytest.mark.parametrize("suffix", ["ply", "obj", "glb", "stl"])
def test_every_object_gets_a_file_of_its_own_inside_the_folder(scene, tmp_path, suffix, capsys):
    folder = tmp_path / "out"
    assert main(["decode", "f", "-o", str(folder), "--format", suffix, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    files = {item["name"]: item["file"] for item in report["objects"]}
    assert sorted(files) == sorted(NAMES)
    assert sorted(path.name for path in folder.iterdir()) == sorted(files.values())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert all(item["faces"] == 1 and item["bytes"] > 0 for item in report["objects"])


def test_one_object_gets_the_file_it_has_among_all(scene, tmp_path, capsys):
    main(["decode", "f", "-o", str(tmp_path / "all"), "--json"])
    everything = {item["name"]: item["file"] for item in json.loads(capsys.readouterr().out)["objects"]}
    scene.clear()
    main(["decode", "f", "-o", str(tmp_path / "one"), "--only", "cube", "--json"])
    (item,) = json.loads(capsys.readouterr().out)["objects"]
    assert scene == ["cube"]
    assert item["file"] == everything["cube"]


def test_an_unknown_name_is_refused_before_anything_is_made(scene, tmp_path, capsys):
    folder = tmp_path / "out"
    assert main(["decode", "f", "-o", str(folder), "--only", "Sphere"]) == 2
    assert "no object 'Sphere'" in capsys.readouterr().err
    assert not folder.exists()
    assert scene == []


def test_a_cancelled_decode_leaves_whole_files_and_says_how_many(monkeypatch, scene, tmp_path, capsys):
    def decode(_file, *, only=None, triangles=None, device, progress, failures):
        yield SceneObject("Cube", TRIANGLE)
        raise Cancelled("stop")

    monkeypatch.setattr(api, "decode", decode)
    assert main(["decode", "f", "-o", str(tmp_path)]) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["Cube.ply"]
    assert "after 1 of 4" in capsys.readouterr().err


def test_a_file_in_the_place_of_the_folder_is_refused(scene, tmp_path, capsys):
    (tmp_path / "out").touch()
    assert main(["decode", "f", "-o", str(tmp_path / "out")]) == 2
    assert "is a file" in capsys.readouterr().err


def test_the_table_shows_which_names_were_changed(scene, tmp_path, capsys):
    assert main(["decode", "f", "-o", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert "_._.._escape.ply" in shown.out
    assert "3 names were changed" in shown.err


def test_files_that_are_there_are_replaced_only_when_that_is_asked_for(scene, tmp_path, capsys):
    (tmp_path / "Cube.ply").write_text("an original")
    assert main(["decode", "f", "-o", str(tmp_path)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert scene == []
    assert [path.read_text() for path in tmp_path.iterdir()] == ["an original"]
    assert main(["decode", "f", "-o", str(tmp_path), "--overwrite"]) == 0
    assert len(list(tmp_path.iterdir())) == len(NAMES)
