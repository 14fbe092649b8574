import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from demonstration.picture import Exhibit, draw_comparison
from demonstration.rasteriser import Camera, Material, render

FLAT = Material(front=(0.0, 1.0, 0.0), back=(1.0, 0.0, 0.0))
SQUARE = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
UP, DOWN = np.array([[0, 1, 2], [0, 2, 3]]), np.array([[0, 2, 1], [0, 3, 2]])


def from_above(vertices):
    return Camera.around(vertices, azimuth=-90.0, elevation=89.0)


def test_a_surface_shows_its_front_from_above_and_its_back_from_below():
    for faces, channel in ((UP, 1), (DOWN, 0)):
        picture = render(SQUARE, faces, from_above(SQUARE), FLAT, size=40)
        solid = picture[picture[..., 3] == 255].astype(int)
        assert len(solid) > 400
        assert solid[:, channel].mean() > 100
        assert solid[:, 1 - channel].mean() < 60


def test_the_nearer_of_two_surfaces_hides_the_other():
    vertices = np.concatenate([SQUARE, SQUARE + np.array([0.0, 0.0, 0.5])])
    for faces in (np.concatenate([DOWN, UP + 4]), np.concatenate([UP + 4, DOWN])):
        picture = render(vertices, faces, from_above(vertices), FLAT, size=40)
        assert (picture[18:22, 18:22, 1] > 100).all()
        assert (picture[18:22, 18:22, 0] < 60).all()


def test_neighbouring_triangles_leave_no_gap():
    steps = np.linspace(-1.0, 1.0, 24)
    x, y = np.meshgrid(steps, steps)
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    corner = (np.arange(23)[:, None] * 24 + np.arange(23)[None]).ravel()
    faces = np.concatenate(
        [np.stack([corner, corner + 1, corner + 25], 1), np.stack([corner, corner + 25, corner + 24], 1)]
    )
    picture = render(vertices, faces, from_above(vertices), FLAT, size=64)
    assert (picture[12:52, 12:52, 3] == 255).all()


@settings(derandomize=True, max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_everything_is_inside_the_picture(seed):
    points = np.random.default_rng(seed).normal(size=(12, 3)) * 10.0 ** (seed % 7 - 3)
    projected = Camera.around(points).project(points, 100)
    assert projected[:, :2].min() >= 0.0
    assert projected[:, :2].max() <= 99.0
    assert projected[:, 2].min() > 0.0


def test_a_mesh_without_faces_gives_an_empty_picture():
    assert not render(SQUARE, np.zeros((0, 3), dtype=np.int64), from_above(SQUARE), FLAT, size=16).any()


def test_the_sheet_holds_every_exhibit_even_one_that_was_left_out(tmp_path):
    exhibits = [
        Exhibit("a", (SQUARE, UP), (SQUARE, UP), "before", "after"),
        Exhibit("b", (SQUARE, UP), None, "", ""),
    ]
    draw_comparison(exhibits, "title", "subtitle", tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
