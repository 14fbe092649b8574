"""Extraction: topology, orientation, displaced vertices and gradients."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scene_codec.geometry.deformable_grid import TsdfGrid, cell_width
from scene_codec.geometry.marching_cubes import extract, extract_surface
from scene_codec.geometry.signed_distance import is_closed


def sphere_values(resolution=24, radius=0.6):
    axis = np.linspace(-1, 1, resolution)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    distance = np.sqrt(x * x + y * y + z * z) - radius
    return (distance / (2.0 * cell_width(resolution))).clip(-1, 1).astype(np.float32)


def signed_volume(mesh):
    corners = mesh.vertices[mesh.faces]
    return np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6.0


# The paper's quantiser puts values exactly at zero, and a decoder may return anything.
levels = hnp.arrays(np.int8, st.tuples(*[st.just(6)] * 3), elements=st.integers(-2, 2))


@given(levels)
@settings(derandomize=True, max_examples=150)
def test_any_values_give_a_closed_surface_of_proper_triangles(steps):
    mesh = extract(TsdfGrid((steps / 2.0).astype(np.float32)))
    assert np.isfinite(mesh.vertices).all()
    if len(mesh.faces):
        assert mesh.faces.max() < len(mesh.vertices)
        corners = mesh.faces
        start, end = corners.ravel(), np.roll(corners, -1, axis=1).ravel()
        forward = {(int(a), int(b)) for a, b in zip(start, end, strict=True)}
        assert forward == {(b, a) for a, b in forward}


@pytest.mark.parametrize("value", [1.0, -0.0, 0.0, 1e-30])
def test_a_field_without_inside_gives_an_empty_mesh(value):
    mesh = extract(TsdfGrid(np.full((8, 8, 8), value, dtype=np.float32)))
    assert mesh.vertices.shape == (0, 3)
    assert mesh.faces.shape == (0, 3)


def test_a_field_that_is_all_inside_closes_just_beyond_the_grid():
    mesh = extract(TsdfGrid(np.full((8, 8, 8), -1.0, dtype=np.float32)))
    assert is_closed(mesh)
    assert signed_volume(mesh) == pytest.approx((2.0 + cell_width(8)) ** 3, rel=0.05)


def test_a_sphere_comes_back_closed_outward_and_in_place():
    mesh = extract(TsdfGrid(sphere_values()))
    assert is_closed(mesh)
    assert signed_volume(mesh) == pytest.approx(4 / 3 * np.pi * 0.6**3, rel=0.02)
    radii = np.linalg.norm(mesh.vertices, axis=1)
    assert np.abs(radii - 0.6).max() < 0.1 * cell_width(24)


def test_displacing_all_vertices_alike_moves_the_surface_by_as_much():
    plain = extract(TsdfGrid(sphere_values()))
    deformation = np.zeros((24, 24, 24, 3), dtype=np.float32)
    deformation[...] = [1.0, -0.5, 0.25]
    moved = extract(TsdfGrid(sphere_values(), deformation))
    shift = np.array([0.5, -0.25, 0.125]) * cell_width(24)
    np.testing.assert_allclose(moved.vertices, plain.vertices + shift, atol=1e-12)


def test_a_moved_vertex_moves_only_the_crossings_of_its_own_edges():
    values = np.ones((8, 8, 8), dtype=np.float32)
    values[4, 4, 4] = -1.0
    deformation = np.zeros((8, 8, 8, 3), dtype=np.float32)
    deformation[4, 4, 4] = [1.0, 0.0, 0.0]
    mesh = extract(TsdfGrid(values, deformation))
    centre, cell = 4 * cell_width(8) - 1.0, cell_width(8)
    # Half way between the ends: the vertex moved by half a cell carries its crossings along by a quarter.
    expected = {(0.75, 0, 0), (-0.25, 0, 0), (0.25, 0.5, 0), (0.25, -0.5, 0), (0.25, 0, 0.5), (0.25, 0, -0.5)}
    found = {tuple(np.round(place, 6) + 0.0) for place in (mesh.vertices - centre) / cell}
    assert found == expected


def test_the_gradient_is_that_of_finite_differences():
    generator = torch.Generator().manual_seed(0)
    values = torch.from_numpy(sphere_values(10)).double().requires_grad_()
    deformation = (0.3 * torch.rand((10, 10, 10, 3), generator=generator).double()).requires_grad_()

    def measure(field, moved):
        vertices, _ = extract_surface(field, moved)
        weights = torch.sin(torch.arange(vertices.numel(), dtype=torch.float64)).reshape(vertices.shape)
        return (vertices * weights).sum()

    measure(values, deformation).backward()
    crossed = torch.nonzero(values.grad.abs() > 1e-6)
    step = 1e-6
    for index in crossed[::37]:
        place = tuple(int(part) for part in index)
        nudged = values.detach().clone()
        nudged[place] += step
        numeric = (
            measure(nudged, deformation.detach()) - measure(values.detach(), deformation.detach())
        ) / step
        assert float(numeric) == pytest.approx(float(values.grad[place]), rel=1e-3, abs=1e-6)
        shifted = deformation.detach().clone()
        shifted[(*place, 1)] += step
        numeric = (measure(values.detach(), shifted) - measure(values.detach(), deformation.detach())) / step
        assert float(numeric) == pytest.approx(float(deformation.grad[(*place, 1)]), rel=1e-3, abs=1e-6)


def test_triangles_without_area_are_removed_on_request():
    values = np.ones((8, 8, 8), dtype=np.float32)
    values[4, 4, 4] = values[5, 4, 4] = -0.5
    deformation = np.zeros((8, 8, 8, 3), dtype=np.float32)
    # The two inside vertices meet half way: triangles between their parallel edges collapse.
    deformation[4, 4, 4, 0], deformation[5, 4, 4, 0] = 1.0, -1.0
    for x in (4, 5):
        for y, z in ((3, 4), (5, 4), (4, 3), (4, 5)):
            deformation[x, y, z, 0] = 1.0 if x == 4 else -1.0
    grid = TsdfGrid(values, deformation)
    assert len(extract(grid, remove_degenerate=True).faces) < len(extract(grid).faces)
