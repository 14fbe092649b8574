"""Sheets coded as solids: which meshes are taken for sheets, and what comes back of them."""

import numpy as np
import pytest
from shapes import box, cut, sheet, sphere, turned

from scene_codec.geometry.deformable_grid import TsdfGrid, cell_width
from scene_codec.geometry.inflation import REMAINING_CELLS, deflated, inflated_grid, is_sheet
from scene_codec.geometry.marching_cubes import extract
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.signed_distance import SurfaceDistance

RESOLUTION = 24
CELL = cell_width(RESOLUTION)
SHEETS = {
    "sheet": sheet(),
    "sheet along the grid": sheet(tilt=0.0),
    "half a sphere": cut(sphere(0.95), lambda centres: centres[:, 2] > 0.0),
    "sheet from wall to wall": sheet(tilt=0.0, half=0.995),
}


def corners(mesh):
    return mesh.vertices[np.unique(mesh.faces)]


def cells_between(points, mesh):
    return SurfaceDistance(mesh).closest(points).distances / CELL


@pytest.mark.parametrize("name", SHEETS)
def test_a_sheet_comes_back_from_its_inflated_grid_within_a_fraction_of_a_cell(name):
    mesh = SHEETS[name]
    assert is_sheet(mesh, RESOLUTION)
    decoded = deflated(extract(inflated_grid(mesh, RESOLUTION)), RESOLUTION)
    assert cells_between(decoded.vertices, mesh).mean() < REMAINING_CELLS + 0.1
    assert cells_between(corners(mesh), decoded).max() < 0.5


@pytest.mark.parametrize("name", SHEETS)
def test_a_wrong_grid_bends_an_inflated_sheet_and_does_not_tear_it(name):
    mesh = SHEETS[name]
    noise = np.random.default_rng(0).uniform(-0.2, 0.2, (RESOLUTION,) * 3).astype(np.float32)
    wrong = TsdfGrid((inflated_grid(mesh, RESOLUTION).values + noise).clip(-1.0, 1.0))
    decoded = deflated(extract(wrong), RESOLUTION)
    assert cells_between(corners(mesh), decoded).max() < 1.0


@pytest.mark.parametrize(
    "mesh",
    [box(), sphere(), box((1.7, 1.2, 0.2 * CELL)), cut(turned(box()), lambda centres: np.arange(12) > 0)],
    ids=["box", "sphere", "closed plate", "box without a triangle"],
)
def test_solids_are_no_sheets_even_when_thin_or_with_a_small_opening(mesh):
    assert not is_sheet(mesh, RESOLUTION)


def test_an_empty_solid_stays_empty():
    nothing = TriangleMesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    assert len(deflated(nothing, RESOLUTION).faces) == 0
