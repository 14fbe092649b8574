"""Voxel fields decoded into checkpoints: what is written reads back, and what cannot be said is refused."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import voxel_balls
from radiance_balls import BallField

import scene_codec
from scene_codec.cli.checkpoint_files import write_field_checkpoint
from scene_codec.cli.main import main
from scene_codec.errors import UnsupportedSceneError
from scene_codec.metrics.image_quality import psnr
from scene_codec.radiance.radiance_object import RadianceObject
from scene_codec.voxel_fields.field_files import load_voxel_field
from scene_codec.voxel_fields.plain_grids import plain_grid
from scene_codec.voxel_fields.voxel_field import VoxelField

sys.path.insert(0, str(Path(__file__).parents[1] / "voxel_fields"))
import voxel_files


@pytest.fixture(autouse=True, scope="module")
def few_rays():
    with pytest.MonkeyPatch.context() as patch:
        voxel_balls.look_at_little(patch)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fields")
    voxel_balls.write_ball(folder / "ball.tar")
    voxel_balls.write_ball(folder / "plain.tar", "plain")
    voxel_files.write_svox2(folder / "harmonics.npz")
    for name in ("ball.tar", "plain.tar", "harmonics.npz"):
        scene_codec.encode(folder / name, made(folder, name), preset="fast", device="cpu")
    return folder


def made(folder, name):
    return (folder / name).with_suffix(".nscene")


def answer(capsys, *words, status=0):
    assert main([*map(str, words), "--device", "cpu"]) == status
    return capsys.readouterr()


@pytest.mark.parametrize(
    ("name", "preset"), [("ball.tar", "fast"), ("plain.tar", "fast"), ("ball.tar", "paper")]
)
def test_a_checkpoint_reads_back_and_looks_alike(folder, tmp_path, capsys, name, preset):
    path = tmp_path / "field.nscene"
    settings = voxel_balls.PAPER if preset == "paper" else {}
    scene_codec.encode(folder / name, path, preset=preset, settings=settings, device="cpu")
    shown = answer(capsys, "decode", path, "-o", tmp_path, "--format", "tar", "--json")
    (item,) = json.loads(shown.out)["objects"]
    assert item["voxels"] == voxel_balls.SIDE**3
    assert item["bytes"] == (tmp_path / item["file"]).stat().st_size
    found = load_voxel_field(tmp_path / item["file"])
    (decoded,) = scene_codec.decode(path, device="cpu")
    assert found.domain == decoded.field.domain
    assert (
        psnr(voxel_balls.view(decoded.field), voxel_balls.view(VoxelField(found.model, found.domain))) > 60.0
    )


def test_a_checkpoint_can_be_encoded_again(folder, tmp_path, capsys):
    answer(capsys, "decode", made(folder, "ball.tar"), "-o", tmp_path, "--format", "tar")
    scene_codec.encode(tmp_path / "ball.tar", tmp_path / "again.nscene", preset="fast", device="cpu")
    (before,) = scene_codec.decode(made(folder, "ball.tar"), device="cpu")
    (after,) = scene_codec.decode(tmp_path / "again.nscene", device="cpu")
    assert psnr(voxel_balls.view(before.field), voxel_balls.view(after.field)) > 40.0


def test_harmonics_have_no_place_in_a_checkpoint(folder, tmp_path, capsys):
    words = ("decode", made(folder, "harmonics.npz"), "-o", tmp_path / "o", "--format", "tar")
    message = answer(capsys, *words, status=2).err
    assert "softplus" in message
    assert "format of meshes" in message
    assert not list((tmp_path / "o").iterdir())


def test_fields_that_are_no_grids_are_refused_with_the_reason(tmp_path):
    planes = load_voxel_field(voxel_files.write_tensorf(tmp_path / "vm.th"))
    for field, message in (
        (BallField(), "a network and no grid"),
        (VoxelField(planes.model, planes.domain), "planes and lines and no grid"),
        (VoxelField(plain_grid(planes.model), planes.domain), "wired otherwise"),
    ):
        with pytest.raises(UnsupportedSceneError, match=message), torch.no_grad():
            write_field_checkpoint(RadianceObject("field", field), tmp_path / "field.tar")
    assert not (tmp_path / "field.tar").exists()


@pytest.mark.parametrize("flag", ["--resolution", "--threshold"])
def test_a_checkpoint_has_its_own_resolution(folder, tmp_path, capsys, flag):
    words = ("decode", made(folder, "ball.tar"), "-o", tmp_path / "o", "--format", "tar", flag, "20")
    assert "meshes and volumes" in answer(capsys, *words, status=2).err
    assert not (tmp_path / "o").exists()


def test_meshes_and_volumes_are_no_checkpoints(tmp_path, capsys):
    np.save(tmp_path / "smoke.npy", np.zeros((8, 8, 8), np.float32))
    scene_codec.encode(tmp_path / "smoke.npy", tmp_path / "smoke.nscene")
    words = ("decode", tmp_path / "smoke.nscene", "-o", tmp_path / "o", "--format", "tar")
    assert "which tar cannot hold" in answer(capsys, *words, status=2).err
