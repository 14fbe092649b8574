"""Films: frames come back in number, size and colour; nothing is left after a failure."""

import importlib.util

import av
import numpy as np
import pytest

from scene_codec.errors import InvalidRequestError, MissingDependencyError, SceneCodecError
from scene_codec.radiance.video_files import VideoWriter


def frames_of(path):
    with av.open(str(path)) as container:
        return [
            frame.to_ndarray(format="rgb24", src_colorspace="itu709") / 255.0
            for frame in container.decode(video=0)
        ]


def plain(colour, height=48, width=64):
    return np.broadcast_to(np.array(colour, np.float32), (height, width, 3))


COLOURS = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.5, 0.5, 0.5), (0.9, 0.6, 0.2)]


def test_a_film_has_the_frames_that_were_added(tmp_path):
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 64, 48, 24) as film:
        for colour in COLOURS:
            film.add(plain(colour))
    frames = frames_of(path)
    assert len(frames) == len(COLOURS)
    for frame, colour in zip(frames, COLOURS, strict=True):
        assert frame.shape == (48, 64, 3)
        np.testing.assert_allclose(frame.mean(axis=(0, 1)), colour, atol=0.03)  # 8 bit in YUV, lossy
    with av.open(str(path)) as container:
        (stream,) = container.streams.video
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 24
    assert [item.name for item in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("fps", [23.976, 0.5, 60])
def test_odd_sizes_are_padded_and_any_rate_will_do(tmp_path, fps):
    with VideoWriter(tmp_path / "a.mp4", 33, 17, fps) as film:
        film.add(plain((0.5, 0.5, 0.5), 17, 33))
        film.add(plain((0.5, 0.5, 0.5), 17, 33))
    frames = frames_of(tmp_path / "a.mp4")
    assert [frame.shape for frame in frames] == [(18, 34, 3)] * 2
    np.testing.assert_allclose(frames[0], 0.5, atol=0.03)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(fps, rel=1e-4)


def test_the_same_frames_give_the_same_bytes(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        with VideoWriter(tmp_path / name, 64, 48, 24) as film:
            for colour in COLOURS:
                film.add(plain(colour))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_failure_in_the_block_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")

    def render():
        with VideoWriter(path, 64, 48, 24) as film:
            film.add(plain(COLOURS[0]))
            raise KeyError("of the renderer")

    with pytest.raises(KeyError, match="of the renderer"):
        render()
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.mp4"]


def test_a_film_without_pictures_is_not_written(tmp_path):
    with (
        pytest.raises(InvalidRequestError, match="no picture"),
        VideoWriter(tmp_path / "a.mp4", 64, 48, 24),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_a_picture_of_another_size_is_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="in a film of"),
        VideoWriter(tmp_path / "a.mp4", 64, 48, 24) as film,
    ):
        film.add(plain(COLOURS[0], 64, 48))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "width", "height", "fps"),
    [("a.avi", 64, 48, 24), ("a.mp4", 0, 48, 24), ("a.mp4", 64, 1 << 20, 24), ("a.mp4", 64, 48, 0)],
)
def test_films_that_cannot_be_are_refused_before_anything_is_rendered(tmp_path, name, width, height, fps):
    with pytest.raises(InvalidRequestError):
        VideoWriter(tmp_path / name, width, height, fps)
    with pytest.raises(InvalidRequestError):
        VideoWriter(tmp_path / "a.mp4", 64, 48, float("nan"))


def test_a_folder_that_is_missing_is_one_of_our_errors(tmp_path):
    with (
        pytest.raises(SceneCodecError, match="Could not write"),
        VideoWriter(tmp_path / "none" / "a.mp4", 64, 48, 24),
    ):
        pass


def test_without_pyav_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"scene-codec\[video\]") as caught:
        VideoWriter(tmp_path / "a.mp4", 64, 48, 24)
    assert caught.value.extra == "video"
