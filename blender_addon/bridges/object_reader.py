"""What is read of an object whatever its data: its name, its place, and the record that puts it back.

Objects are kept as names between two steps, since the user may undo or delete them meanwhile.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

import bpy
import numpy as np

from ..protocol import MAX_HOST_BYTES
from . import host_record
from .host_record import DataReference, HostRecord, MaterialSlot, ParentLink


class UnreadableObjectError(Exception):
    """The object has nothing that can be stored; the message says why."""


def reference_to(data_block: bpy.types.ID) -> DataReference:
    """Return the name under which a data-block is found again."""
    return DataReference(data_block.name, data_block.library.filepath if data_block.library else "")


def existing_object(reference: DataReference) -> bpy.types.Object:
    """Return the object of this name and library. Raises `UnreadableObjectError` when it is gone."""
    obj = bpy.data.objects.get((reference.name, reference.library or None))
    if obj is None:
        raise UnreadableObjectError("It was removed before its turn came.")
    return obj


class ObjectReader:
    """Reads what all kinds of objects have; names of stored objects are unique within one reader."""

    def __init__(self, scene: bpy.types.Scene) -> None:
        self._collection_paths = _paths_of_collections(scene.collection)
        self._names: set[str] = set()

    def host(self, obj: bpy.types.Object, of_data: HostRecord) -> dict[str, Any]:
        """Return an object's record as JSON; data and materials are those that `of_data` has already.

        Raises `UnreadableObjectError` when it is too long.
        """
        record = replace(
            of_data,
            object=reference_to(obj),
            parent=_parent_link(obj),
            collections=self.collections(obj),
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

    def collections(self, obj: bpy.types.Object) -> tuple[tuple[str, ...], ...]:
        """Return the paths of the collections of the scene that an object is in."""
        paths = (self._collection_paths.get(_collection_key(used)) for used in obj.users_collection)
        return tuple(path for path in paths if path is not None)

    def unique_name(self, obj: bpy.types.Object, endings: Sequence[str] = ("",)) -> str:
        """Return the object's name; a linked object whose name is taken gets its library's name beside it."""
        taken = any(obj.name + ending in self._names for ending in endings)
        name = f"{obj.name} ({PurePath(obj.library.filepath).stem})" if taken and obj.library else obj.name
        return self.free_name(name, endings)

    def free_name(self, name: str, endings: Sequence[str] = ("",)) -> str:
        """Return a name that is free with each of the endings, and take it."""
        candidate, number = name, 1
        while any(candidate + ending in self._names for ending in endings):
            number += 1
            candidate = f"{name} ({number})"
        self._names.update(candidate + ending for ending in endings)
        return candidate


@contextlib.contextmanager
def evaluable(
    obj: bpy.types.Object, frame: int | None = None
) -> Iterator[tuple[bpy.types.Object, bpy.types.Depsgraph]]:
    """Give the object, or a copy that Blender evaluates: it skips the modifiers of what is hidden.

    frame : of the scene; the copy is evaluated at it, so that the user's own scene stays where it is
    """
    current = bpy.context.scene.frame_current
    if obj.visible_get() and frame is None:
        yield obj, bpy.context.evaluated_depsgraph_get()
        return
    scene = bpy.data.scenes.new("Scene Codec")
    copy = obj.copy()
    try:
        scene.frame_set(current if frame is None else frame)
        copy.hide_viewport = False
        scene.collection.objects.link(copy)
        view_layer = scene.view_layers[0]
        view_layer.update()
        yield copy, view_layer.depsgraph
    finally:
        bpy.data.objects.remove(copy)
        bpy.data.scenes.remove(scene)


def world_transform(source: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> list[float]:
    """Return the 16 numbers of an object's evaluated world matrix, or raise `UnreadableObjectError`."""
    transform = matrix_to_values(source.evaluated_get(depsgraph).matrix_world)
    if not np.isfinite(transform).all():
        raise UnreadableObjectError("Its transform holds a number that is not finite.")
    return transform


def type_label(obj: bpy.types.Object) -> str:
    """Return what sort of object it is, in words."""
    return obj.bl_rna.properties["type"].enum_items[obj.type].name.lower()


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


def material_slots(
    obj: bpy.types.Object, of_data: tuple[DataReference | None, ...]
) -> tuple[MaterialSlot, ...]:
    """Return the slots of an object whose evaluated data has these materials."""
    slots = [
        MaterialSlot(reference_to(slot.material) if slot.material else None, slot.link == "OBJECT")
        for slot in obj.material_slots
    ]
    # Geometry nodes can add materials that the object has no slot for.
    slots.extend(MaterialSlot(reference) for reference in of_data[len(slots) :])
    return tuple(slots)


def _custom_properties(obj: bpy.types.Object) -> dict[str, bool | int | float | str]:
    """Return the plain custom properties; what add-ons and Blender keep in nested groups stays behind."""
    return {name: value for name, value in obj.items() if isinstance(value, (bool, int, float, str))}
