"""NRRD files that pynrrd writes, and others by hand: fields, encodings, channels, data files, refusals."""

import bz2
import gzip

import nrrd
import numpy as np
import pytest

from scene_codec.errors import UnsupportedSceneError
from scene_codec.volumes.volume import VolumeGrid, VolumeObject
from scene_codec.volumes.volume_files import load_volume, save_volume

VALUES = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
STORED = VALUES.tobytes(order="F")
PLACED = {
    "space": "left-posterior-superior",
    "space directions": np.array([[0.1, 0.2, 0], [-0.2, 0.1, 0], [0, 0, 1.0 / 3]]),
    "space origin": np.array([1.5, -2.5, 1e-3]),
    "space units": ["mm", "mm", "mm"],
    "kinds": ["domain", "domain", "domain"],
    "content": "a head: of somebody",
    "my key": "some value",
}


def by_hand(path, *fields, data=STORED, start=None):
    lines = start or ["NRRD0004", "type: short", "dimension: 3", "sizes: 2 3 4", "endian: little"]
    path.write_bytes("\n".join([*lines, *fields]).encode() + b"\n\n" + data)
    return path


def grid_of(path):
    return load_volume(path).grids[0]


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr"])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", ">f4", "<f8", "|u1", ">u4", "<i8"])
def test_a_file_of_pynrrds_is_read_and_written_again(tmp_path, encoding, suffix, dtype):
    array = VALUES.astype(dtype)
    header = PLACED | {"encoding": encoding}
    nrrd.write(str(tmp_path / f"a{suffix}"), array, header)
    volume = load_volume(tmp_path / f"a{suffix}")
    (grid,) = volume.grids
    np.testing.assert_array_equal(grid.values, array)
    np.testing.assert_array_equal(grid.to_object[:3, :3], PLACED["space directions"].T)
    np.testing.assert_array_equal(grid.to_object[:3, 3], PLACED["space origin"])
    assert grid.metadata["units"] == "mm"
    assert grid.metadata["orientation"] == "LPS"
    save_volume(volume, tmp_path / f"b{suffix}")
    first, first_header = nrrd.read(str(tmp_path / f"a{suffix}"))
    second, second_header = nrrd.read(str(tmp_path / f"b{suffix}"))
    assert first.dtype == second.dtype
    assert first.tobytes() == second.tobytes()
    for name in first_header.keys() - {"data file"}:
        np.testing.assert_array_equal(first_header[name], second_header[name], err_msg=name)
    assert second_header.get("my key") == "some value"


@pytest.mark.parametrize("axis", [0, 3])
@pytest.mark.parametrize("told_by", ["kinds", "space directions"])
def test_channels_are_found_first_or_last_and_put_back_there(tmp_path, axis, told_by):
    array = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    stored = np.moveaxis(array, -1, axis)
    header = {"kinds": ["domain"] * 3, "space dimension": 3, "space directions": np.eye(3)}
    header["kinds"].insert(axis, "vector")
    header["space directions"] = np.insert(header["space directions"], axis, np.nan, axis=0)
    if told_by == "kinds":
        header = {"kinds": header["kinds"]}
    else:
        del header["kinds"]
    nrrd.write(str(tmp_path / "a.nrrd"), stored, header)
    volume = load_volume(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(volume.grids[0].values, array)
    save_volume(volume, tmp_path / "b.nrrd")
    back, back_header = nrrd.read(str(tmp_path / "b.nrrd"))
    np.testing.assert_array_equal(back, stored)
    assert back_header.get("kinds") == header.get("kinds")


def test_spacings_alone_place_a_volume_and_come_back_as_they_were(tmp_path):
    path = by_hand(tmp_path / "a.nrrd", "spacings: 0.10 2 nan", "encoding: raw", 'units: "mm" "mm" ""')
    volume = load_volume(path)
    np.testing.assert_array_equal(np.diag(volume.grids[0].to_object), [0.1, 2, 1, 1])
    save_volume(volume, tmp_path / "b.nrrd")
    lines = (tmp_path / "b.nrrd").read_bytes().split(b"\n\n")[0].decode().split("\n")
    assert "spacings: 0.10 2 nan" in lines
    assert 'units: "mm" "mm" ""' in lines


def test_a_patients_axes_are_turned_between_nrrd_and_nifti(tmp_path):
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    matrix[:3, 3] = 10, 20, 30
    grid = VolumeGrid("density", VALUES, to_object=matrix, metadata={"orientation": "LPS"})
    save_volume(VolumeObject("a", (grid,)), tmp_path / "a.nrrd")
    save_volume(load_volume(tmp_path / "a.nrrd"), tmp_path / "a.nii")
    in_ras = grid_of(tmp_path / "a.nii").to_object
    np.testing.assert_array_equal(in_ras, np.diag([-1.0, -1, 1, 1]) @ matrix)
    save_volume(load_volume(tmp_path / "a.nii"), tmp_path / "b.nrrd")
    assert nrrd.read_header(str(tmp_path / "b.nrrd"))["space"] == "right-anterior-superior"
    np.testing.assert_array_equal(grid_of(tmp_path / "b.nrrd").to_object, in_ras)


@pytest.mark.parametrize(
    ("fields", "data"),
    [
        (["encoding: ascii"], " ".join(map(str, VALUES.ravel(order="F"))).encode()),
        (["encoding: gz"], gzip.compress(VALUES.tobytes(order="F"), mtime=0)),
        (["encoding: bz2"], bz2.compress(VALUES.tobytes(order="F"))),
        (["encoding: raw", "byte skip: 5"], b"12345" + VALUES.tobytes(order="F")),
        (["encoding: raw", "byte skip: -1"], b"12345" + VALUES.tobytes(order="F")),
        (["encoding: raw", "line skip: 2"], b"a\nb\n" + VALUES.tobytes(order="F")),
    ],
)
def test_every_way_of_storing_values_is_read(tmp_path, fields, data):
    np.testing.assert_array_equal(grid_of(by_hand(tmp_path / "a.nrrd", *fields, data=data)).values, VALUES)


def test_carriage_returns_comments_and_a_missing_last_line_are_read(tmp_path):
    lines = ["NRRD0001", "# a comment", "type: short", "dimension: 3", "sizes: 2 3 4", "endian: little"]
    lines += ["encoding: raw", "data file: values.raw"]
    (tmp_path / "a.nhdr").write_bytes("\r\n".join(lines).encode())
    (tmp_path / "values.raw").write_bytes(VALUES.tobytes(order="F"))
    np.testing.assert_array_equal(grid_of(tmp_path / "a.nhdr").values, VALUES)


def test_a_data_file_that_belongs_to_nobody_is_not_replaced(tmp_path):
    (tmp_path / "a.raw").write_bytes(b"mine")
    with pytest.raises(UnsupportedSceneError, match=r"'a\.raw', which is there already"):
        save_volume(VolumeObject("a", (VolumeGrid("density", VALUES),)), tmp_path / "a.nhdr")
    assert (tmp_path / "a.raw").read_bytes() == b"mine"


def test_units_cannot_smuggle_lines_into_a_header(tmp_path):
    grid = VolumeGrid("density", VALUES, metadata={"units": 'm"\nsizes: 1 1 1'})
    save_volume(VolumeObject("a", (grid,)), tmp_path / "a.nrrd")
    np.testing.assert_array_equal(grid_of(tmp_path / "a.nrrd").values, VALUES)


@pytest.mark.parametrize(
    "name", ["/etc/hostname", "../a.raw", "sub/../../a.raw", "C:\\a.raw", "\\\\server\\a"]
)
def test_a_data_file_outside_the_headers_folder_is_refused(tmp_path, name):
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "a.raw").write_bytes(VALUES.tobytes())
    with pytest.raises(UnsupportedSceneError, match="outside its own folder"):
        load_volume(by_hand(folder / "a.nhdr", "encoding: raw", f"data file: {name}", data=b""))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (["encoding: raw", "data file: missing.raw"], r"'missing\.raw' of 'a\.nrrd' is missing"),
        (["encoding: raw", "data file: LIST"], "several files"),
        (["encoding: raw", "data file: slice%03d.raw 1 9 1"], "several files"),
        (["encoding: hex"], "encoding 'hex'"),
        (["encoding: raw", "byte skip: -2"], "fewer bytes"),
        (["encoding: raw", "byte skip: 9"], r"declares 48 bytes of values and 39 follow"),
        (["encoding: gzip", "byte skip: 9"], "skips bytes"),
        (["encoding: gzip"], r"a\.nrrd"),
        (["encoding: bzip2"], r"a\.nrrd"),
        (["encoding: ascii"], "24 numbers as text"),
        (["encoding: raw", "space directions: (1,0,0) (0,1,0)"], r"direction of three numbers"),
        (["encoding: raw", "space directions: (1,0,0) (0,1,0) none"], "not finite"),
        (["encoding: raw", "space directions: (1,0,0) (2,0,0) (0,0,1)"], "in one plane"),
        (["encoding: raw", "spacings: 1 1"], "spacing for each axis"),
        (["encoding: raw", "space origin: (1,2)"], "origin of three numbers"),
        (["encoding: raw", "encoding: raw"], "Duplicate"),
        (["nonsense"], "no NRRD file, or a damaged one"),
        ([], "no field 'encoding'"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(tmp_path, fields, reason):
    with pytest.raises(UnsupportedSceneError, match=reason):
        load_volume(by_hand(tmp_path / "a.nrrd", *fields))


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (["NRRD0009", "type: short", "dimension: 3", "sizes: 2 3 4", "endian: little"], "version"),
        (["NRRD0004", "type: block", "dimension: 3", "sizes: 2 3 4", "endian: little"], "type 'block'"),
        (["NRRD0004", "type: short", "dimension: 3", "sizes: 2 3 4"], "big or little"),
        (["NRRD0004", "type: short", "dimension: 3", "sizes: 2 3", "endian: little"], "one size for each"),
        (["NRRD0004", "type: short", "dimension: 2", "sizes: 6 4", "endian: little"], "three axes"),
        (["NRRD0004", "type: short", "dimension: 3", "sizes: 2 0 4", "endian: little"], "is empty"),
        (["NRRD0004", "type: short", "dimension: 3", "sizes: -2 -3 4", "endian: little"], "is empty"),
        (
            ["NRRD0004", "type: short", "dimension: 3", "sizes: 9999999 9999999 9999999", "endian: big"],
            "any volume",
        ),
        (
            ["NRRD0004", "type: uint8", "dimension: 4", "kinds: domain domain domain time", "sizes: 2 3 2 2"],
            "four axes",
        ),
    ],
)
def test_values_that_are_no_volume_are_refused(tmp_path, start, reason):
    with pytest.raises(UnsupportedSceneError, match=reason):
        load_volume(by_hand(tmp_path / "a.nrrd", "encoding: raw", start=start))


@pytest.mark.parametrize(
    "packed", [gzip.compress(bytes(1 << 22), mtime=0), gzip.compress(bytes(48), mtime=0) + b"rest"]
)
def test_compressed_values_of_another_size_than_declared_are_refused(tmp_path, packed):
    with pytest.raises(UnsupportedSceneError, match=r"a\.nrrd"):
        load_volume(by_hand(tmp_path / "a.nrrd", "encoding: gzip", data=packed))


def test_a_small_compressed_file_cannot_declare_gigabytes(tmp_path):
    start = ["NRRD0004", "type: short", "dimension: 3", "sizes: 4096 4096 4096", "endian: little"]
    path = by_hand(tmp_path / "a.nrrd", "encoding: gzip", start=start, data=gzip.compress(bytes(1 << 20)))
    with pytest.raises(UnsupportedSceneError, match="compressed bytes cannot hold them"):
        load_volume(path)


def test_an_endless_header_is_refused(tmp_path):
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\n" + b"# again and again\n" * 100_000)
    with pytest.raises(UnsupportedSceneError, match="header does not end"):
        load_volume(tmp_path / "a.nrrd")
