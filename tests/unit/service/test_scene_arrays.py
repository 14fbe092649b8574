"""Objects of the host arrive as they were sent; wrong and hostile array files are refused by name."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scene_codec.errors import InvalidRequestError
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh
from scene_codec.service.methods import check_params
from scene_codec.service.protocol import MAX_HOST_BYTES
from scene_codec.service.requests import DecodeParams, EncodeParams, ObjectParams
from scene_codec.service.scene_arrays import host_object, read_object, write_object

VERTICES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0.5]])
FACES = np.array([[0, 1, 2]])


@pytest.fixture
def describe(tmp_path):
    """Write arrays to files and return the object's description, with fields replaced."""

    def write(vertices=VERTICES, faces=FACES, **fields):
        np.save(tmp_path / "vertices é.npy", vertices)
        np.save(tmp_path / "faces.npy", faces)
        return {
            "name": "Körper",
            "vertices": str(tmp_path / "vertices é.npy"),
            "faces": str(tmp_path / "faces.npy"),
            "transform": [float(n) for n in range(16)],
            "host": {"parent": "Wurzel", "slots": [1, None]},
            **fields,
        }

    return write


def read(description):
    return read_object(check_params("encode", description, ObjectParams))


@pytest.mark.parametrize("float_kind", [np.float32, np.float64])
@pytest.mark.parametrize("int_kind", [np.int32, np.int64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_object_arrives_as_it_was_sent(describe, float_kind, int_kind, order):
    vertices = np.asarray(VERTICES, dtype=float_kind, order=order)
    arrived = read(describe(vertices, FACES.astype(int_kind)))
    np.testing.assert_array_equal(arrived.mesh.vertices, vertices)
    np.testing.assert_array_equal(arrived.mesh.faces, FACES)
    assert (arrived.mesh.vertices.dtype, arrived.mesh.faces.dtype) == (np.float64, np.int64)
    np.testing.assert_array_equal(arrived.transform, np.arange(16.0).reshape(4, 4))
    assert arrived.name == "Körper"
    assert json.loads(arrived.host) == {"parent": "Wurzel", "slots": [1, None]}


def test_empty_arrays_are_passed_on_for_the_codec_to_judge(describe):
    arrived = read(describe(np.zeros((0, 3)), np.zeros((0, 3), np.int32)))
    assert (arrived.mesh.vertices.shape, arrived.mesh.faces.shape) == ((0, 3), (0, 3))


@pytest.mark.parametrize(
    ("vertices", "faces", "words"),
    [
        (VERTICES.astype(np.int32), FACES, "vertices of 'Körper' have the type int32"),
        (VERTICES.astype(">f8"), FACES, "have the type >f8"),
        (VERTICES.astype(complex), FACES, "complex"),
        (VERTICES, FACES.astype(np.float64), "faces of 'Körper' have the type float64"),
        (VERTICES, FACES.astype(np.uint32), "uint32"),
        (VERTICES[0], FACES, r"shape \(3,\)"),
        (VERTICES[:, :2], FACES, r"shape \(3, 2\)"),
        (VERTICES, np.zeros((1, 4), np.int32), r"shape \(1, 4\)"),
    ],
)
def test_arrays_of_another_kind_or_shape_are_refused_by_name(describe, vertices, faces, words):
    with pytest.raises(InvalidRequestError, match=words):
        read(describe(vertices, faces))


def test_a_damaged_array_file_is_refused_at_every_length(describe, tmp_path):
    description = describe()
    path = tmp_path / "faces.npy"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidRequestError, match="cannot be read"):
            read(description)


@given(data=st.data())
@settings(derandomize=True, max_examples=150)
def test_a_flipped_byte_in_the_header_is_refused_or_harmless(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("arrays")
    np.save(folder / "array.npy", FACES)
    whole = bytearray((folder / "array.npy").read_bytes())
    whole[data.draw(st.integers(0, 127))] ^= data.draw(st.integers(1, 255))
    (folder / "array.npy").write_bytes(whole)
    np.save(folder / "vertices.npy", VERTICES)
    description = {"name": "x", "vertices": str(folder / "vertices.npy"), "faces": str(folder / "array.npy")}
    try:
        arrived = read({**description, "transform": [0.0] * 16, "host": {}})
    except InvalidRequestError:
        return
    assert arrived.mesh.faces.shape[1] == 3


def test_a_header_that_promises_more_than_the_file_holds_is_refused(describe, tmp_path):
    description = describe()
    path = tmp_path / "faces.npy"
    content = path.read_bytes()
    for shape in (b"(9, 3)", b"(10**9, 3)", b"(99999999999999, 3)", b"(-1, 3)"):
        path.write_bytes(content.replace(b"(1, 3)", shape))
        with pytest.raises(InvalidRequestError, match="cannot be read"):
            read(description)


def test_python_objects_are_never_unpickled(describe, tmp_path):
    description = describe()
    np.save(tmp_path / "faces.npy", np.array([[{}, 1, 2]], dtype=object), allow_pickle=True)
    with pytest.raises(InvalidRequestError, match="cannot be read"):
        read(description)


@pytest.mark.parametrize("path", ["faces.npy", "", "./faces.npy", "/no/such/file.npy", "/a\0b"])
def test_a_path_that_is_relative_or_leads_nowhere_is_refused(describe, path):
    with pytest.raises(InvalidRequestError, match="faces of 'Körper'"):
        read(describe(faces=FACES) | {"faces": path})


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_a_transform_that_is_not_finite_is_refused(describe, number):
    with pytest.raises(InvalidRequestError, match=r"transform of 'Körper'"):
        read(describe(transform=[0.0] * 15 + [number]))


def test_host_data_is_bounded(describe):
    with pytest.raises(InvalidRequestError, match="at most 65536"):
        read(describe(host={"x": "y" * MAX_HOST_BYTES}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("transform", [0.0] * 15),
        ("transform", ["0"] * 16),
        ("name", ""),
        ("name", 5),
        ("host", [1]),
        ("vertices", None),
        ("unknown", 1),
    ],
)
def test_a_wrong_field_is_refused_by_name(describe, field, value):
    with pytest.raises(InvalidRequestError, match=field):
        check_params("encode", {"objects": [describe() | {field: value}], "output": "/x"}, EncodeParams)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(
    ["objects", "output", "codec", "preset", "settings", "device", "file", "folder", "only", "x"]
)


@given(
    params=st.dictionaries(fields, json_values) | json_values,
    shape=st.sampled_from([EncodeParams, DecodeParams]),
)
@settings(derandomize=True, max_examples=200)
def test_parameters_are_taken_or_refused_with_one_kind_of_error(params, shape):
    with contextlib.suppress(InvalidRequestError):
        assert isinstance(check_params("x", params, shape), shape)


def test_written_objects_can_be_read_again(tmp_path):
    written = SceneObject(
        name="Körper",
        mesh=TriangleMesh(VERTICES, FACES),
        transform=np.arange(16.0).reshape(4, 4),
        host=b'{"parent":"Wurzel"}',
    )
    arrived = read(write_object(written, tmp_path, 7))
    np.testing.assert_array_equal(arrived.mesh.vertices, VERTICES)
    np.testing.assert_array_equal(arrived.mesh.faces, FACES)
    np.testing.assert_array_equal(arrived.transform, written.transform)
    assert (arrived.name, arrived.host) == (written.name, written.host)
    assert {path.suffix for path in tmp_path.iterdir()} == {".npy"}


@pytest.mark.parametrize("host", [b"", b"\xff", b"[1]", b"not json", b"NaN", b'{"x": NaN}', b"[" * 60_000])
def test_host_data_of_another_application_is_left_aside(host):
    assert host_object(SceneObject("x", TriangleMesh(VERTICES, FACES), host=host)) == {}
