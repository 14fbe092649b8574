"""TIFF files that tifffile writes in several dialects, folders of slices, and what is refused."""

import json
import struct
import zlib

import numpy as np
import pytest
import tifffile

from scene_codec.errors import SceneCodecError, UnsupportedSceneError
from scene_codec.volumes.volume import VolumeGrid, VolumeObject
from scene_codec.volumes.volume_files import FOLDER_FORMAT, load_volume, save_volume

STORED = np.arange(4 * 3 * 5, dtype=np.uint16).reshape(4, 3, 5)  # z, y, x
TEXTS = {"software": "microscope 1.0", "datetime": "2024:02:03 04:05:06"}


def grid_of(path):
    return load_volume(path).grids[0]


def first_page(path):
    with tifffile.TiffFile(path) as file:
        return {tag.name: tag.value for tag in file.pages.first.tags}


def volume_of(values=STORED.T, file_format="tif", **changes):
    return VolumeObject("a", (VolumeGrid("density", values, **changes),), file_format=file_format)


TYPES = ("u1", "i2", "u4", "i8", "f2", "f4", "f8")
STORAGES = {
    "plain": ({}, (*TYPES, "?")),
    "deflate": ({"compression": "zlib"}, (*TYPES, "?")),
    "predictor": ({"compression": "zlib", "predictor": True}, ("u1", "i2", "u4")),
    "tiles": ({"tile": (16, 16)}, TYPES),
    "strips": ({"rowsperstrip": 2}, TYPES),
}
"""How pages are stored, and the types that tifffile can store so."""


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize(("storage", "name"), [(key, name) for key in STORAGES for name in STORAGES[key][1]])
def test_pages_are_read_however_they_are_stored(tmp_path, byteorder, bigtiff, storage, name):
    options = STORAGES[storage][0]
    array = (STORED % 2 if name == "?" else STORED).astype(name)
    with tifffile.TiffWriter(tmp_path / "a.tif", byteorder=byteorder, bigtiff=bigtiff) as writer:
        writer.write(array, metadata=None, photometric="minisblack", **options)
    volume = load_volume(tmp_path / "a.tif")
    np.testing.assert_array_equal(volume.grids[0].values, array.T)
    assert volume.grids[0].values.dtype == np.dtype(name)
    save_volume(volume, tmp_path / "b.tif")
    back = tifffile.imread(tmp_path / "b.tif")
    np.testing.assert_array_equal(back, array)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.byteorder == byteorder
        assert (file.pages.first.compression != 1) == ("compression" in options)


def test_the_spacing_of_an_imagej_stack_is_read_and_its_description_restored(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        STORED,
        imagej=True,
        resolution=(4.0, 2.0),
        metadata={"spacing": 3.5, "unit": "um", "axes": "ZYX", "Info": "x"},
    )
    volume = load_volume(tmp_path / "a.tif")
    (grid,) = volume.grids
    np.testing.assert_array_equal(np.diag(grid.to_object), [0.25, 0.5, 3.5, 1])
    np.testing.assert_array_equal(grid.values, STORED.T)
    assert grid.metadata["units"] == "um"
    save_volume(volume, tmp_path / "b.tif")
    first, second = first_page(tmp_path / "a.tif"), first_page(tmp_path / "b.tif")
    for name in ("ImageDescription", "XResolution", "YResolution", "ResolutionUnit"):
        assert first[name] == second[name]
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.imagej_metadata["spacing"] == 3.5
        np.testing.assert_array_equal(file.asarray(), STORED)


def test_the_spacing_of_an_ome_file_is_read(tmp_path):
    metadata = {"axes": "ZYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0}
    metadata |= {f"PhysicalSize{axis}Unit": "nm" for axis in "XYZ"}
    tifffile.imwrite(tmp_path / "a.ome.tif", STORED, ome=True, metadata=metadata)
    grid = grid_of(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(np.diag(grid.to_object), [0.25, 0.5, 2, 1])
    np.testing.assert_array_equal(grid.values, STORED.T)
    assert grid.metadata["units"] == "nm"


@pytest.mark.parametrize(
    ("unit", "spacing", "name"),
    [(2, [0.01, 0.02, 0.01], "inch"), (3, [0.01, 0.02, 0.01], "cm"), (1, [1, 1, 1], None)],
)
def test_resolution_tags_place_pages_when_they_have_a_unit_and_texts_are_kept(tmp_path, unit, spacing, name):
    tifffile.imwrite(
        tmp_path / "a.tif",
        STORED,
        metadata=None,
        photometric="minisblack",
        resolution=((100, 1), (50, 1)),
        resolutionunit=unit,
        **TEXTS,
    )
    volume = load_volume(tmp_path / "a.tif")
    np.testing.assert_array_equal(np.diag(volume.grids[0].to_object)[:3], spacing)
    assert volume.grids[0].metadata.get("units") == name
    save_volume(volume, tmp_path / "b.tif")
    first, second = first_page(tmp_path / "a.tif"), first_page(tmp_path / "b.tif")
    for tag in ("XResolution", "YResolution", "ResolutionUnit", "Software", "DateTime"):
        assert first[tag] == second[tag]
    assert ("ImageDescription" in first) == ("ImageDescription" in second)


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_samples_are_channels(tmp_path, channels, planar):
    array = np.arange(4 * 3 * 5 * channels, dtype=np.uint8).reshape(4, 3, 5, channels)
    stored = array if planar == "contig" else np.ascontiguousarray(np.moveaxis(array, -1, 1))
    photometric = "rgb" if channels > 2 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", stored, metadata=None, photometric=photometric, planarconfig=planar)
    np.testing.assert_array_equal(grid_of(tmp_path / "a.tif").values, array.transpose(2, 1, 0, 3))


def test_channels_of_an_imagej_hyperstack_are_channels(tmp_path):
    array = np.arange(4 * 2 * 3 * 5, dtype=np.uint16).reshape(4, 2, 3, 5)
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata={"axes": "ZCYX"})
    np.testing.assert_array_equal(grid_of(tmp_path / "a.tif").values, array.transpose(3, 2, 0, 1))


def test_what_we_write_is_read_by_tifffile_with_its_size_and_ours_by_its_description(tmp_path):
    matrix = np.array([[0, -2.0, 0, 1], [3, 0, 0, 2], [0, 0, 4, 3], [0, 0, 0, 1]])
    save_volume(volume_of(to_object=matrix, metadata={"orientation": "LPS"}), tmp_path / "a.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), STORED)
    fields = json.loads(first_page(tmp_path / "a.tif")["ImageDescription"])
    assert fields == {"shape": [4, 3, 5], "axes": "ZYX", "to_object": matrix.tolist(), "orientation": "LPS"}
    assert grid_of(tmp_path / "a.tif").metadata["orientation"] == "LPS"


@pytest.mark.parametrize("spacing", [1e-5, 0.3, 1.0, 7.7, 5e5])
def test_spacing_is_in_the_resolution_tags_for_other_programs(tmp_path, spacing):
    save_volume(volume_of(to_object=np.diag([spacing, spacing, 1, 1])), tmp_path / "a.tif")
    pixels, unit = first_page(tmp_path / "a.tif")["XResolution"]
    assert unit / pixels == pytest.approx(spacing, rel=1e-3)


def test_a_series_of_volumes_and_pages_of_several_sizes_are_refused(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((2, 4, 3, 5), np.uint8), imagej=True, metadata={"axes": "TZYX"}
    )
    with pytest.raises(UnsupportedSceneError, match=r"T 2 x Z 4 x Y 3 x X 5.*split a series"):
        load_volume(tmp_path / "a.tif")
    with tifffile.TiffWriter(tmp_path / "b.tif") as writer:
        writer.write(STORED[0], metadata=None)
        writer.write(STORED[0, :2], metadata=None)
    with pytest.raises(UnsupportedSceneError, match="2 kinds of images"):
        load_volume(tmp_path / "b.tif")


def test_a_palette_and_complex_values_are_refused(tmp_path):
    colors = np.zeros((3, 256), np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((4, 3, 5), np.uint8), photometric="palette", colormap=colors
    )
    with pytest.raises(UnsupportedSceneError, match="palette"):
        load_volume(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 3, 5), np.complex64), photometric="minisblack")
    with pytest.raises(UnsupportedSceneError, match="complex64"):
        load_volume(tmp_path / "a.tif")


def test_single_bits_in_several_channels_are_refused(tmp_path):
    with pytest.raises(UnsupportedSceneError, match="bool values in several channels"):
        save_volume(volume_of(np.zeros((2, 2, 2, 3), bool)), tmp_path / "a.tif")


@pytest.mark.parametrize("to_object", [[[1]], "x", [[0] * 4] * 4, [["a"] * 4] * 4, {}])
def test_a_nonsense_placement_in_a_description_is_refused(tmp_path, to_object):
    tifffile.imwrite(
        tmp_path / "a.tif",
        STORED,
        photometric="minisblack",
        description=json.dumps({"shape": [4, 3, 5], "to_object": to_object}),
        metadata=None,
    )
    with pytest.raises(UnsupportedSceneError, match=r"a\.tif"):
        load_volume(tmp_path / "a.tif")


def with_tag(path, code, value):
    """Replace the value of a tag of the first page in a little-endian file."""
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        place = file.pages.first.tags[code].offset
    content[place + 8 : place + 12] = struct.pack("<I", value)
    path.write_bytes(content)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("size", [6, 60_000, 2**31 - 1])
def test_a_page_that_declares_more_than_it_holds_is_refused(tmp_path, compression, size):
    tifffile.imwrite(tmp_path / "a.tif", STORED[:1], metadata=None, compression=compression)
    with_tag(tmp_path / "a.tif", 257, size)
    with_tag(tmp_path / "a.tif", 278, size)
    with pytest.raises(UnsupportedSceneError, match=r"a\.tif"):
        load_volume(tmp_path / "a.tif")


def test_a_strip_that_expands_beyond_its_page_is_refused(tmp_path):
    bomb = zlib.compress(bytes(1 << 24), 9)
    tifffile.imwrite(
        tmp_path / "a.tif",
        iter([bomb]),
        shape=(400, 400),
        dtype=np.uint8,
        compression="zlib",
        rowsperstrip=400,
        metadata=None,
    )
    with pytest.raises(UnsupportedSceneError, match="more bytes than it declares"):
        load_volume(tmp_path / "a.tif")


def test_a_compression_that_is_not_read_is_named(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STORED[:1], metadata=None, photometric="minisblack")
    with_tag(tmp_path / "a.tif", 259, 7)
    with pytest.raises(UnsupportedSceneError, match=r"JPEG.*uncompressed or with deflate"):
        load_volume(tmp_path / "a.tif")


def slices(folder, names, array=STORED):
    folder.mkdir()
    for name, page in zip(names, array, strict=True):
        tifffile.imwrite(folder / name, page, metadata=None, resolution=(10, 10), resolutionunit=3)


def test_a_folder_of_numbered_slices_is_a_volume_and_is_written_as_one(tmp_path):
    names = [f"scan{number}.TIF" for number in (8, 9, 10, 11)]
    slices(tmp_path / "head", names)
    volume = load_volume(tmp_path / "head")
    assert (volume.name, volume.file_format) == ("head", FOLDER_FORMAT)
    np.testing.assert_array_equal(volume.grids[0].values, STORED.T)
    np.testing.assert_array_equal(np.diag(volume.grids[0].to_object), [0.1, 0.1, 0.1, 1])
    save_volume(volume, tmp_path / "copy")
    assert sorted(file.name for file in (tmp_path / "copy").iterdir()) == sorted(names)
    np.testing.assert_array_equal(load_volume(tmp_path / "copy").grids[0].values, STORED.T)


def test_a_folder_that_is_not_empty_is_not_replaced(tmp_path):
    slices(tmp_path / "head", ["1.tif", "2.tif", "3.tif", "4.tif"])
    (tmp_path / "copy").mkdir()
    save_volume(load_volume(tmp_path / "head"), tmp_path / "copy")
    with pytest.raises(SceneCodecError, match="is not an empty folder"):
        save_volume(load_volume(tmp_path / "head"), tmp_path / "copy")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["copy", "head"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["a1.tif", "a2.tif", "a4.tif", "a5.tif"], "Slice 3 is not"),
        (["a1.tif", "a01.tif", "a2.tif", "a3.tif"], "Slice 1 is twice"),
        (["a1.tif", "a2.tif", "b1.tif", "b2.tif"], "several series of slices"),
        (["a1.tif", "a2.tif", "a3.tif", "overview.tif"], "without numbered TIFF files"),
    ],
)
def test_a_folder_whose_numbers_are_no_series_is_refused(tmp_path, names, reason):
    slices(tmp_path / "head", names)
    with pytest.raises(UnsupportedSceneError, match=reason):
        load_volume(tmp_path / "head")


def test_slices_that_differ_are_refused(tmp_path):
    slices(tmp_path / "head", ["1.tif", "2.tif", "3.tif", "4.tif"])
    tifffile.imwrite(tmp_path / "head" / "3.tif", STORED[0, :2])
    with pytest.raises(UnsupportedSceneError, match=r"'1\.tif' and '3\.tif'"):
        load_volume(tmp_path / "head")
