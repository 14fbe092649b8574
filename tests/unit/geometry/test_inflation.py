"""Sheets and thin walls coded as thicker solids: which meshes those are, and what comes back of them."""

import numpy as np
import pytest
from shapes import box, cut, joined, sheet, sphere, turned

from scene_codec.geometry.deformable_grid import TsdfGrid, cell_width
from scene_codec.geometry.inflation import REMAINING_CELLS, deflated, inflated_grid, needs_inflation
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
    assert needs_inflation(mesh, RESOLUTION)
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


def hollow(radius, wall_cells):
    inner = sphere(radius - wall_cells * CELL)
    return joined(sphere(radius), TriangleMesh(inner.vertices, inner.faces[:, ::-1]))


THICK = {
    "box": box(),
    "sphere": sphere(),
    "wall of three cells": hollow(0.9, 3.0),
    "plates with gaps of a cell": joined(
        *(box((1.6, 1.2, CELL), (0.0, 0.0, z * CELL)) for z in (-4, -2, 0, 2, 4))
    ),
    "box without a triangle": cut(turned(box()), lambda centres: np.arange(12) > 0),
}


@pytest.mark.parametrize("name", THICK)
def test_solids_are_coded_as_they_are(name):
    assert not needs_inflation(THICK[name], RESOLUTION)


@pytest.mark.parametrize(
    "mesh", [box((1.7, 1.2, 0.2 * CELL)), hollow(0.9, 1.0)], ids=["plate", "hollow sphere"]
)
def test_thin_walls_come_back_as_thick_as_they_were(mesh):
    assert needs_inflation(mesh, RESOLUTION)
    decoded = deflated(extract(inflated_grid(mesh, RESOLUTION)), RESOLUTION)
    assert cells_between(decoded.vertices, mesh).mean() < REMAINING_CELLS + 0.1
    assert cells_between(corners(mesh), decoded).mean() < REMAINING_CELLS + 0.1


def test_an_empty_solid_stays_empty():
    nothing = TriangleMesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    assert len(deflated(nothing, RESOLUTION).faces) == 0
