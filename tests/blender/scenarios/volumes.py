"""Volumes through encode and decode with the backend of this checkout and its real codec."""

from pathlib import Path

import bpy
import numpy as np

from scenarios.laboratory import Laboratory, delete, files_in
from scenarios.volume_scenes import (
    add_sequence,
    add_volume,
    assert_within,
    compare,
    encode_volumes,
    last_result,
    make_samples,
)

MAX_ERROR = 0.02


def a_volume_comes_back_with_its_place_settings_and_materials(laboratory: Laboratory) -> None:
    laboratory.use_real_backend()
    samples = make_samples(laboratory)
    obj = add_volume(samples / "smoke.vdb", "Rauch ö")
    obj.location, obj.rotation_euler, obj.scale = (1, 2, 3), (0.3, 0, 1), (1, 2, 0.5)
    parent = bpy.data.objects.new("Eltern", None)
    parent.location.x = 5
    home = bpy.data.collections.new("Wolken 文")
    bpy.context.scene.collection.children.link(home)
    home.objects.link(parent)
    home.objects.link(obj)
    bpy.context.scene.collection.objects.unlink(obj)
    obj.parent = parent
    obj["note"] = "größe"
    obj.data.name = "Daten"
    obj.data.display.density, obj.data.display.wireframe_type = 2.5, "BOUNDS"
    obj.data.render.space, obj.data.render.step_size = "WORLD", 0.25
    assert obj.data.grids.load()
    obj.data.velocity_grid, obj.data.velocity_scale = "temperature", 2.0
    obj.data.materials.append(bpy.data.materials.new("Dampf"))
    bpy.context.view_layer.update()
    before = np.array(obj.matrix_world)
    path = encode_volumes(laboratory, obj, quality="MAX_ERROR", max_error=MAX_ERROR)
    result = last_result()
    assert [stored["name"] for stored in result["objects"]] == ["Rauch ö"]
    assert result["objects"][0]["source_bytes"] == (samples / "smoke.vdb").stat().st_size
    delete(obj)
    laboratory.decode(path)
    assert last_result() == {"objects": ["Rauch ö"], "failures": []}
    new = bpy.data.objects["Rauch ö"]
    file = Path(laboratory.path("szene 文_volumes")) / "smoke.vdb"
    assert Path(bpy.path.abspath(new.data.filepath)) == file
    assert_within(compare(samples / "smoke.vdb", file), MAX_ERROR)
    assert np.allclose(np.array(new.matrix_world), before, atol=1e-5)
    assert new.parent == parent
    assert [collection.name for collection in new.users_collection] == ["Wolken 文"]
    assert new["note"] == "größe"
    assert new.data.name == "Daten"
    assert (new.data.display.density, new.data.display.wireframe_type) == (2.5, "BOUNDS")
    assert (new.data.render.space, new.data.render.step_size) == ("WORLD", 0.25)
    assert (new.data.velocity_grid, new.data.velocity_scale) == ("temperature", 2.0)
    assert new.data.materials[0].name == "Dampf"
    assert new.data.grids.load()
    assert {grid.name for grid in new.data.grids} == {"density", "temperature", "velocity", "flame"}


def a_sequence_comes_back_as_one_object_that_plays(laboratory: Laboratory) -> None:
    laboratory.use_real_backend()
    samples = make_samples(laboratory)
    obj = add_sequence(samples / "cache", "Wolke", first=2, count=4, start=10)
    obj.data.sequence_mode = "PING_PONG"
    path = encode_volumes(laboratory, obj, quality="MAX_ERROR", max_error=MAX_ERROR)
    (stored,) = last_result()["objects"]
    assert (stored["name"], stored["frames"]) == ("Wolke", 4)
    delete(obj)
    laboratory.decode(path)
    new = bpy.data.objects["Wolke"].data
    folder = Path(laboratory.path("szene 文_volumes"))
    names = [f"puff_{number:04d}.vdb" for number in range(2, 6)]
    assert files_in(folder) == [str(Path("Wolke") / name) for name in names]
    for name in names:
        assert_within(compare(samples / "cache" / name, folder / "Wolke" / name), MAX_ERROR)
    assert (new.is_sequence, new.sequence_mode) == (True, "PING_PONG")
    assert (new.frame_start, new.frame_duration, new.frame_offset) == (10, 4, 1)
    for frame, name in ((10, "puff_0002"), (12, "puff_0004"), (15, "puff_0003")):
        bpy.context.scene.frame_set(frame)
        evaluated = bpy.data.objects["Wolke"].evaluated_get(bpy.context.evaluated_depsgraph_get())
        assert evaluated.data.grids.load()
        assert Path(evaluated.data.grids.frame_filepath).stem == name


def one_frame_comes_back_alone(laboratory: Laboratory) -> None:
    laboratory.use_real_backend()
    samples = make_samples(laboratory)
    obj = add_sequence(samples / "cache", "Wolke", first=1, count=6, start=1)
    path = encode_volumes(laboratory, obj, quality="MAX_ERROR", max_error=MAX_ERROR)
    delete(obj)
    target = laboratory.path("eins")
    laboratory.decode(path, only="Wolke_0004", volume_folder=target)
    assert files_in(Path(target)) == ["Wolke_0004.vdb"]
    assert_within(compare(samples / "cache" / "puff_0004.vdb", Path(target) / "Wolke_0004.vdb"), MAX_ERROR)
    delete(*bpy.data.objects)
    laboratory.decode(path, only="Wolke", volume_folder=target)
    assert bpy.data.objects["Wolke"].data.frame_duration == 6
    assert len(files_in(Path(target))) == 7
