"""The metrics against cases whose answer is known."""

from dataclasses import dataclass

import numpy as np
import pytest

from scene_codec.metrics.mesh_distance import compare_meshes


@dataclass(frozen=True)
class Mesh:
    vertices: np.ndarray
    faces: np.ndarray


def square(height=0.0, half=1.0):
    corners = np.array([[-half, -half], [half, -half], [half, half], [-half, half]])
    return Mesh(np.column_stack([corners, np.full(4, height)]), np.array([[0, 1, 2], [0, 2, 3]]))


def test_a_perfect_copy_is_at_the_floor():
    result = compare_meshes(square(), square(), samples=20_000)
    assert result.point_to_surface < 1e-9
    assert abs(result.chamfer_excess) < 0.03 * result.chamfer_floor
    assert result.normal_consistency == pytest.approx(1.0)
    # Two sets of n points on an area A: the nearest is 0.5 * sqrt(A / n) away in the mean.
    assert result.chamfer_floor == pytest.approx(0.5 * np.sqrt(4.0 / 20_000), rel=0.05)


def test_a_parallel_sheet_is_its_offset_away():
    result = compare_meshes(square(), square(0.02), samples=20_000)
    assert result.decoded_to_reference_mean == pytest.approx(0.02)
    assert result.reference_to_decoded_p99 == pytest.approx(0.02)
    assert result.f1_0010 == 0.0
    assert result.chamfer > 0.02


def test_a_missing_half_shows_from_the_reference_only():
    half = square()
    half = Mesh(half.vertices * np.array([0.5, 1.0, 1.0]) + np.array([0.5, 0.0, 0.0]), half.faces)
    result = compare_meshes(square(), half, samples=20_000)
    assert result.decoded_to_reference_mean < 1e-9
    assert result.reference_to_decoded_mean == pytest.approx(0.25, rel=0.02)
    assert result.reference_to_decoded_p99 == pytest.approx(0.98, rel=0.02)
    assert 0.5 < result.f1_0010 < 0.67


def test_the_frame_is_the_references_bounding_box_wherever_it_lies():
    near = compare_meshes(square(), square(0.02), samples=5000)
    far = [Mesh(mesh.vertices * 1e-3 + 1e4, mesh.faces) for mesh in (square(), square(0.02))]
    moved = compare_meshes(*far, samples=5000)
    assert moved.chamfer == pytest.approx(near.chamfer, rel=1e-4)
    assert moved.decoded_to_reference_mean == pytest.approx(near.decoded_to_reference_mean, rel=1e-4)


def test_normals_count_without_their_sign():
    flipped = Mesh(square().vertices, square().faces[:, ::-1])
    assert compare_meshes(square(), flipped, samples=2000).normal_consistency == pytest.approx(1.0)
    upright = Mesh(square().vertices[:, [2, 0, 1]], square().faces)
    assert compare_meshes(square(), upright, samples=2000).normal_consistency == pytest.approx(0.0, abs=1e-9)


def test_the_seed_decides_and_nothing_else():
    first = compare_meshes(square(), square(0.01), samples=3000, seed=7)
    assert compare_meshes(square(), square(0.01), samples=3000, seed=7) == first
    assert compare_meshes(square(), square(0.01), samples=3000, seed=8) != first


def test_an_empty_mesh_cannot_be_compared():
    empty = Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    collapsed = Mesh(np.zeros((4, 3)), square().faces)
    for reference, decoded in (
        (square(), empty),
        (empty, square()),
        (collapsed, square()),
        (square(), collapsed),
    ):
        with pytest.raises(ValueError, match="mesh"):
            compare_meshes(reference, decoded, samples=100)
