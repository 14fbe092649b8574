"""What all formats share: dispatch by suffix, refusals, mapping, conversion between formats."""

import subprocess
import sys
import tempfile

import numpy as np
import pytest

from scene_codec.errors import InvalidRequestError, SceneCodecError, UnsupportedSceneError
from scene_codec.volumes import array_storage
from scene_codec.volumes.volume import VolumeGrid, VolumeObject
from scene_codec.volumes.volume_files import READABLE_SUFFIXES, load_volume, save_volume, volume_path

DENSE_SUFFIXES = tuple(suffix for suffix in READABLE_SUFFIXES if suffix != ".vdb")
VALUES = np.arange(7 * 5 * 3, dtype=np.uint16).reshape(7, 5, 3)


def volume_of(values=VALUES, **changes):
    return VolumeObject("head", (VolumeGrid("density", values, **changes),))


def lies_in_a_file(array):
    while array is not None:
        if isinstance(array, np.memmap):
            return True
        array = getattr(array, "base", None)
    return False


@pytest.mark.parametrize("suffix", DENSE_SUFFIXES)
def test_a_volume_is_named_after_its_file_and_knows_its_size(tmp_path, suffix):
    path = tmp_path / f"head.v2{suffix}"
    save_volume(volume_of(), path)
    volume = load_volume(str(path))
    assert volume.name == "head.v2"
    assert volume.file_format == suffix[1:]
    assert volume.source_bytes == sum(file.stat().st_size for file in tmp_path.iterdir())
    assert volume_path(volume, tmp_path) == path
    assert volume.grids[0].name == "density"


@pytest.mark.parametrize("suffix", DENSE_SUFFIXES)
def test_capital_suffixes_are_understood(tmp_path, suffix):
    path = tmp_path / f"HEAD{suffix.upper()}"
    save_volume(volume_of(), path)
    np.testing.assert_array_equal(load_volume(path).grids[0].values, VALUES)


@pytest.mark.parametrize("suffix", [".npy", ".raw", ".nrrd", ".nhdr", ".nii", ".tif"])
def test_values_of_uncompressed_files_are_mapped_and_not_read(tmp_path, suffix):
    path = tmp_path / f"head{suffix}"
    save_volume(volume_of(), path)
    values = load_volume(path).grids[0].values
    assert lies_in_a_file(values)
    assert not values.flags.writeable


@pytest.mark.parametrize("suffix", DENSE_SUFFIXES)
def test_a_mapped_volume_can_be_written_over_its_own_file(tmp_path, suffix):
    path = tmp_path / f"head{suffix}"
    save_volume(volume_of(), path)
    save_volume(load_volume(path), path)
    np.testing.assert_array_equal(load_volume(path).grids[0].values, VALUES)


@pytest.mark.parametrize("suffix", [".npz", ".nii.gz"])
def test_large_compressed_values_and_foreign_byte_orders_lie_in_a_temporary_file(
    tmp_path, suffix, monkeypatch
):
    monkeypatch.setattr(array_storage, "LARGEST_IN_MEMORY", 64)
    monkeypatch.setattr(array_storage, "SLAB_BYTES", 32)
    path = tmp_path / f"head{suffix}"
    save_volume(volume_of(metadata={"byte_order": "big"}), path)
    values = load_volume(path).grids[0].values
    assert lies_in_a_file(values)
    np.testing.assert_array_equal(values, VALUES)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_values_stay_when_the_memory_of_a_mapped_volume_is_released(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(array_storage, "LARGEST_IN_MEMORY", 64)
    save_volume(volume_of(), tmp_path / f"head{suffix}")
    values = load_volume(tmp_path / f"head{suffix}").grids[0].values
    array_storage.release(values[::2, 1:])
    np.testing.assert_array_equal(values, VALUES)
    array_storage.release(VALUES)
    np.testing.assert_array_equal(values, VALUES)


def test_values_that_exceed_the_room_for_temporary_files_are_refused_before_they_are_read(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(array_storage, "LARGEST_IN_MEMORY", 64)
    monkeypatch.setattr(array_storage.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 100}))
    save_volume(volume_of(), tmp_path / "head.npz")
    with pytest.raises(UnsupportedSceneError, match=r"210 bytes.*room for 100"):
        load_volume(tmp_path / "head.npz")


@pytest.mark.parametrize("target", DENSE_SUFFIXES)
@pytest.mark.parametrize("source", [suffix for suffix in DENSE_SUFFIXES if suffix != ".npy"])
def test_values_placement_units_and_orientation_go_from_format_to_format(tmp_path, source, target):
    notes = {"units": "mm", "orientation": "RAS"}
    matrix = np.diag([0.5, 0.25, 2.0, 1.0])
    matrix[:3, 3] = -4.0, 8.0, 16.5
    save_volume(volume_of(to_object=matrix, metadata=notes), tmp_path / f"head{source}")
    volume = load_volume(tmp_path / f"head{source}")
    if target == ".npy":
        with pytest.raises(UnsupportedSceneError, match=r"spacing and origin.*\.npz"):
            save_volume(volume, tmp_path / "copy.npy")
        return
    save_volume(volume, tmp_path / f"copy{target}")
    grid = load_volume(tmp_path / f"copy{target}").grids[0]
    np.testing.assert_array_equal(grid.values, VALUES)
    np.testing.assert_array_equal(grid.to_object, matrix)
    assert notes.items() <= grid.metadata.items()


@pytest.mark.parametrize("suffix", [suffix for suffix in DENSE_SUFFIXES if suffix != ".npy"])
def test_the_corner_and_the_transform_are_part_of_the_written_placement(tmp_path, suffix):
    transform = np.diag([2.0, 2.0, 2.0, 1.0])
    grid = VolumeGrid("density", VALUES, corner=(1, 2, 3))
    save_volume(VolumeObject("head", (grid,), transform), tmp_path / f"head{suffix}")
    back = load_volume(tmp_path / f"head{suffix}").grids[0]
    np.testing.assert_array_equal(back.to_object @ [0, 0, 0, 1], [2, 4, 6, 1])
    np.testing.assert_array_equal(np.diag(back.to_object), [2, 2, 2, 1])


@pytest.mark.parametrize("suffix", [suffix for suffix in DENSE_SUFFIXES if suffix != ".npy"])
def test_a_moved_volume_is_written_where_it_is_now(tmp_path, suffix):
    save_volume(volume_of(to_object=np.diag([2.0, 3.0, 4.0, 1.0])), tmp_path / f"head{suffix}")
    (grid,) = load_volume(tmp_path / f"head{suffix}").grids
    moved = VolumeGrid(
        "density", grid.values, to_object=np.diag([1.0, 1.0, 8.0, 1.0]), metadata=grid.metadata
    )
    save_volume(VolumeObject("head", (moved,)), tmp_path / f"moved{suffix}")
    back = load_volume(tmp_path / f"moved{suffix}").grids[0]
    np.testing.assert_array_equal(back.to_object, moved.to_object)


@pytest.mark.parametrize("suffix", [suffix for suffix in DENSE_SUFFIXES if suffix not in (".npy", ".npz")])
def test_a_cropped_volume_is_written_in_its_new_size(tmp_path, suffix):
    save_volume(volume_of(), tmp_path / f"head{suffix}")
    (grid,) = load_volume(tmp_path / f"head{suffix}").grids
    save_volume(
        VolumeObject("part", (grid.with_values(grid.values[1:4, :2, 1:]),)), tmp_path / f"part{suffix}"
    )
    np.testing.assert_array_equal(
        load_volume(tmp_path / f"part{suffix}").grids[0].values, VALUES[1:4, :2, 1:]
    )


@pytest.mark.parametrize("suffix", DENSE_SUFFIXES)
@pytest.mark.parametrize(
    ("volume", "reason"),
    [
        (VolumeObject("none", ()), "several grids or none"),
        (VolumeObject("two", (VolumeGrid("a", VALUES), VolumeGrid("b", VALUES))), "'a', 'b'"),
        (volume_of(active=VALUES > 3), "which voxels are active"),
        (volume_of(kind="level set"), "level set"),
        (volume_of(kind="staggered"), "staggered"),
        (volume_of(to_object=np.diag([1.0, 0.0, 1.0, 1.0])), "spacing of zero"),
        (volume_of(to_object=np.full((4, 4), np.nan)), "not finite"),
        (volume_of(np.zeros((2, 2, 2, 5))), "5 numbers per voxel"),
    ],
)
def test_what_dense_files_cannot_hold_is_named(tmp_path, suffix, volume, reason):
    path = tmp_path / f"head{suffix}"
    with pytest.raises(UnsupportedSceneError, match=reason) as caught:
        save_volume(volume, path)
    assert path.name in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [bool, np.float16])
def test_a_type_that_the_format_lacks_is_named(tmp_path, suffix, dtype):
    with pytest.raises(UnsupportedSceneError, match=np.dtype(dtype).name):
        save_volume(volume_of(np.ones((2, 2, 2), dtype)), tmp_path / f"head{suffix}")


@pytest.mark.parametrize("suffix", READABLE_SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"\0", b"not a volume at all\n" * 40, bytes(4096), b"\xff" * 1000])
def test_a_file_of_another_kind_is_refused_by_name(tmp_path, suffix, content):
    path = tmp_path / f"head{suffix}"
    path.write_bytes(content)
    with pytest.raises(SceneCodecError) as caught:
        load_volume(path)
    assert path.name in str(caught.value)


@pytest.mark.parametrize("name", ["head.obj", "head", "head.gz", "head.json", "nrrd"])
def test_an_unknown_suffix_is_refused_with_the_known_ones(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UnsupportedSceneError, match=r"must be one of \.npy"):
        load_volume(tmp_path / name)
    with pytest.raises(InvalidRequestError, match=r"must be one of \.npy"):
        save_volume(volume_of(), tmp_path / name)


def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path):
    with pytest.raises(UnsupportedSceneError, match="no file"):
        load_volume(tmp_path / "head.npy")
    with pytest.raises(UnsupportedSceneError, match="folder without numbered TIFF files"):
        load_volume(tmp_path)
    (tmp_path / "head.npy").mkdir()
    with pytest.raises(UnsupportedSceneError, match=r"head\.npy"):
        load_volume(tmp_path / "head.npy")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "head.npy"
    path.write_bytes(b"old")

    def full(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("scene_codec.bitstream.atomic_file.os.fsync", full)
    with pytest.raises(SceneCodecError, match="No space left"):
        save_volume(volume_of(), path)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


def test_the_libraries_of_the_formats_are_loaded_only_when_a_file_needs_them():
    program = (
        "import sys, scene_codec, scene_codec.volumes.volume_files, scene_codec.volumes.volume_file_search;"
        "print([name for name in ('nibabel', 'nrrd', 'tifffile') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_no_temporary_file_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(array_storage, "LARGEST_IN_MEMORY", 64)
    save_volume(volume_of(), tmp_path / "head.npz")
    values = load_volume(tmp_path / "head.npz").grids[0].values
    del values
    assert list((tmp_path / "temporary").iterdir()) == []
