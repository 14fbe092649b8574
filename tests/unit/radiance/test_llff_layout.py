"""Forward-facing captures: the poses' mathematics, splits, folders of pictures, refusals."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from scene_codec.errors import InvalidRequestError
from scene_codec.radiance.image_files import write_png
from scene_codec.radiance.llff_layout import average_pose, read_poses
from scene_codec.radiance.posed_images import load_cameras, load_posed_images

WIDTH, HEIGHT, FOCAL = 64, 48, 50.0


def rows_of(count=9, seed=0):
    """Return poses as LLFF writes them, of cameras that look about along -z, and their OpenGL poses."""
    draw = np.random.default_rng(seed)
    axes = Rotation.from_rotvec(draw.normal(0.0, 0.1, (count, 3))).as_matrix()
    places = draw.normal([5.0, -2.0, 1.0], 0.3, (count, 3))
    rows = np.zeros((count, 17))
    for row, turn, place in zip(rows, axes, places, strict=True):
        matrix = np.stack([-turn[:, 1], turn[:, 0], turn[:, 2], place, [HEIGHT, WIDTH, FOCAL]], axis=1)
        row[:15] = matrix.ravel()
        row[15:] = sorted(draw.uniform(3.0, 20.0, 2))
    return rows, axes, places


def capture(folder, count=9, factors=(8, 4), rows=None):
    folder.mkdir(exist_ok=True)
    np.save(folder / "poses_bounds.npy", rows_of(count)[0] if rows is None else rows)
    for factor in factors:
        pictures = folder / ("images" if factor == 1 else f"images_{factor}")
        pictures.mkdir()
        for index in range(count):
            grey = np.full((HEIGHT // factor, WIDTH // factor, 3), index / 255)
            write_png(pictures / f"view_{index:02}.png", grey)
    return folder


def test_the_average_camera_is_the_identity_and_the_nearest_depth_four_thirds(tmp_path):
    rows, axes, places = rows_of()
    np.save(tmp_path / "p.npy", rows)
    captured = read_poses(tmp_path / "p.npy")
    np.testing.assert_allclose(average_pose(captured.poses), np.eye(4), atol=1e-12)
    assert captured.bounds.min() == pytest.approx(4 / 3)
    turns = captured.poses[:, :3, :3]
    np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), np.tile(np.eye(3), (9, 1, 1)), atol=1e-12)
    # Between any two cameras nothing has changed but the unit of length.
    between = np.linalg.inv(captured.poses[0]) @ captured.poses[1]
    np.testing.assert_allclose(between[:3, :3], axes[0].T @ axes[1], atol=1e-12)
    scale = (4 / 3) / rows[:, 15:].min()
    np.testing.assert_allclose(between[:3, 3], scale * axes[0].T @ (places[1] - places[0]), atol=1e-12)


def test_cameras_look_along_minus_z_with_y_up(tmp_path):
    rows, _, _ = rows_of()
    np.save(tmp_path / "p.npy", rows)
    captured = read_poses(tmp_path / "p.npy")
    assert (captured.poses[:, 2, 2] > 0.8).all()
    assert (captured.poses[:, 1, 1] > 0.8).all()


def test_every_eighth_view_is_for_tests_and_the_others_for_training(tmp_path):
    folder = capture(tmp_path / "fern", count=18)
    names = {
        split: [image.camera.name for image in load_posed_images(folder, split).images]
        for split in ("train", "val", "test", "all")
    }
    assert names["test"] == names["val"] == ["view_00", "view_08", "view_16"]
    assert sorted(names["train"] + names["test"]) == names["all"]
    assert len(names["all"]) == 18


def test_the_smallest_pictures_are_taken_and_focal_lengths_fit_them(tmp_path):
    captured = load_posed_images(capture(tmp_path / "a"), "all")
    camera = captured.images[3].camera
    assert (captured.layout, captured.near, captured.far, captured.white_background) == (
        "llff",
        0.0,
        1.0,
        False,
    )
    assert captured.ndc == (2 * FOCAL / WIDTH, 2 * FOCAL / HEIGHT)
    assert (camera.width, camera.height) == (8, 6)
    assert (camera.focal_x, camera.centre_x, camera.centre_y) == (FOCAL / 8, 4.0, 3.0)
    assert captured.images[3].path.parent.name == "images_8"
    np.testing.assert_allclose(captured.images[3].load(False), 3 / 255, atol=1e-6)


@pytest.mark.parametrize("split", ["train", "test"])
def test_in_world_space_rays_run_from_before_the_nearest_to_the_farthest_thing(tmp_path, split):
    rows, _, _ = rows_of()
    captured = load_posed_images(capture(tmp_path / "a", rows=rows), split)
    world = captured.in_world_space()
    assert (captured.near, captured.far) == (0.0, 1.0)
    assert world.near == pytest.approx(0.9 * 4 / 3)
    assert world.far == pytest.approx(rows[:, 16].max() * (4 / 3) / rows[:, 15].min())
    assert world.ndc is None
    assert world.images == captured.images
    assert world.in_world_space() is world


@pytest.mark.parametrize(
    ("size", "folder"), [((8, 6), "images_8"), ((12, 9), "images_4"), ((16, 12), "images_4")]
)
def test_the_pictures_that_suit_the_wanted_size_are_taken(tmp_path, size, folder):
    captured = load_posed_images(capture(tmp_path / "a"), "all", size=size)
    assert captured.images[0].path.parent.name == folder
    assert captured.images[1].load(False).shape == (size[1], size[0], 3)
    assert captured.images[0].camera.focal_x == pytest.approx(FOCAL * size[0] / WIDTH)
    assert captured.ndc == (2 * FOCAL / WIDTH, 2 * FOCAL / HEIGHT)


def test_more_pixels_than_there_are_is_refused_for_pictures_but_not_for_cameras(tmp_path):
    folder = capture(tmp_path / "a")
    with pytest.raises(InvalidRequestError, match="at most 16 x 12"):
        load_posed_images(folder, size=(64, 48))
    assert load_cameras(folder, size=(640, 480)).images[0].camera.focal_x == FOCAL * 10


def test_another_shape_is_refused_with_one_that_fits(tmp_path):
    with pytest.raises(InvalidRequestError, match="8 x 6"):
        load_posed_images(capture(tmp_path / "a"), size=(8, 8))


def test_cameras_need_no_pictures(tmp_path):
    cameras = load_cameras(capture(tmp_path / "a", factors=()))
    assert [image.path for image in cameras.images] == [None] * 9
    assert (cameras.images[0].camera.width, cameras.images[0].camera.focal_x) == (WIDTH, FOCAL)
    assert len({image.camera.name for image in cameras.images}) == 9
    with pytest.raises(InvalidRequestError, match="no pictures"):
        load_posed_images(tmp_path / "a")


def test_pictures_must_be_as_many_as_poses(tmp_path):
    folder = capture(tmp_path / "a")
    (folder / "images_8" / "view_04.png").unlink()
    with pytest.raises(InvalidRequestError, match=r"8 pictures.*9 poses"):
        load_posed_images(folder)


def test_too_few_views_for_a_split_are_refused(tmp_path):
    with pytest.raises(InvalidRequestError, match="too few"):
        load_posed_images(capture(tmp_path / "a", count=1))


def broken(place, value):
    rows = rows_of()[0]
    rows[2, place] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (broken(0, 7.0), "View 2.*no rotation"),
        (broken(3, np.nan), "View 2.*not finite"),
        (broken(4, 1e9), "View 2.*pixels"),
        (broken(14, -1.0), "View 2.*focal"),
        (broken(15, 0.0), "View 2.*depths"),
        (np.zeros((3, 16)), "17 numbers"),
        (np.zeros((0, 17)), "17 numbers"),
        (np.zeros((3, 17), np.int64), "floating-point"),
    ],
)
def test_poses_that_cannot_be_are_refused(tmp_path, rows, words):
    with pytest.raises(InvalidRequestError, match=words):
        load_posed_images(capture(tmp_path / "a", rows=rows))


def test_a_damaged_file_of_poses_is_refused_at_every_length(tmp_path):
    folder = capture(tmp_path / "a")
    content = (folder / "poses_bounds.npy").read_bytes()
    for length in [*range(0, 140), len(content) - 1]:
        (folder / "poses_bounds.npy").write_bytes(content[:length])
        with pytest.raises(InvalidRequestError, match=r"poses_bounds\.npy"):
            load_posed_images(folder)


def test_a_header_that_declares_a_petabyte_allocates_nothing(tmp_path):
    folder = capture(tmp_path / "a")
    content = (folder / "poses_bounds.npy").read_bytes()
    (folder / "poses_bounds.npy").write_bytes(
        content.replace(b"(9, 17), }" + b" " * 12, b"(9999999999999, 17), }")
    )
    with pytest.raises(InvalidRequestError):
        load_posed_images(folder)


def test_objects_in_the_file_of_poses_are_not_unpickled(tmp_path):
    folder = capture(tmp_path / "a")
    np.save(folder / "poses_bounds.npy", np.array([[{}] * 17], dtype=object))
    with pytest.raises(InvalidRequestError, match="no whole"):
        load_posed_images(folder)
