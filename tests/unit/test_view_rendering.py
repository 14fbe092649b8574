import json
from dataclasses import replace

import numpy as np
import OpenEXR
import pytest
from PIL import Image
from radiance_balls import COLOUR, NAME, RADIUS, BallCodec, BallField

import scene_codec
from scene_codec.codecs.contract import CheckpointFile
from scene_codec.codecs.registry import all_codecs
from scene_codec.errors import Cancelled, InvalidRequestError
from scene_codec.progress import CancelToken, Progress
from scene_codec.radiance.radiance_object import RadianceObject
from scene_codec.radiance.ray_supply import orbit_camera
from scene_codec.view_pictures import PictureChoice, exr_channels, linear_light, straight_colour
from scene_codec.view_rendering import ViewChoice, choose_cameras, views_of

PLACED = np.array([[0.0, -2.0, 0.0, 1.0], [2.0, 0.0, 0.0, -3.0], [0.0, 0.0, 2.0, 0.5], [0.0, 0.0, 0.0, 1.0]])


@pytest.fixture(autouse=True)
def codec(monkeypatch):
    monkeypatch.setitem(all_codecs(), NAME, BallCodec())


@pytest.fixture
def ball_file(tmp_path):
    """A file with one ball."""
    (tmp_path / "ball.tar").write_bytes(b"x" * 1234)
    path = tmp_path / "ball.nscene"
    report = scene_codec.encode(tmp_path / "ball.tar", path, codec=NAME, device="cpu")
    (item,) = report.objects
    assert (item.parameters, item.binary_bytes, item.source_bytes) == (250, 1000, 1234)
    return path


@pytest.fixture
def two_balls(tmp_path):
    files = [tmp_path / f"{name}.tar" for name in ("big", "small")]
    for file in files:
        file.write_bytes(b"x")
    path = tmp_path / "two.nscene"
    scene_codec.encode(files, path, codec=NAME, device="cpu")
    return path


def write_cameras(path, names=("./test/r_0", "./test/r_1"), size=(40, 30)):
    frames = [
        {
            "file_path": name,
            "transform_matrix": orbit_camera(np.zeros(3), 4.0, 0.5 * index, 0.4).pose.tolist(),
        }
        for index, name in enumerate(names)
    ]
    path.write_text(
        json.dumps({"camera_angle_x": 0.69, "w": size[0], "h": size[1], "frames": frames}), encoding="utf-8"
    )
    return path


def test_a_decoded_field_has_its_name_place_and_host(tmp_path):
    (tmp_path / "ball.tar").write_bytes(b"x")
    placed = CheckpointFile("Kugel", (tmp_path / "ball.tar",), PLACED, b"host")
    copy = CheckpointFile("copy", (tmp_path / "ball.tar",))
    scene_codec.encode([placed, copy], tmp_path / "a.nscene", codec=NAME, device="cpu")
    first, second = scene_codec.decode(tmp_path / "a.nscene", device="cpu")
    assert isinstance(first, RadianceObject)
    assert (first.name, first.host, second.name) == ("Kugel", b"host", "copy")
    assert np.array_equal(first.transform, PLACED)
    assert scene_codec.inspect(tmp_path / "a.nscene").objects[1].instance_of == "Kugel"


def test_views_come_one_by_one(ball_file):
    views = scene_codec.render_views(ball_file, ViewChoice(path_views=10**5, size=(8, 8)), device="cpu")
    camera, view = next(views)
    assert camera.name == "view_00000"
    assert view.colour.shape == (8, 8, 3)
    assert view.depth[4, 4] == pytest.approx(4.0 - RADIUS, abs=0.05)


def test_pictures_are_named_after_views_and_show_the_field(ball_file, tmp_path):
    cameras = write_cameras(tmp_path / "transforms_test.json", ("a/x", "b/x", "c/CON"))
    report = scene_codec.render(
        ball_file, tmp_path / "out", ViewChoice(cameras=cameras), PictureChoice(depth=True), device="cpu"
    )
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == sorted(file for frame in report.frames for file in frame.files)
    assert "a_x.png" in names
    assert "b_x.depth.png" in names
    picture = np.asarray(Image.open(tmp_path / "out/a_x.png"))
    assert picture.shape == (30, 40, 3)
    assert picture[15, 20] == pytest.approx(np.array(COLOUR) * 255, abs=1)
    assert (picture[0, 0] == 255).all()
    assert report.render_seconds <= report.seconds


def test_a_png_with_alpha_has_the_fields_own_colour_where_it_is_seen_through(tmp_path):
    view = next(views_of(RadianceObject("x", BallField(opacity=0.5)), _cameras(), Progress()))[1]
    assert view.colour[20, 20] == pytest.approx(0.5 * np.array(COLOUR) + 0.5)
    assert straight_colour(view, white=True)[20, 20] == pytest.approx(COLOUR, abs=1e-6)
    assert (straight_colour(view, white=True)[0, 0] == 0).all()


def test_an_exr_holds_scene_linear_premultiplied_colours_opacity_and_depth(ball_file, tmp_path):
    view = next(views_of(RadianceObject("x", BallField(opacity=0.5)), _cameras(), Progress()))[1]
    channels = exr_channels(view, white=True)
    expected = 0.5 * linear_light(np.array(COLOUR, np.float32))
    assert [channels[name][20, 20] for name in "RGB"] == pytest.approx(expected.tolist(), abs=1e-6)
    scene_codec.render(
        ball_file, tmp_path / "out", ViewChoice(path_views=1), PictureChoice(format="exr"), device="cpu"
    )
    with OpenEXR.File(str(tmp_path / "out/view_000.exr"), separate_channels=True) as stored:
        assert sorted(stored.channels()) == ["A", "B", "G", "R", "Z"]
        assert stored.channels()["Z"].pixels[200, 200] == pytest.approx(4.0 - RADIUS, abs=1e-3)
        assert stored.channels()["A"].pixels[0, 0] == 0


def test_linear_light_is_that_of_the_standard():
    assert linear_light(np.array([0.0, 0.04045, 0.5, 1.0], np.float32)) == pytest.approx(
        [0.0, 0.0031308, 0.2140411, 1.0], abs=1e-6
    )


def test_a_field_that_was_moved_turned_and_scaled_looks_so_to_cameras_in_the_world():
    cameras = _cameras()
    plain = next(views_of(RadianceObject("x", BallField(centre=(0.3, 0.0, 0.2))), cameras, Progress()))[1]
    item = RadianceObject("x", BallField(centre=(0.3, 0.0, 0.2)), PLACED)
    turn = PLACED @ np.diag([0.5, 0.5, 0.5, 1.0])
    pose = turn @ cameras[0].pose
    pose[:3, 3] = (PLACED @ cameras[0].pose)[:3, 3]
    moved = next(views_of(item, [_with_pose(cameras[0], pose)], Progress()))[1]
    # A pixel at the rim may fall to the other side.
    assert (np.abs(moved.colour - plain.colour).max(axis=2) > 1e-3).mean() < 0.005
    assert moved.depth[20, 20] == pytest.approx(2.0 * plain.depth[20, 20], rel=1e-4)
    own = choose_cameras(item, ViewChoice(path_views=1, size=(40, 40)))
    assert next(views_of(item, own, Progress()))[1].opacity.max() == 1.0


def test_a_field_that_is_mirrored_is_refused():
    item = RadianceObject("x", BallField(), np.diag([-1.0, 1.0, 1.0, 1.0]))
    with pytest.raises(InvalidRequestError, match="mirrors"):
        choose_cameras(item, ViewChoice())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), range(10)),
        (("3",), [3]),
        (("-1", "0"), [9, 0]),
        (("0:2", "::4"), [0, 1, 4, 8]),
        (("view_007", "7"), [7]),
    ],
)
def test_frames_are_chosen_by_index_slice_and_name(words, expected):
    chosen = choose_cameras(RadianceObject("x", BallField()), ViewChoice(path_views=10, frames=words))
    assert [camera.name for camera in chosen] == [f"view_{index:03d}" for index in expected]


@pytest.mark.parametrize("word", ["10", "r_0", "1:2:3:4", "::0", "20:30"])
def test_frames_that_are_not_there_are_refused(word):
    with pytest.raises(InvalidRequestError, match="view"):
        choose_cameras(RadianceObject("x", BallField()), ViewChoice(path_views=10, frames=(word,)))


def test_cameras_of_a_data_set_and_of_a_split(tmp_path):
    for split in ("train", "test"):
        write_cameras(tmp_path / f"transforms_{split}.json", (f"{split}/r_0", f"{split}/r_1"))
    item = RadianceObject("x", BallField())
    every = choose_cameras(item, ViewChoice(cameras=tmp_path))
    assert [camera.name for camera in every] == ["train_r_0", "train_r_1", "test_r_0", "test_r_1"]
    tests = choose_cameras(item, ViewChoice(cameras=tmp_path, split="test"))
    assert [camera.name for camera in tests] == ["r_0", "r_1"]


def test_nothing_is_replaced_unless_that_is_asked_for(ball_file, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/view_001.png").write_text("precious")
    views = ViewChoice(path_views=2, size=(8, 8))
    with pytest.raises(InvalidRequestError, match="--overwrite"):
        scene_codec.render(ball_file, tmp_path / "out", views, device="cpu")
    assert [path.read_text() for path in (tmp_path / "out").iterdir()] == ["precious"]
    scene_codec.render(ball_file, tmp_path / "out", views, PictureChoice(overwrite=True), device="cpu")
    assert Image.open(tmp_path / "out/view_001.png").size == (8, 8)


def test_a_cancelled_job_keeps_whole_pictures_and_no_film(ball_file, tmp_path):
    pytest.importorskip("av")
    token = CancelToken()
    film = tmp_path / "film.mp4"

    def stop(event):
        if event.fraction >= 0.5:
            token.cancel()

    with pytest.raises(Cancelled, match="of 4 views"):
        scene_codec.render(
            ball_file,
            tmp_path / "out",
            ViewChoice(path_views=4, size=(16, 16)),
            PictureChoice(film=film),
            device="cpu",
            progress=Progress(stop, token),
        )
    written = list((tmp_path / "out").iterdir())
    assert 1 <= len(written) < 4
    assert all(Image.open(path).size == (16, 16) for path in written)
    assert not film.exists()


def test_a_film_has_every_view(ball_file, tmp_path):
    av = pytest.importorskip("av")
    views, pictures = ViewChoice(path_views=5, size=(32, 32)), PictureChoice(film=tmp_path / "film.mp4")
    report = scene_codec.render(ball_file, tmp_path / "out", views, pictures, device="cpu")
    assert report.film == str(tmp_path / "film.mp4")
    with av.open(report.film) as film:
        assert len(list(film.decode(video=0))) == 5


def test_one_of_several_fields_must_be_named(two_balls, tmp_path):
    views = ViewChoice(path_views=1, size=(8, 8))
    with pytest.raises(InvalidRequestError, match=r"'big', 'small'.*--only"):
        next(scene_codec.render_views(two_balls, views, device="cpu"))
    with pytest.raises(InvalidRequestError, match="no object 'huge'"):
        next(scene_codec.render_views(two_balls, views, only="huge", device="cpu"))
    assert scene_codec.render(two_balls, tmp_path / "o", views, only="small", device="cpu").object == "small"


def test_a_file_of_volumes_cannot_be_rendered(tmp_path):
    np.save(tmp_path / "smoke.npy", np.zeros((8, 8, 8), np.float32))
    scene_codec.encode(tmp_path / "smoke.npy", tmp_path / "smoke.nscene")
    with pytest.raises(InvalidRequestError, match="holds volumes"):
        scene_codec.render(tmp_path / "smoke.nscene", tmp_path / "out")


def _cameras():
    return [orbit_camera(np.zeros(3), 4.0, 0.3, 0.2, 40)]


def _with_pose(camera, pose):
    return replace(camera, pose=pose)
