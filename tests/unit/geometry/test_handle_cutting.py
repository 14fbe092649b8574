"""What cutting handles promises: fewer handles, and the same closed surface in one piece."""

import numpy as np
import pytest
from shapes import joined, perforated, sphere, thickened

from scene_codec.geometry.edge_collapse import CollapsedMeshes
from scene_codec.geometry.face_normals import face_areas
from scene_codec.geometry.handle_cutting import rings_of, with_handles_cut
from scene_codec.geometry.manifold_surface import is_closed, is_oriented, manifold, parts_of, welded
from scene_codec.geometry.mesh_edges import MeshEdges
from scene_codec.geometry.scene_object import TriangleMesh


def handles(mesh):
    parts = len(np.unique(parts_of(mesh.faces)))
    return parts - (len(mesh.vertices) - len(MeshEdges.of(mesh.faces)) + len(mesh.faces)) // 2


def volume(mesh):
    a, b, c = mesh.vertices[mesh.faces.T]
    return (a * np.cross(b, c)).sum() / 6.0


@pytest.fixture(scope="module")
def plate():
    """A plate with nine tunnels, most of which are down to three corners."""
    return CollapsedMeshes(thickened(perforated(3))).to_faces(160)


def test_a_mesh_without_handles_comes_back_itself():
    mesh = sphere(rows=8)
    assert with_handles_cut(mesh, 5) is mesh


def test_rings_are_edges_but_no_faces(plate):
    edges = {tuple(pair) for pair in MeshEdges.of(plate.faces).ends.tolist()}
    faces = {tuple(sorted(face)) for face in plate.faces.tolist()}
    rings = [ring for _, ring in rings_of(plate)]
    assert {len(ring) for ring in rings} == {3, 4}
    for ring in rings:
        assert {tuple(sorted(pair)) for pair in zip(ring, ring[1:] + ring[:1], strict=True)} <= edges
        assert tuple(sorted(ring)) not in faces
        if len(ring) == 4:
            assert edges.isdisjoint({tuple(sorted(ring[::2])), tuple(sorted(ring[1::2]))})


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_as_many_handles_as_asked_for_go_and_the_surface_stays_whole(plate, count):
    whole = with_handles_cut(plate, count)
    assert handles(whole) == 9 - count
    assert is_closed(whole.faces)
    assert is_oriented(whole.faces)
    assert parts_of(whole.faces).max() == 0
    again = manifold(welded(whole, 1e-6))
    assert (len(again.vertices), len(again.faces)) == (len(whole.vertices), len(whole.faces))


def test_tunnels_are_closed_and_leave_a_solid_plate():
    plate = CollapsedMeshes(thickened(perforated(3))).to_faces(220)
    solid = plate
    for _ in range(4):
        solid = with_handles_cut(solid, 9)
    assert handles(solid) == 0
    # Next to nothing is left of the walls within.
    np.testing.assert_allclose(face_areas(solid).sum(), 2 * 1.8**2 + 4 * 1.8 * 0.1, rtol=0.06)
    np.testing.assert_allclose(volume(solid), 1.8**2 * 0.1, rtol=0.06)


def test_a_surface_that_is_inside_out_is_cut_as_well(plate):
    inverted = TriangleMesh(plate.vertices, plate.faces[:, ::-1].copy())
    whole = with_handles_cut(inverted, 2)
    assert handles(whole) == 7
    assert is_closed(whole.faces)


def test_a_neck_is_not_cut():
    corners = np.array([[1.0, 0, 0], [-0.5, 0.9, 0], [-0.5, -0.9, 0], [0, 0, 1.0], [0, 0, -1.0]])
    faces = [[0, 1, 3], [1, 2, 3], [2, 0, 3], [1, 0, 4], [2, 1, 4], [0, 2, 4]]
    mesh = TriangleMesh(corners, np.array(faces))
    assert rings_of(mesh)[0][1] == (0, 1, 2)
    assert with_handles_cut(mesh, 1) is mesh


def test_parts_that_are_far_from_a_cut_stay(plate):
    ball = sphere(radius=0.2, rows=4)
    moved = TriangleMesh(ball.vertices + np.array([0.0, 0.0, 2.0]), ball.faces)
    both = with_handles_cut(joined(plate, moved), 1)
    assert handles(both) == 8
    assert len(np.unique(parts_of(both.faces))) == 2
