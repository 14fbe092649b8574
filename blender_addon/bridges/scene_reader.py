"""From objects with a surface to what the backend is sent, one object at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import bpy

from ..array_files import ArrayFolder
from .host_record import DataReference, HostRecord
from .mesh_bridge import MeshArrays, read_surface
from .object_reader import (
    ObjectReader,
    evaluable,
    existing_object,
    material_slots,
    reference_to,
    world_transform,
)


@dataclass(frozen=True)
class WrittenSurface:
    """A surface that lies in array files already, for further objects with the same mesh to refer to."""

    vertices_path: str
    faces_path: str
    arrays: MeshArrays
    materials: tuple[DataReference | None, ...]


class SceneReader:
    """Turns objects into the protocol's OBJECT records; meshes shared by several objects are written once."""

    def __init__(self, scene: bpy.types.Scene, folder: ArrayFolder, *, apply_modifiers: bool) -> None:
        self._folder = folder
        self._apply_modifiers = apply_modifiers
        self._objects = ObjectReader(scene)
        self._written: dict[DataReference, WrittenSurface] = {}

    def read(self, reference: DataReference) -> Iterator[dict[str, Any]]:
        """Yield the record of one object, its arrays written to the folder.

        Raises `UnreadableObjectError` when it is gone, has no surface, or its transform is not finite.
        """
        obj = existing_object(reference)
        if obj.mode == "EDIT":
            obj.update_from_editmode()
        with evaluable(obj) as (source, depsgraph):
            transform = world_transform(source, depsgraph)
            surface = self._surface(source, depsgraph)
        record = HostRecord(
            mesh=obj.data.name,
            materials=material_slots(obj, surface.materials),
            material_index=surface.arrays.material_index,
            smooth=surface.arrays.smooth,
        )
        yield {
            "name": self._objects.unique_name(obj),
            "vertices": surface.vertices_path,
            "faces": surface.faces_path,
            "transform": transform,
            "host": self._objects.host(obj, record),
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
