"""Posed pictures described by JSON: cameras, splits, sizes, names, rays, hostile files."""

import json
import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from scene_codec.errors import InvalidRequestError
from scene_codec.radiance.cameras import camera_rays
from scene_codec.radiance.captured_views import unique_names
from scene_codec.radiance.image_files import write_png
from scene_codec.radiance.posed_images import load_cameras, load_posed_images

ANGLE = 0.69


def orbit(index, distance=4.0):
    """Return the pose of a camera on a sphere that looks at the origin."""
    turn = Rotation.from_euler("yx", [0.7 * index, -0.3]).as_matrix()
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn, distance * turn[:, 2]
    return pose


def frame(index, path=None, **keys):
    named = {} if path is None else {"file_path": path}
    return named | {"transform_matrix": orbit(index).tolist()} | keys


def write_json(path, frames, **keys):
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(json.dumps(keys | {"frames": frames}))
    return path


def blender(folder, splits=("train", "val", "test"), count=3, size=(8, 6)):
    for split in splits:
        frames = [frame(index, f"./{split}/r_{index}", rotation=0.1) for index in range(count)]
        write_json(folder / f"transforms_{split}.json", frames, camera_angle_x=ANGLE)
        (folder / split).mkdir()
        for index in range(count):
            write_png(
                folder / split / f"r_{index}.png", np.full((*size[::-1], 3), 0.2), np.full(size[::-1], 0.5)
            )
    return folder


def test_a_blender_folder_gives_cameras_and_pictures_of_each_split(tmp_path):
    folder = blender(tmp_path / "chair")
    for split in ("train", "val", "test"):
        views = load_posed_images(folder, split)
        assert (views.layout, views.near, views.far, views.ndc) == ("blender", 2.0, 6.0, None)
        assert views.white_background
        assert [view.path for view in views.images] == [folder / split / f"r_{i}.png" for i in range(3)]
        assert [view.camera.name for view in views.images] == ["r_0", "r_1", "r_2"]
    camera = views.images[1].camera
    assert (camera.width, camera.height, camera.centre_x, camera.centre_y) == (8, 6, 4.0, 3.0)
    assert camera.focal_x == camera.focal_y == pytest.approx(4.0 / math.tan(ANGLE / 2))
    np.testing.assert_array_equal(camera.pose, orbit(1))


def test_all_splits_together_have_names_of_their_own(tmp_path):
    views = load_posed_images(blender(tmp_path / "a"), "all")
    names = [view.camera.name for view in views.images]
    assert names[:4] == ["train_r_0", "train_r_1", "train_r_2", "val_r_0"]
    assert len(set(names)) == 9


def test_names_are_unique_whatever_the_paths_are():
    assert unique_names(["a/x.png", "b/y.v2"]) == ["x", "y.v2"]
    assert unique_names(["a/x.png", "b/x.png"]) == ["a_x", "b_x"]
    assert unique_names(["x.png", "x.jpg", "x_2.png", "x.png"]) == ["x", "x_3", "x_2", "x_4"]
    assert unique_names(["", ""]) == ["view_0000", "view_0001"]


def test_transparent_pixels_are_laid_over_the_background(tmp_path):
    view = load_posed_images(blender(tmp_path / "a")).images[0]
    opacity = 128 / 255
    np.testing.assert_allclose(view.load(True), 0.2 * opacity + 1 - opacity, atol=1e-6)
    np.testing.assert_allclose(view.load(False), 0.2 * opacity, atol=1e-6)
    assert view.load(True).dtype == np.float32


def test_invisible_colours_do_not_bleed_into_smaller_pictures(tmp_path):
    folder = blender(tmp_path / "a", ("train",), 1, (4, 4))
    rgb, alpha = np.zeros((4, 4, 3)), np.zeros((4, 4))
    rgb[:, 1::2, 0] = 1.0  # red, but not to be seen
    alpha[:, ::2] = 1.0
    write_png(folder / "train" / "r_0.png", rgb, alpha)
    image = load_posed_images(folder, size=(2, 2)).images[0].load(True)
    np.testing.assert_allclose(image, 0.5, atol=1e-6)


def test_a_wanted_size_changes_the_camera_and_the_picture(tmp_path):
    folder = blender(tmp_path / "a", size=(8, 6))
    view = load_posed_images(folder, size=(4, 3)).images[0]
    assert (view.camera.width, view.camera.height) == (4, 3)
    assert view.camera.focal_x == pytest.approx(2.0 / math.tan(ANGLE / 2))
    assert view.load(True).shape == (3, 4, 3)
    with pytest.raises(InvalidRequestError, match="Ask for 4 x 3"):
        load_posed_images(folder, size=(4, 4))
    with pytest.raises(InvalidRequestError, match="fewer than"):
        load_posed_images(folder, size=(16, 12)).images[0].load(True)
    with pytest.raises(InvalidRequestError, match="cannot have"):
        load_posed_images(folder, size=(0, 3))


def test_a_picture_of_another_shape_than_the_first_is_refused(tmp_path):
    folder = blender(tmp_path / "a")
    write_png(folder / "train" / "r_1.png", np.zeros((8, 8, 3)))
    with pytest.raises(InvalidRequestError, match=r"r_1\.png has 8 x 8"):
        load_posed_images(folder).images[1].load(True)


def test_rays_go_through_centres_of_pixels_or_their_corners(tmp_path):
    pose = np.eye(4)
    pose[:3, 3] = [1.0, 2.0, 3.0]
    path = write_json(
        tmp_path / "a.json", [{"transform_matrix": pose.tolist()}], w=4, h=2, fl_x=2.0, camera_angle_x=1.0
    )
    camera = load_cameras(path).images[0].camera
    rays = camera_rays(camera)
    np.testing.assert_allclose(rays.origins, np.tile([1.0, 2.0, 3.0], (8, 1)))
    np.testing.assert_allclose(rays.directions[0], [-0.75, 0.25, -1.0])
    np.testing.assert_allclose(rays.directions[7], [0.75, -0.25, -1.0])
    corners = camera_rays(camera, corner_width=4)
    np.testing.assert_allclose(corners.directions[0], [-1.0, 0.5, -1.0])
    np.testing.assert_allclose(corners.directions[6], [0.0, 0.0, -1.0], atol=1e-7)
    # Half a pixel of pictures twice as wide is a quarter of one of these.
    finer = camera_rays(camera, corner_width=8)
    np.testing.assert_allclose(finer.directions[0], [-0.875, 0.375, -1.0])


def test_a_missing_picture_is_an_error_for_pictures_but_not_for_cameras(tmp_path):
    folder = blender(tmp_path / "a")
    (folder / "train" / "r_1.png").unlink()
    with pytest.raises(InvalidRequestError, match=r"Frame 1 .*r_1.*1 of 3"):
        load_posed_images(folder)
    cameras = load_cameras(folder)
    assert len(cameras.images) == 9
    assert cameras.images[1].path is None
    with pytest.raises(InvalidRequestError, match="no picture for the camera 'train_r_1'"):
        cameras.images[1].load(True)


def test_one_camera_without_a_picture_is_one_frame(tmp_path):
    path = write_json(tmp_path / "view.json", [frame(0)], camera_angle_x=ANGLE, w=40, h=30)
    cameras = load_cameras(path)
    camera = cameras.images[0].camera
    assert (cameras.layout, camera.width, camera.height, camera.name) == ("blender", 40, 30, "view_0000")
    assert camera.focal_y == pytest.approx(20 / math.tan(ANGLE / 2))
    assert load_cameras(path, size=(80, 60)).images[0].camera.focal_x == pytest.approx(2 * camera.focal_x)


def test_without_any_size_one_must_be_wanted(tmp_path):
    path = write_json(tmp_path / "a.json", [frame(0, "r_0")], camera_angle_x=ANGLE)
    with pytest.raises(InvalidRequestError, match="'w' and 'h'"):
        load_cameras(path)
    assert load_cameras(path, size=(50, 20)).images[0].camera.width == 50


def test_a_file_that_names_no_split_is_split_as_forward_facing_scenes_are(tmp_path):
    frames = [frame(index, f"images/{index:02}.png") for index in range(10)]
    write_json(tmp_path / "transforms.json", frames, camera_angle_x=ANGLE)
    (tmp_path / "images").mkdir()
    for index in range(10):
        write_png(tmp_path / "images" / f"{index:02}.png", np.zeros((4, 4, 3)))
    names = {
        split: [view.camera.name for view in load_posed_images(path, split).images]
        for split in ("train", "test", "all")
        for path in (tmp_path, tmp_path / "transforms.json")
    }
    assert names["test"] == ["00", "08"]
    assert len(names["train"]) == 8
    assert len(names["all"]) == 10


def test_a_file_that_names_its_split_is_that_split(tmp_path):
    folder = blender(tmp_path / "a")
    assert len(load_posed_images(folder / "transforms_test.json").images) == 3


def test_a_split_that_is_missing_or_empty_is_refused(tmp_path):
    folder = blender(tmp_path / "a", ("train",))
    with pytest.raises(InvalidRequestError, match="has the splits train"):
        load_posed_images(folder, "test")
    write_json(folder / "transforms_test.json", [], camera_angle_x=ANGLE)
    with pytest.raises(InvalidRequestError, match=r"transforms_test\.json.*'frames' is empty"):
        load_posed_images(folder, "test")
    assert len(load_posed_images(folder, "all").images) == 3
    write_json(tmp_path / "one.json", [frame(0)], camera_angle_x=ANGLE, w=8, h=8)
    with pytest.raises(InvalidRequestError, match="no frame in the split 'train'"):
        load_cameras(tmp_path / "one.json", split="train")
    with pytest.raises(InvalidRequestError, match="no split 'both'"):
        load_posed_images(folder, "both")


def test_frames_in_pixels_are_taken_as_they_are_declared_each_its_own(tmp_path):
    frames = [frame(0, "0.png"), frame(1, "1.png", fl_x=11.0, fl_y=12.0, cx=3.0, cy=5.0, w=8, h=8)]
    keys = {"fl_x": 9.0, "fl_y": 10.0, "cx": 7.5, "cy": 6.5, "w": 16.0, "h": 12.0, "k1": 0.0, "aabb_scale": 4}
    path = write_json(tmp_path / "transforms.json", frames, camera_model="OPENCV", **keys)
    views = load_cameras(path)
    assert (views.layout, views.white_background) == ("instant-ngp", False)
    first, second = (view.camera for view in views.images)
    assert (first.focal_x, first.focal_y, first.centre_x, first.centre_y) == (9.0, 10.0, 7.5, 6.5)
    assert (second.focal_x, second.focal_y, second.width, second.height) == (11.0, 12.0, 8, 8)
    half = load_cameras(write_json(tmp_path / "b.json", frames[:1], **keys), size=(8, 6)).images[0].camera
    assert (half.focal_x, half.focal_y, half.centre_x, half.centre_y) == (4.5, 5.0, 3.75, 3.25)


@pytest.mark.parametrize("has_alpha", [True, False])
def test_frames_in_pixels_have_a_white_background_where_pictures_are_transparent(tmp_path, has_alpha):
    path = write_json(tmp_path / "transforms.json", [frame(0, "0")], fl_x=9.0)
    write_png(tmp_path / "0.png", np.zeros((4, 6, 3)), np.zeros((4, 6)) if has_alpha else None)
    views = load_posed_images(path, "all")
    assert views.white_background == has_alpha
    assert (views.images[0].camera.width, views.images[0].camera.centre_x) == (6, 3.0)


def test_rays_end_as_far_behind_the_point_that_cameras_look_at_as_they_begin_before_it(tmp_path):
    path = write_json(tmp_path / "a.json", [frame(index) for index in range(6)], fl_x=9.0, w=8, h=8)
    views = load_cameras(path)
    assert (views.near, views.far) == (pytest.approx(0.4), pytest.approx(8.0))


def test_cameras_that_look_outwards_or_all_one_way_have_limits_too(tmp_path):
    outwards = [frame(index) for index in range(6)]
    for item in outwards:
        item["transform_matrix"] = (orbit(0) @ np.linalg.inv(item["transform_matrix"])).tolist()
    parallel = [frame(0) for _ in range(3)]
    for frames in (outwards, parallel):
        views = load_cameras(write_json(tmp_path / "a.json", frames, fl_x=9.0, w=8, h=8))
        assert 0.0 < views.near < views.far < math.inf


@pytest.mark.parametrize(
    "keys",
    [{"k4": 0.1}, {"camera_model": "OPENCV_FISHEYE"}, {"is_fisheye": True}],
)
def test_lenses_of_other_models_are_refused(tmp_path, keys):
    path = write_json(tmp_path / "a.json", [frame(0, **keys)], fl_x=9.0, w=8, h=8)
    with pytest.raises(InvalidRequestError, match=r"Frame 0.*Undistort"):
        load_cameras(path)


def changed(row, column, value):
    pose = orbit(0)
    pose[row, column] = value
    return pose.tolist()


@pytest.mark.parametrize(
    "pose",
    [
        np.eye(3).tolist(),
        [[1, 0, 0], [0, 1], [], []],
        changed(0, 0, 3.0),
        changed(3, 0, 1.0),
        changed(0, 3, 1e300),
        np.diag([-1.0, 1.0, 1.0, 1.0]).tolist(),
        np.diag([2.0, 2.0, 2.0, 1.0]).tolist(),
        np.zeros((4, 4)).tolist(),
    ],
)
def test_poses_that_are_no_rigid_motion_are_refused_by_frame(tmp_path, pose):
    frames = [frame(0, "a"), {"file_path": "b", "transform_matrix": pose}]
    path = write_json(tmp_path / "a.json", frames, camera_angle_x=ANGLE, w=8, h=8)
    with pytest.raises(InvalidRequestError, match=r"Frame 1 \('b'\).*transform_matrix"):
        load_cameras(path)


@pytest.mark.parametrize(
    "place", ["/etc/passwd", "../other/r_0", "a/../../b", "C:\\x.png", "..\\x", "a" * 600]
)
def test_pictures_outside_of_the_folder_are_refused(tmp_path, place):
    path = write_json(tmp_path / "a.json", [frame(0, place)], camera_angle_x=ANGLE, w=8, h=8)
    with pytest.raises(InvalidRequestError, match="outside the folder"):
        load_cameras(path)


@pytest.mark.parametrize("place", ["a\0b", "a" * 400, ".", "", "r_0.exr"])
def test_pictures_that_cannot_be_are_missing(tmp_path, place):
    path = write_json(tmp_path / "a.json", [frame(0, place)], camera_angle_x=ANGLE, w=8, h=8)
    assert load_cameras(path).images[0].path is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"frames": 3}',
        '{"frames": [{}]}',
        '{"frames": [{"transform_matrix": "x"}]}',
        '{"frames": [], "camera_angle_x": "wide"}',
        '{"frames": [{"transform_matrix": [[NaN]]}]}',
        '{"frames": [], "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
        "\udcff",
    ],
)
def test_files_that_list_no_cameras_are_refused(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InvalidRequestError, match=r"a\.json"):
        load_cameras(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"camera_angle_x": ANGLE}, r"transforms\.json has no key 'frames'"),
        ({"frames": None}, r"transforms\.json has no key 'frames'"),
        ({"frames": []}, r"transforms\.json lists no cameras: its key 'frames' is empty"),
        ({"frames": [frame(0)]}, r"Frame 0 of .*transforms\.json has no key 'file_path'.*1 of 1 frames"),
        (
            {"frames": [{"file_path": "a.png"}], "camera_angle_x": ANGLE, "w": 8, "h": 8},
            r"Frame 0 \('a\.png'\) of .*transforms\.json has no key 'transform_matrix'",
        ),
    ],
)
@pytest.mark.parametrize("split", ["test", "all"])
def test_a_key_that_is_missing_is_named_with_its_file(tmp_path, content, message, split):
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    write_png(tmp_path / "a.png", np.zeros((8, 8, 3)))
    with pytest.raises(InvalidRequestError, match=message):
        load_posed_images(tmp_path, split)


@pytest.mark.parametrize(
    "keys",
    [
        {"camera_angle_x": 0.0},
        {"camera_angle_x": 4.0},
        {"camera_angle_x": -1.0},
        {},
        {"fl_x": 0.0},
        {"fl_x": 1e300},
        {"fl_x": 1.0, "cx": -1e300},
        {"camera_angle_x": 1.0, "w": 0},
        {"camera_angle_x": 1.0, "w": 1e300},
        {"camera_angle_x": 1.0, "w": 8.5},
    ],
)
def test_cameras_that_cannot_be_are_refused_by_frame(tmp_path, keys):
    path = write_json(tmp_path / "a.json", [frame(0)], **({"w": 8, "h": 8} | keys))
    with pytest.raises(InvalidRequestError, match="Frame 0"):
        load_cameras(path)


def test_a_path_that_holds_no_pictures_says_what_is_looked_for(tmp_path):
    with pytest.raises(InvalidRequestError, match=r"transforms_train\.json.*poses_bounds\.npy"):
        load_posed_images(tmp_path)
    with pytest.raises(InvalidRequestError, match="neither"):
        load_posed_images(tmp_path / "none")
