"""Raw files: what their names and JSON files say, and what is refused."""

import json

import numpy as np
import pytest

from scene_codec.errors import UnsupportedSceneError
from scene_codec.volumes.volume import VolumeGrid, VolumeObject
from scene_codec.volumes.volume_files import load_volume, save_volume

STORED = np.arange(4 * 3 * 2, dtype=np.uint16).reshape(4, 3, 2)  # z, y, x


def grid_of(path):
    return load_volume(path).grids[0]


def written(folder, name, content=None, header=None):
    path = folder / name
    path.write_bytes(STORED.tobytes() if content is None else content)
    if header is not None:
        path.with_suffix(".json").write_text(header if isinstance(header, str) else json.dumps(header))
    return path


@pytest.mark.parametrize(
    ("name", "spacing"),
    [
        ("bonsai_2x3x4_uint16.raw", [1, 1, 1]),
        ("a_b_2x3x4_UINT16.RAW", [1, 1, 1]),
        ("bonsai_2x3x4_0.5x0.25x1e-3_uint16.raw", [0.5, 0.25, 0.001]),
    ],
)
def test_the_name_says_size_spacing_and_type(tmp_path, name, spacing):
    path = written(tmp_path, name)
    grid = grid_of(path)
    np.testing.assert_array_equal(grid.values, STORED.T)
    np.testing.assert_array_equal(np.diag(grid.to_object)[:3], spacing)
    save_volume(load_volume(path), path)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert path.read_bytes() == STORED.tobytes()


def test_a_json_file_says_what_the_name_does_not(tmp_path):
    header = {
        "shape": [2, 3, 4],
        "dtype": "uint16",
        "byte_order": "big",
        "spacing": [1, 2, 3.5],
        "origin": [4, 5, 6],
    }
    header |= {"units": "mm", "title": "Bonsai", "scanner": {"kV": 120}}
    path = written(tmp_path, "bonsai.raw", STORED.astype(">u2").tobytes(), header)
    volume = load_volume(path)
    (grid,) = volume.grids
    np.testing.assert_array_equal(grid.values, STORED.T)
    np.testing.assert_array_equal(grid.to_object, [[1, 0, 0, 4], [0, 2, 0, 5], [0, 0, 3.5, 6], [0, 0, 0, 1]])
    assert grid.metadata["units"] == "mm"
    save_volume(volume, tmp_path / "copy.raw")
    assert (tmp_path / "copy.raw").read_bytes() == path.read_bytes()
    assert json.loads((tmp_path / "copy.json").read_text()) == header


def test_channels_lie_side_by_side(tmp_path):
    stored = np.arange(4 * 3 * 2 * 3, dtype=np.uint8).reshape(4, 3, 2, 3)
    header = {"shape": [2, 3, 4], "channels": 3, "dtype": "uint8"}
    path = written(tmp_path, "colours.raw", stored.tobytes(), header)
    np.testing.assert_array_equal(grid_of(path).values, stored.transpose(2, 1, 0, 3))


def test_a_name_that_says_everything_needs_no_json_file_and_others_get_one(tmp_path):
    volume = VolumeObject("a", (VolumeGrid("density", STORED.T, to_object=np.diag([2.0, 2, 3, 1])),))
    save_volume(volume, tmp_path / "a_2x3x4_2x2x3_uint16.raw")
    save_volume(volume, tmp_path / "b_2x3x4_uint16.raw")
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "a_2x3x4_2x2x3_uint16.raw",
        "b_2x3x4_uint16.json",
        "b_2x3x4_uint16.raw",
    ]
    for name in ("a_2x3x4_2x2x3_uint16.raw", "b_2x3x4_uint16.raw"):
        np.testing.assert_array_equal(np.diag(grid_of(tmp_path / name).to_object), [2, 2, 3, 1])


def test_a_name_that_says_something_else_is_not_given_to_a_volume(tmp_path):
    volume = VolumeObject("a", (VolumeGrid("density", STORED.T),))
    with pytest.raises(UnsupportedSceneError, match="2x3x4_uint16"):
        save_volume(volume, tmp_path / "a_4x3x2_uint16.raw")
    assert list(tmp_path.iterdir()) == []


def test_a_json_file_that_is_no_header_is_not_replaced(tmp_path):
    (tmp_path / "a.json").write_text('{"name": "settings of something else"}')
    with pytest.raises(UnsupportedSceneError, match=r"'a\.json' is not the header"):
        save_volume(VolumeObject("a", (VolumeGrid("density", STORED.T),)), tmp_path / "a.raw")
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bonsai.raw", "Nothing says what 'bonsai.raw' holds"),
        ("bonsai_2x3_uint16.raw", "Nothing says"),
        ("bonsai_2x3x5_uint16.raw", "declares 60 bytes of values and 48 follow"),
        ("bonsai_2x3x3_uint16.raw", "declares 36 bytes of values and 48 follow"),
        ("bonsai_2x3x0_uint16.raw", "is empty"),
        ("bonsai_2x3x4_uint24.raw", "'uint24'; types are bool"),
        ("bonsai_2x3x4_complex64.raw", "'complex64'"),
        ("bonsai_2x3x4_0x1x1_uint16.raw", "spacing of zero"),
        ("bonsai_2x3x4_1e999x1x1_uint16.raw", "not finite"),
        (f"bonsai_{'9' * 50}x1x1_uint16.raw", "more voxels than any volume"),
        ("bonsai_999999999x999999999x999999999_uint16.raw", "more than any volume has"),
    ],
)
def test_a_name_that_does_not_fit_is_refused(tmp_path, name, reason):
    with pytest.raises(UnsupportedSceneError, match=reason):
        load_volume(written(tmp_path, name))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "[]",
        "{" * 100_000,
        "\0\0",
        {"dtype": "uint16"},
        {"shape": [2, 3], "dtype": "uint16"},
        {"shape": [2, 3, "4"], "dtype": "uint16"},
        {"shape": [2, 3, 4], "dtype": 16},
        {"shape": [2, 3, 4], "dtype": "object"},
        {"shape": [2, 3, 4], "dtype": "O"},
        {"shape": [2, 3, 4], "dtype": "uint16", "byte_order": "middle"},
        {"shape": [2, 3, -4], "dtype": "uint16"},
        {"shape": [2, 3, 4], "dtype": "uint16", "channels": 0},
        {"shape": [2, 3, 4], "dtype": "uint16", "channels": 10**30},
        {"shape": [2, 3, 4], "dtype": "uint16", "spacing": [1, 1]},
        {"shape": [2, 3, 4], "dtype": "uint16", "to_object": [[0, 0, 0, 0]] * 4},
        '{"shape": [2, 3, 4], "dtype": "uint16", "origin": [NaN, 0, 0]}',
    ],
)
def test_a_damaged_json_file_is_refused(tmp_path, header):
    with pytest.raises(UnsupportedSceneError, match="bonsai"):
        load_volume(written(tmp_path, "bonsai.raw", header=header))


def test_a_name_and_a_json_file_that_disagree_are_refused(tmp_path):
    path = written(tmp_path, "bonsai_2x3x4_uint16.raw", header={"shape": [4, 3, 2], "dtype": "uint16"})
    with pytest.raises(UnsupportedSceneError, match="declare different volumes"):
        load_volume(path)
