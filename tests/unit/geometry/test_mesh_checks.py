"""What can be encoded and what is refused, by name and reason."""

import numpy as np
import pytest
from shapes import box, cut, joined, sphere

from scene_codec.errors import UnsupportedSceneError
from scene_codec.geometry.mesh_checks import prepare_mesh
from scene_codec.geometry.scene_object import TriangleMesh


def area(mesh):
    corners = mesh.vertices[mesh.faces]
    return (
        np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum()
        / 2
    )


def with_vertex(value):
    mesh = box()
    vertices = mesh.vertices.copy()
    vertices[3, 1] = value
    return TriangleMesh(vertices, mesh.faces)


@pytest.mark.parametrize(
    ("mesh", "reason"),
    [
        (TriangleMesh(np.zeros((4, 3)), np.zeros((0, 3), dtype=np.int64)), "no faces"),
        (TriangleMesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)), "no faces"),
        (TriangleMesh(box().vertices, np.array([[0, 1, 8]])), "refers to vertex 8"),
        (TriangleMesh(box().vertices, np.array([[0, 1, -1]])), "refers to vertex -1"),
        (with_vertex(np.nan), "not finite"),
        (with_vertex(np.inf), "not finite"),
        (with_vertex(1e35), "Scale it down"),
        (TriangleMesh(box().vertices * 0.0, box().faces), "without area"),
        (TriangleMesh(box().vertices * np.array([1.0, 0.0, 0.0]), box().faces), "without area"),
        (TriangleMesh(box().vertices * 1e-35, box().faces), "too small"),
        (TriangleMesh(box().vertices * 1e-6 + 1e7, box().faces), "Move it closer"),
        (TriangleMesh(np.zeros((4, 2)), box().faces), r"shape \(v, 3\)"),
    ],
)
def test_a_mesh_that_cannot_be_encoded_is_refused_with_its_name_and_the_reason(mesh, reason):
    with pytest.raises(UnsupportedSceneError, match=reason) as caught:
        prepare_mesh(mesh, "Suzanne.001")
    assert "Suzanne.001" in str(caught.value)


@pytest.mark.parametrize(
    "mesh",
    [
        TriangleMesh(sphere().vertices * 1e-6, sphere().faces),
        TriangleMesh(sphere().vertices * 1e9, sphere().faces),
        TriangleMesh(sphere().vertices + 1e7, sphere().faces),
        cut(sphere(), lambda centres: centres[:, 2] > 0.0),
        joined(box(), box(centre=(0.3, 0.2, 0.1)), sphere()),
        TriangleMesh(box().vertices * np.array([1.0, 1.0, 0.0]), box().faces[:4]),
    ],
    ids=["tiny", "huge", "far away", "open", "self-intersecting parts", "flat"],
)
def test_unusual_meshes_pass_with_their_surface_unchanged(mesh):
    prepared = prepare_mesh(mesh, "mesh")
    assert area(prepared) == pytest.approx(area(mesh), rel=1e-9)


def test_faces_without_area_and_unused_vertices_are_removed_and_nothing_is_merged():
    mesh = box()
    vertices = np.concatenate([[[9.0, 9.0, 9.0]], mesh.vertices, mesh.vertices[:1]])
    faces = np.concatenate([mesh.faces + 1, [[1, 1, 2], [1, 2, 2], [1, 9, 2]]])
    prepared = prepare_mesh(TriangleMesh(vertices, faces), "mesh")
    np.testing.assert_array_equal(prepared.vertices[prepared.faces], mesh.vertices[mesh.faces])


def test_a_bad_coordinate_that_no_face_uses_does_no_harm():
    mesh = box()
    vertices = np.concatenate([mesh.vertices, [[np.nan, np.inf, 0.0]]])
    assert len(prepare_mesh(TriangleMesh(vertices, mesh.faces), "mesh").vertices) == 8
