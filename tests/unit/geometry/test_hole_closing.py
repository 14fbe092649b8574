"""What closing holes promises: the shortest first, never the longest border, and a sound surface."""

import numpy as np
import pytest
from shapes import cut, joined, perforated, sheet, sphere

from scene_codec.geometry.face_normals import face_areas, face_normals
from scene_codec.geometry.hole_closing import border_loops, holes_of, with_holes_closed
from scene_codec.geometry.manifold_surface import is_closed, is_oriented, manifold, parts_of, welded
from scene_codec.geometry.scene_object import TriangleMesh


def outline(corners):
    """A ring of quads around a flat hole with these corners, seen counterclockwise."""
    inner = np.array(corners, float)
    outer = 3.0 * inner
    flat = np.concatenate([inner, outer])
    count = len(inner)
    a, b = np.arange(count), np.roll(np.arange(count), -1)
    faces = np.concatenate([np.stack([b, a, a + count], axis=1), np.stack([b, a + count, b + count], axis=1)])
    return TriangleMesh(np.column_stack([flat, np.zeros(len(flat))]), faces)


SQUARE = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
ARROW = [(-1.0, -1.0), (0.0, 0.6), (1.0, -1.0), (0.0, 2.0)]
"""Its centroid is outside of what it looks at: triangles around that would fold."""


def test_borders_run_along_the_faces():
    loops = border_loops(sheet().faces)
    assert len(loops) == 1
    start = int(np.flatnonzero(loops[0] == 0)[0])
    np.testing.assert_array_equal(np.roll(loops[0], -start), [0, 1, 2, 3])
    assert border_loops(sphere(rows=4).faces) == []


def test_holes_are_all_borders_but_the_longest_of_each_part():
    bowl = cut(sphere(rows=10), lambda centres: centres[:, 2] < 0.3)
    mesh = manifold(welded(joined(perforated(2), bowl)))
    holes = holes_of(mesh)
    assert len(holes) == 4
    assert all(len(hole) == 12 for hole in holes)


def test_shorter_holes_come_first():
    tube = cut(sphere(rows=10), lambda centres: (centres[:, 2] < 0.3) & (centres[:, 2] > -0.6))
    tube = welded(tube)
    (hole,) = holes_of(tube)
    assert (tube.vertices[hole, 2] < -0.5).all()


@pytest.mark.parametrize("count", [0, 1, 7, 36, 50])
def test_as_many_holes_as_asked_for_are_closed_and_no_face_turns(count):
    mesh = perforated(6)
    closed = with_holes_closed(mesh, count)
    assert len(holes_of(closed)) == max(36 - count, 0)
    assert is_oriented(closed.faces)
    assert len(manifold(welded(closed)).vertices) == len(closed.vertices)
    assert parts_of(closed.faces).max() == 0
    assert (face_normals(closed)[:, 2] > 0.99).all()
    assert not is_closed(closed.faces)


@pytest.mark.parametrize("corners", [SQUARE, ARROW, SQUARE[:3]])
def test_a_hole_is_covered_once(corners):
    mesh = outline(corners)
    closed = with_holes_closed(mesh, 1)
    x, y = np.array(corners, float).T
    area = 0.5 * (x * np.roll(y, -1) - y * np.roll(x, -1)).sum()
    assert is_oriented(closed.faces)
    assert len(border_loops(closed.faces)) == 1
    np.testing.assert_allclose(face_areas(closed).sum() - face_areas(mesh).sum(), area)


def test_no_edge_gets_a_third_face_where_corners_of_a_hole_are_joined_already():
    mesh = outline(ARROW)
    # A flap over the hole joins the two corners between which it would be cut.
    flap = TriangleMesh(np.concatenate([mesh.vertices, [[0.0, 1.0, 1.0]]]), mesh.faces)
    for faces in (np.array([[1, 3, 8]]), np.array([[3, 1, 8]])):
        joined_over = manifold(TriangleMesh(flap.vertices, np.concatenate([mesh.faces, faces])))
        assert is_oriented(with_holes_closed(joined_over, 9).faces)
