"""Prepares glTF files for trimesh: checked, stripped of all but geometry, nodes named by number."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scene_codec.errors import UnsupportedSceneError

_MAGIC = b"glTF"
_JSON_CHUNK = 0x4E4F534A
_INSTANCING = "EXT_mesh_gpu_instancing"
_HARMLESS = ("KHR_materials_", "KHR_texture_", "KHR_lights_", "KHR_draco_mesh_compression", "EXT_texture_")
_TRIANGLE_FAN = 6
_IGNORED = ("materials", "textures", "images", "samplers", "animations", "skins", "cameras")


@dataclass(frozen=True)
class GltfGeometry:
    """A glTF file reduced to its geometry.

    data : the file's bytes with a new JSON part, in which each node is named by its number
    names : the nodes' own names, or those of their meshes, by number
    """

    data: bytes
    names: list[str]


def read_gltf_geometry(path: Path) -> GltfGeometry:
    """Return what trimesh needs of a `.gltf` or `.glb` file.

    Missing textures and unknown materials thus do no harm. Raises `UnsupportedSceneError` for a damaged file
    and for one that declares more values without data than it has bytes.
    """
    whole = path.read_bytes()
    text, rest = _split(path, whole)
    try:
        tree = json.loads(text)
        names = _reduce(path, tree, len(whole))
        reduced = json.dumps(tree).encode("utf-8")
    except (ValueError, AttributeError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise _damaged(path, "its JSON part cannot be read") from error
    if rest is None:
        return GltfGeometry(reduced, names)
    reduced += b" " * (-len(reduced) % 4)
    chunks = struct.pack("<II", len(reduced), _JSON_CHUNK) + reduced + rest
    return GltfGeometry(_MAGIC + struct.pack("<II", 2, 12 + len(chunks)) + chunks, names)


def _split(path: Path, whole: bytes) -> tuple[bytes, bytes | None]:
    """Return the JSON part and the chunks behind it, None for a text file."""
    if whole[:4] != _MAGIC:
        return whole, None
    if len(whole) < 20 or struct.unpack_from("<I", whole, 8)[0] > len(whole):
        raise _damaged(path, "it ends before its declared length")
    length = struct.unpack_from("<I", whole, 12)[0]
    if length > len(whole) - 20:
        raise _damaged(path, "its JSON part ends beyond the file")
    return whole[20 : 20 + length], whole[20 + length :]


def _reduce(path: Path, tree: dict[str, Any], size: int) -> list[str]:
    """Strip a parsed file in place and return its node names."""
    _refuse_what_would_be_lost(path, tree)
    if any(int(item["count"]) < 0 for item in tree.get("accessors", [])):
        raise _damaged(path, "it declares a negative number of values")
    empty = sum(int(item["count"]) for item in tree.get("accessors", []) if "bufferView" not in item)
    # Accessors of Draco meshes have no view of their own; their data is compressed, at best a hundredfold.
    if empty > (size * 100 if "KHR_draco_mesh_compression" in tree.get("extensionsUsed", []) else size):
        raise _damaged(path, f"it declares {empty} values without data")
    for key in _IGNORED:
        tree.pop(key, None)
    meshes = tree.get("meshes", [])
    for mesh in meshes:
        for primitive in mesh["primitives"]:
            primitive.pop("material", None)
            primitive["attributes"] = {"POSITION": primitive["attributes"]["POSITION"]}
    if not tree.get("scenes"):
        children = {child for node in tree.get("nodes", []) for child in node.get("children", [])}
        tree["scenes"] = [{"nodes": [n for n in range(len(tree.get("nodes", []))) if n not in children]}]
        tree["scene"] = 0
    names = []
    for number, node in enumerate(tree.get("nodes", [])):
        mesh_name = meshes[node["mesh"]].get("name") if "mesh" in node else None
        names.append(str(node.get("name") or mesh_name or ""))
        node["name"] = str(number)
        node.pop("camera", None)
        node.pop("skin", None)
    return names


def _refuse_what_would_be_lost(path: Path, tree: dict[str, Any]) -> None:
    """Raise `UnsupportedSceneError` for geometry that trimesh passes over or takes for something else."""
    required = [name for name in tree.get("extensionsRequired", []) if not name.startswith(_HARMLESS)]
    if any(_INSTANCING in node.get("extensions", {}) for node in tree.get("nodes", [])):
        required.append(_INSTANCING)
    if required:
        raise _not_read(path, f"the glTF extension {required[0]}")
    if any("sparse" in item for item in tree.get("accessors", [])):
        raise _not_read(path, "sparse accessors")
    primitives = [primitive for mesh in tree.get("meshes", []) for primitive in mesh["primitives"]]
    if any(primitive.get("mode") == _TRIANGLE_FAN for primitive in primitives):
        raise _not_read(path, "triangle fans")


def _not_read(path: Path, what: str) -> UnsupportedSceneError:
    return UnsupportedSceneError(f"'{path.name}' uses {what}, which is not read. Export it without.")


def _damaged(path: Path, reason: str) -> UnsupportedSceneError:
    return UnsupportedSceneError(f"'{path.name}' is damaged: {reason}. Export it again.")
