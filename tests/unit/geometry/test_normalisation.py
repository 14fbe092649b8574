"""The frame: into [-1, 1] and back, stored in a few bytes without loss."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from shapes import box, sphere

from scene_codec.errors import CorruptFileError
from scene_codec.geometry.mesh_checks import RELATIVE_RESOLUTION
from scene_codec.geometry.normalisation import FRAME_WIDTH, Frame
from scene_codec.geometry.scene_object import TriangleMesh


@given(
    size=st.floats(1e-6, 1e9),
    offset=st.tuples(*[st.floats(-1e7, 1e7)] * 3),
    shape=st.tuples(*[st.floats(0.01, 1.0)] * 3),
)
@settings(derandomize=True, max_examples=200)
def test_a_mesh_fits_its_cube_and_returns_to_its_place_through_the_stored_bytes(size, offset, shape):
    vertices = box(shape).vertices * size + np.array(offset) * min(size * 1e9, 1.0)
    mesh = TriangleMesh(vertices, box().faces)
    # What `prepare_mesh` refuses never reaches a frame.
    assume(np.ptp(vertices, axis=0).max() > np.abs(vertices).max() * RELATIVE_RESOLUTION)
    frame = Frame.around(mesh)
    stored = frame.to_bytes()
    assert Frame.from_bytes(stored) == frame
    assert len(stored) <= 28
    inside = frame.into(mesh)
    assert np.abs(inside.vertices).max() < 1.0
    assert np.ptp(inside.vertices, axis=0).max() <= FRAME_WIDTH * (1.0 + 1e-6)
    back = Frame.from_bytes(stored).out_of(inside)
    extent = np.ptp(vertices, axis=0).max()
    rounding = np.abs(vertices).max() * 2.0**-50
    assert np.abs(back.vertices - vertices).max() <= 1e-12 * extent + rounding


def test_a_mesh_at_the_origin_takes_seven_bytes():
    assert len(Frame.around(sphere()).to_bytes()) == 7


def test_every_prefix_and_every_extra_byte_is_refused():
    mesh = TriangleMesh(sphere().vertices + np.array([1e4, -3.0, 0.2]), sphere().faces)
    data = Frame.around(mesh).to_bytes()
    for length in range(len(data)):
        with pytest.raises(CorruptFileError):
            Frame.from_bytes(data[:length])
    with pytest.raises(CorruptFileError):
        Frame.from_bytes(data + b"\0")


@given(st.binary(min_size=0, max_size=40))
@settings(derandomize=True, max_examples=300)
def test_any_bytes_are_a_usable_frame_or_refused(data):
    try:
        frame = Frame.from_bytes(data)
    except CorruptFileError:
        return
    assert frame.scale > 0.0
    assert np.isfinite(frame.centre).all()
    assert frame.to_bytes() == data
