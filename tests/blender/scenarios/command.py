"""`blender --command scene_codec`, called as the function that Blender calls: bpy has no command line."""

import contextlib
import io
import json
from pathlib import Path

import bpy

from scenarios.laboratory import Laboratory
from scenarios.volume_scenes import add_sequence, add_volume, make_samples


def help_teaches_the_command(laboratory: Laboratory) -> None:
    for arguments in (["--help"], ["encode", "--help"], ["decode", "--help"]):
        code, out, _ = _run(laboratory, *arguments)
        assert code == 0
        assert "blender --command scene_codec" in out
    assert "decode scene.nscene -o restored.blend" in _run(laboratory, "--help")[1]


def wrong_arguments_give_two(laboratory: Laboratory) -> None:
    for arguments in ([], ["encode"], ["decode", "x.nscene"], ["paint"]):
        code, _, err = _run(laboratory, *arguments)
        assert code == 2
        assert "usage:" in err


def a_blend_file_goes_into_a_set_and_comes_back_as_one(laboratory: Laboratory) -> None:
    blend, stored, restored = map(laboratory.path, ("größe.blend", "größe.nscene", "zurück.blend"))
    bpy.ops.mesh.primitive_monkey_add()
    bpy.ops.mesh.primitive_cube_add(location=(5, 0, 0))
    bpy.ops.object.light_add()
    bpy.ops.wm.save_as_mainfile(filepath=blend)
    bpy.ops.wm.read_homefile(use_empty=True)
    code, out, err = _run(laboratory, "encode", blend, "-o", stored, "--json")
    assert code == 0, err
    assert {stored["name"] for stored in json.loads(out)["objects"]} == {"Suzanne", "Cube"}
    bpy.ops.wm.read_homefile()
    bpy.ops.mesh.primitive_cube_add()
    code, _, err = _run(laboratory, "decode", stored, "-o", restored)
    assert code == 0, err
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=restored)
    assert set(bpy.data.objects.keys()) == {"Suzanne", "Cube"}
    assert bpy.data.objects["Cube"].location.x == 5


def what_was_left_out_gives_one(laboratory: Laboratory) -> None:
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.object.light_add()
    path = laboratory.path("x.nscene")
    code, _, err = _run(laboratory, "encode", "-o", path, "--objects", "Cube", "Point")
    assert code == 1
    assert "Left out: Point: A light has no surface." in err
    assert Path(path).exists()
    code, _, err = _run(laboratory, "encode", "-o", path, "--objects", "Kube")
    assert code == 1
    assert "no object named Kube" in err
    assert (
        _run(laboratory, "decode", laboratory.path("none.nscene"), "-o", laboratory.path("x.blend"))[0] == 1
    )
    assert not Path(laboratory.path("x.blend")).exists()
    assert _run(laboratory, "decode", path, "-o", laboratory.path("no folder/x.blend"))[0] == 1
    code, _, err = _run(laboratory, "encode", laboratory.path("none.blend"), "-o", path)
    assert code == 1
    assert "none.blend" in err


def volumes_go_into_a_file_and_come_back_beside_the_new_scene(laboratory: Laboratory) -> None:
    samples = make_samples(laboratory)
    add_volume(samples / "smoke.vdb", "Rauch")
    add_sequence(samples / "cache", "Wolke", first=1, count=3, start=1).hide_set(True)
    bpy.ops.mesh.primitive_cube_add()
    blend, stored, restored = map(laboratory.path, ("größe.blend", "größe.nscene", "zurück.blend"))
    bpy.ops.wm.save_as_mainfile(filepath=blend)
    bpy.ops.wm.read_homefile(use_empty=True)
    code, out, err = _run(laboratory, "encode", blend, "--volumes", "-o", stored, "--psnr", "40", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert {item["name"]: item["frames"] for item in result["objects"]} == {"Rauch": 1, "Wolke": 3}
    bpy.ops.wm.read_homefile()
    folder = laboratory.path("dateien")
    code, _, err = _run(laboratory, "decode", stored, "-o", restored, "--volume-folder", folder)
    assert code == 0, err
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=restored)
    assert set(bpy.data.objects.keys()) == {"Rauch", "Wolke"}
    for obj in bpy.data.objects:
        assert obj.data.filepath.startswith("//dateien"), obj.data.filepath
        assert obj.data.grids.load(), obj.data.grids.error_message
    code, out, err = _run(
        laboratory, "encode", "--volumes", "--folder", str(samples / "cache"), "-o", stored, "--json"
    )
    assert code == 0, err
    assert [item["frames"] for item in json.loads(out)["objects"]] == [6]


def options_of_volumes_are_refused_for_meshes(laboratory: Laboratory) -> None:
    bpy.ops.mesh.primitive_cube_add()
    path = laboratory.path("x.nscene")
    for arguments in (["--psnr", "40"], ["--folder", laboratory.path("")], ["--topology", "tolerant"]):
        code, _, err = _run(laboratory, "encode", "-o", path, *arguments)
        assert code == 1
        assert "add --volumes" in err
    assert _run(laboratory, "encode", "-o", path, "--volumes", "--psnr", "4", "--lossless")[0] == 2


def _run(laboratory: Laboratory, *arguments: str) -> tuple[int, str, str]:
    """Return exit code, standard output and standard error of the command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = laboratory.part("commands").run(list(arguments))
    return code, out.getvalue(), err.getvalue()
