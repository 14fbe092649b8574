"""Pictures read and written: kinds of PNG, damage, OpenEXR, colours of depth, averages over areas."""

import struct
import zlib

import numpy as np
import OpenEXR
import pytest
from PIL import Image

from scene_codec.errors import InvalidRequestError, SceneCodecError, UnsupportedSceneError
from scene_codec.radiance import image_files
from scene_codec.radiance.image_files import (
    area_average,
    colour_of_depth,
    read_image,
    read_picture_header,
    write_exr,
    write_png,
)


def noise(*shape):
    return np.random.default_rng(3).random(shape, dtype=np.float32)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_png_by_hand(path, values, colour_type, size=None):
    """Write big-endian 16-bit values, (height, width, channels)."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", *(size or (width, height)), 16, colour_type, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    return path


def test_a_png_comes_back_but_for_rounding(tmp_path):
    rgb, alpha = noise(5, 7, 3), noise(5, 7)
    write_png(tmp_path / "a.png", rgb)
    write_png(tmp_path / "b.png", rgb, alpha)
    half_a_step = 0.5 / 255 + 1e-6
    np.testing.assert_allclose(read_image(tmp_path / "a.png"), rgb, atol=half_a_step)
    back = read_image(tmp_path / "b.png")
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, np.dstack([rgb, alpha]), atol=half_a_step)
    header = read_picture_header(tmp_path / "b.png")
    assert (header.width, header.height, header.has_alpha) == (7, 5, True)
    assert not read_picture_header(tmp_path / "a.png").has_alpha
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_values_outside_of_the_range_are_clipped_and_those_that_are_no_numbers_black(tmp_path):
    rgb = np.array([[[-1.0, 2.0, np.nan], [np.inf, 0.5, 1.0]]])
    write_png(tmp_path / "a.png", rgb)
    np.testing.assert_allclose(read_image(tmp_path / "a.png")[0], [[0, 1, 0], [0, 128 / 255, 1]], atol=1e-6)


def test_sixteen_bits_of_grey_are_kept_and_the_upper_eight_of_colours(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (3, 4, 4))
    values[0, 0], values[0, 1] = 0, 65535
    grey = read_image(write_png_by_hand(tmp_path / "g.png", values[..., :1], 0))
    np.testing.assert_allclose(grey, np.repeat(values[..., :1] / 65535, 3, axis=2), atol=1e-7)
    colours = read_image(write_png_by_hand(tmp_path / "c.png", values[..., :3], 2))
    np.testing.assert_allclose(colours, (values[..., :3] >> 8) / 255, atol=1e-7)
    with_alpha = read_image(write_png_by_hand(tmp_path / "a.png", values, 6))
    np.testing.assert_allclose(with_alpha, (values >> 8) / 255, atol=1e-7)


@pytest.mark.parametrize(("mode", "channels"), [("1", 3), ("L", 3), ("LA", 4), ("P", 3), ("RGB", 3)])
def test_all_modes_become_colours_with_or_without_alpha(tmp_path, mode, channels):
    Image.new("RGB", (3, 2), (255, 255, 255)).convert(mode).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.shape == (2, 3, channels)
    assert image.min() == 1.0
    assert read_picture_header(tmp_path / "a.png").has_alpha == (channels == 4)


def test_a_transparent_colour_of_a_palette_is_alpha(tmp_path):
    picture = Image.new("P", (2, 1), 0)
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.putpixel((1, 0), 1)
    picture.save(tmp_path / "a.png", transparency=1)
    assert read_picture_header(tmp_path / "a.png").has_alpha
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0, :, 3], [1.0, 0.0])


def test_a_jpeg_is_read(tmp_path):
    Image.new("RGB", (9, 8), (255, 128, 0)).save(tmp_path / "a.jpg", quality=95)
    image = read_image(tmp_path / "a.jpg")
    assert image.shape == (8, 9, 3)
    np.testing.assert_allclose(image[4, 4], [1.0, 0.5, 0.0], atol=0.03)  # JPEG is lossy


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_truncated_pictures_are_refused_at_every_length(tmp_path, suffix):
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    Image.fromarray((noise(6, 6, 3) * 255).astype(np.uint8)).save(whole)
    content = whole.read_bytes()
    # All pixels are there before PNG's last 20 bytes (two checksums and the end mark) and JPEG's end mark.
    for length in range(len(content) - 20):
        cut.write_bytes(content[:length])
        with pytest.raises(UnsupportedSceneError, match="whole PNG or JPEG"):
            read_image(cut)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_damaged_pictures_give_other_pixels_or_one_of_our_errors(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray((noise(6, 6, 3) * 255).astype(np.uint8)).save(path)
    content = path.read_bytes()
    draw = np.random.default_rng(0)
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= int(draw.integers(1, 256))
        path.write_bytes(damaged)
        try:
            assert read_image(path).ndim == 3
        except SceneCodecError:
            continue


def test_a_picture_that_claims_to_be_huge_is_refused_before_it_is_read(tmp_path):
    path = write_png_by_hand(tmp_path / "a.png", np.zeros((1, 1, 3), np.int64), 2, size=(1 << 20, 1 << 20))
    with pytest.raises(UnsupportedSceneError):
        read_image(path)


def test_a_picture_above_the_bound_is_refused_with_its_size(tmp_path, monkeypatch):
    write_png(tmp_path / "a.png", noise(3, 4, 3))
    monkeypatch.setattr(image_files, "MAX_PIXELS", 11)
    with pytest.raises(UnsupportedSceneError, match="4 x 3 pixels"):
        read_image(tmp_path / "a.png")


def test_other_formats_and_missing_files_are_refused(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "a.gif")
    (tmp_path / "a.gif").rename(tmp_path / "a.png")
    with pytest.raises(UnsupportedSceneError):
        read_image(tmp_path / "a.png")
    with pytest.raises(InvalidRequestError, match="missing"):
        read_image(tmp_path / "b.png")


def test_an_exr_holds_colours_as_halves_and_depth_as_floats(tmp_path):
    channels = {name: noise(4, 6) for name in "RGBA"} | {"Z": 1e4 * noise(4, 6)}
    write_exr(tmp_path / "a.exr", channels)
    with OpenEXR.File(str(tmp_path / "a.exr"), separate_channels=True) as file:
        back = {name: channel.pixels.copy() for name, channel in file.channels().items()}
    assert back.keys() == channels.keys()
    for name in "RGBA":
        assert back[name].dtype == np.float16
        np.testing.assert_array_equal(back[name], channels[name].astype(np.float16))
    assert back["Z"].dtype == np.float32
    np.testing.assert_array_equal(back["Z"], channels["Z"])
    first = (tmp_path / "a.exr").read_bytes()
    write_exr(tmp_path / "a.exr", channels)
    assert (tmp_path / "a.exr").read_bytes() == first


def test_channels_of_different_shapes_are_no_exr(tmp_path):
    with pytest.raises(ValueError, match="shapes"):
        write_exr(tmp_path / "a.exr", {"R": noise(2, 3), "Z": noise(3, 2)})
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_missing_is_one_of_our_errors(tmp_path):
    with pytest.raises(SceneCodecError, match="Could not write"):
        write_exr(tmp_path / "none" / "a.exr", {"Z": noise(2, 3)})
    with pytest.raises(SceneCodecError, match="Could not write"):
        write_png(tmp_path / "none" / "a.png", noise(2, 3, 3))


def test_depth_becomes_darker_with_distance_and_white_where_nothing_is():
    depth = np.linspace(2.0, 6.0, 50)[None]
    colours = colour_of_depth(depth, np.ones_like(depth), limits=(2.0, 6.0))
    lightness = colours[0] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) < 0.0).all()
    assert colours.dtype == np.float32
    np.testing.assert_array_equal(colour_of_depth(depth, np.zeros_like(depth)), np.ones((1, 50, 3)))


def test_depth_without_extent_or_with_holes_has_colours():
    depth = np.array([[3.0, 3.0, np.nan, np.inf]])
    colours = colour_of_depth(depth, np.array([[1.0, 1.0, 1.0, 0.0]]))
    assert np.isfinite(colours).all()
    np.testing.assert_array_equal(colours[0, 0], colours[0, 1])
    np.testing.assert_array_equal(colours[0, 3], 1.0)


def test_an_average_over_areas_keeps_the_mean_and_counts_parts_of_pixels():
    image = noise(9, 12, 3)
    np.testing.assert_allclose(
        area_average(image, 4, 3), image.reshape(3, 3, 4, 3, 3).mean(axis=(1, 3)), atol=1e-6
    )
    np.testing.assert_allclose(area_average(image, 7, 5).mean(), image.mean(), atol=1e-6)
    row = np.array([[[0.0], [1.0], [4.0]]], np.float32)
    np.testing.assert_allclose(area_average(row, 2, 1)[0, :, 0], [1 / 3, 3.0], atol=1e-6)
    np.testing.assert_array_equal(area_average(image, 12, 9), image)
