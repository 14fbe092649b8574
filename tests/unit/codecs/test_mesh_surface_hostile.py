"""What only a hostile or a broken writer makes of a surface: refused with one kind of error, and soon."""

import random
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from walked_surfaces import ball, holed, joined, section_of, sound, torus

from scene_codec.codecs.mesh_surface import surface_walk
from scene_codec.codecs.mesh_surface.codec import MeshSurfaceCodec
from scene_codec.codecs.mesh_surface.decoder import SurfaceDecoder
from scene_codec.codecs.mesh_surface.prior import MODEL_FILES, NEWEST_PRIOR
from scene_codec.codecs.mesh_surface.surface_coding import Form
from scene_codec.codecs.mesh_surface.surface_models import CORNER
from scene_codec.codecs.mesh_surface.surface_walk import SurfaceSteps, SurfaceWalk
from scene_codec.codecs.mesh_surface.syntax import FACES_FOR_NOTHING, MOST_FACES, SURFACE, read_surface
from scene_codec.entropy.byte_fields import varint
from scene_codec.errors import CorruptFileError, UnsupportedSceneError
from scene_codec.progress import Progress

CLOSED = section_of(ball(6, 5))
CREASED = section_of(ball(6, 5), form=Form.CREASED)
OPEN = section_of(sound(joined(torus(5, 4), holed(ball(6, 4), 0.3))))
FRAME = struct.pack("<f", 1.0) + b"\0\0\0"
STEP = bytes([128, 128 - 15])
LITTLE = 30_000_000
"""Bytes that a section of a few bytes may take, whatever number of faces it declares."""


def section(**replaced):
    """Return a section with some fields replaced."""
    fields = {
        "frame": FRAME,
        "prior": NEWEST_PRIOR,
        "shape": 3,
        "step": STEP,
        "error": STEP,
        "faces": varint(80),
        "stream": b"",
        **replaced,
    }
    head = bytes([len(fields["frame"])]) + fields["frame"] + bytes([fields["prior"], fields["shape"]])
    return head + fields["step"] + fields["error"] + fields["faces"] + fields["stream"]


HEADER_BYTES = len(section())

EVIL_WALKS = ("0a38831841aaf60344fa0202138071806f020000000c",)


def decode(payload):
    return SurfaceDecoder().decode({SURFACE: payload}, Progress())


def decoded(payload):
    """Return a mesh, None if it is refused; any other error fails the test."""
    try:
        return decode(payload)
    except CorruptFileError:
        return None


def same(one, other):
    return np.array_equal(one.vertices, other.vertices) and np.array_equal(one.faces, other.faces)


@pytest.mark.parametrize("whole", [CLOSED, OPEN, CREASED], ids=["closed", "open", "creased"])
def test_valid_sections_decode(whole):
    mesh = decode(whole)
    surface = read_surface({SURFACE: whole})
    assert len(mesh.faces) == surface.faces << 2 * surface.levels
    assert np.isfinite(mesh.vertices).all()


@pytest.mark.parametrize("whole", [CLOSED, OPEN, CREASED], ids=["closed", "open", "creased"])
def test_a_section_cut_short_is_refused_or_another_surface(whole):
    """Any bytes stand for some bits; those of a shorter stream hardly ever close as many faces."""
    refused = 0
    expected = decode(whole)
    for length in range(len(whole)):
        found = decoded(whole[:length])
        assert found is None or not same(found, expected), length
        refused += found is None
    assert refused >= 0.9 * len(whole) - 3


@pytest.mark.parametrize("length", range(HEADER_BYTES))
def test_a_header_cut_short_is_refused(length):
    with pytest.raises(CorruptFileError):
        decode(CLOSED[:length])


@pytest.mark.parametrize("more", [b"\0", b"\1", b"\xff", bytes(7) + b"\1"])
def test_bytes_behind_a_surface_are_refused_or_make_another_one(more):
    for whole in (CLOSED, OPEN):
        found = decoded(whole + more)
        assert found is None or not same(found, decode(whole))


@pytest.mark.parametrize("whole", [CLOSED, OPEN, CREASED], ids=["closed", "open", "creased"])
def test_bytes_changed_at_random_are_refused_or_make_another_mesh(whole):
    generator = np.random.default_rng(1)
    refused = 0
    for _ in range(120):
        data = bytearray(whole)
        for _ in range(int(generator.integers(1, 4))):
            data[generator.integers(len(data))] ^= 1 << int(generator.integers(8))
        found = decoded(bytes(data))
        refused += found is None
        assert found is None or np.isfinite(found.vertices).all()
    assert refused > 60


@settings(max_examples=60, derandomize=True)
@given(st.binary(max_size=60), st.sampled_from([*range(4), 34, 99, 115]), st.sampled_from([1, 2, 5, 300]))
def test_streams_of_noise_are_refused_or_make_the_faces_that_are_announced(stream, shape, faces):
    mesh = decoded(section(shape=shape, faces=varint(faces), stream=stream))
    if mesh is not None:
        assert len(mesh.faces) == faces << 2 * (shape >> 4 & 3)
        assert mesh.faces.min() >= 0
        assert mesh.faces.max() < len(mesh.vertices)


@settings(max_examples=60, derandomize=True)
@given(st.binary(max_size=50))
def test_sections_of_noise_are_refused(data):
    with pytest.raises(CorruptFileError):
        decode(b"\x07" + data[:4])
    mesh = decoded(data)
    assert mesh is None or len(mesh.faces) > 0


WRONG = {
    "no section": ({}, "no surface section"),
    "empty": ({SURFACE: b""}, "cut off|bytes"),
    "only zeros": ({SURFACE: bytes(200)}, "lattice has a pitch"),
    "short frame": (section(frame=FRAME[:-1]), "frame"),
    "long frame": (section(frame=FRAME + b"\0"), "frame"),
    "frame of no scale": (section(frame=bytes(7)), "scale"),
    "frame of negative scale": (section(frame=struct.pack("<f", -1.0) + b"\0\0\0"), "scale"),
    "frame of infinite scale": (section(frame=struct.pack("<f", np.inf) + b"\0\0\0"), "scale"),
    "frame that is no number": (section(frame=struct.pack("<f", np.nan) + b"\0\0\0"), "scale"),
    "frame with a long number": (section(frame=FRAME[:4] + b"\x80\0\0\0"), "number"),
    "prior 0": (section(prior=0), "statistics number 0"),
    "prior of the future": (section(prior=max(MODEL_FILES) + 1), "statistics number"),
    "prior 255": (section(prior=255), "statistics number 255"),
    "unknown shape": (section(shape=128), "impossible"),
    "creases without levels": (section(shape=64), "impossible"),
    "more triangles than memory": (section(shape=3 | 3 << 4, faces=varint(1 << 17)), "not possible"),
    "all bits of the shape": (section(shape=255), "impossible"),
    "step of no mantissa": (section(step=b"\0\x80"), "step"),
    "huge step": (section(step=bytes([128, 128 + 20])), "impossible"),
    "tiny step": (section(step=bytes([128, 10])), "impossible"),
    "step out of range": (section(step=b"\x80\xff"), "step"),
    "error of no mantissa": (section(error=b"\x7f\x80"), "step"),
    "no faces": (section(faces=varint(0)), "faces"),
    "a face too many": (section(faces=varint(MOST_FACES + 1)), "faces"),
    "2^34 faces": (section(faces=varint((1 << 34) + 1)), "faces"),
    "endless number of faces": (section(faces=b"\xff" * 9), "varint|number"),
    "number of faces in two spellings": (section(faces=b"\x85\0"), "varint|number"),
}


@pytest.mark.parametrize("name", WRONG)
def test_impossible_headers_are_refused_with_the_reason(name):
    payload, reason = WRONG[name]
    sections = payload if isinstance(payload, dict) else {SURFACE: payload}
    with pytest.raises(CorruptFileError, match=reason):
        SurfaceDecoder().decode(sections, Progress())
    with pytest.raises(CorruptFileError, match=reason):
        MeshSurfaceCodec().details(sections)


@pytest.mark.parametrize("shape", [2, 3], ids=["open", "closed"])
@pytest.mark.parametrize("stream", [b"", b"\x80", b"\xff" * 30, b"\x55" * 30, bytes(12) + b"\1"])
def test_few_bytes_do_not_become_a_million_faces(stream, shape):
    """An all but empty stream stands for the likeliest symbols, whose number must end with the bytes."""
    payload = section(shape=shape, faces=varint(MOST_FACES), stream=stream)
    tracemalloc.start()
    try:
        assert decoded(payload) is None
        assert tracemalloc.get_traced_memory()[1] < LITTLE
    finally:
        tracemalloc.stop()


def test_a_walk_with_a_corner_twice_in_a_face_is_refused_before_it_is_made_smooth():
    """Found at random: its directed edges are all different, and one edge has three faces."""
    for hexadecimal in EVIL_WALKS:
        assert decoded(bytes.fromhex(hexadecimal)) is None


def test_a_file_of_few_bytes_does_not_become_millions_of_triangles():
    payload = section(shape=3 | 3 << 4, faces=varint(65536), stream=b"\x55" * 700)
    with pytest.raises(CorruptFileError, match="triangles in 700 bytes"):
        decode(payload)


def test_a_surface_that_leads_out_of_its_frame_is_refused():
    largest = bytes([255, 128 - 7])
    generator = np.random.default_rng(0)
    for _ in range(40):
        mesh = decoded(section(shape=14, step=largest, faces=varint(40), stream=generator.bytes(60)))
        assert mesh is None or np.isfinite(mesh.vertices).all()


class Dice:
    """Models that throw dice for every symbol, so that walks go where no stream of bits soon leads."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.weights = [self.random.random() ** 2 + 1e-3 for _ in range(CORNER + 1)]
        self.residuals = [self] * 3
        self.seeds = self
        self.corners = self

    def code(self, coder, value, contexts):
        return self.random.randint(-3, 3) if len(contexts) > 1 else self.random.choice([0, 0, 0, 1, 2, 9])

    def code_operation(self, coder, operation, contexts, possible):
        allowed = [number for number in range(CORNER) if possible[number]] + [CORNER]
        return self.random.choices(allowed, [self.weights[number] for number in allowed])[0]


@settings(max_examples=400, derandomize=True)
@given(st.integers(0, 10**9), st.booleans(), st.sampled_from([5, 20, 80]))
def test_any_operations_in_any_order_end_in_a_mesh_or_in_one_error(seed, closed, faces):
    walk = SurfaceWalk(None, Dice(seed), SurfaceSteps(0.05, 2.0, closed))
    try:
        vertices, found = walk.run(faces, lambda: None)
    except CorruptFileError:
        return
    assert len(found) == faces
    assert np.isfinite(vertices).all()
    assert found.max() < len(vertices)


def test_comparing_corners_has_an_end(monkeypatch):
    section = section_of(torus(6, 6))
    monkeypatch.setattr(surface_walk, "MOST_CORNERS_COMPARED", 10)
    with pytest.raises(CorruptFileError, match="corner"):
        decode(section)


def test_a_surface_that_readers_would_refuse_is_not_written(monkeypatch):
    monkeypatch.setattr(surface_walk, "MOST_CORNERS_COMPARED", 10)
    with pytest.raises(UnsupportedSceneError, match="72 triangles has too many holes"):
        section_of(torus(6, 6))


def test_more_faces_than_the_bytes_can_mean_are_refused_at_once():
    few = section(faces=varint(FACES_FOR_NOTHING + 1), stream=b"")
    with pytest.raises(CorruptFileError, match="1025 faces in 0 bytes"):
        read_surface({SURFACE: few})
