"""Arrays travel through files unchanged, and nothing outside the folder is read or removed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scene_codec_addon.array_files import ArrayFolder


@given(
    array=arrays.arrays(
        dtype=st.sampled_from([np.float32, np.float64, np.int32, np.int64]),
        shape=st.tuples(st.integers(0, 5), st.just(3)),
    ),
    transposed=st.booleans(),
)
@settings(derandomize=True, max_examples=50)
def test_an_array_comes_back_as_it_was(array, transposed):
    array = array.T if transposed else array
    with ArrayFolder() as folder:
        restored = np.array(folder.read(folder.write(array)))
    assert restored.dtype == array.dtype
    np.testing.assert_array_equal(restored, array)


def test_the_folder_is_gone_after_use_and_holds_whole_files_only(tmp_path):
    parent = tmp_path / "tëmp folder"
    parent.mkdir()
    with ArrayFolder(parent) as folder:
        path = folder.write(np.zeros((2, 3)))
        sub = folder.subfolder()
        assert sub.parent == folder.path
        assert sorted(item.suffix for item in folder.path.iterdir() if item.is_file()) == [".npy"]
        folder.discard(path)
        folder.discard(sub)
        folder.discard(sub)
        assert list(folder.path.iterdir()) == []
    assert list(parent.iterdir()) == []


def test_files_elsewhere_are_neither_read_nor_removed(tmp_path):
    outside = tmp_path / "array.npy"
    np.save(outside, np.zeros(3))
    with ArrayFolder(tmp_path) as folder:
        for path in (outside, folder.path / ".." / "array.npy", tmp_path, folder.path / ".."):
            with pytest.raises(ValueError, match="outside"):
                folder.read(path)
            with pytest.raises(ValueError, match="outside"):
                folder.discard(path)
        with pytest.raises(ValueError, match="outside"):
            folder.discard(folder.path)
    assert outside.exists()


def test_python_objects_are_never_unpickled():
    with ArrayFolder() as folder:
        path = folder.path / "objects.npy"
        np.save(path, np.array([{"a": 1}]), allow_pickle=True)
        with pytest.raises(ValueError, match="not a plain array"):
            folder.read(path)
