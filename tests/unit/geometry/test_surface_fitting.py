"""Fitting brings a coarse surface nearer to its target, never further away, and measures as others do."""

import numpy as np
import pytest
from scipy.sparse import eye, kron
from shapes import box, cut, joined, sheet, sphere, turned

from scene_codec.geometry.loop_subdivision import subdivided
from scene_codec.geometry.mesh_edges import MeshEdges
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.surface_fitting import Deviation, FittingTarget
from scene_codec.geometry.surface_simplification import SurfaceSimplifier
from scene_codec.metrics.mesh_distance import compare_meshes

POINTS = 3000
SLIVER = TriangleMesh(
    np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1e-9, 0.0], [0.0, 1.0, 0.2]]),
    np.array([[0, 1, 2], [0, 2, 3]]),
)


@pytest.fixture(scope="module")
def ball():
    return FittingTarget(sphere(rows=20), POINTS)


def fit(target, mesh, steps):
    """Return a mesh fitted to a target, and its error."""
    flat = subdivided(mesh.faces, len(mesh.vertices), 0)
    vertices, error = target.fit(mesh, flat, steps)
    return TriangleMesh(vertices, mesh.faces), error


def error_of(target, mesh):
    """Return how a mesh as it is differs from a target."""
    return target.error_of(subdivided(mesh.faces, len(mesh.vertices), 0), mesh.vertices)


def simplified(mesh, faces):
    return SurfaceSimplifier(mesh).to_faces(faces)


def test_a_coarse_sphere_comes_at_least_a_quarter_nearer(ball):
    coarse = simplified(sphere(rows=20), 60)
    fitted, error = fit(ball, coarse, 6)
    np.testing.assert_array_equal(fitted.faces, coarse.faces)
    assert error.distance < 0.75 * error_of(ball, coarse).distance
    # Told from other points, too.
    assert ball.deviation_of(fitted, 20_000).mean < 0.75 * ball.deviation_of(coarse, 20_000).mean


@pytest.mark.parametrize("steps", [0, 1, 4])
@pytest.mark.parametrize(
    "mesh",
    [
        sphere(rows=8),
        turned(box()),
        cut(sphere(rows=10), lambda centres: centres[:, 2] < 0.3),
        joined(box((0.5, 0.5, 0.5)), sphere(0.3, rows=6)),
        sheet(),
        SLIVER,
    ],
    ids=["sphere", "box", "bowl", "parts", "sheet", "sliver"],
)
def test_fitting_never_makes_it_worse(mesh, steps):
    target = FittingTarget(mesh, POINTS)
    coarse = simplified(mesh, max(1, len(mesh.faces) // 4))
    fitted, error = fit(target, coarse, steps)
    assert error.distance <= error_of(target, coarse).distance
    assert error.distance == error_of(target, fitted).distance
    assert np.isfinite(fitted.vertices).all()


def test_no_steps_leave_the_mesh_as_it_is(ball):
    coarse = simplified(sphere(rows=20), 30)
    assert fit(ball, coarse, 0)[0].vertices is coarse.vertices


def test_a_surface_that_is_there_already_stays_there():
    target = FittingTarget(turned(box()), POINTS)
    fitted, error = fit(target, turned(box()), 5)
    assert error.distance < 1e-9
    np.testing.assert_allclose(fitted.vertices, turned(box()).vertices, atol=1e-6)


def test_vertices_that_were_moved_away_find_back():
    mesh = turned(box())
    moved = TriangleMesh(mesh.vertices * 1.1 + 0.02, mesh.faces)
    fitted, error = fit(FittingTarget(mesh, POINTS), moved, 8)
    assert error.distance < 0.02 * error_of(FittingTarget(mesh, POINTS), moved).distance
    np.testing.assert_allclose(fitted.vertices, mesh.vertices, atol=0.01)


def test_distances_are_those_that_compare_meshes_reports(ball):
    coarse = simplified(sphere(rows=20), 60)
    reference = sphere(rows=20)
    report = compare_meshes(reference, coarse, samples=1000)
    half = np.ptp(reference.vertices, axis=0).max() / 2.0
    # Both are means over 50 000 random points, whose spread is about 0.6 of the mean.
    larger = max(report.decoded_to_reference_mean, report.reference_to_decoded_mean)
    assert ball.deviation_of(coarse, 50_000).mean == pytest.approx(larger * half, rel=0.02)
    assert error_of(ball, coarse).distance == pytest.approx(report.point_to_surface * half, rel=0.05)


def test_the_curvature_foretells_what_moving_a_vertex_does(ball):
    """The quadratic form is that of squared distances along the normals, with pairs as they are."""
    mesh, _ = fit(ball, simplified(sphere(rows=20), 100), 6)
    error = error_of(ball, mesh)
    assert error.curvature.shape == (mesh.vertices.size, mesh.vertices.size)
    assert abs(error.curvature - error.curvature.T).max() < 1e-12
    shift = 0.02 * mesh.vertices.ravel()
    # A sphere that grows by 2 % moves everywhere along its normals: (0.02 radius)^2 on average.
    assert shift @ error.curvature @ shift == pytest.approx((0.02 * 0.7) ** 2, rel=0.1)


def test_the_best_moves_make_the_quadratic_least():
    """Checked against the normal equations written down, for a smooth surface with an open border."""
    dome = cut(sphere(rows=24), lambda centres: centres[:, 2] > -0.2)
    target = FittingTarget(dome, POINTS)
    control = simplified(dome, 60)
    surface = subdivided(control.faces, len(control.vertices), 2)
    error = target.error_of(surface, control.vertices).held(1e-3)
    of_coordinates = kron(surface.weights, eye(3)).tocsr()
    corners = (3 * error.pairs.corners[:, :, None] + np.arange(3)).reshape(-1)
    along = (
        error.pairs.weights[:, :, None] * error.pairs.normals[:, None, :] * error.pairs.missing[:, None, None]
    )
    pull = of_coordinates.T @ np.bincount(corners, along.reshape(-1), of_coordinates.shape[0]) / len(along)
    exact = np.linalg.solve(error.curvature.toarray(), pull)
    moves = error.best_moves().reshape(-1)
    off = moves - exact
    assert off @ error.curvature @ off < 1e-3 * (exact @ error.curvature @ exact)


def test_the_same_fit_gives_the_same_vertices():
    coarse = simplified(sphere(rows=12), 40)
    first, second = (fit(FittingTarget(sphere(rows=12), POINTS), coarse, 2)[0] for _ in range(2))
    np.testing.assert_array_equal(first.vertices, second.vertices)


def test_another_seed_takes_other_points():
    coarse = simplified(sphere(rows=12), 40)
    first, second = (
        error_of(FittingTarget(sphere(rows=12), POINTS, seed), coarse).distance for seed in (0, 1)
    )
    assert first != second
    assert first == pytest.approx(second, rel=0.1)


def test_faces_without_area_do_no_harm(ball):
    mesh = simplified(sphere(rows=20), 40)
    vertices = mesh.vertices.copy()
    vertices[mesh.faces[0, 1]] = vertices[mesh.faces[0, 0]]
    fitted, error = fit(ball, TriangleMesh(vertices, mesh.faces), 2)
    assert np.isfinite(error.distance)
    assert np.isfinite(fitted.vertices).all()


def test_a_border_stays_where_it_is():
    """The distance between surfaces hardly feels a border that runs zigzag or draws back."""
    mesh = sheet()
    target = FittingTarget(mesh, POINTS)
    coarse = simplified(mesh, 8)
    smooth = subdivided(coarse.faces, len(coarse.vertices), 2)
    vertices, _ = target.fit(coarse, smooth, 6)
    edges = MeshEdges.of(coarse.faces)
    border = np.unique(edges.ends[edges.borders])
    size = np.ptp(mesh.vertices, axis=0).max()
    assert np.linalg.norm(vertices - coarse.vertices, axis=1)[border].max() < 0.25 * size


def test_a_part_that_is_far_off_counts_as_if_all_were_nearer_to_it():
    near, gone = np.full(1000, 0.01), np.full(1000, 0.01)
    gone[:20] = 0.4
    assert Deviation.of(near, near) == Deviation(0.01, 0.01)
    assert Deviation.of(near, near).counted == 0.01
    assert Deviation.of(near, gone).far == Deviation.of(gone, near).far == 0.4
    assert Deviation.of(near, gone).counted == 0.05
    gone[5:] = 0.01
    assert Deviation.of(near, gone).counted == Deviation.of(near, gone).mean
