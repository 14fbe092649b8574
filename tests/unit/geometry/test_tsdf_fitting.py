"""Grids with and without displacements: what comes back, and what must stay as it is."""

import numpy as np
import pytest
from shapes import box, cut, joined, sheet, sphere, turned

from scene_codec.errors import Cancelled, InvalidRequestError
from scene_codec.geometry.deformable_grid import TRUNCATION_CELLS, cell_width
from scene_codec.geometry.marching_cubes import extract
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.signed_distance import SurfaceDistance
from scene_codec.geometry.surface_refinement import QUANTISER_STEPS
from scene_codec.geometry.tsdf_fitting import fit_tsdf_grid
from scene_codec.geometry.tsdf_grid import tsdf_grid
from scene_codec.progress import CancelToken, Progress

RESOLUTION = 24
CELL = cell_width(RESOLUTION)


def surface_points(mesh, count=4000):
    generator = np.random.default_rng(0)
    corners = mesh.vertices[mesh.faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    pick = generator.choice(len(areas), count, p=areas / areas.sum())
    weights = generator.dirichlet(np.ones(3), count)
    return np.einsum("ij,ijk->ik", weights, corners[pick])


def errors_in_cells(mesh, grid):
    """Mean distance of the decoded surface from the mesh, and of the mesh from the decoded surface."""
    decoded = extract(grid)
    if len(decoded.faces) == 0:
        return np.inf, np.inf
    return (
        SurfaceDistance(mesh).closest(surface_points(decoded)).distances.mean() / CELL,
        SurfaceDistance(decoded).closest(surface_points(mesh)).distances.mean() / CELL,
    )


THIN = {
    "plate of a fifth of a cell": turned(box((1.7, 1.2, 0.2 * CELL))),
    "plate along the grid": box((1.7, 1.2, 0.3 * CELL)),
    "rod of a third of a cell": turned(box((1.9, 0.35 * CELL, 0.35 * CELL))),
    "wall of a hollow sphere": joined(
        sphere(0.9), TriangleMesh(sphere(0.9 - 0.3 * CELL).vertices, sphere().faces[:, ::-1])
    ),
}
OPEN = {
    "sheet": sheet(),
    "sheet along the grid": sheet(tilt=0.0),
    "half a sphere": cut(sphere(0.9), lambda centres: centres[:, 2] > 0.0),
    "square tube": cut(turned(box()), lambda centres: np.arange(12) > 3),
}


@pytest.mark.parametrize("name", THIN)
def test_displaced_vertices_bring_back_thin_parts_that_a_plain_grid_loses(name):
    plain = max(errors_in_cells(THIN[name], tsdf_grid(THIN[name], RESOLUTION, shells=False)))
    fitted = errors_in_cells(THIN[name], fit_tsdf_grid(THIN[name], RESOLUTION))
    assert max(fitted) < 0.15
    assert max(fitted) < 0.5 * plain


@pytest.mark.parametrize("name", OPEN)
def test_open_surfaces_come_back_without_an_invented_lid(name):
    to_mesh, from_mesh = errors_in_cells(OPEN[name], fit_tsdf_grid(OPEN[name], RESOLUTION))
    assert to_mesh < 0.15
    assert from_mesh < 0.1


@pytest.mark.parametrize("name", [*THIN, *OPEN])
def test_without_displacements_a_shell_of_less_than_two_cells_keeps_all_of_the_input(name):
    mesh = {**THIN, **OPEN}[name]
    grid = tsdf_grid(mesh, RESOLUTION)
    decoded = SurfaceDistance(extract(grid))
    assert decoded.closest(surface_points(mesh)).distances.max() < 1.5 * CELL
    assert errors_in_cells(mesh, grid)[0] < 1.0


@pytest.mark.parametrize(
    "mesh", [sphere(0.8), turned(box()), box((1.99, 1.0, 0.7))], ids=["sphere", "box", "slab"]
)
def test_solids_are_fitted_better_than_by_a_plain_grid(mesh):
    plain = errors_in_cells(mesh, tsdf_grid(mesh, RESOLUTION))
    fitted = errors_in_cells(mesh, fit_tsdf_grid(mesh, RESOLUTION))
    assert sum(fitted) < 0.8 * sum(plain)


def test_the_missing_rim_of_a_bust_changes_nothing_else():
    bust = cut(sphere(0.9), lambda centres: centres[:, 2] < 0.86)
    assert errors_in_cells(bust, fit_tsdf_grid(bust, RESOLUTION))[1] < 0.05
    assert tsdf_grid(bust, RESOLUTION).values[12, 12, 12] < 0.0


def test_plain_values_are_the_truncated_distance_in_units_of_two_cells():
    grid = tsdf_grid(box(), RESOLUTION)
    axis = np.linspace(-1, 1, RESOLUTION)
    excess = np.abs(np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)) - 0.5
    distance = np.linalg.norm(np.maximum(excess, 0.0), axis=-1) + np.minimum(excess.max(axis=-1), 0.0)
    expected = (distance / (TRUNCATION_CELLS * CELL)).clip(-1.0, 1.0)
    assert grid.deformation is None
    np.testing.assert_allclose(grid.values, expected, atol=1e-6)


def test_displacements_are_zero_away_from_the_surface_and_stay_in_range():
    mesh = turned(box())
    grid = fit_tsdf_grid(mesh, RESOLUTION)
    axis = np.linspace(-1, 1, RESOLUTION)
    nodes = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    far = SurfaceDistance(mesh).closest(nodes).distances.reshape((RESOLUTION,) * 3) > 2.0 * CELL
    assert not grid.deformation[far].any()
    assert np.abs(grid.deformation).max() <= 1.0
    assert np.abs(grid.values).max() <= 1.0
    assert (np.abs(grid.values[far]) == 1.0).all()


def test_fitted_vertices_lie_on_the_levels_of_the_papers_quantiser():
    grid = fit_tsdf_grid(turned(box()), RESOLUTION)
    steps = grid.deformation * QUANTISER_STEPS
    np.testing.assert_array_equal(steps, np.rint(steps))
    assert steps.any()


def test_the_same_mesh_gives_the_same_grid():
    first, second = (fit_tsdf_grid(THIN["wall of a hollow sphere"], RESOLUTION) for _ in range(2))
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.deformation, second.deformation)


def test_a_resolution_out_of_range_is_refused():
    for resolution in (7, 513):
        with pytest.raises(InvalidRequestError, match="between 8 and 512"):
            fit_tsdf_grid(box(), resolution)
        with pytest.raises(InvalidRequestError, match="between 8 and 512"):
            tsdf_grid(box(), resolution)


def test_a_cancelled_fit_stops_at_its_next_step():
    token = CancelToken()
    seen = []

    def stop_when_refining(event):
        seen.append(event.fraction)
        if event.fraction > 0.4:
            token.cancel()

    with pytest.raises(Cancelled):
        fit_tsdf_grid(sphere(), RESOLUTION, progress=Progress(stop_when_refining, token))
    assert seen == sorted(seen)
