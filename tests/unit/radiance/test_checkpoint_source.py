import subprocess
import sys

import numpy as np
import pytest
import torch

from scene_codec.errors import InvalidRequestError, UnsupportedSceneError
from scene_codec.object_inputs import content_of, gather
from scene_codec.radiance.checkpoint_source import CheckpointFile, checkpoint_files, is_checkpoint_file


def keras(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    layers = np.full(2, None)
    layers[0], layers[1] = np.zeros((2, 3)), np.zeros(3)
    np.save(path, layers, allow_pickle=True)
    return path


def archive(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"step": 1}, path)
    return path


def test_a_pair_is_one_field_whichever_of_its_files_is_given(tmp_path):
    coarse, fine = keras(tmp_path / "lego/model_200000.npy"), keras(tmp_path / "lego/model_fine_200000.npy")
    for given in ([coarse], [fine], [coarse, fine], [fine, coarse]):
        (found,) = checkpoint_files(given)
        assert found.paths == (coarse, fine)
        assert found.name == "lego"


def test_a_pair_in_two_folders_belongs_together_when_both_are_given(tmp_path):
    coarse, fine = keras(tmp_path / "a/model_5.npy"), keras(tmp_path / "b/model_fine_5.npy")
    assert [found.paths for found in checkpoint_files([fine, coarse])] == [(coarse, fine)]
    assert [found.paths for found in checkpoint_files([fine])] == [(fine,)]


@pytest.mark.parametrize(
    "file", ["checkpoint155000.ckpt", "200000.tar", "last.pt", "model_fine_200000.npy", "fine_last.tar"]
)
def test_a_file_that_is_called_as_all_are_takes_its_folders_name(tmp_path, file):
    path = tmp_path / "chair" / file
    (keras if path.suffix == ".npy" else archive)(path)
    assert [found.name for found in checkpoint_files([path])] == ["chair"]


@pytest.mark.parametrize("stem", ["lego", "lego_8x256", "ship.v2"])
def test_any_other_file_keeps_its_name(tmp_path, stem):
    assert [found.name for found in checkpoint_files([archive(tmp_path / f"{stem}.tar")])] == [stem]


def test_a_folder_gives_the_last_step_of_each_run(tmp_path):
    for step in ("000900", "001000", "000100"):
        keras(tmp_path / f"lego/model_{step}.npy")
        keras(tmp_path / f"lego/model_fine_{step}.npy")
        keras(tmp_path / f"lego/optimizer_{step}.npy")
        archive(tmp_path / f"chair/{step}.tar")
    (tmp_path / "chair/notes.tar").write_bytes(b"no checkpoint")
    np.save(tmp_path / "lego/poses_bounds.npy", np.zeros((3, 17)))
    found = checkpoint_files([tmp_path])
    assert [item.name for item in found] == ["chair", "lego"]
    assert [path.name for item in found for path in item.paths] == [
        "001000.tar", "model_001000.npy", "model_fine_001000.npy",
    ]  # fmt: skip


def test_a_folder_without_a_field_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(InvalidRequestError, match="no trained radiance field"):
        checkpoint_files([tmp_path])
    with pytest.raises(InvalidRequestError, match="no file"):
        checkpoint_files([tmp_path / "lego.tar"])


def test_numbers_are_a_volume_and_objects_a_field(tmp_path):
    np.save(tmp_path / "smoke.npy", np.zeros((4, 4, 4), np.float32))
    assert not is_checkpoint_file(tmp_path / "smoke.npy")
    assert content_of(tmp_path / "smoke.npy") == "volume"
    assert content_of(keras(tmp_path / "model_1.npy")) == "radiance"
    assert content_of(archive(tmp_path / "run/200.tar")) == "radiance"
    assert content_of(tmp_path / "run") == "radiance"


def test_fields_do_not_mix_with_volumes_or_meshes(tmp_path):
    field = archive(tmp_path / "lego.tar")
    np.save(tmp_path / "smoke.npy", np.zeros((4, 4, 4), np.float32))
    (tmp_path / "body.obj").write_text("v 0 0 0\n")
    for other, word in (("smoke.npy", "volume"), ("body.obj", "mesh")):
        with pytest.raises(InvalidRequestError, match=f"{word}.*trained radiance field"):
            content_of([field, tmp_path / other])
    with pytest.raises(InvalidRequestError, match=r"holds a mesh.*and a"):
        content_of(tmp_path)


def test_two_files_of_one_name_get_two_names(tmp_path):
    files = [archive(tmp_path / f"{run}/lego/200.tar") for run in "ab"]
    found, _ = gather(files, "radiance", ())
    assert [item.name for item in found] == ["lego", "lego.001"]
    assert all(isinstance(item, CheckpointFile) for item in found)


def test_a_place_that_is_no_affine_map_is_refused(tmp_path):
    item = CheckpointFile("lego", (archive(tmp_path / "lego.tar"),), np.zeros((4, 4)))
    with pytest.raises(UnsupportedSceneError, match="affine"):
        gather(item, "radiance", ())


def test_telling_files_apart_loads_no_torch(tmp_path):
    np.save(tmp_path / "smoke.npy", np.zeros((4, 4, 4), np.float32))
    script = (
        "import sys; from scene_codec.object_inputs import content_of;"
        "assert content_of(sys.argv[1]) == 'volume' and content_of(sys.argv[2]) == 'radiance';"
        "assert 'torch' not in sys.modules"
    )
    files = [str(tmp_path / "smoke.npy"), str(archive(tmp_path / "lego.tar"))]
    subprocess.run([sys.executable, "-c", script, *files], check=True)
