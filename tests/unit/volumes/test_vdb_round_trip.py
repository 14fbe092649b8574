"""What is saved as OpenVDB is loaded again: values, active voxels, place, kind, names, metadata."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from scene_codec.errors import InvalidRequestError, UnsupportedSceneError
from scene_codec.volumes.vdb_file import list_vdb_grids, load_vdb, save_vdb
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

KEPT_TYPES = {
    **dict.fromkeys(("int8", "uint8", "int16", "uint16", "int32"), "int32"),
    **dict.fromkeys(("uint32", "int64"), "int64"),
    "bool": "bool",
    "float16": "float32",
    "float32": "float32",
    "float64": "float64",
}
NOT_IN_VECTORS = ("bool", "uint32", "int64")
COMPRESSIONS = ("zip", "blosc", "none")

_settings = settings(
    derandomize=True,
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def through_file(grids, folder, **options) -> VolumeObject:
    path = folder / "volume.vdb"
    save_vdb(VolumeObject("volume", tuple(grids)), path, **options)
    return load_vdb(path)


@st.composite
def grids(draw):
    """A grid of any type, with inactive values of every sort and its box cut to the active voxels."""
    vector = draw(st.booleans())
    types = sorted(set(KEPT_TYPES) - set(NOT_IN_VECTORS)) if vector else sorted(KEPT_TYPES)
    number = np.dtype(draw(st.sampled_from(types)))
    shape = draw(st.tuples(*[st.integers(1, 19)] * 3))
    active = draw(arrays.arrays(bool, shape, elements=st.booleans(), fill=st.booleans()))
    active[draw(st.sampled_from([0, -1])), 0, 0] = True
    full = (*shape, 3) if vector else shape
    fill = arrays.from_dtype(number)
    values = draw(arrays.arrays(number, full, elements=arrays.from_dtype(number), fill=fill))
    background = draw(arrays.arrays(number, 3 if vector else 1, elements=arrays.from_dtype(number)))
    corner = draw(st.tuples(*[st.sampled_from([-(2**20), -129, -8, -1, 0, 5, 4090, 2**20 - 3])] * 3))
    places = np.argwhere(active)
    low, high = places.min(axis=0), places.max(axis=0) + 1
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return VolumeGrid(
        "grid",
        values[box],
        None if active[box].all() else active[box],
        tuple(int(c) for c in np.add(corner, low)),
        tuple(background.tolist()),
        kind=draw(st.sampled_from(["unknown", "fog volume", "level set", "staggered"])),
    )


@_settings
@given(grid=grids(), compression=st.sampled_from(COMPRESSIONS))
def test_every_grid_comes_back_bit_by_bit(grid, compression, tmp_path):
    (loaded,) = through_file([grid], tmp_path, compression=compression).grids
    kept = np.dtype(KEPT_TYPES[grid.values.dtype.name])
    assert loaded.values.dtype == kept
    assert np.ascontiguousarray(loaded.values).tobytes() == grid.values.astype(kept).tobytes()
    assert (loaded.active is None) == (grid.active is None)
    assert loaded.active is None or np.array_equal(loaded.active, grid.active)
    assert np.array_equal(loaded.background, np.array(grid.background).astype(kept), equal_nan=True)
    for field in ("name", "corner", "kind"):
        assert getattr(loaded, field) == getattr(grid, field)
    assert loaded.half == (grid.values.dtype == np.float16)


@_settings
@given(grid=grids())
def test_halves_are_rounded_once_and_then_kept(grid, tmp_path):
    if grid.values.dtype.kind != "f":
        return
    values = np.clip(grid.values.astype(np.float64), -60000.0, 60000.0).astype(np.float32)
    small = replace(grid.with_values(values), half=True, background=(0.1,))
    (once,) = through_file([small], tmp_path).grids
    (twice,) = through_file([once], tmp_path).grids
    assert once.half
    expected = small.values.astype(np.float16).astype(np.float32)
    assert np.array_equal(once.values, expected, equal_nan=True)
    assert once.background[0] == float(np.float16(0.1))
    assert np.array_equal(once.values, twice.values, equal_nan=True)
    assert once.background == twice.background


def test_values_beyond_halves_are_kept_in_full(tmp_path):
    values = np.array([[[1.0, 65520.0]]], np.float32)
    (loaded,) = through_file([VolumeGrid("large", values, half=True)], tmp_path).grids
    assert np.array_equal(loaded.values, values)
    assert not loaded.half


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_empty_grids_come_back_empty(tmp_path, compression, channels):
    shape = (0, 0, 0) if channels == 1 else (0, 0, 0, 3)
    empty = VolumeGrid("empty", np.zeros(shape, np.float32), background=(0.5,) * channels)
    silent = VolumeGrid("silent", np.ones((3, 3, 3), np.float32), np.zeros((3, 3, 3), bool))
    volume = through_file([empty, silent], tmp_path, compression=compression)
    assert [grid.shape for grid in volume.grids] == [(0, 0, 0)] * 2
    assert volume.grids[0].background == (0.5,) * channels
    assert volume.grids[0].channels == channels


def level_set(side: int, half_width: float) -> VolumeGrid:
    """A ball whose inside is minus the background."""
    axes = np.indices((side,) * 3) - (side - 1) / 2
    distance = np.sqrt((axes**2).sum(axis=0)) - side * 0.45
    active = np.abs(distance) < half_width
    values = np.clip(distance, -half_width, half_width).astype(np.float32)
    return VolumeGrid("ball", values, active, (-7, -300, 50), (half_width,), kind="level set")


def box_of_active(grid: VolumeGrid) -> tuple[slice, ...]:
    places = np.argwhere(grid.active)
    return tuple(slice(a, b + 1) for a, b in zip(places.min(axis=0), places.max(axis=0), strict=True))


def test_the_inside_of_a_level_set_comes_back_and_costs_next_to_nothing(tmp_path):
    grid = level_set(150, 3.0)
    (loaded,) = through_file([grid], tmp_path).grids
    box = box_of_active(grid)
    assert np.array_equal(loaded.values, grid.values[box])
    assert np.array_equal(loaded.active, grid.active[box])
    size = (tmp_path / "volume.vdb").stat().st_size
    band = np.count_nonzero(grid.active)
    assert size < 4 * band * 1.3


def test_an_inactive_region_of_a_whole_node_is_one_tile(tmp_path):
    values = np.full((128, 128, 130), -2.0, np.float32)
    active = np.zeros(values.shape, bool)
    active[0, 0, 129] = active[0, 0, 128] = True
    grid = VolumeGrid("tile", values, active, (0, 0, 0), (2.0,))
    path = tmp_path / "volume.vdb"
    (loaded,) = through_file([grid], tmp_path).grids
    assert np.array_equal(loaded.values, np.full((1, 1, 2), -2.0))
    with_tile = path.stat().st_size
    values[:, :, :128] = 2.0
    through_file([grid], tmp_path)
    assert with_tile - path.stat().st_size < 5000


def test_inactive_values_that_differ_are_kept_around_active_ones(tmp_path):
    values = np.random.default_rng(2).normal(size=(40, 30, 20)).astype(np.float32)
    active = np.zeros(values.shape, bool)
    active[0, 0, 0] = active[-1, -1, -1] = True
    (loaded,) = through_file([VolumeGrid("noise", values, active)], tmp_path).grids
    assert np.array_equal(loaded.values, values)
    assert np.array_equal(loaded.active, active)


@_settings
@given(
    scale=arrays.arrays(np.float64, (3, 3), elements=st.sampled_from([0.0, 1.0, -0.5, 0.1, 3.0])),
    translation=arrays.arrays(np.float64, 3, elements=st.floats(-1e6, 1e6)),
)
def test_transforms_come_back_exactly(scale, translation, tmp_path):
    if abs(np.linalg.det(scale)) < 1e-9:
        scale = np.diag([0.1, 0.1, 0.1])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = scale, translation
    grid = VolumeGrid("placed", np.ones((1, 1, 1), np.float32), to_object=matrix)
    (loaded,) = through_file([grid], tmp_path).grids
    assert np.array_equal(loaded.to_object, matrix)


@pytest.mark.parametrize(
    ("matrix", "kind"),
    [
        (np.eye(4), b"UniformScaleMap"),
        (np.diag([1.0, 2.0, 1.0, 1.0]), b"ScaleMap"),
        (np.diag([2.0, 2.0, 2.0, 1.0]) + np.eye(4, k=3), b"UniformScaleTranslateMap"),
        (np.diag([1.0, 2.0, 2.0, 1.0]) + np.eye(4, k=3), b"ScaleTranslateMap"),
        (np.eye(4) + np.eye(4, k=3), b"TranslationMap"),
        (np.eye(4) + 0.1 * np.eye(4, k=1) * [[1], [1], [0], [0]], b"AffineMap"),
    ],
)
def test_the_simplest_map_is_stored(tmp_path, matrix, kind):
    through_file([VolumeGrid("placed", np.ones((1, 1, 1), np.float32), to_object=matrix)], tmp_path)
    data = (tmp_path / "volume.vdb").read_bytes()
    assert len(kind).to_bytes(4, "little") + kind in data


def test_metadata_come_back_and_computed_ones_are_made_anew(tmp_path):
    metadata = {
        "text": "größe 文",
        "flag": True,
        "count": -3,
        "large": 2**40,
        "ratio": 0.5,
        "fine": 0.1,
        "pair": (1, 2),
        "direction": (1.0, 0.1, 0.0),
        "matrix": tuple(float(i) for i in range(16)),
    }
    active = np.zeros((4, 5, 6), bool)
    active[1, 2, 3] = active[3, 3, 3] = True
    stale = {"file_voxel_count": 99, "file_mem_bytes": 5}
    grid = VolumeGrid("noted", np.ones((4, 5, 6), np.float32), active, (10, 0, 0), metadata=metadata | stale)
    path = tmp_path / "volume.vdb"
    lost = {"skipped_grids": "points", "odd": (1, 2, 3, 4, 5), "huge": 2**70}
    save_vdb(VolumeObject("volume", (grid,), metadata={"creator": "a test"} | lost), path)
    volume = load_vdb(path)
    assert volume.metadata == {"creator": "a test"}
    assert volume.grids[0].metadata == metadata
    (info,) = list_vdb_grids(path)
    assert info.metadata["file_bbox_min"] == (11, 2, 3)
    assert info.metadata["file_bbox_max"] == (13, 3, 3)
    assert info.metadata["file_voxel_count"] == 2
    assert "file_mem_bytes" not in info.metadata


def test_names_told_apart_on_loading_are_stored_as_they_were(tmp_path):
    one = np.ones((1, 1, 1), np.float32)
    twins = [VolumeGrid(f"smoke[{i}]", one * i, metadata={"name": "smoke"}) for i in range(2)]
    others = [VolumeGrid("[0]", one, metadata={"name": ""}), VolumeGrid("fire[1]", one)]
    renamed = VolumeGrid("ash", one, metadata={"name": "smoke"})
    volume = through_file([*twins, *others, renamed], tmp_path)
    assert [grid.name for grid in volume.grids] == ["smoke[0]", "smoke[1]", "[0]", "fire[1]", "ash"]
    assert [grid.metadata.get("name") for grid in volume.grids] == ["smoke", "smoke", "", None, None]


def test_the_same_volume_gives_the_same_bytes(tmp_path):
    grid = level_set(40, 2.0)
    through_file([grid], tmp_path)
    first = (tmp_path / "volume.vdb").read_bytes()
    through_file([grid], tmp_path)
    assert (tmp_path / "volume.vdb").read_bytes() == first
    through_file([grid.with_values(grid.values + 1)], tmp_path)
    assert (tmp_path / "volume.vdb").read_bytes()[21:57] != first[21:57]


def test_a_memory_map_is_saved_like_an_array(tmp_path):
    values = np.random.default_rng(3).normal(size=(40, 50, 60)).astype(np.float32)
    np.save(tmp_path / "values.npy", values)
    mapped = np.load(tmp_path / "values.npy", mmap_mode="r")
    (loaded,) = through_file([VolumeGrid("mapped", mapped)], tmp_path).grids
    assert np.array_equal(loaded.values, values)


ONE = np.ones((1, 1, 1), np.float32)


@pytest.mark.parametrize(
    ("grid", "reason"),
    [
        (VolumeGrid("bad", np.ones((1, 1, 1, 2), np.float32)), "2 float32 numbers per voxel"),
        (VolumeGrid("bad", np.ones((1, 1, 1, 3), np.int64)), "3 int64 numbers per voxel"),
        (VolumeGrid("bad", ONE, to_object=np.zeros((4, 4))), "transform"),
        (VolumeGrid("bad", ONE, to_object=np.full((4, 4), np.nan)), "transform"),
        (VolumeGrid("bad", ONE, corner=(2**31, 0, 0)), "beyond"),
        (VolumeGrid("bad", ONE.astype(np.int32), background=(0.5,)), "background"),
        (VolumeGrid("bad", ONE.astype(np.int32), background=(2**40,)), "background"),
    ],
)
def test_what_openvdb_cannot_hold_is_refused_by_name(tmp_path, grid, reason):
    with pytest.raises(UnsupportedSceneError, match=f"'bad'.*{reason}|{reason}.*'bad'"):
        through_file([grid], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(InvalidRequestError, match="zip, blosc, none"):
        through_file([VolumeGrid("grid", ONE)], tmp_path, compression="gzip")
    with pytest.raises(InvalidRequestError, match="background of 2 numbers"):
        through_file([VolumeGrid("grid", ONE, background=(1.0, 2.0))], tmp_path)
