"""What a budget of triangles promises: never more, the shape kept, nothing done where nothing is needed."""

import numpy as np
import pytest
from shapes import box, joined, sphere

from scene_codec.geometry.manifold_surface import is_closed
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.signed_distance import SurfaceDistance
from scene_codec.geometry.triangle_budget import within_triangles


def grid(side=14):
    along, across = np.meshgrid(*[np.linspace(-0.9, 0.9, side + 1)] * 2, indexing="ij")
    vertices = np.stack([along, across, 0.2 * along**2], axis=-1).reshape(-1, 3)
    corner = (np.arange(side)[:, None] * (side + 1) + np.arange(side)).ravel()
    halves = ([0, side + 1, side + 2], [0, side + 2, 1])
    return TriangleMesh(vertices, np.concatenate([corner[:, None] + np.array(half) for half in halves]))


def placed(mesh, scale, shift):
    return TriangleMesh(scale * mesh.vertices + shift, mesh.faces)


MESHES = {
    "ball": sphere(rows=12),
    "sheet": grid(),
    "parts": joined(sphere(rows=8), box((0.3, 0.3, 0.3), (0.0, 0.0, 0.9)), grid(6)),
    "many boxes": joined(*[box((0.05, 0.05, 0.05), (0.1 * one - 1.0, 0.0, 0.0)) for one in range(20)]),
}


@pytest.mark.parametrize("name", MESHES)
@pytest.mark.parametrize("budget", [4, 21, 60, 101])
@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1e6, 3e7), (1e-6, 0.0)])
def test_no_mesh_has_more_triangles_than_asked_for(name, budget, scale, shift):
    mesh = within_triangles(placed(MESHES[name], scale, shift), budget)
    assert 0 < len(mesh.faces) <= budget
    assert np.isfinite(mesh.vertices).all()


@pytest.mark.parametrize("more", [0, 1, 1000])
def test_a_mesh_within_the_budget_is_left_as_it_is(more):
    mesh = MESHES["ball"]
    assert within_triangles(mesh, len(mesh.faces) + more) is mesh


def test_the_shape_stays():
    ball = placed(sphere(rows=20), 5.0, 100.0)
    light = within_triangles(ball, 200)
    # Half a per cent of the diameter: 200 flat triangles on a ball are about 0.3 % off.
    assert SurfaceDistance(ball).closest(light.vertices).distances.mean() < 0.005 * 10.0
    assert is_closed(light.faces)


def test_an_open_mesh_stays_open():
    assert not is_closed(within_triangles(grid(), 40).faces)


def test_faces_without_area_alone_are_left_as_they_are():
    flat = TriangleMesh(np.zeros((3, 3)), np.array([[0, 1, 2]] * 5))
    assert within_triangles(flat, 2) is flat
