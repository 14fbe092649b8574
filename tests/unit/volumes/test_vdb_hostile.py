"""Damaged and malicious OpenVDB files: one clear error, no hang, and no memory for what is not there."""

import contextlib
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import vdb_bytes as made
from vdb_bytes import ACTIVE_MASK, BLOSC, LEAF, LOWER, UPPER, ZIP, Grid

from scene_codec.errors import UnsupportedSceneError
from scene_codec.volumes import vdb_dense, vdb_file
from scene_codec.volumes.vdb_file import list_vdb_grids, load_vdb, save_vdb
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

FLOAT = struct.Struct("<f")
FEW_BYTES = 64 << 20


@pytest.fixture
def refuse(tmp_path):
    """Write bytes into a file, load it within little memory, and return the words of the refusal."""

    def refused(data):
        path = tmp_path / "hostile.vdb"
        path.write_bytes(data)
        tracemalloc.start()
        try:
            with pytest.raises(UnsupportedSceneError, match=r"hostile\.vdb") as caught:
                load_vdb(path)
            assert tracemalloc.get_traced_memory()[1] < FEW_BYTES
        finally:
            tracemalloc.stop()
        return str(caught.value)

    return refused


def small_file(tmp_path, compression) -> bytes:
    """A file with three grids, a tile and metadata."""
    generator = np.random.default_rng(0)
    values = generator.normal(size=(9, 4, 3)).astype(np.float32)
    active = values > -0.5
    band = np.full((40, 8, 8), -1.0, np.float32)
    edge = np.zeros(band.shape, bool)
    edge[0, 0, 0] = edge[-1, -1, -1] = True
    grids = (
        VolumeGrid("density", values, active, metadata={"creator": "a test", "direction": (1.0, 2.0, 3.0)}),
        VolumeGrid("velocity", generator.normal(size=(4, 4, 4, 3)).astype(np.float32), half=True),
        VolumeGrid("band", band, edge, background=(1.0,), kind="level set"),
        VolumeGrid("mask", generator.random((5, 5, 5)) < 0.5),
    )
    path = tmp_path / "small.vdb"
    save_vdb(VolumeObject("small", grids), path, compression=compression)
    return path.read_bytes()


@pytest.mark.parametrize("compression", ["zip", "none"])
def test_a_truncated_file_is_refused_at_every_length(tmp_path, compression):
    data = small_file(tmp_path, compression)
    path = tmp_path / "short.vdb"
    # Masks are most of the file, so every seventh length cuts every field somewhere.
    for length in [*range(0, 400), *range(400, len(data), 197), *range(len(data) - 100, len(data))]:
        path.write_bytes(data[:length])
        with pytest.raises(UnsupportedSceneError, match=r"short\.vdb"):
            load_vdb(path)


@pytest.mark.parametrize("compression", ["zip", "blosc", "none"])
def test_a_flipped_byte_is_refused_or_read_as_other_values(tmp_path, monkeypatch, compression):
    monkeypatch.setattr(vdb_dense, "MAX_BOX_VOXELS", 2**20)  # large boxes only take time here
    data = bytearray(small_file(tmp_path, compression))
    path = tmp_path / "flipped.vdb"
    generator = np.random.default_rng(1)
    for place in {*range(300), *generator.integers(0, len(data), 300).tolist()}:
        damaged = data.copy()
        damaged[place] ^= int(generator.integers(1, 256))
        path.write_bytes(damaged)
        with contextlib.suppress(UnsupportedSceneError):
            assert load_vdb(path).grids


def test_files_of_other_kinds_are_refused(refuse):
    for data in (b"", b"PK\3\4", b" BDV", bytes(1000), b" BDV\0\0\0\1" + bytes(1000)):
        assert "does not begin like an OpenVDB file" in refuse(data)


def test_a_missing_file_is_named(tmp_path):
    for function in (load_vdb, list_vdb_grids):
        with pytest.raises(UnsupportedSceneError, match="There is no file"):
            function(tmp_path / "none.vdb")


def leaf_grid(values: bytes, flags: int = ACTIVE_MASK, mask=range(LEAF), **settings) -> Grid:
    plain = b"\0" + made.chunk(b"", flags)
    topology = made.single_leaf(FLOAT.pack(0.0), made.bits(mask, LEAF), plain)
    return Grid(topology, made.bits(mask, LEAF) + values, flags=flags, **settings)


def test_false_counts_are_refused_before_anything_is_allocated(refuse):
    huge = struct.pack("<I", 2**32 - 1)
    background = FLOAT.pack(0.0)
    topologies = [
        struct.pack("<i", 1) + background + huge + struct.pack("<I", 0),
        struct.pack("<i", 1) + background + struct.pack("<I", 0) + huge,
        made.root(background, [((0, 0, 0), made.node(UPPER, range(UPPER)))]),
        made.root(background, [((0, 0, 0), made.node(UPPER, {0}, b"\0", made.node(LOWER, range(LOWER))))]),
    ]
    for topology in topologies:
        assert "announced" in refuse(made.file_bytes(Grid(topology)))
    assert "announced" in refuse(made.file_bytes(Grid(topologies[0], metadata=huge)))
    assert "announced" in refuse(made.file_bytes(metadata=huge))
    assert "a name of" in refuse(made.file_bytes(Grid(topologies[0], metadata=made.entries(huge))))
    assert "counts -1 grids" in refuse(made.file_bytes()[:-4] + struct.pack("<i", -1))


def test_sizes_of_compressed_values_are_checked(refuse):
    packed = zlib.compress(bytes(4 * LEAF))
    bomb = zlib.compress(bytes(50_000_000))
    wrong = {
        ZIP: [
            struct.pack("<q", 2**62) + packed,
            struct.pack("<q", -(2**62)) + packed,
            struct.pack("<q", 0),
            struct.pack("<q", len(bomb)) + bomb,
            struct.pack("<q", len(packed)) + packed[:-4] + b"1234",
            struct.pack("<q", 10) + bytes(10),
        ],
        BLOSC: [
            struct.pack("<q", 10) + bytes(10),
            struct.pack("<q", 20) + bytes(20),
            struct.pack("<q", 40) + struct.pack("<4B3I", 2, 1, 0x21, 4, 2**31 - 1, 2048, 40) + bytes(24),
            struct.pack("<q", 40) + struct.pack("<4B3I", 2, 1, 0x21, 4, 2048, 2048, 40) + b"\xff" * 24,
            struct.pack("<q", 40) + struct.pack("<4B3I", 2, 1, 0x21, 0, 2048, 0, 40) + b"\xff" * 24,
        ],
    }
    for compression, chunks in wrong.items():
        for chunk in chunks:
            refuse(made.file_bytes(leaf_grid(b"\0" + chunk, compression | ACTIVE_MASK)))


def test_unknown_codes_are_refused(refuse):
    assert "unknown code 7" in refuse(made.file_bytes(leaf_grid(b"\7" + bytes(4 * LEAF))))


def test_nodes_in_one_place_are_refused(refuse):
    upper = made.node(UPPER, {0}, b"\0", made.node(LOWER, {0}, b"\0", made.bits({0}, LEAF)))
    for places in ([(0, 0, 0), (0, 0, 0)], [(8, 0, 0)]):
        topology = made.root(FLOAT.pack(0.0), [(place, upper) for place in places])
        assert "overlap" in refuse(made.file_bytes(Grid(topology)))


def test_grids_outside_the_file_are_refused(refuse):
    data = made.file_bytes(leaf_grid(b"\0" + bytes(4 * LEAF)))
    place = data.index(b"Tree_float_5_4_3") + len(b"Tree_float_5_4_3") + 4
    for places in ((0, 0, 0), (2**40, 2**40, 2**40), (-1, -1, -1), (place + 24, place + 24, 2**62)):
        moved = data[:place] + struct.pack("<3q", *places) + data[place + 24 :]
        assert "no possible place" in refuse(moved)


def test_two_grids_of_one_unique_name_are_refused(refuse):
    grid = leaf_grid(b"\0" + bytes(4 * LEAF))
    assert "two grids 'grid'" in refuse(made.file_bytes(grid, grid))


def test_boxes_beyond_all_memory_are_refused_with_their_size(refuse):
    upper = made.node(UPPER, {0}, b"\0", made.node(LOWER, {0}, b"\0", made.bits({0}, LEAF)))
    corners = [(-(2**31), -(2**31), -(2**31)), (2**31 - 4096, 2**31 - 4096, 2**31 - 4096)]
    topology = made.root(FLOAT.pack(0.0), [(corner, upper) for corner in corners])
    values = (made.bits({0}, LEAF) + b"\0" + FLOAT.pack(1.0)) * 2
    side = 2**32 - 4096 + 1
    assert f"{side} x {side} x {side} voxels" in refuse(made.file_bytes(Grid(topology, values)))


def test_boxes_that_are_too_large_together_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(vdb_file, "MAX_FILE_BYTES", 2 * LEAF * 5)
    path = tmp_path / "many.vdb"
    values = b"\0" + bytes(4 * LEAF)
    path.write_bytes(made.file_bytes(*(leaf_grid(values, name=f"grid {i}") for i in range(3))))
    volume = load_vdb(path)
    assert [grid.name for grid in volume.grids] == ["grid 0", "grid 1"]
    assert "'grid 2' of 8 x 8 x 8 voxels takes 2560 bytes" in volume.metadata["skipped_grids"]


def scattered(background: float, last: bytes) -> bytes:
    """Two voxels with 700 x 700 x 700 voxels between them."""
    lower = made.node(LOWER, {0}, b"\0", made.bits({0}, LEAF))
    upper = made.node(UPPER, {0, 6 * (1024 + 32 + 1)}, b"\0", lower + lower)
    leaf = made.bits({0}, LEAF) + b"\0"
    topology = made.root(FLOAT.pack(background), [((0, 0, 0), upper)])
    return made.file_bytes(Grid(topology, leaf + FLOAT.pack(1.0) + leaf + last))


def test_a_large_box_of_nothing_but_background_is_refused(refuse):
    assert "almost empty" in refuse(scattered(0.5, FLOAT.pack(1.0)))


def test_values_are_checked_before_a_large_box_is_made(refuse):
    assert "announced" in refuse(scattered(0.0, b"12"))


def test_a_large_box_of_zeroes_takes_no_memory_to_speak_of(tmp_path):
    path = tmp_path / "scattered.vdb"
    path.write_bytes(scattered(0.0, FLOAT.pack(2.0)))
    (loaded,) = load_vdb(path).grids
    assert loaded.shape == (769, 769, 769)
    assert (loaded.values[0, 0, 0], loaded.values[-1, -1, -1]) == (1.0, 2.0)
