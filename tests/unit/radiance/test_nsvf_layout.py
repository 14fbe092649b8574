import json
import shutil

import numpy as np
import pytest
from ball_pictures import write_ball

from scene_codec.errors import InvalidRequestError
from scene_codec.radiance.capture_domain import domain_of_pictures
from scene_codec.radiance.held_out_views import load_training_views
from scene_codec.radiance.image_files import write_png
from scene_codec.radiance.posed_images import load_cameras, load_posed_images


@pytest.fixture
def ball(tmp_path):
    """Return a Blender data set, and the same one in the layout of NSVF."""
    blender = write_ball(tmp_path / "blender", splits=(("train", 4), ("val", 2), ("test", 3)))
    folder = tmp_path / "nsvf"
    (folder / "pose").mkdir(parents=True)
    (folder / "rgb").mkdir()
    for digit, split in enumerate(("train", "val", "test")):
        frames = json.loads((blender / f"transforms_{split}.json").read_text())["frames"]
        for index, frame in enumerate(frames):
            name = f"{digit}_{index:04d}"
            pose = np.array(frame["transform_matrix"])
            pose[:, 1:3] *= -1.0
            np.savetxt(folder / "pose" / f"{name}.txt", pose)
            shutil.copy(blender / f"{frame['file_path']}.png", folder / "rgb" / f"{name}.png")
    focal = load_posed_images(blender).images[0].camera.focal_x
    (folder / "intrinsics.txt").write_text(f"{focal} 8.0 8.0 0.\n0. 0. 0.\n0.\n1.\n16 16\n")
    (folder / "bbox.txt").write_text("-1.1 -1.2 -1.3 1.1 1.2 1.3 0.4\n")
    return blender, folder


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_views_are_those_of_the_split_with_the_axes_of_opengl(ball, split):
    blender, folder = (load_posed_images(path, split) for path in ball)
    assert folder.layout == "nsvf"
    assert folder.white_background
    assert len(folder.images) == len(blender.images)
    for image, expected in zip(folder.images, blender.images, strict=True):
        np.testing.assert_allclose(image.camera.pose, expected.camera.pose, atol=1e-12)
        assert image.camera.focal_x == pytest.approx(expected.camera.focal_x)
        assert (image.camera.width, image.camera.centre_y) == (16, 8.0)
        np.testing.assert_array_equal(image.load(True), expected.load(True))
    assert len(load_cameras(ball[1]).images) == 9


def test_the_box_is_that_of_the_scene_and_lies_between_near_and_far(ball):
    images = load_posed_images(ball[1])
    domain = domain_of_pictures(images)
    assert (domain.low, domain.high) == images.box == ((-1.1, -1.2, -1.3), (1.1, 1.2, 1.3))
    assert 1.9 < domain.near < 3.0
    assert 5.0 < domain.far < 6.1
    (ball[1] / "bbox.txt").unlink()
    assert load_posed_images(ball[1]).box is None


@pytest.mark.parametrize("layout", [0, 1], ids=["blender", "nsvf"])
@pytest.mark.parametrize("odd", [0, 2])
@pytest.mark.parametrize("size", [None, (16, 16), (8, 8)])
def test_a_picture_of_another_shape_is_named_as_the_one_that_differs(ball, layout, odd, size):
    path = load_posed_images(ball[layout]).images[odd].path
    write_png(path, np.zeros((12, 14, 3)))
    with pytest.raises(
        InvalidRequestError, match="differs in shape from the others, which have 16 x 16"
    ) as error:
        load_posed_images(ball[layout], size=size)
    assert f"{path} has 14 x 12 pixels" in str(error.value)
    load_cameras(ball[layout], size=(16, 16) if odd else None)
    load_posed_images(ball[layout], "val")


def test_a_few_pictures_of_another_shape_are_counted(ball):
    for image in load_posed_images(ball[1]).images[2:3] + load_posed_images(ball[1]).images[:1]:
        write_png(image.path, np.zeros((16, 10, 3)))
    write_png(ball[1] / "rgb/0_0004.png", np.zeros((16, 16, 3)))
    shutil.copy(ball[1] / "pose/0_0003.txt", ball[1] / "pose/0_0004.txt")
    with pytest.raises(InvalidRequestError, match="differs in shape, as 2 of 5 pictures do, from"):
        load_posed_images(ball[1])


def test_a_picture_that_does_not_fit_its_declared_camera_is_named(ball):
    path = ball[0] / "transforms_train.json"
    listed = json.loads(path.read_text()) | {"w": 16, "h": 16}
    path.write_text(json.dumps(listed))
    images = load_posed_images(ball[0], size=(8, 8)).images
    write_png(images[2].path, np.zeros((12, 14, 3)))
    with pytest.raises(
        InvalidRequestError, match=r"14 x 12 pixels, another shape than the 8 x 8 of its camera"
    ):
        images[2].load(True)


def test_views_for_training_are_kept_apart(ball):
    training, held_out = load_training_views(ball[1], 8)
    assert (len(training.images), len(held_out.images)) == (4, 2)
    assert training.images[0].camera.width == 8


def test_a_matrix_of_intrinsics_is_read_and_tests_may_be_marked_1(ball):
    folder = ball[1]
    for path in [*folder.glob("pose/2_*"), *folder.glob("rgb/2_*")]:
        path.unlink()
    (folder / "intrinsics.txt").write_text("30 0 7 0\n0 31 9 0\n0 0 1 0\n0 0 0 1\n")
    images = load_posed_images(folder, "test").images
    assert [image.camera.name for image in images] == ["1_0000", "1_0001"]
    camera = images[0].camera
    assert (camera.focal_x, camera.focal_y, camera.centre_x, camera.centre_y) == (30.0, 31.0, 7.0, 9.0)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("intrinsics.txt", "", "neither a matrix"),
        ("intrinsics.txt", "-1 8 8 0\n", "not positive"),
        ("intrinsics.txt", "nan 8 8 0\n", "not finite"),
        ("intrinsics.txt", "focal 8 8\n", "something else than numbers"),
        ("bbox.txt", "1 1 1 0 0 0 0.4", "corners of a box"),
        ("bbox.txt", "100 100 100 101 101 101 0.4", None),
        ("pose/0_0001.txt", "1 0 0 0\n", "4 x 4"),
        ("pose/0_0001.txt", "2 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", "no rigid motion"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(ball, name, text, words):
    (ball[1] / name).write_text(text)
    if words is None:
        assert load_posed_images(ball[1]).near > 0.0
        return
    with pytest.raises(InvalidRequestError, match=words):
        load_posed_images(ball[1])


def test_what_is_missing_is_named(ball):
    folder = ball[1]
    (folder / "rgb" / "0_0002.png").unlink()
    with pytest.raises(InvalidRequestError, match="no picture '0_0002'"):
        load_posed_images(folder)
    assert len(load_cameras(folder, split="train").images) == 4
    for path in folder.glob("pose/1_*"):
        path.unlink()
    with pytest.raises(InvalidRequestError, match="no pose of the split 'val'"):
        load_posed_images(folder, "val")
