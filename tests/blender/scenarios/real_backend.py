"""The whole way with the backend of this checkout and its real codec, trained for a few seconds."""

import json
import os
import signal
from pathlib import Path

import bpy
import numpy as np
from mathutils import Vector
from mathutils.bvhtree import BVHTree

from scenarios.laboratory import (
    Laboratory,
    advance_until,
    delete,
    evaluated_world_vertices,
    failure_of,
    files_in,
    snapshot,
    world_vertices,
)

# Small enough for a test on two cores; the figures that count are measured elsewhere.
SETTINGS = json.dumps({"resolution": 32, "minimum_steps": 250, "epochs": 60})

GRID_SPACING = 2 / 31
"""One cell of the grid of resolution 32, in halves of an object's largest extent. A surface drawn
through such cells, trained for seconds, is asked to stay within one of them on average."""


def a_scene_comes_back_within_the_codecs_error_and_one_object_of_it_alone(laboratory: Laboratory) -> None:
    laboratory.use_real_backend()
    objects = _scene()
    before = {obj.name: (evaluated_world_vertices(obj), obj.matrix_world.copy()) for obj in objects}
    path = laboratory.encode(*objects, codec="mesh-necgs", settings=SETTINGS)
    report = json.loads(bpy.context.window_manager.scene_codec_last_result)
    assert report["failures"] == []
    assert report["file_bytes"] == Path(path).stat().st_size
    delete(*objects)
    bpy.data.collections.remove(bpy.data.collections["Köpfe"])
    laboratory.decode(path)
    found = bpy.data.objects
    assert {obj.name for obj in found} == set(before)
    assert found["Kind 子"].parent == found["Monkey"]
    assert found["Monkey"].users_collection[0].name == "Köpfe"
    assert found["Monkey"].data.materials[0].name == "Fell"
    assert found["Monkey"].data.polygons[0].use_smooth
    for name, (vertices, matrix) in before.items():
        assert np.allclose(np.array(found[name].matrix_world), np.array(matrix), atol=1e-5), name
        _assert_near(found[name], vertices)
    delete(*found)
    laboratory.decode(path, only="Kind 子")
    assert bpy.data.objects.keys() == ["Kind 子"]


def shared_meshes_are_shared_again_and_what_cannot_be_stored_is_named(laboratory: Laboratory) -> None:
    laboratory.use_real_backend()
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=3)
    one = bpy.context.object
    two = one.copy()
    two.location.x = 5
    bpy.context.scene.collection.objects.link(two)
    mesh = bpy.data.meshes.new("NaN")
    mesh.from_pydata([(0, 0, 0), (1, 0, 0), (0, float("nan"), 0)], [], [(0, 1, 2)])
    broken = bpy.data.objects.new("Broken", mesh)
    bpy.context.scene.collection.objects.link(broken)
    path = laboratory.encode(one, two, broken, codec="mesh-necgs", settings=SETTINGS)
    report = json.loads(bpy.context.window_manager.scene_codec_last_result)
    assert [stored["name"] for stored in report["objects"]] == [one.name, two.name]
    assert [failure["name"] for failure in report["failures"]] == ["Broken"]
    delete(one, two, broken)
    laboratory.decode(path)
    first, second = bpy.data.objects
    assert first.data == second.data
    assert {first.location.x, second.location.x} == {0.0, 5.0}


def wrong_settings_are_refused_in_words(laboratory: Laboratory) -> None:
    laboratory.use_real_backend()
    bpy.ops.mesh.primitive_cube_add()
    encode, path = bpy.ops.scene_codec.encode_selected, laboratory.path("x.nscene")
    assert "resolution" in failure_of(
        encode, filepath=path, codec="mesh-necgs", settings='{"resolution": 33}'
    )
    assert "no such preset" in failure_of(encode, filepath=path, preset="no such preset")
    assert not Path(path).exists()


def a_damaged_file_is_refused(laboratory: Laboratory) -> None:
    laboratory.use_real_backend()
    bad = laboratory.path("bad ü.nscene")
    Path(bad).write_bytes(b"\x89NSC\r\n\x1a\n" + bytes(100))
    before = snapshot()
    assert "bad ü.nscene" in failure_of(bpy.ops.scene_codec.decode_file, filepath=bad)
    assert snapshot() == before


def a_backend_killed_while_training_changes_nothing(laboratory: Laboratory) -> None:
    laboratory.use_real_backend()
    bpy.ops.mesh.primitive_monkey_add()
    before, files = snapshot(), files_in(laboratory.folder)
    jobs, encode = laboratory.part("jobs"), laboratory.part("operators.encode")
    session = laboratory.part("backend_session")
    request = encode.EncodeRequest(
        objects=(laboratory.part("bridges.object_reader").reference_to(bpy.context.object),),
        filepath=Path(laboratory.path("new.nscene")),
        codec="mesh-necgs",
        settings={"resolution": 32, "minimum_steps": 100_000},
    )
    job = encode.start_encode(request)
    advance_until(jobs, job, lambda: job.remaining_s is not None and job.fraction > 0)
    os.kill(session.running_pid(), signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    advance_until(jobs, job, lambda: job.finished)
    assert job.state is jobs.JobState.FAILED
    assert "ended unexpectedly" in job.error
    assert snapshot() == before
    assert files_in(laboratory.folder) == files


def _scene() -> list[bpy.types.Object]:
    """Return a parent with modifier, material and collection, and a child that is mirrored and scaled."""
    bpy.ops.mesh.primitive_monkey_add(location=(1, 2, 3), rotation=(0.5, 0, 1))
    monkey = bpy.context.object
    monkey.name = "Monkey"
    monkey.modifiers.new("Subdivision", "SUBSURF")
    monkey.data.materials.append(bpy.data.materials.new("Fell"))
    bpy.ops.object.shade_smooth()
    heads = bpy.data.collections.new("Köpfe")
    bpy.context.scene.collection.children.link(heads)
    bpy.context.scene.collection.objects.unlink(monkey)
    heads.objects.link(monkey)
    bpy.ops.mesh.primitive_torus_add(location=(0, 0, 2))
    child = bpy.context.object
    child.name = "Kind 子"
    child.parent, child.scale = monkey, (1, -2, 0.5)
    bpy.context.view_layer.update()
    return [monkey, child]


def _assert_near(obj: bpy.types.Object, vertices: np.ndarray) -> None:
    """Compare both ways: the old vertices with the new surface, the new vertices with the old ones."""
    new = world_vertices(obj)
    limit = GRID_SPACING * np.ptp(vertices, axis=0).max() / 2
    tree = BVHTree.FromPolygons(new.tolist(), [tuple(polygon.vertices) for polygon in obj.data.polygons])
    forth = np.mean([tree.find_nearest(Vector(vertex))[3] for vertex in vertices])
    back = np.mean([np.linalg.norm(vertices - vertex, axis=1).min() for vertex in new[::7]])
    assert forth < limit, (obj.name, forth, limit)
    assert back < limit, (obj.name, back, limit)
