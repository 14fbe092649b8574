"""Meshes whose vertices lie on a lattice come back exactly, in fewer bytes; others are not taken for such."""

import itertools
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from walked_surfaces import ball, joined, section_of

from scene_codec.codecs.mesh_surface.config import MeshSurfaceSettings
from scene_codec.codecs.mesh_surface.decoder import SurfaceDecoder
from scene_codec.codecs.mesh_surface.encoder import encode_mesh
from scene_codec.codecs.mesh_surface.exact_surface import is_worth_it
from scene_codec.codecs.mesh_surface.lattice import Lattice, lattice_of, read_lattice
from scene_codec.codecs.mesh_surface.syntax import SURFACE, read_surface, write_surface
from scene_codec.entropy.byte_fields import ByteReader
from scene_codec.errors import CorruptFileError
from scene_codec.geometry.manifold_surface import is_closed
from scene_codec.geometry.mesh_checks import prepare_mesh
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.progress import Progress

SIDES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
     [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
)  # fmt: skip


def box(low, high):
    corners = np.where(list(np.ndindex(2, 2, 2)), np.array(high, float), np.array(low, float))
    return TriangleMesh(corners, SIDES)


def boxes():
    """Nine boxes of three heights, whose sides lie on planes 0.1, 0.3 and 0.05 apart, in single precision."""
    parts = [
        box((row, 0.9 * column, -0.05), (row + 0.6, 0.9 * column + 0.3, 0.05 * (row + 1)))
        for row, column in itertools.product(range(3), repeat=2)
    ]
    whole = joined(*parts)
    return TriangleMesh(whole.vertices.astype(np.float32).astype(np.float64), whole.faces)


def floor():
    """An open floor with a hole and dents, of unit squares."""
    corners = np.array([(x, y, 2.5 + 0.25 * (x * y * 7 % 3)) for x in range(5) for y in range(4)], float)
    squares = [(4 * x + y) for x in range(4) for y in range(3) if (x, y) != (1, 1)]
    faces = [[s, s + 4, s + 5] for s in squares] + [[s, s + 5, s + 1] for s in squares]
    return TriangleMesh(corners, np.array(faces))


def cubes():
    """The outside of a heap of cubes that all have another neighbour."""
    filled = np.zeros((5, 5, 5), bool)
    filled[1:4, 1:4, 1] = filled[1:3, 1:3, 2] = filled[1, 1, 3] = True
    corners, faces = [], []
    for axis, side in itertools.product(range(3), (0, 1)):
        for cell in np.argwhere(filled & ~np.roll(filled, 1 - 2 * side, axis)):
            square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])[:: 1 if side else -1]
            corner = (
                np.insert(square, axis, side, axis=1) if axis != 1 else np.insert(square[::-1], 1, side, 1)
            )
            faces += [[len(corners), len(corners) + 1, len(corners) + 2]]
            faces += [[len(corners), len(corners) + 2, len(corners) + 3]]
            corners += (cell + corner).tolist()
    return TriangleMesh(0.0625 * np.array(corners, float) + [1e4, -3.0, 0.03], np.array(faces))


MESHES = {"boxes": boxes(), "floor": floor(), "cubes": cubes(), "one box": box((2, 3, 5), (3, 3.7, 5.4))}


def coded(mesh, **asked):
    """Return what is decoded, the candidate that was written, and its payload."""
    candidate = encode_mesh(prepare_mesh(mesh, "mesh"), MeshSurfaceSettings(**asked), Progress())
    (section,) = write_surface(candidate.surface)
    return SurfaceDecoder().decode({SURFACE: section.payload}, Progress()), candidate, section.payload


def planes_of(mesh):
    return np.unique(np.round(mesh.vertices, 4), axis=0)


@pytest.mark.parametrize("name", MESHES)
def test_meshes_on_lattices_come_back_exactly(name):
    mesh = MESHES[name]
    decoded, candidate, payload = coded(mesh, target_error=0.05)
    assert isinstance(candidate.surface.place, Lattice)
    assert payload[0] == 0
    assert len(decoded.faces) == len(mesh.faces)
    np.testing.assert_allclose(planes_of(decoded), planes_of(mesh), atol=1e-4)
    assert is_closed(decoded.faces) == (name != "floor")
    corners = [surface.vertices[surface.faces] for surface in (mesh, decoded)]
    volumes = [np.einsum("fi,fi->", np.cross(a[:, 0], a[:, 1]), a[:, 2]) / 6.0 for a in corners]
    assert volumes[1] == pytest.approx(volumes[0], rel=1e-4)


def test_that_takes_fewer_bytes_than_rounding_did():
    turn, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))
    turned = TriangleMesh(boxes().vertices @ (turn * np.sign(np.linalg.det(turn))).T, boxes().faces)
    exactly, roughly = coded(boxes(), target_error=0.1), coded(turned, target_error=0.1)
    assert not isinstance(roughly[1].surface.place, Lattice)
    assert len(exactly[2]) < 0.8 * len(roughly[2])
    assert exactly[1].distance < 1e-6


def test_a_size_that_is_enough_is_met_exactly():
    _, candidate, payload = coded(boxes(), target_size=400)
    assert isinstance(candidate.surface.place, Lattice)
    assert len(payload) <= 400


def test_a_budget_of_triangles_goes_before():
    decoded, candidate, _ = coded(boxes(), faces=60)
    assert not isinstance(candidate.surface.place, Lattice)
    assert len(decoded.faces) <= 60


def test_a_ball_lies_on_no_lattice():
    assert lattice_of(ball(10, 8)) is None


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(*[st.integers(0, 60)] * 3), min_size=2, max_size=30, unique=True),
    st.tuples(*[st.floats(0.01, 100.0)] * 3),
    st.tuples(*[st.floats(-1e3, 1e3)] * 3),
)
def test_a_lattice_is_found_wherever_it_lies(numbers, pitch, origin):
    numbers, pitch = np.array(numbers), np.array(pitch, np.float32).astype(float)
    mesh = TriangleMesh(numbers * pitch + origin, np.array([[0, 1, 0]]))
    tolerance = 2e-6 * np.ptp(mesh.vertices, axis=0).max()
    lattice = lattice_of(mesh)
    if lattice is None:  # planes nearer than the tolerance, or an origin too far for single precision
        spacing = np.spacing(np.abs(mesh.vertices).max().astype(np.float32))
        assert pitch.min() < 200 * tolerance or spacing > 0.1 * tolerance
        return
    back = lattice.out_of(lattice.into(mesh)).vertices
    assert np.abs(back - mesh.vertices).max() <= 2 * tolerance
    data = lattice.to_bytes()
    assert read_lattice(ByteReader(data)) == lattice
    assert len(data) <= 37


def test_an_origin_that_single_precision_cannot_tell_is_kept_in_double():
    mesh = TriangleMesh(floor().vertices * [0.3, 3.0, 0.17] + [7000.3, -11.1, 0.07], floor().faces)
    lattice = lattice_of(mesh)
    data = lattice.to_bytes()
    assert len(data) == 1 + 12 + 24
    assert read_lattice(ByteReader(data)) == lattice
    np.testing.assert_allclose(lattice.out_of(lattice.into(mesh)).vertices, mesh.vertices, atol=1e-5)


def test_an_exact_surface_may_take_a_few_bytes_more():
    assert is_worth_it(40, 26)
    assert is_worth_it(1050, 1000)
    assert not is_worth_it(1100, 1000)


def test_single_precision_and_a_far_origin_are_no_hindrance():
    mesh = TriangleMesh(boxes().vertices + np.array([0.123, 4.5, -7.0]), boxes().faces)
    lattice = lattice_of(mesh)
    np.testing.assert_allclose(lattice.pitch, (0.2, 0.3, 0.05), rtol=1e-5)


@pytest.mark.parametrize(
    "data",
    [
        b"\x08" + struct.pack("<f", 1.0) + b"\0\0\0",
        b"\x06" + struct.pack("<f", 1.0) + b"\0\0\0",
        b"\x02" + struct.pack("<f", 3e38) + b"\0\0\0",
        b"\x04" + struct.pack("<f3d", 1.0, 0.0, 0.0, 1e31),
        b"\x02" + struct.pack("<f", 0.0) + b"\0\0\0",
        b"\x02" + struct.pack("<f", -1.0) + b"\0\0\0",
        b"\x02" + struct.pack("<f", np.nan) + b"\0\0\0",
        b"\x03" + struct.pack("<3f", 1.0, 1.0, np.inf) + b"\0\0\0",
        b"\x00" + struct.pack("<4f", 1.0, 0.0, np.nan, 0.0),
        b"\x00" + struct.pack("<3f", 1.0, 0.0, 0.0),
        b"",
    ],
)
def test_impossible_lattices_are_refused(data):
    with pytest.raises(CorruptFileError):
        read_lattice(ByteReader(data))


def test_lattices_have_neither_levels_nor_coarser_steps():
    payload = bytearray(coded(floor())[2])
    shape = len(read_surface({SURFACE: bytes(payload)}).place.to_bytes()) + 2
    for wrong in (1 << 4, 1 << 1):
        damaged = bytes(payload[:shape]) + bytes([payload[shape] | wrong]) + bytes(payload[shape + 1 :])
        with pytest.raises(CorruptFileError, match="lattice"):
            read_surface({SURFACE: damaged})


def test_flipped_bits_give_a_mesh_or_one_kind_of_error():
    payload = coded(boxes())[2]
    for place in range(8 * len(payload)):
        damaged = bytearray(payload)
        damaged[place // 8] ^= 1 << place % 8
        try:
            mesh = SurfaceDecoder().decode({SURFACE: bytes(damaged)}, Progress())
        except CorruptFileError:
            continue
        assert np.isfinite(mesh.vertices).all()


def test_a_frame_is_no_lattice():
    assert not isinstance(read_surface({SURFACE: section_of(ball(6, 5))}).place, Lattice)
