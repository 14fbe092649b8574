"""What the coder of boolean grids promises: sizes, frozen bytes, refusals."""

import zlib

import numpy as np
import pytest

from scene_codec.entropy.bit_grid import decode_bit_grid, encode_bit_grid
from scene_codec.errors import CorruptFileError

SMALL_SHAPE = (12, 11, 10)
SMALL_BYTES = bytes.fromhex(
    "02cf22f429104da21f8728a6c11f7dc3cf92c4809c1c0f04db73cba581dd60b9f6876a3cf5a0486fc013ab5e00391194fffed2"
)
"""A sphere with the usual weights."""

SMALL_FITTED_BYTES = bytes.fromhex(
    "030009187b8e99ff532330b6eaf67c540d153dc8f257b9c597a498e042833e796e167ef892755e4f4d6e6af9335fc312de85"
    "021560e2257a75cef3d09dd47a6d7a"
)
"""The same with weights fitted to it, which the encoder does not choose for so few cells."""


def distances(shape: tuple[int, ...]) -> np.ndarray:
    """Distances of cells from the middle of a grid."""
    axes = [np.arange(side) - 0.5 * (side - 1) for side in shape]
    return np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))


def shell(side: int) -> np.ndarray:
    """A sphere's surface, three to four cells thick."""
    return np.abs(distances((side, side, side)) - 0.4 * side) < 1.7


def hollow_box(shape: tuple[int, int, int]) -> np.ndarray:
    grid = np.zeros(shape, bool)
    grid[4:-4, 5:-5, 3:-3] = True
    grid[7:-7, 8:-8, 6:-6] = False
    return grid


def rough_surface(side: int) -> np.ndarray:
    """Cells near a height field of random hills."""
    random = np.random.default_rng(3)
    spectrum = np.fft.fft2(random.normal(size=(side, side)))
    frequencies = np.fft.fftfreq(side) ** 2
    heights = np.fft.ifft2(spectrum * np.exp(-500 * np.add.outer(frequencies, frequencies))).real
    heights = side * (0.5 + 0.1 * heights / heights.std())
    return np.abs(np.arange(side) - heights[:, :, None]) < 2


GRIDS = {"shell": shell(40), "box": hollow_box((33, 40, 25)), "rough": rough_surface(40)}


@pytest.mark.parametrize("name", GRIDS)
def test_grids_come_back(name):
    grid = GRIDS[name]
    decoded = decode_bit_grid(encode_bit_grid(grid), grid.shape)
    assert decoded.dtype == np.bool_
    assert np.array_equal(decoded, grid)


def test_grids_that_are_not_contiguous_come_back():
    grid = GRIDS["rough"].transpose(2, 0, 1)[::-1, ::2]
    assert np.array_equal(decode_bit_grid(encode_bit_grid(grid), grid.shape), grid)


def test_surfaces_take_less_than_six_tenths_of_what_deflate_makes_of_their_bits():
    deflated = len(zlib.compress(np.packbits(GRIDS["rough"]).tobytes(), 9))
    assert len(encode_bit_grid(GRIDS["rough"])) < 0.6 * deflated


def test_plain_boxes_take_a_few_bytes():
    assert len(encode_bit_grid(GRIDS["box"])) <= 40


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 1, 30), (64, 64, 50)])
@pytest.mark.parametrize("occupied", [False, True])
def test_uniform_grids_take_a_byte(shape, occupied):
    data = encode_bit_grid(np.full(shape, occupied))
    assert len(data) == 1
    assert np.array_equal(decode_bit_grid(data, shape), np.full(shape, occupied))


def test_single_cells_take_a_few_bytes():
    grid = np.zeros((48, 33, 1), bool)
    grid[20, 7, 0] = True
    data = encode_bit_grid(grid)
    assert len(data) <= 8
    assert np.array_equal(decode_bit_grid(data, grid.shape), grid)


def test_bytes_of_this_version_stand_for_the_same_grid():
    grid = np.abs(distances(SMALL_SHAPE) - 3.5) < 1
    assert np.array_equal(decode_bit_grid(SMALL_BYTES, SMALL_SHAPE), grid)
    assert np.array_equal(decode_bit_grid(SMALL_FITTED_BYTES, SMALL_SHAPE), grid)
    assert encode_bit_grid(grid) == SMALL_BYTES


def test_grids_are_encoded_alike_each_time():
    assert encode_bit_grid(GRIDS["rough"]) == encode_bit_grid(GRIDS["rough"].copy())


@pytest.mark.parametrize("size", range(len(SMALL_BYTES)))
def test_small_grids_cut_off_are_refused_at_every_length(size):
    with pytest.raises(CorruptFileError):
        decode_bit_grid(SMALL_BYTES[:size], SMALL_SHAPE)


def test_fitted_grids_cut_off_are_refused():
    data = encode_bit_grid(GRIDS["rough"])
    assert data[0] == 3
    for size in range(0, len(data), 19):
        with pytest.raises(CorruptFileError):
            decode_bit_grid(data[:size], GRIDS["rough"].shape)


@pytest.mark.parametrize("extra", [b"\0", b"\1", b"\xff" * 5])
def test_foreign_bytes_at_the_end_are_refused(extra):
    for data in (SMALL_BYTES, encode_bit_grid(np.zeros(SMALL_SHAPE, bool))):
        with pytest.raises(CorruptFileError):
            decode_bit_grid(data + extra, SMALL_SHAPE)


@pytest.mark.parametrize("head", range(4, 256, 36))
def test_unknown_heads_are_refused(head):
    with pytest.raises(CorruptFileError, match="unknown way"):
        decode_bit_grid(bytes([head]) + SMALL_BYTES[1:], SMALL_SHAPE)


def test_other_spellings_of_uniform_grids_are_refused():
    with pytest.raises(CorruptFileError):
        decode_bit_grid(b"\2", (2, 1, 1))


def test_large_weights_are_refused():
    with pytest.raises(CorruptFileError):
        decode_bit_grid(b"\3" + b"\xff" * 40, SMALL_SHAPE)


def test_flipped_bits_are_refused():
    for place in range(0, 8 * len(SMALL_BYTES), 5):
        damaged = bytearray(SMALL_BYTES)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(CorruptFileError):
            decode_bit_grid(bytes(damaged), SMALL_SHAPE)
