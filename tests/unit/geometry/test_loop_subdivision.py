"""Subdivision splits and smooths as published, keeps borders and creases, and knows no order of vertices."""

import numpy as np
import pytest
from shapes import box, cut, joined, sheet, sphere, turned

from scene_codec.geometry.loop_subdivision import SurfaceFeatures, subdivided
from scene_codec.geometry.manifold_surface import is_closed, is_oriented
from scene_codec.geometry.mesh_edges import MeshEdges
from scene_codec.geometry.scene_object import TriangleMesh

MESHES = {
    "sphere": sphere(rows=6),
    "box": turned(box()),
    "bowl": cut(sphere(rows=10), lambda centres: centres[:, 2] < 0.3),
    "parts": joined(box((0.5, 0.5, 0.5)), sphere(0.3, rows=6)),
    "sheet": sheet(),
}


def flat_grid(side=6):
    """A plane of squares, each of two triangles, with valence 6 inside."""
    across, along = np.meshgrid(np.arange(side + 1.0), np.arange(side + 1.0), indexing="ij")
    corner = (np.arange(side)[:, None] * (side + 1) + np.arange(side)).reshape(-1, 1)
    faces = np.concatenate([corner + half for half in ([0, side + 1, side + 2], [0, side + 2, 1])])
    return TriangleMesh(np.stack([across.ravel(), along.ravel(), np.zeros(across.size)], axis=1), faces)


def features(mesh, crease_pairs=(), corners=()):
    """Return features by the vertices of the creases, and by corners."""
    edges = MeshEdges.of(mesh.faces)
    pairs = np.sort(np.array(list(crease_pairs), np.int64).reshape(-1, 2), axis=1)
    chosen = np.zeros(len(mesh.vertices), bool)
    chosen[list(corners)] = True
    return SurfaceFeatures(edges.among(pairs, len(chosen)), chosen)


def all_sharp(mesh):
    """Return features with every edge a crease and every vertex a corner."""
    return SurfaceFeatures(np.ones(len(MeshEdges.of(mesh.faces)), bool), np.ones(len(mesh.vertices), bool))


def smooth_over(mesh, levels, known=None):
    """Return the surface over a mesh."""
    return subdivided(mesh.faces, len(mesh.vertices), levels, known).over(mesh.vertices)


@pytest.mark.parametrize("levels", [0, 1, 2, 3])
@pytest.mark.parametrize("name", MESHES)
def test_each_level_splits_faces_in_four_and_keeps_the_manifold(name, levels):
    mesh = MESHES[name]
    surface = subdivided(mesh.faces, len(mesh.vertices), levels)
    assert len(surface.faces) == len(mesh.faces) * 4**levels
    assert is_oriented(surface.faces)
    assert is_closed(surface.faces) == is_closed(mesh.faces)
    assert surface.faces.max() < surface.weights.shape[0]
    np.testing.assert_allclose(surface.weights.sum(axis=1), 1.0, atol=1e-12)
    assert surface.weights.min() >= 0.0


@pytest.mark.parametrize("name", MESHES)
def test_no_levels_leave_the_mesh(name):
    over = smooth_over(MESHES[name], 0)
    np.testing.assert_array_equal(over.vertices, MESHES[name].vertices)
    np.testing.assert_array_equal(over.faces, MESHES[name].faces)


@pytest.mark.parametrize("name", MESHES)
def test_a_surface_moves_with_its_control_mesh(name):
    mesh = MESHES[name]
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    moved = TriangleMesh(mesh.vertices @ turn + [1.0, -2.0, 3.0], mesh.faces)
    over = smooth_over(mesh, 2).vertices @ turn + [1.0, -2.0, 3.0]
    np.testing.assert_allclose(smooth_over(moved, 2).vertices, over, atol=1e-12)


def test_the_masks_are_those_of_loop():
    """At a vertex of valence 6: 5/8 of itself, 1/16 of each neighbour; on an edge 3/8, 3/8, 1/8, 1/8."""
    mesh = flat_grid()
    middle = 3 * 7 + 3
    weights = subdivided(mesh.faces, len(mesh.vertices), 1).weights.toarray()
    row = weights[middle]
    assert row[middle] == pytest.approx(5 / 8)
    assert np.sort(row[row > 0.0])[:-1] == pytest.approx([1 / 16] * 6)
    edges = MeshEdges.of(mesh.faces)
    (edge,) = np.flatnonzero((edges.ends == [middle, middle + 1]).all(axis=1))
    row = weights[len(mesh.vertices) + edge]
    assert row[[middle, middle + 1]] == pytest.approx([3 / 8, 3 / 8])
    assert row[edges.apexes[edge]] == pytest.approx([1 / 8, 1 / 8])


def test_a_valence_of_three_weighs_three_sixteenths():
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    row = subdivided(faces, 4, 1).weights.toarray()[0]
    assert row == pytest.approx([7 / 16, 3 / 16, 3 / 16, 3 / 16])


def test_borders_are_a_curve_of_their_own():
    """What lies inside does not move the border: 3/4, 1/8, 1/8 (a cubic spline)."""
    mesh = flat_grid()
    weights = subdivided(mesh.faces, len(mesh.vertices), 1).weights.toarray()
    row = weights[3]
    assert row[[2, 3, 4]] == pytest.approx([1 / 8, 3 / 4, 1 / 8])
    assert np.count_nonzero(row) == 3


def test_everything_sharp_is_the_flat_surface():
    mesh = turned(box())
    over = smooth_over(mesh, 2, all_sharp(mesh))
    np.testing.assert_allclose(over.vertices[: len(mesh.vertices)], mesh.vertices)
    normals = np.cross(
        over.vertices[over.faces[:, 1]] - over.vertices[over.faces[:, 0]],
        over.vertices[over.faces[:, 2]] - over.vertices[over.faces[:, 0]],
    )
    assert 0.5 * np.linalg.norm(normals, axis=1).sum() == pytest.approx(area(mesh))


def area(mesh):
    """Return the area of a mesh."""
    corners = mesh.vertices[mesh.faces]
    doubled = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return 0.5 * float(np.linalg.norm(doubled, axis=1).sum())


def test_a_crease_stays_in_its_plane_where_smooth_edges_round_off():
    """A folded sheet: with the fold as a crease both halves stay flat."""
    mesh = flat_grid()
    folded = mesh.vertices.copy()
    folded[:, 2] = np.abs(folded[:, 0] - 3.0)
    mesh = TriangleMesh(folded, mesh.faces)
    fold = [(3 * 7 + column, 3 * 7 + column + 1) for column in range(6)]
    sharp = smooth_over(mesh, 2, features(mesh, fold))
    np.testing.assert_allclose(sharp.vertices[:, 2], np.abs(sharp.vertices[:, 0] - 3.0), atol=1e-12)
    rounded = smooth_over(mesh, 2)
    assert rounded.vertices[:, 2].min() > 0.1


def test_corners_stay_and_where_three_creases_meet_there_is_one():
    mesh = flat_grid()
    centre = 3 * 7 + 3
    lifted = mesh.vertices.copy()
    lifted[centre, 2] = 1.0
    mesh = TriangleMesh(lifted, mesh.faces)
    assert smooth_over(mesh, 2).vertices[centre, 2] < 0.7
    assert smooth_over(mesh, 2, features(mesh, corners=[centre])).vertices[centre, 2] == 1.0
    spokes = [(centre, centre + 1), (centre, centre + 7), (centre, centre - 1)]
    assert smooth_over(mesh, 2, features(mesh, spokes)).vertices[centre, 2] == 1.0
    assert smooth_over(mesh, 2, features(mesh, spokes[:1])).vertices[centre, 2] < 0.7


def test_a_coarse_ball_becomes_rounder():
    mesh = sphere(rows=6)
    radii = np.linalg.norm(smooth_over(mesh, 3).vertices, axis=1)
    coarse = np.linalg.norm(mesh.vertices[mesh.faces].mean(axis=1), axis=1)
    assert np.ptp(radii) / radii.mean() < 0.5 * np.ptp(np.r_[coarse, 1.0]) / coarse.mean()


def test_edges_know_their_faces():
    edges = MeshEdges.of(np.array([[0, 1, 2], [2, 1, 3]]))
    assert edges.ends.tolist() == [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]
    assert edges.borders.tolist() == [True, True, False, True, True]
    assert {*zip(edges.sides[2].tolist(), edges.apexes[2].tolist(), strict=True)} == {(0, 0), (1, 3)}
    assert edges.sides[0].tolist() == [0, -1]
    assert edges.apexes[0].tolist() == [2, -1]
    assert edges.of_faces.tolist() == [[0, 2, 1], [2, 3, 4]]
