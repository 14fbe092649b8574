"""NumPy's files: order of axes, the other arrays of an archive, and what is refused."""

import io
import zipfile

import numpy as np
import pytest

from scene_codec.errors import UnsupportedSceneError
from scene_codec.volumes.volume import VolumeGrid, VolumeObject
from scene_codec.volumes.volume_files import load_volume, save_volume

VALUES = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)


def npy_bytes(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def grid_of(path):
    return load_volume(path).grids[0]


@pytest.mark.parametrize("dtype", [">f4", "<f4", ">u2", "|u1", "?", "<f2", ">i8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("channels", [(), (1,), (4,)])
def test_a_file_of_numpys_is_written_again_byte_for_byte(tmp_path, dtype, order, channels):
    array = np.ones((2, 3, 4, *channels), dtype, order=order)
    array[0, 1] = 0
    np.save(tmp_path / "a.npy", array)
    volume = load_volume(tmp_path / "a.npy")
    np.testing.assert_array_equal(volume.grids[0].values, array)
    save_volume(volume, tmp_path / "b.npy")
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


def test_an_archive_is_taken_x_first_with_spacing_and_origin(tmp_path):
    np.savez(tmp_path / "a.npz", vol=VALUES, spacing=(1.0, 2.0, 4.0), origin=(5, 6, 7))
    grid = grid_of(tmp_path / "a.npz")
    np.testing.assert_array_equal(grid.values, VALUES)
    np.testing.assert_array_equal(grid.to_object, [[1, 0, 0, 5], [0, 2, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1]])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_with_spacing_zyx_is_turned_and_turned_back_on_writing(tmp_path, save):
    save(
        tmp_path / "a.npz",
        vol=VALUES,
        spacing_zyx=np.array([1.0, 2.0, 4.0]),
        origin=np.array([5.0, 6.0, 7.0]),
    )
    volume = load_volume(tmp_path / "a.npz")
    (grid,) = volume.grids
    np.testing.assert_array_equal(grid.values, VALUES.T)
    np.testing.assert_array_equal(np.diag(grid.to_object), [4, 2, 1, 1])
    np.testing.assert_array_equal(grid.to_object[:3, 3], [5, 6, 7])
    save_volume(volume, tmp_path / "b.npz")
    with np.load(tmp_path / "a.npz") as first, np.load(tmp_path / "b.npz") as second:
        assert sorted(first) == sorted(second)
        for key in first:
            np.testing.assert_array_equal(first[key], second[key])
    with zipfile.ZipFile(tmp_path / "a.npz") as first, zipfile.ZipFile(tmp_path / "b.npz") as second:
        assert first.getinfo("vol.npy").compress_type == second.getinfo("vol.npy").compress_type


def test_the_channels_of_a_turned_archive_stay_last(tmp_path):
    array = np.arange(2 * 3 * 4 * 2).reshape(2, 3, 4, 2)
    np.savez(tmp_path / "a.npz", vol=array, spacing_zyx=1.0)
    np.testing.assert_array_equal(grid_of(tmp_path / "a.npz").values, array.transpose(2, 1, 0, 3))


def test_the_only_volume_keeps_its_key_and_small_arrays_stay(tmp_path):
    np.savez(
        tmp_path / "a.npz", t1=VALUES, age=np.int64(70), centre=np.array([0.5, 1.5]), site=np.array("Köln")
    )
    volume = load_volume(tmp_path / "a.npz")
    save_volume(volume, tmp_path / "b.npz")
    with np.load(tmp_path / "b.npz") as back:
        assert sorted(back) == ["age", "centre", "site", "t1"]
        assert back["age"] == 70
        assert back["centre"].tolist() == [0.5, 1.5]
        assert str(back["site"]) == "Köln"


def test_vol_is_taken_among_several_volumes_and_otherwise_it_must_be_the_only_one(tmp_path):
    np.savez(tmp_path / "a.npz", mask=VALUES > 3, vol=VALUES)
    np.testing.assert_array_equal(grid_of(tmp_path / "a.npz").values, VALUES)
    np.savez(tmp_path / "b.npz", mask=VALUES > 3, scan=VALUES)
    with pytest.raises(UnsupportedSceneError, match=r"'vol'.*'mask', 'scan'"):
        load_volume(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", spacing=np.ones(3))
    with pytest.raises(UnsupportedSceneError, match="'vol'"):
        load_volume(tmp_path / "c.npz")


def test_a_turned_grid_is_kept_in_an_archive(tmp_path):
    matrix = np.array([[0, -2.0, 0, 1], [3, 0, 0, 2], [0, 0, 4, 3], [0, 0, 0, 1]])
    save_volume(VolumeObject("a", (VolumeGrid("density", VALUES, to_object=matrix),)), tmp_path / "a.npz")
    np.testing.assert_array_equal(grid_of(tmp_path / "a.npz").to_object, matrix)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"spacing": np.ones(3), "spacing_zyx": np.ones(3)}, "both spacing and spacing_zyx"),
        ({"spacing": np.ones(2)}, "spacing|broadcast"),
        ({"spacing": np.array(["a", "b", "c"])}, "spacing as numbers"),
        ({"spacing": np.array([1.0, np.nan, 1.0])}, "not finite"),
        ({"spacing": np.zeros(3)}, "spacing of zero"),
        ({"origin": np.ones((3, 3))}, "origin as numbers"),
        ({"to_object": np.eye(3)}, "to_object as numbers"),
    ],
)
def test_a_nonsense_placement_is_refused(tmp_path, arrays, reason):
    np.savez(tmp_path / "a.npz", vol=VALUES, **arrays)
    with pytest.raises(UnsupportedSceneError, match=reason):
        load_volume(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array([[[None]]]), "Python objects"),
        (np.zeros((2, 2, 2), "c8"), "type complex64"),
        (np.zeros((2, 2, 2), "c16"), "type complex128"),
        (np.zeros((2, 2, 2), [("a", "u1"), ("b", "f4")]), "holds values of type"),
        (np.zeros((2, 2, 2), "U3"), "holds values of type"),
        (np.zeros((2, 2)), "three axes"),
        (np.zeros((2, 2, 2, 2, 2)), "three axes"),
        (np.zeros((2, 2, 2, 5)), "5 numbers per voxel"),
        (np.zeros((2, 0, 2)), "is empty"),
        (np.float64(1), "three axes"),
    ],
)
def test_arrays_that_are_no_volume_are_refused(tmp_path, array, reason):
    (tmp_path / "a.npy").write_bytes(npy_bytes(array))
    with pytest.raises(UnsupportedSceneError, match=reason):
        load_volume(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("vol.npy", npy_bytes(array))
    with pytest.raises(UnsupportedSceneError, match=f"{reason}|'vol'"):
        load_volume(tmp_path / "a.npz")


def header_only(shape):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize("shape", [(10**9, 10**9, 10**9), (2**40, 1, 1), (-1, 2, 2), (3, 3, 3)])
def test_a_header_that_promises_what_is_not_there_is_refused(tmp_path, shape):
    (tmp_path / "a.npy").write_bytes(header_only(shape) + bytes(16))
    with pytest.raises(UnsupportedSceneError, match=r"a\.npy"):
        load_volume(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("vol.npy", header_only(shape) + bytes(16))
    with pytest.raises(UnsupportedSceneError, match=r"a\.npz"):
        load_volume(tmp_path / "a.npz")


def test_bytes_behind_the_values_are_refused(tmp_path):
    (tmp_path / "a.npy").write_bytes(npy_bytes(VALUES) + b"x")
    with pytest.raises(UnsupportedSceneError, match="declares 96 bytes of values and 97 follow"):
        load_volume(tmp_path / "a.npy")


def test_an_archive_whose_directory_lies_about_a_size_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    declared = header_only((1024, 1024, 1024))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("vol.npy", declared + bytes(1000))
    # The directory claims the 8 GiB that the array's header promises.
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02") + 24
    content[place : place + 4] = (0xFFFFFFFE).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(UnsupportedSceneError, match=r"a\.npz"):
        load_volume(path)


def test_an_archive_with_a_wrong_sum_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, vol=VALUES)
    content = bytearray(path.read_bytes())
    content[content.index(VALUES.tobytes()) + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(UnsupportedSceneError, match=r"a\.npz.*CRC"):
        load_volume(path)


def test_a_member_that_is_no_array_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("vol.npy", npy_bytes(VALUES))
        archive.writestr("../../evil.txt", b"x")
    with pytest.raises(UnsupportedSceneError, match="which is no array"):
        load_volume(tmp_path / "a.npz")
