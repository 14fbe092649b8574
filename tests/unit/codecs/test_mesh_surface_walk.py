"""Whatever the shape of a surface, a walk over it brings back its faces, and its vertices within the step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import identity
from scipy.spatial import cKDTree
from walked_surfaces import (
    ball,
    decoded,
    encoded,
    glued,
    holed,
    joined,
    sheet,
    sound,
    soup,
    steps_for,
    torus,
)

from scene_codec.codecs.mesh_surface.active_boundary import BORDER, CLOSED, OPEN, ActiveBoundary
from scene_codec.codecs.mesh_surface.prior import NEWEST_PRIOR, shipped_prior, surface_models
from scene_codec.codecs.mesh_surface.surface_guide import RoundingCost, SurfaceGuide
from scene_codec.codecs.mesh_surface.surface_walk import SurfaceSteps, SurfaceWalk
from scene_codec.entropy.adaptive_bits import BitDecoder, BitEncoder
from scene_codec.errors import Cancelled
from scene_codec.geometry.scene_object import TriangleMesh

MESHES = {
    "one face": TriangleMesh(np.eye(3), np.array([[0, 1, 2]])),
    "tetrahedron": TriangleMesh(
        np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]),
        np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]),
    ),
    "ball": ball(),
    "torus": torus(),
    "sheet": sheet(),
    "bowl": sound(holed(ball(), 0.2, 3)),
    "sheet with holes": sound(holed(sheet(9), 0.15)),
    "torus with holes": sound(holed(torus(11, 9), 0.1)),
    "tatters": sound(holed(torus(8, 8), 0.6)),
    "closed parts": joined(ball(height=-1.0), torus(5, 4), torus(3, 3, 0.8)),
    "open and closed parts": sound(joined(sheet(3), torus(6, 5), holed(ball(), 0.3))),
    "soup": sound(soup(30, 12)),
    "handles": sound(glued(24, 0.0, 1)),
    "handles and borders": sound(glued(24, 0.2, 2)),
    "one vertex at all": ball(30, 2),
}


def from_the_smallest(faces):
    """Return faces that begin with their smallest vertex, sorted."""
    first = faces.argmin(axis=1)
    turned = np.stack([faces[np.arange(len(faces)), (first + shift) % 3] for shift in range(3)], axis=1)
    return turned[np.lexsort(turned.T[::-1])]


def walked(mesh, steps, bit_price=0.0):
    """Return the walk over a mesh, its guide, vertices and faces as they were coded, and the encoder."""
    models, encoder = surface_models(), BitEncoder(shipped_prior(NEWEST_PRIOR))
    walk = SurfaceWalk(encoder, models, steps)
    cost = RoundingCost(identity(mesh.vertices.size, format="csr"), bit_price)
    guide = SurfaceGuide(mesh.vertices, mesh.faces, cost, (walk.boundary, models, encoder, steps))
    walk.follow(guide)
    return walk, guide, walk.run(len(mesh.faces), lambda: None), encoder


def assert_comes_back(mesh, out=2.0**-12):
    steps = steps_for(mesh, out)
    _, guide, (vertices, faces), encoder = walked(mesh, steps)
    order = np.array(guide.order)
    assert sorted(order) == list(range(len(mesh.vertices)))
    np.testing.assert_array_equal(from_the_smallest(order[faces]), from_the_smallest(mesh.faces))
    # Half a step of each component; seeds are rounded along the axes of space.
    within = 0.5 * np.linalg.norm(steps.of_components) * (1 + 1e-6)
    assert np.linalg.norm(vertices - mesh.vertices[order], axis=1).max() <= within
    found = decoded(encoder.finish(), len(mesh.faces), steps)
    np.testing.assert_array_equal(found.vertices, vertices)
    np.testing.assert_array_equal(found.faces, faces)


@pytest.mark.parametrize("name", MESHES)
def test_a_surface_of_any_shape_comes_back(name):
    assert_comes_back(MESHES[name])


@pytest.mark.parametrize("name", ["torus", "tatters", "handles and borders"])
@pytest.mark.parametrize("out", [2.0**-18, 2.0**-8, 0.25])
def test_fine_and_coarse_steps_keep_their_word(name, out):
    assert_comes_back(MESHES[name], out)


@settings(max_examples=25, derandomize=True)
@given(
    st.integers(3, 9), st.integers(3, 7), st.sampled_from([0.0, 0.03, 0.1, 0.3, 0.6]), st.integers(0, 10**6)
)
def test_tori_with_any_holes_come_back(columns, rows, share, seed):
    assert_comes_back(sound(holed(torus(columns, rows), share, seed)))


@settings(max_examples=25, derandomize=True)
@given(st.integers(1, 30), st.integers(3, 12), st.integers(0, 10**6))
def test_any_soup_comes_back(faces, corners, seed):
    assert_comes_back(sound(soup(faces, corners, seed)))


@settings(max_examples=30, derandomize=True)
@given(st.integers(2, 24), st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.4]), st.integers(0, 10**6))
def test_surfaces_of_many_handles_come_back(triangles, border, seed):
    assert_comes_back(sound(glued(triangles, border, seed)))


def test_the_encoder_knows_what_is_decoded():
    for name in ("torus", "tatters", "open and closed parts"):
        mesh = MESHES[name]
        steps = steps_for(mesh, 2.0**-6)
        expected, stream = encoded(mesh, steps, bit_price=0.05)
        found = decoded(stream, len(mesh.faces), steps)
        np.testing.assert_array_equal(found.vertices, expected.vertices)
        np.testing.assert_array_equal(found.faces, expected.faces)


def test_the_same_surface_gives_the_same_stream():
    mesh = MESHES["open and closed parts"]
    assert encoded(mesh, steps_for(mesh))[1] == encoded(mesh, steps_for(mesh))[1]


def test_a_price_for_bits_saves_some_and_leaves_vertices_near():
    mesh = ball(16, 12)
    mesh = TriangleMesh(
        mesh.vertices + np.random.default_rng(0).normal(0.0, 0.02, mesh.vertices.shape), mesh.faces
    )
    steps = steps_for(mesh, 2.0**-7)
    plain, whole = encoded(mesh, steps)
    saved, stream = encoded(mesh, steps, bit_price=1.0)
    assert len(stream) < 0.95 * len(whole)
    assert len(saved.faces) == len(plain.faces)
    # A vertex goes a few steps out of its way at most.
    assert cKDTree(mesh.vertices).query(saved.vertices)[0].max() < 4 * np.linalg.norm(steps.of_components)


def test_finer_steps_take_more_bytes():
    mesh = MESHES["torus"]
    sizes = [len(encoded(mesh, steps_for(mesh, 2.0**-bits))[1]) for bits in (4, 8, 12, 16)]
    assert sizes == sorted(set(sizes))


def test_a_closed_surface_takes_no_bits_to_say_so():
    bits = [walked(MESHES["torus"], SurfaceSteps(2.0**-8, 2.0, closed))[-1].bits for closed in (True, False)]
    assert bits[0] < bits[1]


def test_many_parts_with_borders_do_not_hinder_a_ring_behind_them():
    """The corners of what is finished are no candidates: comparing them all would take too long."""
    loose = TriangleMesh(0.1 * np.random.default_rng(0).normal(size=(600, 3)), np.arange(600).reshape(-1, 3))
    alone, among = (
        walked(mesh, SurfaceSteps(2.0**-8, 2.0, closed=False))[0]._compared
        for mesh in (torus(), joined(loose, torus()))
    )
    assert alone == among > 0


@pytest.mark.parametrize("name", ["one face", "tetrahedron", "tatters", "torus", "soup"])
def test_a_walk_ends_when_it_is_told_to(name):
    """Even small parts, one after the other, ask now and then."""

    def stop():
        raise Cancelled

    mesh = MESHES[name]
    many = joined(*[mesh] * (600 // len(mesh.faces) + 1))
    steps = steps_for(many, 2.0**-6)
    stream = encoded(many, steps)[1]
    walk = SurfaceWalk(BitDecoder(stream, shipped_prior(NEWEST_PRIOR)), surface_models(), steps)
    with pytest.raises(Cancelled):
        walk.run(len(many.faces), stop)
    assert len(walk._faces) < 400


class WatchedBoundary(ActiveBoundary):
    """Checks after every change that loops are whole."""

    def pop_gate(self):
        self.check()
        return super().pop_gate()

    def check(self):
        for edge, state in enumerate(self.state):
            if state == CLOSED:
                continue
            assert self.previous[self.next[edge]] == edge
            assert self.next[self.previous[edge]] == edge
            assert self.state[self.next[edge]] != CLOSED
            assert self.end(edge) != self.origin[edge]
        corners = self.open_corners()
        assert len(set(corners)) == len(corners)
        for edge, state in enumerate(self.state):
            beside_a_gap = OPEN in (state, self.state[self.previous[edge]])
            assert (edge in corners) == (state != CLOSED and beside_a_gap)


@pytest.mark.parametrize("name", MESHES)
def test_loops_are_whole_at_every_gate_and_closed_or_borders_in_the_end(name):
    mesh = MESHES[name]
    steps = steps_for(mesh)
    models, encoder = surface_models(), BitEncoder(shipped_prior(NEWEST_PRIOR))
    walk = SurfaceWalk(encoder, models, steps)
    walk.boundary = WatchedBoundary()
    cost = RoundingCost(identity(mesh.vertices.size, format="csr"), 0.0)
    walk.follow(SurfaceGuide(mesh.vertices, mesh.faces, cost, (walk.boundary, models, encoder, steps)))
    _, faces = walk.run(len(mesh.faces), lambda: None)
    walk.boundary.check()
    states = np.array(walk.boundary.state)
    assert not (states == OPEN).any()
    edges = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=2).reshape(-1, 2), axis=1)
    borders = (np.unique(edges, axis=0, return_counts=True)[1] == 1).sum()
    assert (states == BORDER).sum() == borders


def test_a_new_boundary_waits_for_three_faces():
    boundary = ActiveBoundary()
    assert boundary.pop_gate() is None
    boundary.start(0, 1, 2)
    gates = [boundary.pop_gate() for _ in range(4)]
    assert gates[-1] is None
    assert {(boundary.origin[gate], boundary.end(gate)) for gate in gates[:3]} == {(1, 0), (2, 1), (0, 2)}
    assert [boundary.opposite[gate] for gate in gates[:3]] == [
        3 - boundary.origin[gate] - boundary.end(gate) for gate in gates[:3]
    ]


def test_a_tetrahedron_closes_its_boundary():
    boundary = ActiveBoundary()
    boundary.start(0, 1, 2)
    boundary.attach_vertex(boundary.pop_gate(), 3)
    for _ in range(2):
        boundary.close_with_next(boundary.pop_gate())
    assert boundary.pop_gate() is None
    assert boundary.open_corners() == []
    assert set(boundary.state) == {CLOSED}
