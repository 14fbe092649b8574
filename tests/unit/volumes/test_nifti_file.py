"""NIfTI files that nibabel writes: headers byte for byte, scaling left alone, colours, refusals."""

import gzip

import nibabel
import numpy as np
import pytest

from scene_codec.errors import UnsupportedSceneError
from scene_codec.volumes.volume import VolumeGrid, VolumeObject
from scene_codec.volumes.volume_files import load_volume, save_volume

VALUES = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
TURNED = np.array([[0, -1.1, 0, -20], [0.9, 0, 0.3, 30], [0, 0.2, 2.5, -7], [0, 0, 0, 1]])


def image(array=VALUES, kind=nibabel.Nifti1Image, endianness="<"):
    header = kind.header_class(endianness=endianness)
    header.set_data_dtype(array.dtype)
    result = kind(array, TURNED, header)
    result.set_qform(np.diag([2, 2, 2, 1]), 1)
    result.header.set_xyzt_units("mm", "sec")
    result.header["descrip"] = b"a head"
    result.header["intent_name"] = b"\xe9tude"
    result.header["cal_max"] = 77.5
    return result


def patched(path, **fields):
    """Change header fields of a NIfTI-1 file by hand."""
    content = bytearray(path.read_bytes())
    header = nibabel.Nifti1Header(bytes(content[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    content[:348] = header.binaryblock
    path.write_bytes(content)
    return path


def grid_of(path):
    return load_volume(path).grids[0]


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize("name", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
def test_a_file_of_nibabels_is_written_again_byte_for_byte(tmp_path, kind, endianness, name):
    source = image(VALUES.astype(name), kind, endianness)
    source.header.set_slope_inter(2.5, -10)
    source.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"kept as it is"))
    nibabel.save(source, tmp_path / "a.nii")
    volume = load_volume(tmp_path / "a.nii")
    (grid,) = volume.grids
    proxy = nibabel.load(tmp_path / "a.nii")
    np.testing.assert_array_equal(grid.values, proxy.dataobj.get_unscaled())
    np.testing.assert_array_equal(grid.to_object, proxy.affine)
    assert grid.metadata["units"] == "mm"
    assert grid.metadata["orientation"] == "RAS"
    assert grid.metadata["nifti:descrip"] == "a head"
    save_volume(volume, tmp_path / "b.nii")
    assert (tmp_path / "a.nii").read_bytes() == (tmp_path / "b.nii").read_bytes()
    save_volume(volume, tmp_path / "b.nii.gz")
    assert (tmp_path / "a.nii").read_bytes() == gzip.decompress((tmp_path / "b.nii.gz").read_bytes())


def test_scaling_is_kept_and_not_applied(tmp_path):
    nibabel.save(image(), tmp_path / "a.nii")
    grid = grid_of(patched(tmp_path / "a.nii", scl_slope=0.5, scl_inter=-1000))
    np.testing.assert_array_equal(grid.values, VALUES)
    assert (grid.metadata["nifti:scl_slope"], grid.metadata["nifti:scl_inter"]) == (0.5, -1000.0)


@pytest.mark.parametrize("channels", [3, 4])
def test_colours_are_channels_and_come_back_as_colours(tmp_path, channels):
    array = np.random.default_rng(1).integers(0, 256, (2, 3, 4, channels)).astype(np.uint8)
    dtype = np.dtype([(name, "u1") for name in "RGBA"[:channels]])
    nibabel.save(nibabel.Nifti1Image(array.view(dtype)[..., 0], np.eye(4)), tmp_path / "a.nii")
    volume = load_volume(tmp_path / "a.nii")
    np.testing.assert_array_equal(volume.grids[0].values, array)
    save_volume(volume, tmp_path / "b.nii")
    assert (tmp_path / "a.nii").read_bytes() == (tmp_path / "b.nii").read_bytes()


def test_vectors_on_the_fifth_axis_are_channels(tmp_path):
    array = np.arange(2 * 3 * 4 * 3, dtype=np.float32).reshape(2, 3, 4, 1, 3)
    source = nibabel.Nifti1Image(array, np.eye(4))
    source.header.set_intent("vector")
    nibabel.save(source, tmp_path / "a.nii")
    volume = load_volume(tmp_path / "a.nii")
    np.testing.assert_array_equal(volume.grids[0].values, array[:, :, :, 0])
    save_volume(volume, tmp_path / "b.nii")
    assert (tmp_path / "a.nii").read_bytes() == (tmp_path / "b.nii").read_bytes()


@pytest.mark.parametrize("shape", [(5,), (5, 6), (5, 6, 7, 1), (5, 6, 7, 1, 1, 1, 1)])
def test_axes_that_are_missing_or_of_length_one_are_no_obstacle(tmp_path, shape):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii")
    volume = load_volume(tmp_path / "a.nii")
    assert volume.grids[0].shape == (*shape, 1, 1)[:3]
    save_volume(volume, tmp_path / "b.nii")
    assert nibabel.load(tmp_path / "b.nii").shape == shape


def test_what_comes_from_elsewhere_is_understood_by_nibabel(tmp_path):
    grid = VolumeGrid("density", VALUES, to_object=TURNED, metadata={"units": "mm"})
    save_volume(VolumeObject("a", (grid,)), tmp_path / "a.nii.gz")
    back = nibabel.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(np.asarray(back.dataobj), VALUES)
    np.testing.assert_allclose(back.affine, TURNED, rtol=1e-7)
    np.testing.assert_allclose(back.header.get_zooms(), np.linalg.norm(TURNED[:3, :3], axis=0), rtol=1e-7)
    assert back.header.get_xyzt_units()[0] == "mm"


def test_an_axis_too_long_for_the_first_version_is_written_in_the_second(tmp_path):
    save_volume(
        VolumeObject("a", (VolumeGrid("density", np.ones((40000, 1, 1), np.uint8)),)), tmp_path / "a.nii"
    )
    assert isinstance(nibabel.load(tmp_path / "a.nii"), nibabel.Nifti2Image)
    assert grid_of(tmp_path / "a.nii").shape == (40000, 1, 1)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"dim": [4, 2, 3, 2, 2, 1, 1, 1]}, "series of 2 volumes"),
        ({"dim": [5, 2, 3, 1, 1, 4, 1, 1]}, None),
        ({"dim": [5, 1, 1, 1, 1, 24, 1, 1]}, "24 numbers per voxel"),
        ({"dim": [6, 2, 3, 2, 1, 1, 2, 1]}, "six axes"),
        ({"dim": [9, 2, 3, 4, 1, 1, 1, 1]}, "declares 9 axes"),
        ({"dim": [3, 2, 0, 4, 1, 1, 1, 1]}, "is empty"),
        ({"dim": [3, -2, -3, 4, 1, 1, 1, 1]}, "is empty"),
        ({"dim": [3, 2, 3, 5, 1, 1, 1, 1]}, "declares 60 bytes of values and 48 follow"),
        ({"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]}, "more than any volume has"),
        ({"dim": [3, 9999, 9999, 9999, 1, 1, 1, 1]}, "bytes of values and 48 follow"),
        ({"datatype": 1792}, "complex128"),
        ({"datatype": 1}, "a.nii"),
        ({"datatype": 12345}, "unknown type 12345"),
        ({"vox_offset": np.nan}, "begin at byte nan"),
        ({"vox_offset": 0}, "begin at byte 0"),
        ({"vox_offset": 352.5}, "begin at byte"),
        ({"vox_offset": 1e30}, "begin at byte"),
        ({"srow_x": [np.nan, 0, 0, 0]}, "not finite"),
        ({"srow_x": [0, 0, 0, 0]}, "spacing of zero or axes"),
        ({"magic": b"ni1"}, "pair .hdr and .img"),
        ({"sizeof_hdr": 347}, "no NIfTI file"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(tmp_path, fields, reason):
    nibabel.save(image(), tmp_path / "a.nii")
    path = patched(tmp_path / "a.nii", **fields)
    if reason is None:
        assert grid_of(path).channels == 4
        return
    with pytest.raises(UnsupportedSceneError, match=reason):
        load_volume(path)


def test_compressed_values_of_another_size_than_declared_are_refused(tmp_path):
    nibabel.save(image(), tmp_path / "a.nii")
    content = (tmp_path / "a.nii").read_bytes()
    for damaged in (content + b"x", content[:-1], content + bytes(1 << 24)):
        (tmp_path / "a.nii.gz").write_bytes(gzip.compress(damaged))
        with pytest.raises(UnsupportedSceneError, match=r"holds (more|fewer) bytes than the 48"):
            load_volume(tmp_path / "a.nii.gz")


def test_a_small_compressed_file_cannot_declare_gigabytes(tmp_path):
    nibabel.save(image(), tmp_path / "a.nii")
    patched(tmp_path / "a.nii", dim=[3, 4096, 4096, 4096, 1, 1, 1, 1])
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes() + bytes(1 << 20)))
    with pytest.raises(UnsupportedSceneError, match="compressed bytes cannot hold them"):
        load_volume(tmp_path / "a.nii.gz")
