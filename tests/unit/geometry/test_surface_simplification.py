"""What simplifying a surface promises: the number of faces, a sound mesh, and the shape."""

import numpy as np
import pytest
from shapes import box, cut, joined, perforated, sheet, sphere, thickened

from scene_codec.geometry.face_normals import face_areas, signed_volume
from scene_codec.geometry.hole_closing import holes_of
from scene_codec.geometry.manifold_surface import is_closed, is_oriented, manifold, parts_of, welded
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.signed_distance import SurfaceDistance
from scene_codec.geometry.surface_simplification import SurfaceSimplifier


def grid(side=12, bend=0.2):
    """An open, bent sheet of many triangles."""
    along, across = np.meshgrid(*[np.linspace(-0.9, 0.9, side + 1)] * 2, indexing="ij")
    vertices = np.stack([along, across, bend * along**2], axis=-1).reshape(-1, 3)
    corner = (np.arange(side)[:, None] * (side + 1) + np.arange(side)).ravel()
    halves = ([0, side + 1, side + 2], [0, side + 2, 1])
    return TriangleMesh(vertices, np.concatenate([corner[:, None] + np.array(half) for half in halves]))


def soup(faces=60, corners=20):
    generator = np.random.default_rng(0)
    picked = [generator.choice(corners, 3, replace=False) for _ in range(faces)]
    return TriangleMesh(generator.normal(size=(corners, 3)), np.array(picked))


def many_boxes(count=20):
    return joined(*[box((0.05, 0.05, 0.05), (0.1 * number - 1.0, 0.0, 0.0)) for number in range(count)])


MESHES = {
    "sphere": sphere(rows=10),
    "bowl": cut(sphere(rows=10), lambda centres: centres[:, 2] < 0.3),
    "grid": grid(),
    "parts": joined(sphere(rows=8), box((0.3, 0.3, 0.3), (0.0, 0.0, 0.9)), grid(5)),
    "soup": soup(),
    "many boxes": many_boxes(),
    "loose corners": TriangleMesh(grid(6).vertices[grid(6).faces.ravel()], np.arange(216).reshape(-1, 3)),
}


@pytest.fixture(scope="module", params=MESHES)
def simplifier(request):
    return SurfaceSimplifier(MESHES[request.param])


@pytest.mark.parametrize("count", [1, 4, 13, 40, 90, 150])
def test_a_simplified_surface_is_an_oriented_manifold_of_finite_vertices(simplifier, count):
    mesh = simplifier.to_faces(count)
    assert is_oriented(mesh.faces)
    assert np.isfinite(mesh.vertices).all()
    assert 1 <= len(mesh.faces) <= len(simplifier.source.faces)
    assert sorted(np.unique(mesh.faces)) == list(range(len(mesh.vertices)))
    again = manifold(welded(mesh))
    assert len(again.faces) == len(mesh.faces)


@pytest.mark.parametrize("name", ["sphere", "bowl", "grid", "loose corners"])
@pytest.mark.parametrize("count", [12, 40, 70])
def test_the_number_of_faces_is_reached(name, count):
    faces = len(SurfaceSimplifier(MESHES[name]).to_faces(count).faces)
    # An edge collapse takes two faces, of which the last one may be one too many.
    assert count - 2 <= faces <= count


@pytest.mark.parametrize("count", [10, 40])
def test_parts_open_or_vanish_where_the_faces_do_not_suffice_for_all(count):
    mesh = SurfaceSimplifier(many_boxes()).to_faces(count)
    assert len(mesh.faces) <= count
    assert len(np.unique(parts_of(mesh.faces))) <= count


def test_all_faces_come_back_when_as_many_are_asked_for(simplifier):
    for count in (len(simplifier.source.faces), 10**6):
        assert simplifier.to_faces(count) is simplifier.source


def test_no_face_of_the_source_is_lost():
    for mesh in (MESHES["sphere"], MESHES["bowl"], MESHES["soup"]):
        assert len(SurfaceSimplifier(mesh).source.faces) == len(welded(mesh).faces)


@pytest.mark.parametrize("count", [8, 30, 100, 200])
def test_closed_surfaces_stay_closed_and_open_ones_open(count):
    assert is_closed(SurfaceSimplifier(MESHES["sphere"]).to_faces(count).faces)
    assert not is_closed(SurfaceSimplifier(MESHES["bowl"]).to_faces(count).faces)
    assert not is_closed(SurfaceSimplifier(MESHES["grid"]).to_faces(count).faces)


def test_a_flat_sheet_keeps_its_place_and_its_border():
    mesh = SurfaceSimplifier(grid(bend=0.0)).to_faces(8)
    np.testing.assert_allclose(mesh.vertices[:, 2], 0.0, atol=1e-6)
    np.testing.assert_allclose(np.abs(mesh.vertices[:, :2]).max(), 0.9, atol=1e-3)


def test_more_faces_come_nearer():
    surface = SurfaceDistance(MESHES["sphere"])
    simplifier = SurfaceSimplifier(MESHES["sphere"])
    errors = []
    for count in (20, 60, 180):
        mesh = simplifier.to_faces(count)
        centres = mesh.vertices[mesh.faces].mean(axis=1)
        errors.append(surface.closest(centres).distances.mean())
    assert errors[0] > 1.5 * errors[1] > 2.25 * errors[2]


def test_the_same_surface_is_simplified_alike_each_time():
    first, second = (SurfaceSimplifier(MESHES["parts"]).to_faces(50) for _ in range(2))
    np.testing.assert_array_equal(first.vertices, second.vertices)
    np.testing.assert_array_equal(first.faces, second.faces)


def test_a_single_face_stays():
    mesh = SurfaceSimplifier(TriangleMesh(np.eye(3), np.array([[0, 1, 2]]))).to_faces(1)
    assert len(mesh.faces) == 1


def test_two_faces_become_one():
    assert len(SurfaceSimplifier(sheet()).to_faces(1).faces) >= 1


def test_a_tetrahedron_is_not_simplified_to_nothing():
    corners = np.vstack([np.zeros(3), np.eye(3)])
    mesh = TriangleMesh(corners, np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]))
    for count in (1, 2, 3):
        assert len(SurfaceSimplifier(mesh).to_faces(count).faces) > 0


@pytest.mark.parametrize("count", [9, 60, 150])
def test_a_sheet_with_more_holes_than_faces_suffice_for_stays_in_one_piece(count):
    source = perforated(8)
    mesh = SurfaceSimplifier(source).to_faces(count)
    assert count - 2 <= len(mesh.faces) <= count
    assert parts_of(mesh.faces).max() == 0
    assert is_oriented(mesh.faces)
    assert face_areas(mesh).sum() > 0.99 * face_areas(source).sum()
    assert SurfaceDistance(source).closest(mesh.vertices).distances.max() < 0.1


def test_only_as_many_holes_are_closed_as_are_too_many():
    source = perforated(8)
    areas = [face_areas(SurfaceSimplifier(source).to_faces(count)).sum() for count in (40, 150, 280)]
    assert areas[0] > areas[1] > areas[2]


@pytest.mark.parametrize("count", [60, 150])
def test_a_plate_with_more_tunnels_than_faces_suffice_for_stays_closed_and_whole(count):
    source = thickened(perforated(8))
    mesh = SurfaceSimplifier(source).to_faces(count)
    assert count - 2 <= len(mesh.faces) <= count
    assert parts_of(mesh.faces).max() == 0
    assert is_closed(mesh.faces)
    # All walls within may be gone, but not the sides.
    assert face_areas(mesh).sum() > 2 * face_areas(perforated(8)).sum()
    assert SurfaceDistance(source).closest(mesh.vertices).distances.max() < 0.1


def test_holes_stay_where_there_are_enough_faces():
    assert len(holes_of(SurfaceSimplifier(perforated(4)).to_faces(120))) == 16


@pytest.mark.parametrize("count", [80, 200])
def test_a_thin_coil_is_neither_torn_nor_turned_inside_out(count):
    simplified = SurfaceSimplifier(coil()).to_faces(count)
    assert is_closed(simplified.faces)
    assert len(np.unique(parts_of(simplified.faces))) == 1
    assert signed_volume(simplified.vertices[simplified.faces]) > 0.0


def coil(turns=6, steps=300, sides=10):
    """A closed tube, wound up, with flat ends."""
    angle = np.linspace(0.0, 2.0 * np.pi * turns, steps)[:, None]
    around = np.linspace(0.0, 2.0 * np.pi, sides, endpoint=False)[None]
    radius = 0.8 + 0.08 * np.cos(around)
    height = np.linspace(-0.9, 0.9, steps)[:, None] + 0.08 * np.sin(around)
    rings = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=-1).reshape(-1, 3)
    ring, side = np.divmod(np.arange((steps - 1) * sides), sides)
    a, b = ring * sides + side, ring * sides + (side + 1) % sides
    walls = np.concatenate([np.stack([a, a + sides, b], 1), np.stack([b, a + sides, b + sides], 1)])
    first, last = np.arange(sides), np.arange(sides) + (steps - 1) * sides
    fan = np.arange(1, sides - 1)
    caps = np.concatenate(
        [
            np.stack([first[np.zeros_like(fan)], first[fan], first[fan + 1]], 1),
            np.stack([last[np.zeros_like(fan)], last[fan + 1], last[fan]], 1),
        ]
    )
    mesh = manifold(TriangleMesh(rings, np.concatenate([walls, caps])))
    assert is_closed(mesh.faces)
    return (
        mesh
        if signed_volume(mesh.vertices[mesh.faces]) > 0.0
        else TriangleMesh(mesh.vertices, mesh.faces[:, ::-1].copy())
    )
