import numpy as np
import pytest

from demonstration.meshes import SHAPES

CLOSED = [name for name in SHAPES if "open" not in name]


def directed_edges(faces):
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_finite_and_uses_valid_vertices(name):
    vertices, faces = SHAPES[name]()
    assert np.isfinite(vertices).all()
    assert faces.min() >= 0
    assert faces.max() < len(vertices)


@pytest.mark.parametrize("name", CLOSED)
def test_closed_shapes_have_each_edge_once_in_either_direction_and_an_inside(name):
    vertices, faces = SHAPES[name]()
    edges = {tuple(edge) for edge in directed_edges(faces).tolist()}
    assert len(edges) == 3 * len(faces)
    assert all((b, a) in edges for a, b in edges)
    corners = vertices[faces]
    volume = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6.0
    assert volume > 0.0


@pytest.mark.parametrize("name", [name for name in SHAPES if name not in CLOSED])
def test_shapes_called_open_have_a_border_and_face_up(name):
    vertices, faces = SHAPES[name]()
    edges = {tuple(edge) for edge in directed_edges(faces).tolist()}
    assert any((b, a) not in edges for a, b in edges)
    corners = vertices[faces]
    assert np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2].sum() > 0.0


def test_shapes_are_the_same_every_time():
    for make in SHAPES.values():
        first, second = make(), make()
        assert np.array_equal(first[0], second[0])
        assert np.array_equal(first[1], second[1])
