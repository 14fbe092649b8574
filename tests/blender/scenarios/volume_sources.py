"""Where volumes come from: modifiers, geometry nodes, caches, libraries, packed and missing files."""

import itertools
import json
import shutil
from pathlib import Path

import bpy
import numpy as np

from scenarios.laboratory import Laboratory, delete, failure_of, files_in, snapshot
from scenarios.volume_scenes import (
    add_sequence,
    add_volume,
    encode_volumes,
    last_result,
    make_samples,
)


def what_modifiers_make_is_stored_as_it_is_seen(laboratory: Laboratory) -> None:
    bpy.ops.mesh.primitive_monkey_add()
    monkey = bpy.context.object
    volume = bpy.data.volumes.new("Affe")
    obj = bpy.data.objects.new("Affe", volume)
    bpy.context.scene.collection.objects.link(obj)
    modifier = obj.modifiers.new("Mesh to Volume", "MESH_TO_VOLUME")
    modifier.object = monkey
    encode_volumes(laboratory, obj, name="plain.nscene")
    displace = obj.modifiers.new("Displace", "VOLUME_DISPLACE")
    displace.texture, displace.strength = bpy.data.textures.new("Wolken", "CLOUDS"), 0.5
    path = encode_volumes(laboratory, obj)
    words = failure_of(encode_volumes, laboratory, obj, name="before.nscene", apply_modifiers=False)
    assert "Affe: It has no file." in words
    delete(obj, monkey)
    files = []
    for source in (path, laboratory.path("plain.nscene")):
        laboratory.decode(source)
        new = bpy.data.objects["Affe"]
        assert len(new.modifiers) == 0
        assert new.data.grids.load()
        assert [grid.name for grid in new.data.grids] == ["density"]
        files.append(Path(new.data.filepath).read_bytes())
        delete(new)
    assert files[0] != files[1]


def a_hidden_volume_is_stored_with_its_modifiers_too(laboratory: Laboratory) -> None:
    samples = make_samples(laboratory)
    obj = add_volume(samples / "smoke.vdb", "Rauch")
    displace = obj.modifiers.new("Displace", "VOLUME_DISPLACE")
    displace.texture = bpy.data.textures.new("Wolken", "CLOUDS")
    bpy.context.view_layer.update()
    obj.hide_viewport = True
    reference = laboratory.part("bridges.object_reader").reference_to(obj)
    encode = laboratory.part("operators.encode")
    request = encode.EncodeRequest(
        objects=(reference,), filepath=Path(laboratory.path("x.nscene")), content="volume"
    )
    before = snapshot()
    job = encode.start_encode(request)
    laboratory.part("jobs").run_to_end(job, lambda: None)
    assert job.result["failures"] == [], job.error
    assert snapshot() == before
    delete(obj)
    laboratory.decode(laboratory.path("x.nscene"))
    new = bpy.data.objects["Rauch"]
    assert new.hide_viewport
    assert Path(new.data.filepath).read_bytes() != (samples / "smoke.vdb").read_bytes()


def what_geometry_nodes_make_becomes_a_volume_object(laboratory: Laboratory) -> None:
    bpy.ops.mesh.primitive_cube_add(location=(1, 2, 3))
    points, cube = _with_nodes("GeometryNodePointsToVolume"), bpy.context.object
    cube.modifiers.new("Points to Volume", "NODES").node_group = points
    cube.data.materials.append(bpy.data.materials.new("Haut"))
    path = encode_volumes(laboratory, cube)
    laboratory.decode(path)
    new = next(obj for obj in bpy.data.objects if obj.type == "VOLUME")
    assert new.name == "Cube.001"
    assert tuple(new.location) == (1, 2, 3)
    assert len(new.data.materials) == 0
    assert new.data.grids.load()
    assert len(new.data.grids) == 1


def a_sequence_with_modifiers_is_evaluated_frame_by_frame(laboratory: Laboratory) -> None:
    samples = make_samples(laboratory)
    obj = add_sequence(samples / "cache", "Wolke", first=1, count=3, start=20)
    displace = obj.modifiers.new("Displace", "VOLUME_DISPLACE")
    displace.texture = bpy.data.textures.new("Wolken", "CLOUDS")
    bpy.context.scene.frame_set(7)
    path = encode_volumes(laboratory, obj)
    assert bpy.context.scene.frame_current == 7
    assert last_result()["objects"][0]["frames"] == 3
    delete(obj)
    laboratory.decode(path)
    new = bpy.data.objects["Wolke"]
    assert (new.data.is_sequence, new.data.frame_start, new.data.frame_duration) == (True, 20, 3)
    folder = Path(laboratory.path("szene 文_volumes")) / "Wolke"
    contents = {name: (folder / name).read_bytes() for name in files_in(folder)}
    assert list(contents) == [f"puff_{number:04d}.vdb" for number in (1, 2, 3)]
    assert len(set(contents.values())) == 3
    for name, content in contents.items():
        assert content != (samples / "cache" / name).read_bytes()


def a_fluid_cache_comes_back_as_sequences_in_its_place(laboratory: Laboratory) -> None:
    samples = make_samples(laboratory)
    cache = Path(laboratory.path("cache ö"))
    bpy.ops.mesh.primitive_cube_add(size=2, location=(0, 0, 5), rotation=(0, 0, np.pi / 2), scale=(1, 2, 3))
    domain = bpy.context.object
    modifier = domain.modifiers.new("Fluid", "FLUID")
    modifier.fluid_type = "DOMAIN"
    modifier.show_viewport = False  # or Blender would clear the cache, which it did not bake itself
    modifier.domain_settings.cache_directory = str(cache)
    for folder, name in (("data", "fluid_data"), ("noise", "fluid_noise")):
        (cache / folder).mkdir(parents=True)
        for number in range(1, 4):
            source = samples / "cache" / f"puff_{number:04d}.vdb"
            shutil.copy(source, cache / folder / f"{name}_{number:04d}.vdb")
    (cache / "config").mkdir()
    (cache / "config" / "config_0001.uni").write_bytes(b"settings")
    path = encode_volumes(laboratory, domain)
    assert [stored["frames"] for stored in last_result()["objects"]] == [3, 3]
    laboratory.decode(path, volume_folder=laboratory.path("neu"))
    assert files_in(Path(laboratory.path("neu"))) == [
        str(Path(f"Cube {kind}") / f"fluid_{kind}_{number:04d}.vdb")
        for kind in ("data", "noise")
        for number in range(1, 4)
    ]
    smoke = bpy.data.objects["Cube data"]
    assert smoke.data.is_sequence
    assert (smoke.data.frame_start, smoke.data.frame_duration, smoke.data.frame_offset) == (1, 3, 0)
    # The middle of the first cell: from the lowest corner of the box, turned by a right angle, half a
    # cell on. Its size is in the files already; noise has cells half as wide.
    for name, resolution in (("Cube data", 32), ("Cube noise", 64)):
        half = 6 / resolution / 2
        assert np.allclose(bpy.data.objects[name].location, (2 - half, -1 + half, 2 + half), atol=1e-5)
        assert np.allclose(bpy.data.objects[name].scale, 1)
    shutil.rmtree(cache)
    words = failure_of(encode_volumes, laboratory, domain, name="none.nscene")
    assert "Bake it with the format OpenVDB first" in words


def a_folder_of_files_is_stored_without_any_object(laboratory: Laboratory) -> None:
    samples = make_samples(laboratory)
    (samples / "cache" / "puff_0003.vdb").unlink()
    path = laboratory.path("ordner.nscene")
    assert bpy.ops.scene_codec.encode_volumes(filepath=path, folder=str(samples)) == {"FINISHED"}
    names = {stored["name"]: stored["frames"] for stored in last_result()["objects"]}
    assert names == {"ball": 1, "smoke": 1, "cache_puff": 5}
    laboratory.decode(path)
    assert set(bpy.data.objects.keys()) == set(names)
    data = bpy.data.objects["cache_puff"].data
    assert (data.frame_start, data.frame_duration, data.frame_offset) == (1, 6, 0)
    empty = Path(laboratory.path("leer"))
    empty.mkdir()
    encode = bpy.ops.scene_codec.encode_volumes
    assert "no .vdb files" in failure_of(encode, filepath=path, folder=str(empty))
    assert "There is no folder" in failure_of(encode, filepath=path, folder=str(empty / "none"))


def linked_packed_and_missing_files(laboratory: Laboratory) -> None:
    samples = make_samples(laboratory)
    library = laboratory.path("bibliothek.blend")
    obj = add_volume(samples / "smoke.vdb", "Rauch")
    bpy.ops.wm.save_as_mainfile(filepath=library)
    obj.data.filepath = bpy.path.relpath(obj.data.filepath)
    bpy.ops.wm.save_mainfile()
    (Path(laboratory.path("anderswo"))).mkdir()
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.wm.save_as_mainfile(filepath=laboratory.path("anderswo/szene.blend"))
    with bpy.data.libraries.load(library, link=True) as (_, target):
        target.objects = ["Rauch"]
    linked = bpy.data.objects["Rauch"]
    bpy.context.scene.collection.objects.link(linked)
    missing = add_volume(samples / "none.vdb", "Fehlt")
    gaps = add_sequence(samples / "cache", "Lücke", first=5, count=4, start=1)
    gone = add_sequence(samples / "cache", "Weg", first=11, count=4, start=1)
    path = encode_volumes(laboratory, linked, missing, gaps, gone)
    result = last_result()
    assert {stored["name"]: stored["frames"] for stored in result["objects"]} == {"Rauch": 1, "Lücke": 2}
    reasons = {failure["name"]: failure["reason"] for failure in result["failures"]}
    assert "Its file is missing" in reasons["Fehlt"]
    assert "None of the frames" in reasons["Weg"]
    delete(missing, gaps, gone, linked)
    laboratory.decode(path)
    assert bpy.data.objects["Rauch"].library is None
    # Blender reads files on disk alone; what is packed is stored nevertheless.
    packed = add_volume(samples / "ball.vdb", "Gepackt")
    content = (samples / "ball.vdb").read_bytes()
    bpy.ops.file.pack_all()
    assert packed.data.packed_file is not None
    (samples / "ball.vdb").unlink()
    path = encode_volumes(laboratory, packed, name="gepackt.nscene")
    laboratory.decode(path)
    assert Path(bpy.path.abspath(bpy.data.objects["Gepackt.001"].data.filepath)).read_bytes() == content


def the_quality_of_the_panel_reaches_the_backend(laboratory: Laboratory) -> None:
    obj = add_volume(make_samples(laboratory) / "ball.vdb", "Kugel")
    tolerant = {"topology": "TOLERANT", "tolerance": 0.01}
    for properties, settings in (
        ({}, {}),
        ({"quality": "PSNR", "psnr": 50.1}, {"psnr": 50.1}),
        ({"quality": "MAX_ERROR", "max_error": 0.001}, {"max_error": 0.001}),
        ({"quality": "SIZE", "size_kb": 1.5}, {"target_size": 1500}),
        ({"quality": "LOSSLESS", **tolerant}, {"lossless": True}),
        (tolerant, {"topology": "tolerant", "tolerance": 0.01}),
        ({"quality": "PSNR", "psnr": 50.0, "settings": '{"psnr": 40}'}, {"psnr": 40}),
    ):
        encode_volumes(laboratory, obj, **properties)
        assert last_result()["changed"] == settings
    encode_volumes(laboratory, obj, preset="balanced")
    assert last_result()["preset"] == "balanced"


def objects_that_share_a_volume_share_it_and_its_files_again(laboratory: Laboratory) -> None:
    samples = make_samples(laboratory)
    one, cloud = add_volume(samples / "ball.vdb", "Eins"), add_sequence(samples / "cache", "Vier", 1, 3, 1)
    for obj in (one, cloud):
        twin = obj.copy()
        twin.location.x = 5
        bpy.context.scene.collection.objects.link(twin)
    path = encode_volumes(laboratory, *bpy.data.objects)
    delete(*bpy.data.objects)
    laboratory.decode(path)
    assert set(bpy.data.objects.keys()) == {"Eins", "Eins.001", "Vier", "Vier.001"}
    assert len(bpy.data.volumes) == 2
    assert {obj.location.x for obj in bpy.data.objects} == {0, 5}
    assert len(files_in(Path(laboratory.path("szene 文_volumes")))) == 1 + 3


def the_file_menu_exports_volumes(laboratory: Laboratory) -> None:
    obj = add_volume(make_samples(laboratory) / "ball.vdb", "Kugel")
    obj.select_set(True)
    path = laboratory.path("menü.nscene")
    done = bpy.ops.scene_codec.export_volumes(filepath=path, quality="PSNR", psnr=42)
    assert done == {"FINISHED"}
    assert last_result()["changed"] == {"psnr": 42.0}
    obj.select_set(False)
    assert not bpy.ops.scene_codec.export_volumes.poll()


def a_sheared_volume_without_its_parent_is_named(laboratory: Laboratory) -> None:
    obj = add_volume(make_samples(laboratory) / "ball.vdb", "Kugel")
    parent = bpy.data.objects.new("Eltern", None)
    bpy.context.scene.collection.objects.link(parent)
    parent.scale.x, obj.rotation_euler.z, obj.parent = 3, 0.7, parent
    path = encode_volumes(laboratory, obj)
    delete(obj)
    laboratory.decode(path)
    assert last_result()["failures"] == []
    delete(*bpy.data.objects)
    laboratory.decode(path)
    (failure,) = last_result()["failures"]
    assert (failure["name"], "shear" in failure["reason"]) == ("Kugel", True)


def what_has_no_volume_is_named(laboratory: Laboratory) -> None:
    bpy.ops.mesh.primitive_cube_add()
    cube = bpy.context.object
    empty = add_volume(Path(laboratory.path("")), "Leer")
    empty.data.filepath = ""
    words = failure_of(encode_volumes, laboratory, cube, empty)
    assert "Cube: A mesh without volume modifiers has no volume." in words
    assert "Leer: It has no file." in words
    words = failure_of(encode_volumes, laboratory)
    assert "Select at least one volume" in words
    laboratory.encode(cube, empty)
    assert "A volume has no surface." in json.dumps(last_result()["failures"])


def _with_nodes(kind: str) -> bpy.types.NodeTree:
    """Return geometry nodes that turn a mesh's points into a volume."""
    tree = bpy.data.node_groups.new("Nodes", "GeometryNodeTree")
    tree.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    tree.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    names = ("NodeGroupInput", "GeometryNodeMeshToPoints", kind, "NodeGroupOutput")
    nodes = [tree.nodes.new(name) for name in names]
    for one, other in itertools.pairwise(nodes):
        tree.links.new(one.outputs[0], other.inputs[0])
    return tree
