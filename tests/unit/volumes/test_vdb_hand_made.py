"""Files made byte by byte after OpenVDB's format, so that no mistake of the own writer can hide."""

import struct

import numpy as np
import pytest
import vdb_bytes as made
from vdb_bytes import ACTIVE_MASK, BLOSC, LEAF, LOWER, UPPER, ZIP, Grid

from scene_codec.errors import UnsupportedSceneError
from scene_codec.volumes.vdb_file import list_vdb_grids, load_vdb

BACKGROUND = 0.5
ACTIVE = range(0, LEAF, 3)
SELECTED = range(0, LEAF, 2)
FIRST, SECOND = 4.0, 8.0
FLOAT = struct.Struct("<f")
HALF_METADATA = made.entries(made.entry("is_saved_as_half_float", "bool", b"\1"))


@pytest.fixture
def load(tmp_path):
    """Write bytes into a file and load it."""

    def written(data):
        path = tmp_path / "made.vdb"
        path.write_bytes(data)
        return load_vdb(path)

    return written


def floats(values, *, half=False) -> bytes:
    return np.asarray(values, "<f2" if half else "<f4").tobytes()


def expected_leaf(code: int) -> np.ndarray:
    """The values that a code stands for, told voxel by voxel."""
    values = np.arange(LEAF, dtype=np.float32) / 512
    for offset in set(range(LEAF)) - set(ACTIVE):
        selected = offset in SELECTED
        if code < 6:
            values[offset] = {
                0: BACKGROUND,
                1: -BACKGROUND,
                2: FIRST,
                3: BACKGROUND if selected else -BACKGROUND,
                4: BACKGROUND if selected else FIRST,
                5: SECOND if selected else FIRST,
            }[code]
    return values


def leaf(code: int, flags: int, *, half: bool) -> bytes:
    """A leaf's stored values: mask, code, what the code needs, numbers."""
    data = made.bits(ACTIVE, LEAF) + bytes((code,))
    data += FLOAT.pack(FIRST) * (code in (2, 4, 5)) + FLOAT.pack(SECOND) * (code == 5)
    data += made.bits(SELECTED, LEAF) * (code in (3, 4, 5))
    values = expected_leaf(code)
    stored = values if code == 6 or not flags & ACTIVE_MASK else values[list(ACTIVE)]
    return data + made.chunk(floats(stored, half=half), flags, half=half)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("compression", [0, ZIP, BLOSC])
@pytest.mark.parametrize("code", range(7))
def test_every_code_of_inactive_values_is_understood(load, code, compression, half):
    flags = compression | ACTIVE_MASK
    plain = b"\0" + made.chunk(b"", flags, half=half)
    topology = made.single_leaf(FLOAT.pack(BACKGROUND), made.bits(ACTIVE, LEAF), plain)
    metadata = HALF_METADATA if half else made.entries()
    grid = Grid(topology, leaf(code, flags, half=half), flags=flags, metadata=metadata)
    (loaded,) = load(made.file_bytes(grid)).grids
    expected = expected_leaf(code).astype(np.float16 if half else np.float32).astype(np.float32)
    assert np.array_equal(loaded.values.ravel(), expected)
    assert set(np.flatnonzero(loaded.active)) == set(ACTIVE)
    assert loaded.background == (BACKGROUND,)
    assert loaded.half == half


@pytest.mark.parametrize("compression", [0, ZIP, BLOSC])
def test_without_active_masks_all_values_are_stored(load, compression):
    plain = b"\6" + made.chunk(floats([BACKGROUND] * UPPER), compression)
    lower = made.node(LOWER, {0}, b"\6" + made.chunk(floats([BACKGROUND] * LOWER), compression))
    upper = made.node(UPPER, {0}, plain, lower + made.bits(ACTIVE, LEAF))
    topology = made.root(FLOAT.pack(BACKGROUND), [((0, 0, 0), upper)])
    grid = Grid(topology, leaf(6, compression, half=False), flags=compression)
    (loaded,) = load(made.file_bytes(grid)).grids
    assert np.array_equal(loaded.values.ravel(), expected_leaf(6))


def old_file(version: int, *, zipped: bool, buffers: int = 1) -> bytes:
    """A file from before version 222: no codes, every tile and voxel stored, leaves say where they are."""
    flags = ZIP if zipped else 0
    lower_tiles = floats([7.0, *[BACKGROUND] * (LOWER - 2)])
    upper_tiles = floats([BACKGROUND] * (UPPER - 1))
    lower = made.node(LOWER, {0}, made.chunk(lower_tiles, flags), made.bits(ACTIVE, LEAF), active={1})
    upper = made.node(UPPER, {0}, made.chunk(upper_tiles, flags), lower)
    values = made.bits(ACTIVE, LEAF) + struct.pack("<3ib", 0, 0, 0, buffers)
    values += made.chunk(floats(expected_leaf(6)), flags)
    values += made.chunk(floats([99.0] * LEAF), flags) * (buffers - 1)
    topology = made.root(FLOAT.pack(BACKGROUND), [((0, 0, 0), upper)])
    return made.file_bytes(Grid(topology, values), version=version, zipped=zipped)


@pytest.mark.parametrize("buffers", [1, 3])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("version", [220, 221])
def test_files_from_before_active_masks_are_read(load, version, zipped, buffers):
    (loaded,) = load(old_file(version, zipped=zipped, buffers=buffers)).grids
    assert loaded.shape == (8, 8, 16)
    assert np.array_equal(loaded.values[:, :, :8].ravel(), expected_leaf(6))
    assert (loaded.values[:, :, 8:] == 7.0).all()
    assert loaded.active[:, :, 8:].all()


@pytest.mark.parametrize("version", [222, 223, 224, 225])
def test_later_files_say_compression_per_grid(load, version):
    topology = made.single_leaf(FLOAT.pack(BACKGROUND), made.bits(ACTIVE, LEAF))
    data = made.file_bytes(Grid(topology, leaf(3, ACTIVE_MASK, half=False)), version=version)
    assert np.array_equal(load(data).grids[0].values.ravel(), expected_leaf(3))


@pytest.mark.parametrize("version", [0, 219, 226, 2**32 - 1])
def test_files_of_other_versions_are_refused(load, version):
    with pytest.raises(UnsupportedSceneError, match=f"file version is {version}"):
        load(made.file_bytes(version=version))


def test_tiles_of_nodes_become_voxels(load):
    # An active 8^3 tile at z = 8 and an active 128^3 tile at y = 128.
    lower = made.node(LOWER, {0}, b"\0" + floats([2.0]), made.bits({0}, LEAF), active={1})
    upper = made.node(UPPER, {0}, b"\0" + floats([3.0]), lower, active={32})
    topology = made.root(FLOAT.pack(0.0), [((0, 0, 0), upper)])
    one = made.bits({0}, LEAF) + b"\0" + floats([1.0])
    (loaded,) = load(made.file_bytes(Grid(topology, one))).grids
    assert loaded.shape == (128, 256, 128)
    assert loaded.values[0, 0, 0] == 1.0
    assert (loaded.values[:8, :8, 8:16] == 2.0).all()
    assert (loaded.values[:, 128:] == 3.0).all()
    assert np.count_nonzero(loaded.active) == 1 + 512 + 128**3
    assert np.array_equal(loaded.active, loaded.values != 0.0)


def test_tiles_of_the_root_become_voxels(load):
    # An inactive root tile at x = 4096, between a voxel at 4095 and one at 8192.
    first = made.node(UPPER, {31 * 1024}, b"\0", made.node(LOWER, {15 * 256}, b"\0", made.bits({448}, LEAF)))
    last = made.node(UPPER, {0}, b"\0", made.node(LOWER, {0}, b"\0", made.bits({0}, LEAF)))
    topology = made.root(
        FLOAT.pack(0.0),
        children=[((0, 0, 0), first), ((8192, 0, 0), last)],
        tiles=[((4096, 0, 0), FLOAT.pack(4.0), 0)],
    )
    values = [made.bits({offset}, LEAF) + b"\0" + floats([1.0]) for offset in (448, 0)]
    (loaded,) = load(made.file_bytes(Grid(topology, b"".join(values)))).grids
    assert loaded.corner == (4095, 0, 0)
    assert np.array_equal(loaded.values.ravel(), [1.0, *[4.0] * 4096, 1.0])
    assert np.array_equal(np.flatnonzero(loaded.active), [0, 4097])


def test_the_inside_of_a_level_set_is_minus_the_background(load):
    # The first leaf's inactive voxels and the tile behind it are inside, the last leaf's are outside.
    tiles = b"\3" + made.bits(set(range(LOWER)) - {1}, LOWER)
    mask = made.bits({0}, LEAF)
    lower = made.node(LOWER, {0, 2}, tiles, mask + mask)
    topology = made.root(FLOAT.pack(0.25), [((0, 0, 0), made.node(UPPER, {0}, b"\0", lower))])
    values = mask + b"\1" + floats([-0.1]) + mask + b"\0" + floats([0.1])
    metadata = made.entries(made.entry("class", "string", b"level set"))
    (loaded,) = load(made.file_bytes(Grid(topology, values, metadata=metadata))).grids
    assert loaded.kind == "level set"
    assert loaded.shape == (1, 1, 17)
    assert np.array_equal(loaded.values.ravel(), np.float32([-0.1, *[-0.25] * 15, 0.1]))


def test_leaves_of_booleans_are_two_masks(load):
    true = range(0, LEAF, 5)
    topology = made.single_leaf(b"\0", made.bits(range(LEAF), LEAF))
    values = made.bits(range(LEAF), LEAF) + struct.pack("<3i", 0, 0, 0) + made.bits(true, LEAF)
    (loaded,) = load(made.file_bytes(Grid(topology, values, kind="Tree_bool_5_4_3"))).grids
    assert loaded.values.dtype == bool
    assert set(np.flatnonzero(loaded.values)) == set(true)
    assert loaded.active is None


def test_grids_of_halves_are_read(load):
    topology = made.single_leaf(np.float16(0.5).tobytes(), made.bits({3}, LEAF))
    values = made.bits({3}, LEAF) + b"\0" + floats([1.25], half=True)
    (loaded,) = load(made.file_bytes(Grid(topology, values, kind="Tree_half_5_4_3"), version=225)).grids
    assert (loaded.values.dtype, loaded.half, loaded.values.tolist()) == (np.float16, True, [[[1.25]]])
    assert loaded.corner == (0, 0, 3)


def one_voxel(**settings) -> Grid:
    topology = made.single_leaf(FLOAT.pack(0.0), made.bits({0}, LEAF))
    return Grid(topology, made.bits({0}, LEAF) + b"\0" + floats([1.0]), **settings)


def test_metadata_of_all_types_are_read_and_unknown_ones_passed_over(load):
    items = {
        "string": ("größe".encode(), "größe"),
        "bool": (b"\1", True),
        "int32": (struct.pack("<i", -5), -5),
        "int64": (struct.pack("<q", 2**40), 2**40),
        "half": (struct.pack("<e", 0.5), 0.5),
        "float": (struct.pack("<f", 0.5), 0.5),
        "double": (struct.pack("<d", 0.1), 0.1),
        "vec2i": (struct.pack("<2i", 1, 2), (1, 2)),
        "vec3s": (struct.pack("<3f", 1, 2, 0.5), (1.0, 2.0, 0.5)),
        "vec4d": (struct.pack("<4d", 1, 2, 3, 0.1), (1.0, 2.0, 3.0, 0.1)),
        "mat4d": (struct.pack("<16d", *range(16)), tuple(float(i) for i in range(16))),
    }
    stored = [made.entry(f"a {kind}", kind, data) for kind, (data, _) in items.items()]
    others = [made.entry("blob", "something", b"12345"), made.entry("short", "int32", b"123")]
    (loaded,) = load(made.file_bytes(one_voxel(metadata=made.entries(*stored, *others)))).grids
    assert loaded.metadata == {f"a {kind}": value for kind, (_, value) in items.items()}


def matrix(*rows):
    return np.array(rows, float)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (made.UNIFORM_SCALE, np.diag([0.5, 0.5, 0.5, 1.0])),
        (made.text("ScaleMap") + struct.pack("<15d", 1, 2, 3, *[0] * 12), np.diag([1.0, 2.0, 3.0, 1.0])),
        (
            made.text("TranslationMap") + struct.pack("<3d", 1, 2, 3),
            matrix([1, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]),
        ),
        (
            made.text("ScaleTranslateMap") + struct.pack("<18d", 1, 2, 3, 4, 5, 6, *[0] * 12),
            matrix([4, 0, 0, 1], [0, 5, 0, 2], [0, 0, 6, 3], [0, 0, 0, 1]),
        ),
        (
            made.text("AffineMap") + struct.pack("<16d", 1, 0, 0, 0, 5, 1, 0, 0, 0, 0, 1, 0, 7, 8, 9, 1),
            matrix([1, 5, 0, 7], [0, 1, 0, 8], [0, 0, 1, 9], [0, 0, 0, 1]),
        ),
    ],
)
def test_maps_become_matrices_for_column_vectors(load, stored, expected):
    (loaded,) = load(made.file_bytes(one_voxel(transform=stored))).grids
    assert np.array_equal(loaded.to_object, expected)


FRUSTUM = made.text("NonlinearFrustumMap") + bytes(64)
SINGULAR = made.text("AffineMap") + bytes(8 * 15) + struct.pack("<d", 1.0)


@pytest.mark.parametrize(
    ("grid", "reason"),
    [
        (one_voxel(name="bad", transform=FRUSTUM), r"'bad' .*not affine \(NonlinearFrustumMap\)"),
        (one_voxel(name="bad", transform=SINGULAR), "'bad' has no inverse"),
        (one_voxel(name="bad", kind="Tree_ptdataidx32_5_4_3"), "'bad' is of the type Tree_ptdataidx32_5_4_3"),
        (one_voxel(name="bad", kind="Tree_float_4_3"), "'bad' is of the type Tree_float_4_3"),
        (one_voxel(name="bad", parent="lost"), "'bad' shares the tree of 'lost', which is not loaded"),
        (
            Grid(made.root(FLOAT.pack(0.0), tiles=[((0, 0, 0), FLOAT.pack(1.0), 1)]), name="bad"),
            "'bad' has 4096 x 4096 x 4096 voxels",
        ),
    ],
)
def test_a_grid_that_cannot_be_represented_is_named_and_the_others_loaded(load, grid, reason):
    volume = load(made.file_bytes(grid, one_voxel(name="good")))
    assert [loaded.name for loaded in volume.grids] == ["good"]
    assert volume.metadata["skipped_grids"]
    with pytest.raises(UnsupportedSceneError, match=reason):
        load(made.file_bytes(grid))


def test_a_file_without_grids_is_refused(load):
    with pytest.raises(UnsupportedSceneError, match="it has no grids"):
        load(made.file_bytes())


def test_grids_with_one_tree_share_their_arrays(load):
    moved = made.text("TranslationMap") + struct.pack("<3d", 1, 2, 3)
    second = Grid(b"", name="second", parent="first", transform=moved)
    first, instance = load(made.file_bytes(one_voxel(name="first"), second)).grids
    assert instance.values is first.values
    assert instance.to_object[0, 3] == 1.0
    wrong = Grid(b"", name="second", parent="first", kind="Tree_bool_5_4_3")
    with pytest.raises(UnsupportedSceneError, match="another type"):
        load(made.file_bytes(one_voxel(name="first"), wrong))


def test_grids_of_one_name_are_told_apart(load):
    volume = load(made.file_bytes(*(one_voxel(name=name) for name in ("smoke\x1e0", "smoke\x1e1", "\x1e0"))))
    assert [grid.name for grid in volume.grids] == ["smoke[0]", "smoke[1]", "[0]"]
    assert [grid.metadata["name"] for grid in volume.grids] == ["smoke", "smoke", ""]


def test_streamed_files_are_read_in_order(load, tmp_path):
    grids = [one_voxel(name="a"), Grid(made.root(FLOAT.pack(0.0)), name="empty"), one_voxel(name="b")]
    volume = load(made.file_bytes(*grids, offsets=False))
    assert [grid.name for grid in volume.grids] == ["a", "empty", "b"]
    assert [info.name for info in list_vdb_grids(tmp_path / "made.vdb")] == ["a", "empty", "b"]
    with pytest.raises(UnsupportedSceneError, match="what comes after it cannot be found"):
        load(made.file_bytes(one_voxel(name="a", transform=FRUSTUM), grids[2], offsets=False))


def test_headers_are_listed_without_values(tmp_path):
    path = tmp_path / "listed.vdb"
    metadata = made.entries(made.entry("class", "string", b"fog volume"))
    broken = Grid(b"no tree at all", name="broken", kind="Tree_float_5_4_3_HalfFloat", metadata=metadata)
    points = one_voxel(name="points", kind="Tree_ptdataidx32_5_4_3")
    path.write_bytes(made.file_bytes(broken, points))
    first, second = list_vdb_grids(path)
    assert (first.name, first.grid_type, first.half, first.kind) == (
        "broken", "Tree_float_5_4_3", True, "fog volume",
    )  # fmt: skip
    assert first.to_object[0, 0] == 0.5
    assert not first.refusal
    assert "is of the type" in second.refusal
