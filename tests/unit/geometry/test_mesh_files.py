"""Files of every format, written and read, and what is refused."""

import json
import struct

import numpy as np
import pytest
from shapes import box, joined, sphere, turned

from scene_codec.errors import InvalidRequestError, SceneCodecError, UnsupportedSceneError
from scene_codec.geometry.mesh_files import (
    READABLE_SUFFIXES,
    WRITABLE_SUFFIXES,
    load_scene_objects,
    save_scene_object,
)
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh

MIRRORED = np.array([[-2.0, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])


def volume(mesh):
    corners = mesh.vertices[mesh.faces]
    return np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6.0


def in_world(scene_object):
    return scene_object.mesh.vertices @ scene_object.transform[:3, :3].T + scene_object.transform[:3, 3]


@pytest.mark.parametrize("suffix", WRITABLE_SUFFIXES)
def test_a_written_object_is_read_back_where_it_stood(tmp_path, suffix):
    source = SceneObject("Würfel", turned(box((1.0, 2.0, 0.5))), MIRRORED)
    path = tmp_path / f"Würfel{suffix}"
    save_scene_object(source, path)
    (back,) = load_scene_objects(path)
    assert back.name == "Würfel"
    assert back.source_bytes == path.stat().st_size
    np.testing.assert_allclose(np.sort(in_world(back), axis=0), np.sort(in_world(source), axis=0), atol=1e-6)
    np.testing.assert_array_equal(back.transform, MIRRORED if suffix == ".glb" else np.eye(4))
    assert len(back.mesh.vertices) == 8
    placed = volume(back.mesh) if suffix != ".glb" else volume(back.mesh) * 2.0
    assert placed == pytest.approx(2.0, rel=1e-5)


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".glb"])
def test_a_mesh_far_from_the_origin_keeps_its_shape(tmp_path, suffix):
    source = SceneObject("far", TriangleMesh(sphere().vertices + 1e7, sphere().faces))
    save_scene_object(source, tmp_path / f"far{suffix}")
    (back,) = load_scene_objects(tmp_path / f"far{suffix}")
    np.testing.assert_allclose(in_world(back), in_world(source), rtol=0, atol=1e-7)


def test_stl_refuses_what_its_float32_would_destroy_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "far.stl"
    save_scene_object(SceneObject("near", box()), path)
    before = path.read_bytes()
    with pytest.raises(UnsupportedSceneError, match="'far' lies too far"):
        save_scene_object(SceneObject("far", TriangleMesh(sphere().vertices + 1e7, sphere().faces)), path)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["far.stl"]


def test_writing_into_a_missing_folder_or_an_unknown_format_is_a_clear_error(tmp_path):
    with pytest.raises(SceneCodecError, match="nowhere"):
        save_scene_object(SceneObject("a", box()), tmp_path / "nowhere" / "a.ply")
    with pytest.raises(InvalidRequestError, match="format must be one of"):
        save_scene_object(SceneObject("a", box()), tmp_path / "a.fbx")


def test_a_file_without_a_scene_graph_is_one_object_whatever_its_groups(tmp_path):
    path = tmp_path / "pieces.obj"
    path.write_text(
        "mtllib lost.mtl\nusemtl red\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 0 0 1\nvt 0 0\nvt 1 1\n"
        "o first\nf 1/1 2/2 3/1 4/2\no second\ng inner\nusemtl blue\nf 1/2 2/1 5/2\nf -1 -2 -3\n"
    )
    (item,) = load_scene_objects(path)
    assert item.name == "pieces"
    assert len(item.mesh.vertices) == 5
    assert len(item.mesh.faces) == 4


PENTAGON = "0 0 0\n1 0 0\n1 1 0\n.5 2 0\n0 1 0\n5 0 1 2 3 4\n3 0 1 2\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pentagon.off", "OFF\n# a comment\n5 2 0\n" + PENTAGON),
        (
            "pentagon.ply",
            "ply\nformat ascii 1.0\nelement vertex 5\nproperty float x\nproperty float y\nproperty float z\n"
            "element face 2\nproperty list uchar int vertex_indices\nend_header\n" + PENTAGON,
        ),
        ("pentagon.obj", "v 0 0 0\nv 1 0 0\nv 1 1 0\nv .5 2 0\nv 0 1 0\nf 1 2 3 4 5\nf 1 2 3\n"),
    ],
)
def test_polygons_are_cut_into_triangles(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    (item,) = load_scene_objects(tmp_path / name)
    corners = item.mesh.vertices[item.mesh.faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    assert len(areas) == 4
    assert areas.sum() == pytest.approx(1.5 + 0.5)


def glb_of(tree, binary=b""):
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    chunk = struct.pack("<II", len(binary), 0x004E4942) + binary if binary else b""
    length = 12 + 8 + len(text) + len(chunk)
    return b"glTF" + struct.pack("<II", 2, length) + struct.pack("<II", len(text), 0x4E4F534A) + text + chunk


def scene_of_instances():
    """One mesh of two primitives, shown by a parent, its child and a sibling of the parent's name."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype="<f4")
    indices = np.array([0, 1, 2, 0, 1, 3], dtype="<u4")
    binary = corners.tobytes() + indices.tobytes()
    return glb_of(
        {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"nodes": [0, 2]}],
            "nodes": [
                {"name": "wheel", "mesh": 0, "translation": [10, 0, 0], "children": [1]},
                {"name": "hub", "mesh": 0, "scale": [2, 2, 2]},
                {"name": "wheel", "mesh": 0},
            ],
            "meshes": [
                {
                    "primitives": [
                        {"attributes": {"POSITION": 0}, "indices": 1},
                        {"attributes": {"POSITION": 0}, "indices": 2},
                    ]
                }
            ],
            "buffers": [{"byteLength": len(binary)}],
            "bufferViews": [
                {"buffer": 0, "byteOffset": 0, "byteLength": 48},
                {"buffer": 0, "byteOffset": 48, "byteLength": 24},
            ],
            "accessors": [
                {"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3"},
                {"bufferView": 1, "componentType": 5125, "count": 3, "type": "SCALAR"},
                {"bufferView": 1, "byteOffset": 12, "componentType": 5125, "count": 3, "type": "SCALAR"},
            ],
        },
        binary,
    )


def test_gltf_instances_become_placed_objects_that_share_one_mesh(tmp_path):
    path = tmp_path / "car.glb"
    path.write_bytes(scene_of_instances())
    objects = load_scene_objects(path)
    assert len(objects) == 3
    assert [item.name for item in objects] == ["wheel", "hub", "wheel.001"]
    assert len({id(item.mesh) for item in objects}) == 1
    assert len(objects[0].mesh.faces) == 2
    hub = next(item for item in objects if item.name == "hub")
    np.testing.assert_allclose(hub.transform, [[2, 0, 0, 10], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
    assert np.abs(hub.mesh.vertices).max() == 1.0
    assert sum(item.source_bytes for item in objects) <= path.stat().st_size


def written(tmp_path, suffix):
    path = tmp_path / f"good{suffix}"
    if suffix == ".off":
        path.write_text("OFF\n5 2 0\n" + PENTAGON)
    elif suffix == ".gltf":
        save_scene_object(SceneObject("a", sphere()), tmp_path / "good.glb")
        data = (tmp_path / "good.glb").read_bytes()
        path.write_bytes(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])
    else:
        save_scene_object(SceneObject("a", sphere(rows=8)), path)
    return path.read_bytes()


def test_gltf_reads_its_buffers_from_files_beside_it_and_needs_no_textures(tmp_path):
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype="<f4")
    (tmp_path / "corners.bin").write_bytes(corners.tobytes())
    tree = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"name": "leaf", "primitives": [{"attributes": {"POSITION": 0}, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
        "textures": [{"source": 0}],
        "images": [{"uri": "lost.png"}],
        "buffers": [{"uri": "corners.bin", "byteLength": 36}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
    }
    path = tmp_path / "leaf.gltf"
    path.write_text(json.dumps(tree))
    (leaf,) = load_scene_objects(path)
    assert leaf.name == "leaf"
    np.testing.assert_array_equal(leaf.mesh.vertices, corners)
    (tmp_path / "corners.bin").unlink()
    assert "leaf.gltf" in refusal(path)


def refusal(path):
    """Return why a file was refused, or nothing when it was read."""
    try:
        load_scene_objects(path)
    except UnsupportedSceneError as reason:
        return str(reason)
    return ""


def test_an_stl_file_that_was_cut_off_is_called_so(tmp_path):
    path = tmp_path / "cut.stl"
    path.write_bytes(written(tmp_path, ".stl")[:-20])
    assert "may be cut off" in refusal(path)


@pytest.mark.parametrize("suffix", READABLE_SUFFIXES)
def test_damaged_files_are_refused_with_their_name(tmp_path, suffix):
    good = written(tmp_path, suffix)
    noise = np.random.default_rng(0).bytes(3000)
    candidates = [
        b"",
        b"\n",
        b"hello",
        noise,
        bytes(200),
        good[: len(good) // 3],
        good[:30],
        noise[:60] + good,
    ]
    for number, data in enumerate(candidates):
        path = tmp_path / f"bad{number}{suffix}"
        path.write_bytes(data)
        message = refusal(path)
        # OBJ counts nothing in advance: what is left of a cut file, or follows noise, may be a mesh.
        assert path.name in message or (suffix == ".obj" and message == "")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (
            "huge.ply",
            b"ply\nformat binary_little_endian 1.0\nelement vertex 1000000000000\nproperty float x\n"
            b"property float y\nproperty float z\nend_header\n" + bytes(64),
        ),
        (
            "list.ply",
            b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nelement face 99999999999\n"
            b"property list uchar int vertex_indices\nend_header\n0 1 2\n",
        ),
        ("nan.ply", b"ply\nformat ascii 1.0\nelement vertex nan\nproperty float x\nend_header\n0\n"),
        ("huge.off", b"OFF\n999999999999 1 0\n0 0 0\n"),
        ("negative.off", b"OFF\n-1 1 0\n0 0 0\n"),
        (
            "zeros.glb",
            glb_of(
                {
                    "asset": {"version": "2.0"},
                    "accessors": [{"componentType": 5126, "count": 10**12, "type": "VEC3"}],
                }
            ),
        ),
        ("huge.stl", bytes(80) + struct.pack("<I", 0xFFFFFFFF) + bytes(100)),
    ],
)
def test_counts_that_the_file_cannot_hold_are_refused_before_anything_is_allocated(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UnsupportedSceneError, match=name):
        load_scene_objects(tmp_path / name)


def test_points_without_faces_other_suffixes_and_missing_files_are_refused(tmp_path):
    cloud = tmp_path / "cloud.ply"
    header = "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\n"
    cloud.write_text(header + "end_header\n0 0 0\n1 0 0\n")
    for path, reason in (
        (cloud, "holds no triangles"),
        (tmp_path / "scene.fbx", "suffix must be one of"),
        (tmp_path / "lost.obj", "There is no file"),
        (tmp_path, "suffix must be one of"),
    ):
        with pytest.raises(UnsupportedSceneError, match=reason):
            load_scene_objects(path)


def test_corners_repeated_by_stl_are_joined_without_changing_the_surface(tmp_path):
    mesh = joined(box(), box(centre=(1.0, 0.0, 0.0)))
    save_scene_object(SceneObject("two", mesh), tmp_path / "two.stl")
    (back,) = load_scene_objects(tmp_path / "two.stl")
    assert len(back.mesh.vertices) == 12
    np.testing.assert_array_equal(back.mesh.vertices[back.mesh.faces], mesh.vertices[mesh.faces])


STL_TEXT = "solid {}\nfacet normal 0 0 1\nouter loop\n{}endloop\nendfacet\nendsolid\n"
CORNER_LINES = "vertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\n"
PLY_TEXT = (
    "ply\nformat ascii 1.0\ncomment {}\nelement vertex 3\nproperty float x\nproperty float y\n"
    "property float z\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n"
    "0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"
)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16-le"])
@pytest.mark.parametrize(
    ("name", "text"),
    [("a.stl", STL_TEXT.format("Stra\xdfe", CORNER_LINES)), ("a.ply", PLY_TEXT.format("B\xf6"))],
)
def test_names_and_comments_may_be_in_any_encoding(tmp_path, name, text, encoding):
    path = tmp_path / name
    word = text.split()[1 if name == "a.stl" else 4]
    raw = text.encode("latin-1").replace(word.encode("latin-1"), word.encode(encoding).replace(b"\0", b""))
    path.write_bytes(raw)
    (item,) = load_scene_objects(path)
    assert len(item.mesh.faces) == 1


def test_an_obj_file_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "a.obj"
    path.write_bytes(b"\xef\xbb\xbfv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    (item,) = load_scene_objects(path)
    assert len(item.mesh.vertices) == 3


@pytest.mark.parametrize("content", [b"garbage", b"\xff\xfe garbage \x80" * 20, b"solid"])
def test_what_is_no_stl_file_is_refused_with_a_reason_of_its_own(tmp_path, content):
    path = tmp_path / "a.stl"
    path.write_bytes(content)
    with pytest.raises(UnsupportedSceneError, match=r"a\.stl") as caught:
        load_scene_objects(path)
    assert "charset" not in str(caught.value)


def triangle_tree(**changes):
    """A glTF of one triangle, with parts replaced."""
    tree = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "buffers": [{"byteLength": 36}],
    }
    return {**tree, **changes}


TRIANGLE_BYTES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype="<f4").tobytes()
POSITIONS = {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"accessors": [{**POSITIONS, "count": -5}]}, "negative"),
        ({"accessors": [{**POSITIONS, "sparse": {"count": 1}}]}, "sparse"),
        ({"meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 6}]}]}, "fans"),
        ({"extensionsRequired": ["EXT_meshopt_compression"]}, "EXT_meshopt_compression"),
        ({"nodes": [{"mesh": 0, "extensions": {"EXT_mesh_gpu_instancing": {}}}]}, "EXT_mesh_gpu_instancing"),
    ],
)
def test_gltf_geometry_that_would_be_lost_is_refused_by_what_it_is(tmp_path, changes, word):
    path = tmp_path / "a.glb"
    path.write_bytes(glb_of(triangle_tree(**changes), TRIANGLE_BYTES))
    assert word in refusal(path)


def test_a_gltf_without_scenes_shows_its_roots(tmp_path):
    path = tmp_path / "a.glb"
    nodes = [{"name": "root", "translation": [1, 0, 0], "children": [1]}, {"name": "leaf", "mesh": 0}]
    tree = triangle_tree(nodes=nodes)
    del tree["scenes"]
    path.write_bytes(glb_of(tree, TRIANGLE_BYTES))
    (item,) = load_scene_objects(path)
    assert item.name == "leaf"
    assert item.transform[0, 3] == 1.0
