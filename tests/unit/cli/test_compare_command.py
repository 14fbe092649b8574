"""`scene-codec compare`: which files belong together, figures that agree with `inspect`, what is refused."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import scene_codec
from scene_codec.cli.main import main
from scene_codec.geometry.mesh_files import save_scene_object
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh
from scene_codec.volumes.volume import VolumeGrid, VolumeObject
from scene_codec.volumes.volume_files import save_volume


def smoke(name, seed=0):
    """A volume of a scalar, a vector and an empty grid, partly active."""
    x, y, z = np.meshgrid(*[np.linspace(0, 6, size) for size in (12, 14, 16)], indexing="ij")
    values = (np.sin(x + seed) * np.cos(y) * np.sin(z)).astype(np.float32)
    active = values > 0
    density = np.where(active, values, np.float32(0))
    velocity = np.stack([density, -density, 2 * density], axis=-1)
    return VolumeObject(
        name,
        (
            VolumeGrid("density", density, active, corner=(-3, 5, 7), kind="fog volume"),
            VolumeGrid("velocity", velocity, active, (-3, 5, 7), (0.0, 0.0, 0.0), kind="staggered"),
            VolumeGrid("flame", np.zeros((0, 0, 0), np.float32), kind="fog volume"),
        ),
        file_format="vdb",
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two frames and their file, a dense volume and its file."""
    folder = tmp_path_factory.mktemp("volumes")
    (folder / "cache").mkdir()
    for number in (1, 2):
        save_volume(smoke(f"smoke_{number}", number), folder / "cache" / f"smoke_{number}.vdb")
    scene_codec.encode([folder / "cache"], folder / "cache.nscene", device="cpu")
    scene_codec.encode([folder / "cache" / "smoke_1.vdb"], folder / "one.nscene", device="cpu")
    values = np.random.default_rng(0).integers(0, 999, (7, 8, 9))
    np.save(folder / "scan.npy", values.astype(">i2"))
    scene_codec.encode([folder / "scan.npy"], folder / "scan.nscene", settings={"lossless": True})
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def compared(capsys, *words, status=0):
    assert main(["compare", *map(str, words), "--json"]) == status
    return json.loads(capsys.readouterr().out)


def refusal(capsys, *words):
    assert main(["compare", *map(str, words)]) == 2
    assert not list(Path().glob("*.png"))
    return capsys.readouterr().err


def test_the_figures_are_those_that_inspect_tells(folder, capsys):
    report = compared(capsys, folder / "cache" / "smoke_1.vdb", folder / "one.nscene")["comparison"]
    (entry,) = scene_codec.inspect(folder / "one.nscene").objects
    known = {fact["name"]: fact for fact in entry.details["grids"]}
    assert [grid["name"] for grid in report["grids"]] == ["density", "velocity", "flame"]
    for grid in report["grids"][:2]:
        assert grid["psnr"] == pytest.approx(known[grid["name"]]["psnr"], abs=0.01)
        assert grid["box_psnr"] == pytest.approx(known[grid["name"]]["box_psnr"], abs=0.01)
        assert grid["max_error"] == pytest.approx(known[grid["name"]]["max_error"], rel=1e-3)
        assert grid["topology_differences"] == 0
        assert not grid["exact"]
    assert report["grids"][2]["exact"]
    assert report["grids"][2]["slices"] == []
    assert report["file_bytes"] == (folder / "one.nscene").stat().st_size
    assert report["compared_bytes"] == pytest.approx(report["file_bytes"])
    voxels = sum(math.prod(grid["shape"]) for grid in report["grids"])
    assert report["bits_per_voxel"] == pytest.approx(8 * report["file_bytes"] / voxels)


def test_the_picture_is_written_beside_the_user_and_may_be_drawn_again(folder, capsys):
    words = [folder / "cache" / "smoke_1.vdb", folder / "one.nscene"]
    assert compared(capsys, *words)["picture"] == "one.compare.png"
    first = Path("one.compare.png").read_bytes()
    assert main(["compare", *map(str, words)]) == 0
    shown = capsys.readouterr().out
    assert "density" in shown
    assert "one.compare.png" in shown
    assert Path("one.compare.png").read_bytes() == first
    with Image.open("one.compare.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 700


def test_a_picture_of_somebody_else_is_not_replaced(folder, capsys):
    words = [str(folder / "scan.npy"), str(folder / "scan.nscene"), "-o", "photo.png"]
    Image.new("RGB", (3, 3)).save("photo.png")
    before = Path("photo.png").read_bytes()
    assert main(["compare", *words]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert Path("photo.png").read_bytes() == before
    assert main(["compare", *words, "--overwrite"]) == 0
    assert Path("photo.png").read_bytes() != before


def test_a_big_endian_volume_without_loss_is_exact(folder, capsys):
    (grid,) = compared(capsys, folder / "scan.npy", folder / "scan.nscene")["comparison"]["grids"]
    assert grid["exact"]
    assert grid["psnr"] is None
    assert grid["type"] == "int16"


def test_a_frame_is_found_by_its_name_or_named(folder, capsys):
    file = folder / "cache.nscene"
    by_name = compared(capsys, folder / "cache" / "smoke_2.vdb", file)["comparison"]
    named = compared(capsys, folder / "cache", file, "--object", "smoke_2")["comparison"]
    assert by_name == named
    assert by_name["object"] == "smoke_2"
    assert by_name["compared_bytes"] < by_name["file_bytes"]
    Path("cache.compare.png").unlink()
    assert "'smoke_1', 'smoke_2'" in refusal(capsys, folder / "cache", file)
    assert "no object 'smoke_3'" in refusal(capsys, folder / "cache", file, "--object", "smoke_3")


def test_two_files_of_volumes_are_compared_without_a_codec(folder, capsys):
    changed = smoke("other", 1)
    density = changed.grids[0]
    values = density.values.copy()
    values[density.active] += np.float32(0.25)
    save_volume(replace(changed, grids=(density.with_values(values), changed.grids[1])), Path("other.vdb"))
    report = compared(capsys, folder / "cache" / "smoke_1.vdb", "other.vdb", status=1)["comparison"]
    assert report["grids"][0]["max_error"] == pytest.approx(0.25)
    assert report["grids"][1]["exact"]
    assert report["only_in_original"] == ["flame"]
    assert report["codec"] is None


def test_grids_axes_and_slices_can_be_chosen(folder, capsys):
    words = [folder / "cache" / "smoke_1.vdb", folder / "one.nscene"]
    report = compared(capsys, *words, "--grid", "velocity", "--axis", "x", "--slices", "5")["comparison"]
    (grid,) = report["grids"]
    assert (grid["name"], grid["axis"], len(grid["slices"])) == ("velocity", "x", 5)
    assert all(-3 <= index < 9 for index in grid["slices"])
    report = compared(capsys, *words, "--grid", "density", "--at", "6", "--at", "18")["comparison"]
    assert (report["grids"][0]["axis"], report["grids"][0]["slices"]) == ("y", [6, 18])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--grid", "heat"], "no grid 'heat'"),
        (["--grid", "density", "--at", "4"], "it has 5 to 18"),
        (["--slices", "0"], "1 to 12 slices"),
        (["--slices", "13"], "1 to 12 slices"),
        (["--difference-range", "0"], "positive"),
        (["--difference-range", "nan"], "positive"),
        (["--object", "fire"], "no object 'fire'"),
        (["-o", "picture.jpg"], "must end in .png"),
        (["-o", "missing/picture.png"], "cannot be written"),
    ],
)
def test_wrong_arguments_are_refused_with_the_reason(folder, capsys, words, reason):
    assert reason in refusal(capsys, folder / "cache" / "smoke_1.vdb", folder / "one.nscene", *words)


def test_wrong_files_are_refused_by_name(folder, capsys):
    original = folder / "cache" / "smoke_1.vdb"
    assert "original comes first" in refusal(capsys, folder / "one.nscene", original)
    assert "no file or folder" in refusal(capsys, "missing.vdb", folder / "one.nscene")
    assert "missing.nscene" in refusal(capsys, original, "missing.nscene")
    renamed = [replace(grid, name=f"my {grid.name}") for grid in smoke("a").grids]
    save_volume(replace(smoke("a"), grids=tuple(renamed)), Path("renamed.vdb"))
    assert "No grid is in both" in refusal(capsys, original, "renamed.vdb")
    assert "7 x 8 x 9" in refusal(capsys, original, folder / "scan.npy")
    Path("damaged.nscene").write_bytes((folder / "one.nscene").read_bytes()[:-9])
    refusal(capsys, original, "damaged.nscene")


def test_meshes_are_sent_to_evaluate(folder, capsys):
    save_scene_object(SceneObject("a", TriangleMesh(np.eye(3), np.array([[0, 1, 2]]))), Path("a.ply"))
    assert "scene-codec evaluate" in refusal(capsys, "a.ply", folder / "one.nscene")
    golden = Path(__file__).parents[2] / "golden" / "mesh-necgs-v1.nscene"
    assert "scene-codec evaluate" in refusal(capsys, folder / "scan.npy", golden)
