"""Collapses keep a surface a surface: manifold, with its borders, and nothing folded over."""

import numpy as np
import pytest
from shapes import box, cut, joined, sphere

from scene_codec.geometry import surface_simplification
from scene_codec.geometry.crease_detection import Shape
from scene_codec.geometry.edge_collapse import CollapsedMeshes
from scene_codec.geometry.face_normals import face_areas
from scene_codec.geometry.manifold_surface import is_closed, is_oriented, manifold
from scene_codec.geometry.mesh_edges import MeshEdges
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.signed_distance import SurfaceDistance
from scene_codec.geometry.surface_simplification import SurfaceSimplifier
from scene_codec.geometry.unfolding import Unfolder


def plate(side=24, holes=((7, 7), (16, 10), (10, 17)), radius=3.2, warp=0.0):
    """A flat sheet of small triangles with round holes in it."""
    along, across = np.meshgrid(*[np.linspace(-0.9, 0.9, side + 1)] * 2, indexing="ij")
    vertices = np.stack([along, across, warp * along * across], axis=-1).reshape(-1, 3)
    corner = (np.arange(side)[:, None] * (side + 1) + np.arange(side)).ravel()
    halves = ([0, side + 1, side + 2], [0, side + 2, 1])
    faces = np.concatenate([corner[:, None] + np.array(half) for half in halves])
    middles = vertices[faces].mean(axis=1)[:, :2]
    pitch = 1.8 / side
    kept = np.ones(len(faces), bool)
    for hole in holes:
        kept &= np.linalg.norm(middles - (np.array(hole) * pitch - 0.9), axis=1) > radius * pitch
    used, numbers = np.unique(faces[kept], return_inverse=True)
    return manifold(TriangleMesh(vertices[used], numbers.reshape(-1, 3)))


def border_length(mesh):
    edges = MeshEdges.of(mesh.faces)
    ends = mesh.vertices[edges.ends[edges.borders]]
    return np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1).sum()


MESHES = {
    "sphere": sphere(rows=12),
    "bowl": cut(sphere(rows=12), lambda centres: centres[:, 2] < 0.3),
    "plate": plate(),
    "warped plate": plate(warp=0.3),
    "parts": joined(sphere(rows=8), box((0.3, 0.3, 0.3), (0.0, 0.0, 0.9)), plate()),
}


@pytest.fixture(params=MESHES)
def mesh(request):
    return manifold(MESHES[request.param])


@pytest.mark.parametrize("count", [1, 12, 30, 77, 150, 300, 10**6])
def test_a_collapsed_mesh_is_an_oriented_manifold_with_no_more_faces(mesh, count):
    collapsed = CollapsedMeshes(mesh).to_faces(count)
    assert is_oriented(collapsed.faces)
    assert len(manifold(collapsed).vertices) == len(collapsed.vertices)
    assert is_closed(collapsed.faces) == is_closed(mesh.faces)
    assert np.isfinite(collapsed.vertices).all()
    assert sorted(np.unique(collapsed.faces)) == list(range(len(collapsed.vertices)))
    if 77 <= count <= len(mesh.faces):
        assert count - 2 < len(collapsed.faces) <= count
    if count >= len(mesh.faces):
        assert np.array_equal(collapsed.faces, mesh.faces)


def test_counts_may_be_asked_for_in_any_order(mesh):
    collapses = CollapsedMeshes(mesh)
    first = {count: collapses.to_faces(count) for count in (40, 200, 90)}
    for count in (200, 90, 40):
        again = CollapsedMeshes(mesh).to_faces(count)
        assert np.array_equal(again.faces, first[count].faces)
        assert np.array_equal(again.vertices, first[count].vertices)


def test_a_flat_plate_keeps_its_area_its_holes_and_its_side():
    mesh = plate()
    for count in (400, 200, 120):
        collapsed = CollapsedMeshes(mesh).to_faces(count)
        edges = MeshEdges.of(collapsed.faces)
        loops = len(collapsed.vertices) - len(edges) + len(collapsed.faces)
        assert loops == 1 - 3, "a sheet with three holes"
        assert face_areas(collapsed).sum() == pytest.approx(face_areas(mesh).sum(), rel=0.02)
        assert np.abs(collapsed.vertices[:, 2]).max() < 1e-9
        assert border_length(collapsed) > 0.75 * border_length(mesh)
        assert Unfolder(Shape.of(mesh)).backward_share(collapsed) == 0.0


def test_corners_of_a_box_stay_where_they_are():
    fine = sphere(rows=24)
    directions = fine.vertices / np.abs(fine.vertices).max(axis=1, keepdims=True)
    cube = manifold(TriangleMesh(directions, fine.faces))
    distance = SurfaceDistance(cube).closest(CollapsedMeshes(cube).to_faces(200).vertices).distances
    assert distance.max() < 0.02


def test_a_sphere_with_fewer_faces_is_near_it():
    mesh = manifold(sphere(rows=16))
    collapsed = CollapsedMeshes(mesh).to_faces(120)
    there = SurfaceDistance(collapsed).closest(mesh.vertices).distances
    assert there.mean() < 0.02


def test_the_simplifier_takes_what_is_not_folded(monkeypatch):
    mesh = plate()

    def folding(source, count):
        """A simplifier that leaves vertices anywhere in the plane, as quadrics allow it."""
        simple = CollapsedMeshes(source).to_faces(count)
        edges = MeshEdges.of(simple.faces)
        inner = np.setdiff1d(np.arange(len(simple.vertices)), edges.ends[edges.borders])
        simple.vertices[inner] = -0.8 * simple.vertices[inner]
        return simple

    monkeypatch.setattr(surface_simplification, "_by_quadrics", folding)
    simplifier = SurfaceSimplifier(mesh)
    unfolder = Unfolder(simplifier.shape)
    for count in (200, 320):
        assert unfolder.backward_share(unfolder.unfolded(folding(mesh, count))) > 0.02
        assert unfolder.backward_share(simplifier.to_faces(count)) < 0.005
