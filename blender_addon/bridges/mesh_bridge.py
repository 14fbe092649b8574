"""Blender meshes to arrays and back.

vertices : (v, 3) float32, in the object's own coordinates
faces : (f, 3) int32, counter-clockwise seen from outside
"""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np

from .object_reader import UnreadableObjectError, type_label

SURFACE_TYPES = frozenset({"MESH", "CURVE", "SURFACE", "FONT", "META"})
"""Object types that Blender itself can turn into a mesh."""


@dataclass(frozen=True)
class MeshArrays:
    """A triangulated surface and the two looks of it that belong to its faces, not to its object.

    material_index : the slot that most triangles use
    smooth : whether most triangles are shaded smooth
    """

    vertices: np.ndarray
    faces: np.ndarray
    material_index: int = 0
    smooth: bool = False


def read_surface(
    obj: bpy.types.Object, depsgraph: bpy.types.Depsgraph, *, apply_modifiers: bool
) -> tuple[MeshArrays, list[bpy.types.Material | None]]:
    """Return an object's triangles in its own coordinates, and the materials of the mesh they were read from.

    With `apply_modifiers` the evaluated mesh is read, as it is seen in the viewport; else the mesh before
    modifiers. Curves, texts, surfaces and metaballs are turned into meshes either way.
    Raises `UnreadableObjectError` when there is no surface.
    """
    if obj.type not in SURFACE_TYPES:
        raise UnreadableObjectError(f"A {type_label(obj)} has no surface.")
    source = obj.evaluated_get(depsgraph) if apply_modifiers or obj.type == "META" else obj
    try:
        mesh = source.to_mesh()
    except RuntimeError as problem:
        raise UnreadableObjectError(f"Blender cannot turn it into a mesh: {problem}") from problem
    if mesh is None:
        raise UnreadableObjectError("Blender cannot turn it into a mesh.")
    try:
        arrays = read_mesh(mesh)
        # Evaluated copies of materials die with the evaluated mesh; the originals stay.
        materials = [material.original if material else None for material in mesh.materials]
    finally:
        source.to_mesh_clear()
    if len(arrays.faces) == 0:
        raise UnreadableObjectError(_why_empty(obj, apply_modifiers))
    return arrays, materials


def read_mesh(mesh: bpy.types.Mesh) -> MeshArrays:
    """Return the triangulated arrays of a mesh data-block."""
    mesh.calc_loop_triangles()
    triangles = mesh.loop_triangles
    vertices = np.zeros((len(mesh.vertices), 3), np.float32)
    mesh.vertices.foreach_get("co", vertices.ravel())
    faces = np.zeros((len(triangles), 3), np.int32)
    triangles.foreach_get("vertices", faces.ravel())
    if len(faces) == 0:
        return MeshArrays(vertices, faces)
    slots = np.zeros(len(triangles), np.int32)
    triangles.foreach_get("material_index", slots)
    smooth = np.zeros(len(triangles), bool)
    triangles.foreach_get("use_smooth", smooth)
    return MeshArrays(
        vertices, faces, int(np.bincount(np.maximum(slots, 0)).argmax()), bool(smooth.mean() > 0.5)
    )


def write_mesh(name: str, arrays: MeshArrays) -> bpy.types.Mesh:
    """Make a mesh data-block without users. Raises ValueError when the arrays are no valid triangle mesh."""
    vertices = np.ascontiguousarray(arrays.vertices, np.float32)
    faces = np.ascontiguousarray(arrays.faces, np.int32)
    check_arrays(vertices, faces)
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", vertices.ravel())
    mesh.loops.add(faces.size)
    mesh.loops.foreach_set("vertex_index", faces.ravel())
    mesh.polygons.add(len(faces))
    mesh.polygons.foreach_set("loop_start", np.arange(0, faces.size, 3, dtype=np.int32))
    mesh.polygons.foreach_set("material_index", np.full(len(faces), arrays.material_index, np.int32))
    mesh.polygons.foreach_set("use_smooth", np.full(len(faces), arrays.smooth))
    mesh.update(calc_edges=True)
    mesh.validate()  # doubled faces and the like would crash later tools
    return mesh


def check_arrays(vertices: np.ndarray, faces: np.ndarray) -> None:
    """Raise ValueError when Blender could be crashed with these arrays."""
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"The arrays have shapes {vertices.shape} and {faces.shape}, not (v, 3) and (f, 3).")
    if not np.isfinite(vertices).all():
        raise ValueError("A vertex has a coordinate that is not a finite number.")
    if faces.size and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise ValueError("A face refers to a vertex that does not exist.")


def _why_empty(obj: bpy.types.Object, apply_modifiers: bool) -> str:
    if obj.type == "META":
        return "It has no faces; the first metaball of a family carries the surface of all."
    if obj.type in {"CURVE", "FONT"}:
        return "It has no faces; give the curve a fill, a bevel or an extrusion."
    if apply_modifiers and obj.type == "MESH" and len(obj.data.polygons) > 0:
        return "No faces are left after its modifiers. Instances have to be made real first."
    return "It has no faces."
