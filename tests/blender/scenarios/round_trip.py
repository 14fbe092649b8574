"""Scenes that go through a file and come back, with a backend that stores the arrays as they are.

What the real codec loses is not at stake here, so everything is compared exactly, or to float32 where a
matrix was taken apart into location, rotation and scale.
"""

import bmesh
import bpy
import numpy as np
from mathutils import Matrix

from scenarios.laboratory import (
    Laboratory,
    delete,
    evaluated_world_vertices,
    snapshot,
    world_vertices,
)

MATRIX_TOLERANCE = 2e-6  # float32, after a matrix was decomposed and composed again


def _monkey(name: str, **properties) -> bpy.types.Object:
    bpy.ops.mesh.primitive_monkey_add(**properties)
    obj = bpy.context.object
    obj.name = name
    return obj


def _close(one, other) -> bool:
    return np.allclose(np.array(one), np.array(other), rtol=MATRIX_TOLERANCE, atol=MATRIX_TOLERANCE)


def names_transforms_and_geometry_come_back(laboratory: Laboratory) -> None:
    objects = [
        _monkey("Äffchen 猴", location=(3, 0, 0), rotation=(1, 2, 3), scale=(1, -2, 0.5)),
        _monkey("x" * 60, location=(1e4, -1e4, 5), scale=(0.001, 0.001, 0.001)),
        _monkey('a "quoted"\\ name / with\ttab'),
    ]
    bpy.context.view_layer.update()
    before = {obj.name: (obj.matrix_world.copy(), world_vertices(obj)) for obj in objects}
    path = laboratory.encode(*objects)
    delete(*objects)
    laboratory.decode(path)
    assert {obj.name for obj in bpy.data.objects} == set(before)
    for name, (matrix, vertices) in before.items():
        assert _close(bpy.data.objects[name].matrix_world, matrix), name
        assert np.allclose(world_vertices(bpy.data.objects[name]), vertices, rtol=1e-5, atol=1e-5), name
    assert {obj.name for obj in bpy.context.selected_objects} == set(before)
    assert bpy.context.object.name in before


def parents_come_back_with_their_children(laboratory: Laboratory) -> None:
    root, child, grandchild = _monkey("Root", rotation=(0.3, 0, 0)), _monkey("Child"), _monkey("Grandchild")
    child.parent, child.location = root, (0, 2, 0)
    child.matrix_parent_inverse = Matrix.Rotation(0.5, 4, "Z")
    grandchild.parent, grandchild.rotation_mode, grandchild.scale = child, "QUATERNION", (2, 2, 2)
    bpy.context.view_layer.update()
    before = {obj.name: obj.matrix_world.copy() for obj in (root, child, grandchild)}
    # Children first: the order in the file must not matter.
    path = laboratory.encode(grandchild, child, root)
    delete(root, child, grandchild)
    laboratory.decode(path)
    found = bpy.data.objects
    assert (found["Grandchild"].parent, found["Child"].parent) == (found["Child"], found["Root"])
    assert _close(found["Child"].matrix_parent_inverse, Matrix.Rotation(0.5, 4, "Z"))
    assert found["Grandchild"].rotation_mode == "QUATERNION"
    for name, matrix in before.items():
        assert _close(found[name].matrix_world, matrix), name


def a_child_finds_its_parent_in_the_scene_and_keeps_its_place(laboratory: Laboratory) -> None:
    parent = bpy.data.objects.new("Empty", None)
    bpy.context.scene.collection.objects.link(parent)
    child = _monkey("Child", location=(1, 2, 3))
    child.parent = parent
    bpy.context.view_layer.update()
    matrix = child.matrix_world.copy()
    path = laboratory.encode(child)
    delete(child)
    parent.location = (9, 9, 9)
    laboratory.decode(path)
    assert bpy.data.objects["Child"].parent == parent
    assert _close(bpy.data.objects["Child"].matrix_world, matrix)


def a_sheared_child_without_its_parent_keeps_its_shape(laboratory: Laboratory) -> None:
    parent = bpy.data.objects.new("Stretched", None)
    bpy.context.scene.collection.objects.link(parent)
    parent.scale = (3, 1, 1)
    child = _monkey("Child", rotation=(0, 0, 0.7))
    child.parent = parent
    bpy.context.view_layer.update()
    vertices = world_vertices(child)
    path = laboratory.encode(child)
    delete(child, parent)
    laboratory.decode(path)
    assert bpy.data.objects["Child"].parent is None
    assert np.allclose(world_vertices(bpy.data.objects["Child"]), vertices, rtol=1e-5, atol=1e-5)


def bone_parents_come_back(laboratory: Laboratory) -> None:
    bpy.ops.object.armature_add(location=(1, 0, 0))
    armature = bpy.context.object
    child = _monkey("Hat")
    child.parent, child.parent_type, child.parent_bone = armature, "BONE", armature.data.bones[0].name
    bpy.context.view_layer.update()
    matrix = child.matrix_world.copy()
    path = laboratory.encode(child)
    delete(child)
    laboratory.decode(path)
    hat = bpy.data.objects["Hat"]
    assert (hat.parent, hat.parent_type, hat.parent_bone) == (armature, "BONE", armature.data.bones[0].name)
    assert _close(hat.matrix_world, matrix)


def collections_come_back_by_name(laboratory: Laboratory) -> None:
    outer, inner = bpy.data.collections.new("Äußere"), bpy.data.collections.new("Inner")
    bpy.context.scene.collection.children.link(outer)
    outer.children.link(inner)
    monkey, both = _monkey("InInner"), _monkey("InBoth")
    for obj in (monkey, both):
        bpy.context.scene.collection.objects.unlink(obj)
        inner.objects.link(obj)
    outer.objects.link(both)
    path = laboratory.encode(monkey, both)
    delete(monkey, both)
    bpy.data.collections.remove(inner)
    laboratory.decode(path)
    inner = bpy.data.collections["Inner"]
    assert list(outer.children) == [inner]
    assert set(inner.objects.keys()) == {"InInner", "InBoth"}
    assert set(outer.objects.keys()) == {"InBoth"}
    assert not bpy.context.scene.collection.objects
    assert sorted(collection.name for collection in bpy.data.collections) == ["Inner", "Äußere"]


def material_slots_come_back_by_name(laboratory: Laboratory) -> None:
    steel, paint = bpy.data.materials.new("Steel"), bpy.data.materials.new("Paint")
    obj = _monkey("Two")
    for material in (steel, None, paint):
        obj.data.materials.append(material)
    for polygon in obj.data.polygons:
        polygon.material_index, polygon.use_smooth = 2, True
    obj.data.polygons[0].material_index = 0
    other = _monkey("OnObject")
    other.data.materials.append(steel)
    other.material_slots[0].link = "OBJECT"
    other.material_slots[0].material = paint
    path = laboratory.encode(obj, other)
    delete(obj, other)
    bpy.data.materials.remove(paint)
    laboratory.decode(path)
    obj, other = bpy.data.objects["Two"], bpy.data.objects["OnObject"]
    paint = bpy.data.materials["Paint"]
    assert [slot.material for slot in obj.material_slots] == [steel, None, paint]
    assert {polygon.material_index for polygon in obj.data.polygons} == {2}
    assert all(polygon.use_smooth for polygon in obj.data.polygons)
    assert (other.material_slots[0].link, other.material_slots[0].material) == ("OBJECT", paint)
    assert len(bpy.data.materials) == 2


def local_and_linked_materials_of_one_name_are_told_apart(laboratory: Laboratory) -> None:
    library_path = _save_library(laboratory)
    with bpy.data.libraries.load(library_path, link=True) as (_, wanted):
        wanted.materials = ["Paint"]
    linked, local = wanted.materials[0], bpy.data.materials.new("Paint")
    assert (linked.name, local.name) == ("Paint", "Paint")
    one, two = _monkey("Linked"), _monkey("Local")
    one.data.materials.append(linked)
    two.data.materials.append(local)
    path = laboratory.encode(one, two)
    delete(one, two)
    laboratory.decode(path)
    assert bpy.data.objects["Linked"].data.materials[0] == linked
    assert bpy.data.objects["Local"].data.materials[0] == local


def linked_objects_come_back_as_local_ones(laboratory: Laboratory) -> None:
    library_path = _save_library(laboratory)
    with bpy.data.libraries.load(library_path, link=True) as (_, wanted):
        wanted.objects = ["Monkey"]
    linked = wanted.objects[0]
    bpy.context.scene.collection.objects.link(linked)
    local = _monkey("Monkey", location=(5, 0, 0))
    assert linked.name == local.name
    path = laboratory.encode(linked, local)
    vertices = world_vertices(linked)
    bpy.data.libraries.remove(linked.library)
    delete(local)
    laboratory.decode(path)
    assert {obj.name for obj in bpy.data.objects} == {"Monkey", "Monkey.001"}
    assert all(obj.library is None and obj.data.library is None for obj in bpy.data.objects)
    assert any(np.allclose(world_vertices(obj), vertices, atol=1e-6) for obj in bpy.data.objects)


def _save_library(laboratory: Laboratory) -> str:
    path = laboratory.path("library.blend")
    _monkey("Monkey", rotation=(1, 0, 0))
    bpy.data.materials.new("Paint").use_fake_user = True
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.read_homefile(use_empty=True)
    return path


def modifiers_are_applied_or_left_out_as_asked(laboratory: Laboratory) -> None:
    obj = _monkey("Smooth")
    obj.modifiers.new("Subdivision", "SUBSURF")
    evaluated = evaluated_world_vertices(obj)
    seen = laboratory.encode(obj, name="seen")
    plain = laboratory.encode(obj, name="plain.nscene", apply_modifiers=False)
    vertices = world_vertices(obj)
    delete(obj)
    laboratory.decode(seen + ".nscene")
    assert np.allclose(world_vertices(bpy.data.objects["Smooth"]), evaluated, atol=1e-6)
    assert not bpy.data.objects["Smooth"].modifiers
    delete(bpy.data.objects["Smooth"])
    laboratory.decode(plain)
    assert np.allclose(world_vertices(bpy.data.objects["Smooth"]), vertices, atol=1e-6)


def hidden_objects_are_left_alone_by_a_selection_and_stored_on_request(laboratory: Laboratory) -> None:
    hidden, shown = _monkey("Hidden"), _monkey("Shown")
    hidden.modifiers.new("Subdivision", "SUBSURF")
    seen = evaluated_world_vertices(hidden)
    hidden.hide_set(True)
    excluded = _monkey("Excluded", location=(7, 0, 0))
    excluded.modifiers.new("Subdivision", "SUBSURF")
    store = bpy.data.collections.new("Store")
    bpy.context.scene.collection.children.link(store)
    bpy.context.scene.collection.objects.unlink(excluded)
    store.objects.link(excluded)
    bpy.context.view_layer.layer_collection.children["Store"].exclude = True
    shown.hide_render, shown.hide_select = True, True
    shown["weight"], shown["label"] = 2.5, "größe"
    before = snapshot()
    run = laboratory.part("commands").run
    path = laboratory.path("all.nscene")
    assert run(["encode", "-o", path]) == 0
    assert snapshot() == before
    delete(hidden, shown, excluded)
    laboratory.decode(path)
    hidden, shown = bpy.data.objects["Hidden"], bpy.data.objects["Shown"]
    excluded = bpy.data.objects["Excluded"]
    assert (excluded.users_collection[0], excluded.location.x) == (store, 7)
    assert len(excluded.data.vertices) == len(seen)
    assert hidden.hide_get()
    assert len(hidden.data.vertices) == len(seen)
    assert (shown.hide_render, shown.hide_select, shown.hide_get()) == (True, True, False)
    assert (shown["weight"], shown["label"]) == (2.5, "größe")


def objects_that_share_a_mesh_share_it_again(laboratory: Laboratory) -> None:
    one = _monkey("One")
    two, other = one.copy(), one.copy()
    two.name, two.location = "Two", (4, 0, 0)
    other.name = "Smoothed"
    other.modifiers.new("Subdivision", "SUBSURF")
    for obj in (two, other):
        bpy.context.scene.collection.objects.link(obj)
    path = laboratory.encode(one, two, other)
    delete(one, two, other)
    laboratory.decode(path)
    found = bpy.data.objects
    assert found["One"].data == found["Two"].data
    assert found["Smoothed"].data != found["One"].data
    assert len(bpy.data.meshes) == 2


def curves_texts_surfaces_and_metaballs_come_back_as_meshes(laboratory: Laboratory) -> None:
    bpy.ops.object.text_add()
    text = bpy.context.object
    text.data.extrude = 0.1
    bpy.ops.curve.primitive_bezier_circle_add()
    curve = bpy.context.object
    curve.data.bevel_depth = 0.1
    bpy.ops.surface.primitive_nurbs_surface_sphere_add()
    surface = bpy.context.object
    bpy.ops.object.metaball_add(type="BALL")
    ball = bpy.context.object
    objects = [text, curve, surface, ball]
    seen = {obj.name: evaluated_world_vertices(obj) for obj in objects}
    path = laboratory.encode(*objects)
    bpy.data.batch_remove(objects)
    laboratory.decode(path)
    assert {obj.name for obj in bpy.data.objects} == set(seen)
    for name, vertices in seen.items():
        obj = bpy.data.objects[name]
        assert obj.type == "MESH"
        assert np.allclose(world_vertices(obj), vertices, atol=1e-6), name


def an_object_in_edit_mode_is_stored_as_it_looks(laboratory: Laboratory) -> None:
    obj = _monkey("Edited")
    bpy.ops.object.mode_set(mode="EDIT")
    mesh = bmesh.from_edit_mesh(obj.data)
    for vertex in mesh.verts:
        vertex.co.z += 10
    bmesh.update_edit_mesh(obj.data)
    path = laboratory.encode(obj)
    assert obj.mode == "EDIT"
    assert not bpy.ops.scene_codec.decode_file.poll()
    bpy.ops.object.mode_set(mode="OBJECT")
    delete(obj)
    laboratory.decode(path)
    assert world_vertices(bpy.data.objects["Edited"])[:, 2].min() > 5


def a_name_that_is_taken_gets_a_number(laboratory: Laboratory) -> None:
    obj = _monkey("Taken")
    laboratory.decode(laboratory.encode(obj))
    assert {found.name for found in bpy.data.objects} == {"Taken", "Taken.001"}
    assert [found.name for found in bpy.context.selected_objects] == ["Taken.001"]


def undo_takes_an_import_back_in_one_step(laboratory: Laboratory) -> None:
    objects = [_monkey(f"Monkey {number}", location=(3 * number, 0, 0)) for number in range(3)]
    objects[0].data.materials.append(bpy.data.materials.new("Paint"))
    path = laboratory.encode(*objects)
    delete(*objects)
    bpy.data.materials.remove(bpy.data.materials["Paint"])
    _monkey("Bystander")
    bpy.ops.ed.undo_push(message="before")
    before = snapshot()
    laboratory.decode(path)
    assert len(bpy.data.objects) == 4
    bpy.ops.ed.undo()
    assert snapshot() == before
    bpy.ops.ed.redo()
    assert len(bpy.data.objects) == 4
    assert bpy.data.materials["Paint"].users == 1


def only_the_named_objects_are_decoded(laboratory: Laboratory) -> None:
    objects = [_monkey(name) for name in ("A", "B", "C d")]
    path = laboratory.encode(*objects)
    delete(*objects)
    laboratory.decode(path, only="A\nC d")
    assert {obj.name for obj in bpy.data.objects} == {"A", "C d"}


def dropped_files_are_decoded(laboratory: Laboratory) -> None:
    objects = [_monkey("A"), _monkey("B")]
    for obj in objects:
        laboratory.encode(obj, name=f"{obj.name} ñ.nscene")
    delete(*objects)
    result = bpy.ops.wm.drop_import_file(
        directory=str(laboratory.folder), files=[{"name": "A ñ.nscene"}, {"name": "B ñ.nscene"}]
    )
    assert result == {"FINISHED"}
    assert {obj.name for obj in bpy.data.objects} == {"A", "B"}


def the_file_menus_import_and_export(laboratory: Laboratory) -> None:
    obj = _monkey("Menu")
    path = laboratory.path("menu.nscene")
    assert bpy.ops.scene_codec.export_nscene(filepath=path) == {"FINISHED"}
    delete(obj)
    assert bpy.ops.scene_codec.import_nscene(filepath=path) == {"FINISHED"}
    assert bpy.data.objects.keys() == ["Menu"]


def a_library_of_hundreds_of_objects_comes_back(laboratory: Laboratory) -> None:
    bpy.ops.mesh.primitive_cube_add()
    first = bpy.context.object
    objects = [first]
    for number in range(299):
        obj = bpy.data.objects.new(f"Würfel {number}", first.data.copy())
        obj.location = (number, 0, 0)
        bpy.context.scene.collection.objects.link(obj)
        objects.append(obj)
    names = {obj.name for obj in objects}
    path = laboratory.encode(*objects)
    delete(*objects)
    laboratory.decode(path)
    assert {obj.name for obj in bpy.data.objects} == names
    assert bpy.data.objects["Würfel 77"].location.x == 77
