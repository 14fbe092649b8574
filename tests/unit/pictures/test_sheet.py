"""Scales of colours, words that a font can draw, and the sheet as a file."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scene_codec.pictures.colour_scales import (
    DIVERGING,
    INACTIVE,
    NOT_FINITE,
    TOPOLOGY,
    ColourScale,
    difference_scale,
    rounded_up,
    values_scale,
)
from scene_codec.pictures.grid_pair import grid_pair
from scene_codec.pictures.picture_file import is_comparison
from scene_codec.pictures.sheet import GridBlock, Line, draw_sheet, number, plain_text
from scene_codec.pictures.slices import View, slice_images
from scene_codec.volumes.volume import VolumeGrid

NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=64)


def block(original, decoded, **fields):
    view = View(2, downwards=True)
    slices = (slice_images(grid_pair(original, decoded), view, 0, 100),)
    return GridBlock((Line("grid"),), view, slices, **{"low": 0.0, "high": 1.0} | fields)


def pixels(data):
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


def holds(data, colour):
    return bool((pixels(data) == colour).all(axis=-1).any())


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(NUMBERS, max_size=20), st.booleans())
def test_any_numbers_have_scales_and_colours(numbers, signed):
    values = np.array(numbers, dtype=np.float64)
    finite = values[np.isfinite(values)]
    low, high = float(finite.min(initial=0.0)), float(finite.max(initial=0.0))
    shown = values if signed else np.abs(values)
    for scale in (values_scale(values, low, high), difference_scale(shown, signed=signed, limit=None)):
        assert np.isfinite([scale.low, scale.high]).all()
        assert scale.low < scale.high
        assert ((scale(values) == NOT_FINITE).all(axis=-1) == ~np.isfinite(values)).all()


def test_no_difference_is_white_and_signs_have_their_own_colours():
    below, none, above = ColourScale(DIVERGING, -2.0, 2.0)(np.array([-1.0, 0.0, 1.0])).astype(int)
    assert none.min() >= 253
    assert below[2] > below[0]
    assert above[0] > above[2]


def test_a_given_range_is_the_end_of_the_scale_whatever_is_shown():
    scale = difference_scale(np.array([0.1, -7.0]), signed=True, limit=2.0)
    assert (scale.low, scale.high, scale.above) == (-2.0, 2.0, True)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.floats(1e-290, 1e290))
def test_ends_of_scales_are_a_little_above_the_value_and_of_two_digits(value):
    end = rounded_up(value)
    assert value * (1 - 1e-5) <= end <= value * 1.11
    assert end == float(f"{end:.2g}")


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_words_from_files_are_plain_and_short(text):
    plain = plain_text(text)
    assert plain.isascii()
    assert plain.isprintable()
    assert len(plain) <= 60


def test_accents_are_dropped_and_foreign_letters_marked():
    assert plain_text("rauch é 煙\n") == "rauch e ??"


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (1234567.0, "1,234,567"), (1372.4, "1,372"), (0.01234, "0.0123")]
)
def test_numbers_are_short(value, text):
    assert number(value) == text


def test_the_same_contents_have_the_same_bytes_and_say_who_drew_them(tmp_path):
    grid = VolumeGrid("a", np.random.default_rng(0).random((9, 8, 1)))
    changed = grid.with_values(grid.values + 0.01)
    first, second = (draw_sheet([Line("title")], [block(grid, changed)]) for _ in range(2))
    assert first == second
    path = tmp_path / "a.png"
    path.write_bytes(first)
    assert is_comparison(path)


def test_other_pictures_are_not_taken_for_ours(tmp_path):
    Image.new("RGB", (3, 3)).save(tmp_path / "photo.png")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    assert not is_comparison(tmp_path / "photo.png")
    assert not is_comparison(tmp_path / "text.png")
    assert is_comparison(tmp_path / "empty.png")


def test_nan_inactive_and_changed_topology_have_colours_of_their_own():
    values = np.random.default_rng(0).random((6, 6, 1))
    mask = np.ones(values.shape, bool)
    mask[0] = False
    plain = VolumeGrid("a", values, mask, kind="fog volume")
    more = mask.copy()
    more[0, 0] = True
    broken = values.copy()
    broken[3, 3] = np.nan
    whole = draw_sheet([], [block(plain, plain)])
    assert holds(whole, INACTIVE)
    assert not holds(whole, TOPOLOGY)
    assert not holds(whole, NOT_FINITE)
    assert holds(draw_sheet([], [block(plain, VolumeGrid("a", values, more, kind="fog volume"))]), TOPOLOGY)
    assert holds(draw_sheet([], [block(plain, plain.with_values(broken))]), NOT_FINITE)


def test_colours_are_shown_as_they_are():
    red = np.zeros((4, 4, 1, 3), np.uint8)
    red[..., 0] = 200
    grid = VolumeGrid("color", red, background=(0.0, 0.0, 0.0))
    assert holds(draw_sheet([], [block(grid, grid, signed=False)]), (200, 0, 0))


def test_long_words_are_folded_into_the_sheet():
    short, long = (pixels(draw_sheet([Line("word " * count)], [])) for count in (3, 300))
    assert short.shape[1] == long.shape[1]
    assert long.shape[0] > short.shape[0]
    assert (long[:, -18:] == 255).all()
