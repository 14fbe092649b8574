"""From decoded meshes and volumes back to objects of the scene.

Two phases. `prepare` makes one data-block at a time and shows nothing. `place` makes and links all
objects in one go, so that one undo step covers them. Whatever fails, `discard` takes back what was made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix

from .host_record import DataReference, HostRecord, MaterialSlot
from .mesh_bridge import MeshArrays, write_mesh
from .volume_bridge import write_volume
from .volume_record import VolumeRecord

SHEAR_TOLERANCE = 1e-5
"""Relative error of location, rotation and scale above which the rest of a transform goes into the mesh."""


@dataclass(frozen=True)
class DecodedObject:
    """One object as it came from the backend. Objects with the same `data_key` share their data.

    content : a mesh, or the path of the file that a volume refers to, as Blender is to write it
    """

    name: str
    content: MeshArrays | str
    transform: tuple[float, ...]
    record: HostRecord
    data_key: str


class SceneWriter:
    """Puts decoded objects into one scene.

    unsheared : names of volumes whose place could not be expressed, once they are placed
    """

    def __init__(self, scene_name: str, objects: list[DecodedObject]) -> None:
        self._scene_name = scene_name
        self._objects = objects
        self._data_names: dict[str, str] = {}
        self.unsheared: list[str] = []
        self._made: list[bpy.types.ID] = []

    def prepare(self) -> Iterator[int]:
        """Make the data-blocks, one per step; yields how many objects are ready."""
        for count, decoded in enumerate(self._objects, start=1):
            self._data_of(decoded)
            yield count

    def place(self) -> list[str]:
        """Make, link, parent and select all objects; returns their names. Takes all back if it fails."""
        scene = bpy.data.scenes.get(self._scene_name)
        if scene is None:
            raise ValueError(f"The scene {self._scene_name!r} was removed meanwhile.")
        try:
            return self._place_in(scene, _view_layer_of(scene))
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove everything this writer made, as after a cancellation."""
        blocks = [self._existing_data(decoded) for decoded in self._objects]
        unused = {block for block in blocks if block is not None and block.users == 0}
        bpy.data.batch_remove([*reversed(self._made), *unused])
        self._made.clear()
        self._data_names.clear()

    def _place_in(self, scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer) -> list[str]:
        by_reference: dict[DataReference, bpy.types.Object] = {}
        placed: list[tuple[DecodedObject, bpy.types.Object]] = []
        for decoded in self._objects:
            obj = self._make_object(decoded)
            self._link(obj, decoded.record, scene)
            by_reference.setdefault(decoded.record.object, obj)
            placed.append((decoded, obj))
        for decoded, obj in placed:
            _set_parent(obj, decoded.record, by_reference)
        self._set_transforms(placed, view_layer)
        for other in list(view_layer.objects.selected):
            other.select_set(False, view_layer=view_layer)
        for decoded, obj in placed:
            _set_visibility(obj, decoded.record, view_layer)
        visible = [obj for _, obj in placed if obj.select_get(view_layer=view_layer)]
        if visible:
            view_layer.objects.active = visible[-1]
        return [obj.name for _, obj in placed]

    def _data_of(self, decoded: DecodedObject) -> bpy.types.Mesh | bpy.types.Volume:
        """Return the data made for this object, made again if the user's undo removed it meanwhile."""
        data = self._existing_data(decoded)
        if data is None:
            if isinstance(decoded.content, MeshArrays):
                data = write_mesh(decoded.record.mesh or decoded.name, decoded.content)
            else:
                volume = decoded.record.volume or VolumeRecord()
                data = write_volume(volume.name or decoded.name, volume, decoded.content)
            self._data_names[decoded.data_key] = data.name
        return data

    def _existing_data(self, decoded: DecodedObject) -> bpy.types.Mesh | bpy.types.Volume | None:
        name = self._data_names.get(decoded.data_key)
        blocks = bpy.data.meshes if isinstance(decoded.content, MeshArrays) else bpy.data.volumes
        return blocks.get((name, None)) if name else None

    def _make_object(self, decoded: DecodedObject) -> bpy.types.Object:
        data = self._data_of(decoded)
        if data.users == 0:
            for slot in decoded.record.materials:
                data.materials.append(None if slot.on_object else self._material(slot))
        obj = bpy.data.objects.new(decoded.record.object.name or decoded.name, data)
        self._made.append(obj)
        for index, slot in enumerate(decoded.record.materials[: len(obj.material_slots)]):
            if slot.on_object:
                obj.material_slots[index].link = "OBJECT"
                obj.material_slots[index].material = self._material(slot)
        _set_properties(obj, decoded.record)
        obj.rotation_mode = decoded.record.rotation_mode
        obj.hide_render = decoded.record.hide_render
        obj.hide_select = decoded.record.hide_select
        return obj

    def _material(self, slot: MaterialSlot) -> bpy.types.Material | None:
        """Return the very material, else a local one of its name, else any of its name, else a new one."""
        if slot.material is None:
            return None
        name, library = slot.material.name, slot.material.library or None
        for found in (
            bpy.data.materials.get((name, library)),
            bpy.data.materials.get((name, None)),
            bpy.data.materials.get(name),
        ):
            if found is not None:
                return found
        material = bpy.data.materials.new(name)
        self._made.append(material)
        return material

    def _link(self, obj: bpy.types.Object, record: HostRecord, scene: bpy.types.Scene) -> None:
        if not record.collections:
            active = bpy.context.collection if bpy.context.scene == scene else None
            target = active if active is not None and active.library is None else scene.collection
            target.objects.link(obj)
        for path in record.collections:
            collection = self._collection(path, scene)
            if collection not in obj.users_collection:
                collection.objects.link(obj)

    def _collection(self, path: tuple[str, ...], scene: bpy.types.Scene) -> bpy.types.Collection:
        """Return the local collection at `path`, made and linked where it is missing."""
        collection = scene.collection
        for name in path:
            child = bpy.data.collections.get((name, None))
            if child is None:
                child = bpy.data.collections.new(name)
                self._made.append(child)
            if child not in scene.collection.children_recursive:
                collection.children.link(child)
            collection = child
        return collection

    def _set_transforms(
        self, placed: list[tuple[DecodedObject, bpy.types.Object]], view_layer: bpy.types.ViewLayer
    ) -> None:
        """Set world transforms, parents before their children, which are placed relative to them."""
        levels: dict[int, list[tuple[DecodedObject, bpy.types.Object]]] = {}
        for decoded, obj in placed:
            levels.setdefault(_depth(obj), []).append((decoded, obj))
        for depth in sorted(levels):
            view_layer.update()
            for decoded, obj in levels[depth]:
                obj.matrix_world = _matrix(decoded.transform)
        view_layer.update()
        for decoded, obj in placed:
            self._put_rest_into_data(obj, _matrix(decoded.transform))

    def _put_rest_into_data(self, obj: bpy.types.Object, wanted: Matrix) -> None:
        """Move the shear that no location, rotation and scale can express into the vertices of a mesh."""
        reached_world = _world_matrix(obj)
        reached = np.array(reached_world)
        error = np.abs(np.array(wanted) - reached)[:3, :3].max()
        scale = np.abs(np.array(wanted))[:3, :3].max()
        if error <= SHEAR_TOLERANCE * max(scale, 1e-30) or abs(reached_world.determinant()) < 1e-30:
            return
        if obj.type == "VOLUME":  # Blender cannot move what is in its file
            self.unsheared.append(obj.name)
            return
        if obj.data.users > 1:
            obj.data = obj.data.copy()
        obj.data.transform(reached_world.inverted() @ wanted)


def _matrix(values: tuple[float, ...]) -> Matrix:
    return Matrix([values[row * 4 : row * 4 + 4] for row in range(4)])


def _set_properties(obj: bpy.types.Object, record: HostRecord) -> None:
    """Set the custom properties that Blender can hold, and none that belongs to an add-on."""
    for name, value in record.properties.items():
        if name not in obj.bl_rna.properties:
            with contextlib.suppress(OverflowError, KeyError, TypeError, ValueError):
                obj[name] = value


def _world_matrix(obj: bpy.types.Object) -> Matrix:
    """Return the world matrix from the object's own fields: Blender does not evaluate what is hidden."""
    if obj.parent is None:
        return obj.matrix_basis
    if obj.parent_type == "OBJECT":
        return obj.parent.matrix_world @ obj.matrix_parent_inverse @ obj.matrix_basis
    return obj.matrix_world


def _view_layer_of(scene: bpy.types.Scene) -> bpy.types.ViewLayer:
    return bpy.context.view_layer if bpy.context.scene == scene else scene.view_layers[0]


def _depth(obj: bpy.types.Object) -> int:
    depth = 0
    while obj.parent is not None:
        obj, depth = obj.parent, depth + 1
    return depth


def _set_parent(
    obj: bpy.types.Object, record: HostRecord, restored: dict[DataReference, bpy.types.Object]
) -> None:
    """Hang the object on its parent: the one restored with it, else the one of that name, else none."""
    link = record.parent
    if link is None:
        return
    parent = (
        restored.get(link.object)
        or bpy.data.objects.get((link.object.name, link.object.library or None))
        or bpy.data.objects.get((link.object.name, None))
    )
    if parent is None or parent == obj or _hangs_on(parent, obj):
        return
    obj.parent = parent
    if link.type == "BONE" and parent.type == "ARMATURE" and link.bone in parent.data.bones:
        obj.parent_type, obj.parent_bone = "BONE", link.bone
    elif link.type in {"VERTEX", "VERTEX_3"}:
        obj.parent_type, obj.parent_vertices = link.type, link.vertices
    obj.matrix_parent_inverse = _matrix(link.inverse)


def _hangs_on(obj: bpy.types.Object, ancestor: bpy.types.Object) -> bool:
    while obj is not None:
        if obj == ancestor:
            return True
        obj = obj.parent
    return False


def _set_visibility(obj: bpy.types.Object, record: HostRecord, view_layer: bpy.types.ViewLayer) -> None:
    # Blender refuses to select what lies in a collection that the view layer excludes.
    with contextlib.suppress(RuntimeError):
        obj.select_set(True, view_layer=view_layer)
        obj.hide_set(record.hidden, view_layer=view_layer)
    obj.hide_viewport = record.hide_viewport
