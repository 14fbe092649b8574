"""Creases are found where the shape has them, however coarse the mesh over it is."""

import numpy as np
from shapes import box, cut, sheet, sphere, turned

from scene_codec.geometry.crease_detection import Shape, detected_features
from scene_codec.geometry.face_normals import face_normals
from scene_codec.geometry.mesh_edges import MeshEdges
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.signed_distance import SurfaceDistance
from scene_codec.geometry.surface_simplification import SurfaceSimplifier


def shape_of(mesh):
    return Shape(SurfaceDistance(mesh), face_normals(mesh))


def found_on(mesh, faces=None):
    """Return a coarse mesh, its edges and the features found."""
    control = mesh if faces is None else SurfaceSimplifier(mesh).to_faces(faces)
    return control, MeshEdges.of(control.faces), detected_features(control, shape_of(mesh))


def test_a_coarse_ball_has_none():
    _, edges, features = found_on(sphere(rows=40), 80)
    assert features.creases.mean() < 0.05
    assert len(edges) > 100
    assert not features.corners.any()


def test_a_box_has_its_twelve_edges_and_no_diagonals():
    mesh = turned(box())
    _, edges, features = found_on(mesh)
    normals = face_normals(mesh)
    bent = (normals[edges.sides[:, 0]] * normals[edges.sides[:, 1]]).sum(axis=1) < 0.5
    np.testing.assert_array_equal(features.creases, bent)


def test_faces_turned_the_other_way_change_nothing():
    mesh = turned(box())
    generator = np.random.default_rng(0)
    faces = mesh.faces.copy()
    swapped = generator.random(len(faces)) < 0.5
    faces[swapped] = faces[swapped][:, ::-1]
    other = detected_features(mesh, shape_of(TriangleMesh(mesh.vertices, faces)))
    np.testing.assert_array_equal(other.creases, detected_features(mesh, shape_of(mesh)).creases)


def test_the_rim_of_half_a_ball_is_smooth_and_the_outline_of_a_sheet_has_four_corners():
    bowl, edges, features = found_on(cut(sphere(rows=40), lambda centres: centres[:, 2] < 0.0), 120)
    assert (features.creases >= edges.borders).all()
    rim = np.unique(edges.ends[edges.borders])
    assert len(rim) >= 8
    assert features.corners[rim].mean() < 0.3
    assert len(bowl.faces) > 50
    _, _, features = found_on(sheet())
    assert features.corners.sum() == 4
