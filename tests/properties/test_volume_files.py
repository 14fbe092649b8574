"""Laws of the dense volume files that hold for every format, type, shape, byte order and placement."""

import contextlib
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scene_codec.errors import SceneCodecError
from scene_codec.volumes.volume import VALUE_TYPES, VolumeGrid, VolumeObject
from scene_codec.volumes.volume_files import load_volume, save_volume

WITHOUT = {
    "nrrd": {"bool", "float16"},
    "nhdr": {"bool", "float16"},
    "nii": {"bool", "float16"},
    "nii.gz": {"bool", "float16"},
}
"""Types that a format lacks."""

FORMATS = ("npy", "npz", "raw", "nrrd", "nhdr", "nii", "nii.gz", "tif", "tiff", "tiff folder")
PLACED_FORMATS = tuple(name for name in FORMATS if name != "npy")

sizes = st.sampled_from((1, 2, 3, 7, 8, 9, 13))
shapes = st.tuples(sizes, sizes, sizes)
steps = st.floats(2.0**-10, 1024.0, width=32)
places = st.floats(-10000.0, 10000.0, width=32)
common = settings(derandomize=True, max_examples=25, deadline=None)


@st.composite
def value_arrays(draw, file_format):
    """Draw values whose bytes are random, so that NaNs, infinities and extremes are among them."""
    name = draw(st.sampled_from([name for name in VALUE_TYPES if name not in WITHOUT.get(file_format, ())]))
    single = file_format.startswith("tif") and name == "bool"
    channels = draw(st.sampled_from(((),) if single else ((), (), (2,), (3,), (4,))))
    shape = draw(shapes) + channels
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    if name == "bool":
        return generator.integers(0, 2, shape).astype(bool)
    return generator.integers(0, 256, (*shape, np.dtype(name).itemsize), np.uint8).view(name)[..., 0]


@st.composite
def placements(draw):
    """Draw maps from index to object space in numbers that float32 holds: turned ones too."""
    matrix = np.diag([*draw(st.tuples(steps, steps, steps)), 1.0])
    if draw(st.booleans()):
        matrix = matrix[[1, 2, 0, 3]]
        matrix[0] *= -1
    matrix[:3, 3] = draw(st.tuples(places, places, places))
    return matrix


def file_in(folder, file_format):
    return Path(folder) / ("volume" if file_format == "tiff folder" else f"volume.{file_format}")


def volume_of(values, file_format, matrix=None, metadata=None):
    grid = VolumeGrid(
        "density", values, to_object=np.eye(4) if matrix is None else matrix, metadata=metadata or {}
    )
    return VolumeObject("volume", (grid,), file_format=file_format)


def contents(folder):
    return {file.relative_to(folder): file.read_bytes() for file in Path(folder).rglob("*") if file.is_file()}


@pytest.mark.parametrize("file_format", FORMATS)
@common
@given(data=st.data(), big=st.booleans())
def test_values_come_back_bit_for_bit_in_native_byte_order(file_format, data, big):
    values = data.draw(value_arrays(file_format))
    with tempfile.TemporaryDirectory() as folder:
        path = file_in(folder, file_format)
        save_volume(volume_of(values, file_format, metadata={"byte_order": "big"} if big else {}), path)
        back = load_volume(path)
    (grid,) = back.grids
    assert grid.values.dtype == values.dtype
    assert grid.values.dtype.isnative
    assert grid.values.shape == values.shape
    assert grid.values.tobytes() == values.tobytes()
    assert back.file_format == file_format
    assert back.name == "volume"
    np.testing.assert_array_equal(grid.to_object, np.eye(4))


@pytest.mark.parametrize("file_format", PLACED_FORMATS)
@common
@given(matrix=placements(), big=st.booleans(), unit=st.sampled_from(("mm", "um", "m")))
def test_placement_and_units_come_back_exactly(file_format, matrix, big, unit):
    metadata = {"units": unit} | ({"byte_order": "big"} if big else {})
    volume = volume_of(np.arange(24, dtype=np.int16).reshape(2, 3, 4), file_format, matrix, metadata)
    with tempfile.TemporaryDirectory() as folder:
        path = file_in(folder, file_format)
        save_volume(volume, path)
        (grid,) = load_volume(path).grids
    np.testing.assert_array_equal(grid.to_object, matrix)
    assert grid.metadata["units"] == unit
    assert grid.metadata.get("byte_order") == ("big" if big else None)


@pytest.mark.parametrize("file_format", FORMATS)
@common
@given(data=st.data(), big=st.booleans(), matrix=placements())
def test_a_file_that_is_read_and_written_again_has_the_same_bytes(file_format, data, big, matrix):
    values = data.draw(value_arrays(file_format))
    matrix = np.eye(4) if file_format == "npy" else matrix
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        metadata = {"byte_order": "big"} if big else {}
        save_volume(volume_of(values, file_format, matrix, metadata), file_in(first, file_format))
        save_volume(load_volume(file_in(first, file_format)), file_in(second, file_format))
        assert contents(first) == contents(second)


@pytest.mark.parametrize("file_format", [name for name in FORMATS if name != "tiff folder"])
@settings(derandomize=True, max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_but_never_crashes(file_format, data):
    values = np.arange(7 * 3 * 2, dtype=np.uint16).reshape(7, 3, 2)
    with tempfile.TemporaryDirectory() as folder:
        path = file_in(folder, file_format)
        save_volume(volume_of(values, file_format), path)
        damaged = path.with_suffix(".json") if file_format == "raw" else path
        content = bytearray(damaged.read_bytes())
        if data.draw(st.booleans()):
            content = content[: data.draw(st.integers(0, len(content)))]
        else:
            for _ in range(data.draw(st.integers(1, 4))):
                content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        damaged.write_bytes(content)
        with contextlib.suppress(SceneCodecError):
            (grid,) = load_volume(path).grids
            assert grid.values.dtype.name in VALUE_TYPES
            assert np.isfinite(grid.to_object).all()
            assert grid.values.nbytes <= 1 << 20
            grid.values.sum()


@pytest.mark.parametrize("file_format", [name for name in FORMATS if name != "tiff folder"])
@settings(derandomize=True, max_examples=40, deadline=None)
@given(data=st.data())
def test_every_truncated_file_is_refused(file_format, data):
    values = np.arange(7 * 3 * 2, dtype=np.uint16).reshape(7, 3, 2)
    with tempfile.TemporaryDirectory() as folder:
        path = file_in(folder, file_format)
        save_volume(volume_of(values, file_format), path)
        truncated = path.with_suffix(".raw") if file_format == "nhdr" else path
        size = truncated.stat().st_size
        with truncated.open("r+b") as stream:
            stream.truncate(data.draw(st.integers(0, size - 1)))
        with pytest.raises(SceneCodecError, match=path.stem):
            load_volume(path)
