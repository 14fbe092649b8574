"""Whatever triangles go in, oriented manifolds come out, and none of the surface is lost."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import box, cut, joined, sheet, sphere

from scene_codec.geometry.manifold_surface import is_closed, is_oriented, manifold, parts_of, welded
from scene_codec.geometry.scene_object import TriangleMesh


def moebius(columns=12):
    """A strip that cannot be oriented."""
    angle = np.arange(columns) * (2.0 * np.pi / columns)
    rims = []
    for side in (-0.3, 0.3):
        width = 1.0 + side * np.cos(angle / 2.0)
        rims.append(
            np.stack([width * np.cos(angle), width * np.sin(angle), side * np.sin(angle / 2)], axis=1)
        )
    here = np.arange(columns)
    after = (here + 1) % columns
    # Behind the last column the two rims change places.
    crossed = here == columns - 1
    low = np.where(crossed, after + columns, after)
    high = np.where(crossed, after, after + columns)
    faces = [np.stack([here, low, here + columns], axis=1), np.stack([low, high, here + columns], axis=1)]
    return TriangleMesh(np.concatenate(rims), np.concatenate(faces))


def fan(blades=3):
    """Faces that all share one edge."""
    angle = np.arange(blades) * (2.0 * np.pi / blades)
    tips = np.stack([np.cos(angle), np.sin(angle), np.full(blades, 0.5)], axis=1)
    faces = np.stack([np.zeros(blades, int), np.ones(blades, int), np.arange(blades) + 2], axis=1)
    return TriangleMesh(np.concatenate([[[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]], tips]), faces)


def two_boxes(offset):
    return welded(joined(box(), box(centre=offset)))


def soup(faces=40, corners=12, seed=0):
    """Triangles between few vertices, in any direction."""
    generator = np.random.default_rng(seed)
    picked = [generator.choice(corners, 3, replace=False) for _ in range(faces)]
    return TriangleMesh(generator.normal(size=(corners, 3)), np.array(picked))


def some_turned(mesh, share=0.4):
    turned = np.random.default_rng(1).random(len(mesh.faces)) < share
    return TriangleMesh(mesh.vertices, np.where(turned[:, None], mesh.faces[:, ::-1], mesh.faces))


MESHES = {
    "sphere": sphere(rows=6),
    "sphere, faces turned": some_turned(sphere(rows=6)),
    "bowl": cut(sphere(rows=6), lambda centres: centres[:, 2] < 0.3),
    "sheet": sheet(),
    "one face": TriangleMesh(np.eye(3), np.array([[0, 1, 2]])),
    "moebius": moebius(),
    "fan": fan(),
    "fan of five": fan(5),
    "boxes at an edge": two_boxes((1.0, 1.0, 0.0)),
    "boxes at a vertex": two_boxes((1.0, 1.0, 1.0)),
    "boxes at a side": two_boxes((1.0, 0.0, 0.0)),
    "soup": soup(),
    "thin soup": soup(9, 30, 1),
    "duplicate faces": TriangleMesh(box().vertices, np.concatenate([box().faces, box().faces[:5]])),
    "both sides": TriangleMesh(sheet().vertices, np.concatenate([sheet().faces, sheet().faces[:, ::-1]])),
}


def triangles(mesh):
    """Return each face as three places, whatever its direction, and how often it is there."""
    corners = mesh.vertices[mesh.faces]
    return Counter(tuple(sorted(map(tuple, face))) for face in corners.tolist())


def assert_manifold(faces):
    """Check edges and vertices from nothing but the faces."""
    directed = Counter(
        (a, b) for face in faces.tolist() for a, b in zip(face, face[1:] + face[:1], strict=True)
    )
    assert max(directed.values()) == 1
    around = {}
    for a, b, c in faces.tolist():
        for corner, first, second in ((a, b, c), (b, c, a), (c, a, b)):
            around.setdefault(corner, {})[first] = second
    for following in around.values():
        starts = set(following) - set(following.values())
        assert len(starts) <= 1
        current = starts.pop() if starts else next(iter(following))
        for _ in range(len(following)):
            current = following[current]
        assert current not in following or not starts


def fans_at(faces):
    """Return how many fans of faces, joined by edges, meet at the vertex where most do."""
    most = 0
    for vertex in np.unique(faces):
        own = [set(face) - {vertex} for face in faces[(faces == vertex).any(axis=1)].tolist()]
        groups = []
        for sides in own:
            touching = [group for group in groups if group & sides]
            groups = [group for group in groups if not group & sides] + [sides.union(*touching)]
        most = max(most, len(groups))
    return most


@pytest.mark.parametrize("name", MESHES)
def test_the_result_is_an_oriented_manifold_of_all_faces(name):
    mesh = MESHES[name]
    result = manifold(mesh)
    assert_manifold(result.faces)
    assert fans_at(result.faces) == 1
    assert is_oriented(result.faces)
    assert triangles(result) == triangles(mesh)
    assert sorted(np.unique(result.faces)) == list(range(len(result.vertices)))
    assert result.faces.dtype == np.int64
    assert result.vertices.dtype == np.float64


@pytest.mark.parametrize("name", MESHES)
def test_the_order_of_faces_is_kept(name):
    mesh = MESHES[name]
    result = manifold(mesh)
    for before, after in zip(mesh.vertices[mesh.faces], result.vertices[result.faces], strict=True):
        assert sorted(before.tolist()) == sorted(after.tolist())


@pytest.mark.parametrize("name", MESHES)
def test_a_manifold_stays_what_it_is(name):
    once = manifold(MESHES[name])
    twice = manifold(once)
    np.testing.assert_array_equal(twice.vertices[twice.faces], once.vertices[once.faces])
    assert len(twice.vertices) == len(once.vertices)


@pytest.mark.parametrize(
    ("name", "closed", "parts"),
    [
        ("sphere", True, 1),
        ("sphere, faces turned", True, 1),
        ("bowl", False, 1),
        ("sheet", False, 1),
        ("moebius", False, 1),
        ("boxes at an edge", True, 2),
        ("boxes at a vertex", True, 2),
    ],
)
def test_closed_stays_closed_and_open_open(name, closed, parts):
    result = manifold(MESHES[name])
    assert is_closed(result.faces) == closed
    assert len(np.unique(parts_of(result.faces))) == parts


def test_faces_are_turned_as_most_of_their_piece_are():
    mesh = joined(sphere(rows=6), box(centre=(3.0, 0.0, 0.0)))
    # The first faces are among the few that are wrong.
    wrong = np.arange(len(mesh.faces)) % 4 == 0
    result = manifold(TriangleMesh(mesh.vertices, np.where(wrong[:, None], mesh.faces[:, ::-1], mesh.faces)))
    corners = result.vertices[result.faces]
    volume = np.linalg.det(corners).sum() / 6.0
    assert volume == pytest.approx(np.linalg.det(mesh.vertices[mesh.faces]).sum() / 6.0)
    assert is_closed(result.faces)


def test_a_fan_of_three_faces_comes_apart():
    result = manifold(fan())
    assert len(result.faces) == 3
    assert len(result.vertices) > len(fan().vertices)


@settings(max_examples=60, derandomize=True)
@given(st.integers(1, 60), st.integers(3, 14), st.integers(0, 10**6))
def test_any_soup_becomes_a_manifold(faces, corners, seed):
    mesh = welded(soup(faces, corners, seed))
    result = manifold(mesh)
    assert_manifold(result.faces)
    assert fans_at(result.faces) == 1
    assert triangles(result) == triangles(mesh)


def test_welding_joins_what_lies_at_the_same_place():
    loose = sphere(rows=6)
    loose = TriangleMesh(loose.vertices[loose.faces.ravel()], np.arange(loose.faces.size).reshape(-1, 3))
    result = welded(loose)
    assert len(result.vertices) == len(sphere(rows=6).vertices)
    assert triangles(result) == triangles(loose)
    assert is_closed(result.faces)


def test_welding_takes_both_zeros_for_one_place():
    mesh = TriangleMesh(
        np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [-0.0, 0, -0.0], [1, -0.0, 0], [0, 0, 1]]),
        np.array([[0, 1, 2], [4, 3, 5]]),
    )
    assert len(welded(mesh).vertices) == 4


def test_welding_removes_faces_without_area_and_repeated_ones():
    mesh = sheet()
    vertices = np.concatenate([mesh.vertices, mesh.vertices[:1]])
    faces = np.concatenate([[[0, 4, 1]], mesh.faces, mesh.faces[:, [1, 2, 0]], mesh.faces[:, ::-1]])
    result = welded(TriangleMesh(vertices, faces))
    assert triangles(result) == triangles(mesh)
    assert is_oriented(result.faces)


def test_welding_nothing_gives_nothing():
    nothing = TriangleMesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    assert len(welded(nothing).faces) == len(manifold(nothing).faces) == 0


def test_parts_are_numbered_by_face():
    mesh = joined(box(), sphere(rows=4), sheet())
    parts = parts_of(mesh.faces)
    assert len(parts) == len(mesh.faces)
    sizes = sorted(np.bincount(parts).tolist())
    assert sizes == sorted([len(box().faces), len(sphere(rows=4).faces), len(sheet().faces)])


def test_vertices_that_rounding_has_moved_apart_are_one_again():
    whole = box()
    loose = TriangleMesh(whole.vertices[whole.faces.ravel()], np.arange(whole.faces.size).reshape(-1, 3))
    noise = np.random.default_rng(0).uniform(-1e-7, 1e-7, loose.vertices.shape)
    cracked = TriangleMesh(loose.vertices + noise, loose.faces)
    assert not is_closed(manifold(welded(cracked)).faces)
    mended = manifold(welded(cracked, 1e-6))
    assert is_closed(mended.faces)
    assert len(mended.vertices) == len(np.unique(whole.vertices, axis=0))
