"""Folded triangles are turned back, and nothing else changes."""

import numpy as np
from shapes import sheet, sphere, turned

from scene_codec.geometry.crease_detection import Shape
from scene_codec.geometry.manifold_surface import is_oriented
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.surface_simplification import SurfaceSimplifier
from scene_codec.geometry.unfolding import Unfolder

SQUARE = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])


def plane():
    return Unfolder(Shape.of(TriangleMesh(SQUARE * 4.0 - 1.0, np.array([[0, 1, 2], [0, 2, 3]]))))


def test_a_square_with_a_corner_drawn_in_beyond_its_diagonal_is_turned():
    vertices = SQUARE.copy()
    vertices[1] = [0.3, 0.6, 0.0]
    folded = TriangleMesh(vertices, np.array([[0, 1, 2], [0, 2, 3]]))
    assert plane().backward_share(folded) > 0.1
    found = plane().unfolded(folded)
    assert plane().backward_share(found) == 0.0
    assert sorted(map(sorted, found.faces.tolist())) == [[0, 1, 3], [1, 2, 3]]
    assert is_oriented(found.faces)
    np.testing.assert_array_equal(found.vertices, vertices)


def test_what_looks_the_right_way_is_left_alone():
    for mesh in (sphere(rows=8), turned(sheet())):
        unfolder = Unfolder(Shape.of(mesh))
        assert unfolder.backward_share(mesh) == 0.0
        np.testing.assert_array_equal(unfolder.unfolded(mesh).faces, mesh.faces)


def test_simplified_plates_with_holes_are_hardly_folded():
    side = 20
    across, along = np.meshgrid(np.arange(side + 1.0), np.arange(side + 1.0), indexing="ij")
    corner = np.arange((side + 1) ** 2).reshape(side + 1, side + 1)[:-1, :-1]
    kept = ~((np.indices((side, side)) % 5 == 2).all(axis=0))
    faces = np.concatenate(
        [corner[kept][:, None] + half for half in ([0, side + 1, side + 2], [0, side + 2, 1])]
    )
    mesh = TriangleMesh(np.stack([across.ravel(), along.ravel(), 0.0 * along.ravel()], axis=1) / side, faces)
    simplifier = SurfaceSimplifier(mesh)
    unfolder = Unfolder(simplifier.shape)
    assert unfolder.backward_share(simplifier.to_faces(200)) < 0.02
