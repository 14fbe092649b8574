"""From objects of the scene to what the backend is sent, one object at a time.

Objects are kept as names between two steps, since the user may undo or delete them meanwhile.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import bpy
import numpy as np

from ..array_files import ArrayFolder
from ..protocol import MAX_HOST_BYTES
from . import host_record
from .host_record import DataReference, HostRecord, MaterialSlot, ParentLink
from .mesh_bridge import MeshArrays, UnreadableObjectError, read_surface


@dataclass(frozen=True)
class WrittenSurface:
    """A surface that lies in array files already, for further objects with the same mesh to refer to."""

    vertices_path: str
    faces_path: str
    arrays: MeshArrays
    materials: tuple[DataReference | None, ...]


def reference_to(data_block: bpy.types.ID) -> DataReference:
    """Return the name under which a data-block is found again."""
    return DataReference(data_block.name, data_block.library.filepath if data_block.library else "")


def find_object(reference: DataReference) -> bpy.types.Object | None:
    """Return the object of this name and library, or None when it is gone."""
    return bpy.data.objects.get((reference.name, reference.library or None))


class SceneReader:
    """Turns objects into the protocol's OBJECT records; meshes shared by several objects are written once."""

    def __init__(self, scene: bpy.types.Scene, folder: ArrayFolder, *, apply_modifiers: bool) -> None:
        self._folder = folder
        self._apply_modifiers = apply_modifiers
        self._collection_paths = _paths_of_collections(scene.collection)
        self._written: dict[DataReference, WrittenSurface] = {}
        self._names: set[str] = set()

    def read(self, obj: bpy.types.Object) -> dict[str, Any]:
        """Return the record of one object, its arrays written to the folder.

        Raises `UnreadableObjectError` when it has no surface or its transform is not finite.
        """
        if obj.mode == "EDIT":
            obj.update_from_editmode()
        with _evaluable(obj) as (source, depsgraph):
            transform = matrix_to_values(source.evaluated_get(depsgraph).matrix_world)
            if not np.isfinite(transform).all():
                raise UnreadableObjectError("Its transform holds a number that is not finite.")
            surface = self._surface(source, depsgraph)
        return {
            "name": self._unique_name(obj),
            "vertices": surface.vertices_path,
            "faces": surface.faces_path,
            "transform": transform,
            "host": self._host(obj, surface),
        }

    def _surface(self, obj: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> WrittenSurface:
        key = self._sharing_key(obj)
        if key is not None and key in self._written:
            return self._written[key]
        arrays, materials = read_surface(obj, depsgraph, apply_modifiers=self._apply_modifiers)
        surface = WrittenSurface(
            self._folder.write(arrays.vertices),
            self._folder.write(arrays.faces),
            arrays,
            tuple(reference_to(material) if material else None for material in materials),
        )
        if key is not None:
            self._written[key] = surface
        return surface

    def _sharing_key(self, obj: bpy.types.Object) -> DataReference | None:
        """Return the mesh an object shares with others as it is, or None when its surface is its own."""
        own_surface = obj.type != "MESH" or obj.data.shape_keys or (self._apply_modifiers and obj.modifiers)
        return None if own_surface else reference_to(obj.data)

    def _host(self, obj: bpy.types.Object, surface: WrittenSurface) -> dict[str, Any]:
        record = HostRecord(
            object=reference_to(obj),
            mesh=obj.data.name,
            parent=_parent_link(obj),
            collections=self._collections(obj),
            materials=_material_slots(obj, surface.materials),
            material_index=surface.arrays.material_index,
            smooth=surface.arrays.smooth,
            hidden=obj.hide_get(),
            hide_viewport=obj.hide_viewport,
            hide_render=obj.hide_render,
            hide_select=obj.hide_select,
            rotation_mode=obj.rotation_mode,
            properties=_custom_properties(obj),
        )
        host = host_record.to_json(record)
        if len(json.dumps(host, separators=(",", ":")).encode()) > MAX_HOST_BYTES:
            raise UnreadableObjectError(
                f"Its custom properties and names need more than {MAX_HOST_BYTES} bytes. Remove some of them."
            )
        return host

    def _collections(self, obj: bpy.types.Object) -> tuple[tuple[str, ...], ...]:
        paths = (self._collection_paths.get(_collection_key(used)) for used in obj.users_collection)
        return tuple(path for path in paths if path is not None)

    def _unique_name(self, obj: bpy.types.Object) -> str:
        """Return the object's name; a linked object whose name is taken gets its library's name beside it."""
        name = obj.name
        if name in self._names and obj.library:
            name = f"{obj.name} ({PurePath(obj.library.filepath).stem})"
        number = 1
        while name in self._names:
            number += 1
            name = f"{obj.name} ({number})"
        self._names.add(name)
        return name


@contextlib.contextmanager
def _evaluable(obj: bpy.types.Object) -> Iterator[tuple[bpy.types.Object, bpy.types.Depsgraph]]:
    """Give the object, or a copy that Blender evaluates: it skips the modifiers of what is hidden."""
    if obj.visible_get():
        yield obj, bpy.context.evaluated_depsgraph_get()
        return
    scene = bpy.data.scenes.new("Scene Codec")
    copy = obj.copy()
    try:
        scene.frame_set(bpy.context.scene.frame_current)
        copy.hide_viewport = False
        scene.collection.objects.link(copy)
        view_layer = scene.view_layers[0]
        view_layer.update()
        yield copy, view_layer.depsgraph
    finally:
        bpy.data.objects.remove(copy)
        bpy.data.scenes.remove(scene)


def matrix_to_values(matrix: Iterable[Iterable[float]]) -> list[float]:
    """Return the 16 numbers of a matrix, row major."""
    return [float(value) for row in matrix for value in row]


def _collection_key(collection: bpy.types.Collection) -> DataReference | None:
    """Return None for a scene's root collection, whose name a user's own collection may carry too."""
    return None if collection.is_embedded_data else reference_to(collection)


def _paths_of_collections(root: bpy.types.Collection) -> dict[DataReference | None, tuple[str, ...]]:
    paths: dict[DataReference | None, tuple[str, ...]] = {}
    open_collections = [(root, ())]
    while open_collections:
        collection, path = open_collections.pop()
        # A collection may hang in several places; the first one found is as good as any.
        if paths.setdefault(_collection_key(collection), path) == path:
            open_collections.extend((child, (*path, child.name)) for child in collection.children)
    return paths


def _parent_link(obj: bpy.types.Object) -> ParentLink | None:
    if obj.parent is None:
        return None
    # An armature or lattice parent deforms through a modifier of its own; what is left is a plain parent.
    kind = obj.parent_type if obj.parent_type in host_record.PARENT_TYPES else "OBJECT"
    return ParentLink(
        reference_to(obj.parent),
        kind,
        obj.parent_bone,
        tuple(obj.parent_vertices),
        tuple(matrix_to_values(obj.matrix_parent_inverse)),
    )


def _material_slots(
    obj: bpy.types.Object, of_mesh: tuple[DataReference | None, ...]
) -> tuple[MaterialSlot, ...]:
    slots = [
        MaterialSlot(reference_to(slot.material) if slot.material else None, slot.link == "OBJECT")
        for slot in obj.material_slots
    ]
    # Geometry nodes can add materials that the object has no slot for.
    slots.extend(MaterialSlot(reference) for reference in of_mesh[len(slots) :])
    return tuple(slots)


def _custom_properties(obj: bpy.types.Object) -> dict[str, bool | int | float | str]:
    """Return the plain custom properties; what add-ons and Blender keep in nested groups stays behind."""
    return {name: value for name, value in obj.items() if isinstance(value, (bool, int, float, str))}
