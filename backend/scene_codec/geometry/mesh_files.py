"""Mesh files to scene objects and back: OBJ, PLY, STL, OFF and glTF. The only module that imports trimesh.

A file is one object in its own coordinates, except glTF, where each placed node with a mesh becomes one
object with its world transform and nodes that share a mesh share its arrays. Materials, textures and loose
points or lines are not read.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scene_codec.bitstream.atomic_file import write_atomically
from scene_codec.errors import InvalidRequestError, UnsupportedSceneError
from scene_codec.geometry.gltf_file import read_gltf_geometry
from scene_codec.geometry.mesh_file_checks import check_declared_sizes
from scene_codec.geometry.obj_file import read_obj
from scene_codec.geometry.object_names import unique_names
from scene_codec.geometry.off_file import read_off
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh

if TYPE_CHECKING:
    import trimesh

READABLE_SUFFIXES = (".obj", ".ply", ".stl", ".glb", ".gltf", ".off")
WRITABLE_SUFFIXES = (".ply", ".obj", ".glb", ".stl")

_OWN_READERS = {".obj": read_obj, ".off": read_off}
_SCENE_SUFFIXES = (".glb", ".gltf")
_ASCII = bytes(range(128)) + b"?" * 128
_FLOAT32_TOLERANCE = 2.0**-18
"""float32 coordinates are precise enough while rounding moves nothing by more than this part of the size."""


def load_scene_objects(path: Path | str) -> list[SceneObject]:
    """Return the meshes of a file, polygons cut into triangles.

    Single-mesh files give one object named after the file, glTF scenes one per node that shows a mesh, in the
    order of the file. Corners that STL repeats for each triangle, and glTF along its seams, are joined where
    their coordinates are equal.

    Raises `UnsupportedSceneError` naming the file and the reason.
    """
    path = Path(path)
    size = _file_size(path)
    check_declared_sizes(path, size)
    if path.suffix.lower() in _SCENE_SUFFIXES:
        placed = _read_placed_meshes(path)
    else:
        placed = [(path.stem, _read_single_mesh(path), np.eye(4))]
    names = unique_names(name for name, _, _ in placed)
    share = size // len(placed)
    return [
        SceneObject(name, mesh, transform, source_bytes=share)
        for name, (_, mesh, transform) in zip(names, placed, strict=True)
    ]


def save_scene_object(scene_object: SceneObject, path: Path | str) -> None:
    """Write one object; the suffix says the format. The old file stays whole until the new one is complete.

    ply, obj, stl : the transform is applied, so the mesh lies where the object stood in its scene. Binary PLY
    and STL; PLY uses float64 where float32 would lose the shape, far from the origin.
    glb : vertices in object space, the transform on the node.

    Raises `InvalidRequestError` for another suffix, and `UnsupportedSceneError` when STL cannot hold the
    mesh.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".glb":
        data = _glb_bytes(scene_object)
    elif suffix in WRITABLE_SUFFIXES:
        mesh = _placed(scene_object)
        data = {".ply": _ply_bytes, ".obj": _obj_bytes, ".stl": _stl_bytes}[suffix](mesh, scene_object.name)
    else:
        raise InvalidRequestError(
            f"Cannot write '{path.name}': the format must be one of {', '.join(WRITABLE_SUFFIXES)}."
        )
    write_atomically(path, [data])


def _file_size(path: Path) -> int:
    """Return the size of a readable mesh file, or refuse it."""
    if path.suffix.lower() not in READABLE_SUFFIXES:
        raise UnsupportedSceneError(
            f"'{path.name}' is not a mesh file: the suffix must be one of {', '.join(READABLE_SUFFIXES)}."
        )
    try:
        if not path.is_file():
            raise UnsupportedSceneError(f"There is no file '{path}'.")
        size = path.stat().st_size
    except OSError as error:
        raise UnsupportedSceneError(f"'{path}' cannot be read: {error.strerror}.") from error
    if size == 0:
        raise UnsupportedSceneError(f"'{path.name}' is empty.")
    return size


def _read_single_mesh(path: Path) -> TriangleMesh:
    """Return all triangles of a file without a scene graph as one mesh."""
    import trimesh  # where it is needed, because it takes half a second

    suffix = path.suffix.lower()
    try:
        if suffix in _OWN_READERS:
            parts = [_OWN_READERS[suffix](path)]
        else:
            data = io.BytesIO(_with_plain_words(path.read_bytes(), suffix))
            scene = trimesh.load_scene(data, file_type=suffix[1:], process=False, skip_materials=True)
            parts = [
                _triangles(item) for item in scene.geometry.values() if isinstance(item, trimesh.Trimesh)
            ]
    except Exception as error:  # the parsers raise dozens of types on damaged files
        raise _unreadable(path, error) from error
    if not any(len(part.faces) for part in parts):
        raise UnsupportedSceneError(_no_faces(path))
    mesh = _combined(parts)
    return _joined(mesh) if suffix == ".stl" else mesh


def _with_plain_words(data: bytes, suffix: str) -> bytes:
    """Return a file with question marks for the letters beyond ASCII in its names and comments.

    Such a letter may be in any encoding, matters to nobody, and stops the parsers.
    """
    if suffix == ".ply":
        end = data.find(b"end_header")
        return data if end < 0 else data[:end].translate(_ASCII) + data[end:]
    triangles = int.from_bytes(data[80:84], "little")
    is_binary = len(data) == 84 + 50 * triangles
    return data if is_binary else data.translate(_ASCII)


def _unreadable(path: Path, error: Exception) -> UnsupportedSceneError:
    reason = (str(error).strip() or type(error).__name__)[:200].rstrip(".")
    return UnsupportedSceneError(
        f"'{path.name}' cannot be read as {path.suffix[1:].upper()}: {reason}. "
        "The file is damaged or of another kind."
    )


def _read_placed_meshes(path: Path) -> list[tuple[str, TriangleMesh, NDArray[np.float64]]]:
    """Return name, mesh and world transform of each glTF node with triangles, instances sharing a mesh."""
    import trimesh  # where it is needed, because it takes half a second

    source = read_gltf_geometry(path)
    try:
        scene = trimesh.load_scene(
            io.BytesIO(source.data),
            file_type=path.suffix[1:].lower(),
            resolver=trimesh.resolvers.FilePathResolver(str(path)),
            process=False,
        )
        shown = _shown_geometry(scene)
        transforms = {number: np.array(scene.graph[str(number)][0], dtype=np.float64) for number in shown}
        meshes = {
            keys: _joined(_combined([_triangles(scene.geometry[key]) for key in keys]))
            for keys in shown.values()
        }
    except Exception as error:  # the parsers raise dozens of types on damaged files
        raise _unreadable(path, error) from error
    if not shown:
        raise UnsupportedSceneError(_no_faces(path))
    for number in shown:
        if not np.isfinite(transforms[number]).all():
            raise UnsupportedSceneError(
                f"Node '{source.names[number]}' of '{path.name}' has a transform that is not finite."
            )
    return [
        (source.names[number], meshes[keys], transforms[number]) for number, keys in sorted(shown.items())
    ]


def _shown_geometry(scene: trimesh.Scene) -> dict[int, tuple[str, ...]]:
    """Return the keys of the triangle meshes that each numbered node shows."""
    import trimesh  # where it is needed, because it takes half a second

    shown: dict[int, list[str]] = {}
    for node in scene.graph.nodes_geometry:
        key = scene.graph[node][1]
        if isinstance(scene.geometry[key], trimesh.Trimesh) and len(scene.geometry[key].faces):
            # trimesh hangs the second and further primitives of a mesh below its node, under "number_random".
            shown.setdefault(int(node.split("_")[0]), []).append(str(key))
    return {number: tuple(sorted(keys)) for number, keys in shown.items()}


def _combined(parts: list[TriangleMesh]) -> TriangleMesh:
    """Return several meshes as one."""
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    return TriangleMesh(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.faces + offset for part, offset in zip(parts, offsets, strict=True)]),
    )


def _no_faces(path: Path) -> str:
    if path.suffix.lower() == ".stl":  # which can hold nothing else
        return f"'{path.name}' holds no triangles that can be read. It may be cut off or damaged."
    return (
        f"'{path.name}' holds no triangles. Point clouds and curves cannot be encoded; "
        "give them a surface first."
    )


def _triangles(item: trimesh.Trimesh) -> TriangleMesh:
    """Copy the arrays out of trimesh's tracked ones."""
    return TriangleMesh(np.array(item.vertices, dtype=np.float64), np.array(item.faces, dtype=np.int64))


def _joined(mesh: TriangleMesh) -> TriangleMesh:
    """Return the mesh with vertices of exactly equal coordinates made one, in order of first use."""
    _, first, place = np.unique(mesh.vertices, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.zeros(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return TriangleMesh(mesh.vertices[first[order]], rank[place.reshape(-1)][mesh.faces])


def _placed(scene_object: SceneObject) -> TriangleMesh:
    """Return the mesh in world coordinates; mirroring turns the faces so that outside stays outside."""
    linear, offset = scene_object.transform[:3, :3], scene_object.transform[:3, 3]
    if np.array_equal(scene_object.transform, np.eye(4)):
        return scene_object.mesh
    faces = scene_object.mesh.faces
    if np.linalg.det(linear) < 0:
        faces = faces[:, ::-1]
    return TriangleMesh(scene_object.mesh.vertices @ linear.T + offset, faces)


def _fits_float32(vertices: NDArray[np.float64]) -> bool:
    """Tell whether rounding to float32 keeps the shape."""
    if len(vertices) == 0:
        return True
    largest = float(np.abs(vertices).max())
    extent = float(np.ptp(vertices, axis=0).max())
    return largest < 1e38 and largest * 2.0**-24 <= extent * _FLOAT32_TOLERANCE


def _ply_bytes(mesh: TriangleMesh, name: str) -> bytes:
    """Return a binary little-endian PLY file."""
    del name  # PLY has no place for it
    kind, code = ("float", "<f4") if _fits_float32(mesh.vertices) else ("double", "<f8")
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"element vertex {len(mesh.vertices)}\nproperty {kind} x\nproperty {kind} y\nproperty {kind} z\n"
        f"element face {len(mesh.faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = np.zeros(len(mesh.faces), dtype=[("count", "u1"), ("corners", "<i4", (3,))])
    rows["count"] = 3
    rows["corners"] = mesh.faces
    coordinates: bytes = mesh.vertices.astype(code).tobytes()
    corners: bytes = rows.tobytes()
    return header.encode("ascii") + coordinates + corners


def _stl_bytes(mesh: TriangleMesh, name: str) -> bytes:
    """Return a binary STL file."""
    if not _fits_float32(mesh.vertices):
        raise UnsupportedSceneError(
            f"'{name}' lies too far from the origin for the float32 coordinates of STL. Use ply, obj or glb."
        )
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    rows = np.zeros(
        len(corners), dtype=[("normal", "<f4", (3,)), ("corners", "<f4", (3, 3)), ("attributes", "<u2")]
    )
    rows["normal"] = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    rows["corners"] = corners
    facets: bytes = rows.tobytes()
    return bytes(80) + struct.pack("<I", len(corners)) + facets


def _obj_bytes(mesh: TriangleMesh, name: str) -> bytes:
    """Return an OBJ file, with digits enough for the shape wherever it lies."""
    digits = 9 if _fits_float32(mesh.vertices) else 17
    label = " ".join(name.split()) or "Object"
    text = io.StringIO()
    text.write(f"o {label}\n")
    np.savetxt(text, mesh.vertices, fmt=f"v %.{digits}g %.{digits}g %.{digits}g")
    np.savetxt(text, mesh.faces + 1, fmt="f %d %d %d")
    return text.getvalue().encode("utf-8")


def _glb_bytes(scene_object: SceneObject) -> bytes:
    """Return a binary glTF file of one node; float32 vertices are centred first where they need it."""
    import trimesh  # where it is needed, because it takes half a second

    vertices, transform = scene_object.mesh.vertices, scene_object.transform
    if not _fits_float32(vertices):
        centre = (vertices.min(axis=0) + vertices.max(axis=0)) / 2.0
        shift = np.eye(4)
        shift[:3, 3] = centre
        vertices, transform = vertices - centre, transform @ shift
    mesh = trimesh.Trimesh(vertices, scene_object.mesh.faces, process=False)
    scene = trimesh.Scene()
    scene.add_geometry(mesh, node_name=scene_object.name, geom_name=scene_object.name, transform=transform)
    return bytes(scene.export(file_type="glb", include_normals=False))  # type: ignore[no-untyped-call]
