"""Which volumes files and folders stand for."""

import numpy as np
import pytest
import tifffile

from scene_codec.errors import InvalidRequestError
from scene_codec.volumes.volume_file_search import find_volume_files


def touched(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names_of(files, folder):
    return [file.relative_to(folder).as_posix() for file in files]


def test_folders_are_searched_in_order_and_hidden_files_left_out(tmp_path):
    touched(tmp_path, "b/two.nii.gz", "b/one.NPY", "a.vdb", ".hidden.npy", ".git/x.npy", "notes.txt", "x.gz")
    assert names_of(find_volume_files([tmp_path]), tmp_path) == ["a.vdb", "b/one.NPY", "b/two.nii.gz"]


def test_files_are_taken_as_they_are_each_once(tmp_path):
    touched(tmp_path, "a.vdb", "notes.txt")
    files = [tmp_path / "notes.txt", tmp_path / "a.vdb"]
    assert find_volume_files([*map(str, files), tmp_path]) == files


def test_a_folder_of_single_slices_stands_for_itself_and_one_of_stacks_does_not(tmp_path):
    page = np.zeros((3, 4), np.uint8)
    for folder, image in (("slices", page), ("stacks", np.stack([page, page]))):
        (tmp_path / folder).mkdir()
        for number in range(3):
            tifffile.imwrite(tmp_path / folder / f"{number}.tif", image, photometric="minisblack")
    assert names_of(find_volume_files([tmp_path]), tmp_path) == [
        "slices",
        "stacks/0.tif",
        "stacks/1.tif",
        "stacks/2.tif",
    ]
    assert find_volume_files([tmp_path / "slices"]) == [tmp_path / "slices"]
    assert find_volume_files([tmp_path / "slices" / "1.tif"]) == [tmp_path / "slices" / "1.tif"]


def test_the_values_of_a_header_are_no_volume_of_their_own(tmp_path):
    touched(tmp_path, "a.nhdr", "a.raw", "b.raw")
    assert names_of(find_volume_files([tmp_path]), tmp_path) == ["a.nhdr", "b.raw"]


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidRequestError, match="no file or folder"):
        find_volume_files([tmp_path / "missing.npy"])
    with pytest.raises(InvalidRequestError, match="holds no volume file"):
        find_volume_files([tmp_path])
