"""The enabled add-on: registration, what it imports, what it leaves behind."""

import os
import sys
import tomllib
from pathlib import Path

import bpy

from scenarios.laboratory import MODULE, Laboratory

OPERATORS = ("encode_selected", "decode_file", "import_nscene", "export_nscene", "cancel_job", "show_log")


def it_registers_and_unregisters_three_times(laboratory: Laboratory) -> None:
    for _ in range(3):
        laboratory.disable_addon()
        assert not hasattr(bpy.types.Scene, "scene_codec")
        assert not hasattr(bpy.types, "SCENE_CODEC_FH_nscene")
        assert not any(_is_registered(name) for name in OPERATORS)
        laboratory.enable_addon()
        assert bpy.context.scene.scene_codec.apply_modifiers
        assert all(_is_registered(name) for name in OPERATORS)


def settings_are_kept_in_the_file(laboratory: Laboratory) -> None:
    settings = bpy.context.scene.scene_codec
    settings.output_path, settings.apply_modifiers, settings.preset = "//größe.nscene", False, "not known yet"
    bpy.ops.wm.save_as_mainfile(filepath=laboratory.path("file.blend"))
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=laboratory.path("file.blend"))
    settings = bpy.context.scene.scene_codec
    assert (settings.output_path, settings.apply_modifiers) == ("//größe.nscene", False)
    assert settings.preset == "not known yet"


def the_preset_of_the_panel_is_used_and_the_backend_lists_presets(laboratory: Laboratory) -> None:
    assert bpy.ops.scene_codec.list_presets() == {"FINISHED"}
    names = [name for codec in laboratory.part("backend_session").known_codecs() for name in codec["presets"]]
    assert names == ["default", "fast", "balanced"]
    bpy.context.scene.scene_codec.codec = "mesh-surface"
    bpy.context.scene.scene_codec.preset = "fast"
    bpy.ops.mesh.primitive_cube_add()
    laboratory.encode(bpy.context.object)
    assert '"preset": "fast"' in bpy.context.window_manager.scene_codec_last_result
    assert '"codec": "mesh-surface"' in bpy.context.window_manager.scene_codec_last_result
    bpy.context.scene.scene_codec.codec = ""
    laboratory.encode(bpy.context.object, preset="default")
    assert '"preset": "default"' in bpy.context.window_manager.scene_codec_last_result


def nothing_but_the_standard_library_and_numpy_is_imported(laboratory: Laboratory) -> None:
    laboratory.disable_addon()
    before = set(sys.modules)
    laboratory.enable_addon()
    bpy.ops.mesh.primitive_monkey_add()
    laboratory.decode(laboratory.encode(bpy.context.object))
    of_addon = {name for name in sys.modules if name.startswith(MODULE)}
    imported = {name.partition(".")[0] for name in set(sys.modules) - before - of_addon}
    allowed = set(sys.stdlib_module_names) | {"numpy", "bpy", "mathutils", "bl_ext", "bpy_extras"}
    assert imported <= allowed, imported - allowed
    assert "torch" not in sys.modules
    assert "scene_codec" not in sys.modules


def disabling_stops_the_backend(laboratory: Laboratory) -> None:
    bpy.ops.mesh.primitive_cube_add()
    laboratory.encode(bpy.context.object)
    pid = laboratory.part("backend_session").running_pid()
    assert pid is not None
    laboratory.disable_addon()
    assert not _process_exists(pid)


def the_version_and_the_protocol_are_those_of_the_project(laboratory: Laboratory) -> None:
    checkout = Path(os.environ["SCENE_CODEC_TEST_CHECKOUT"])
    project = tomllib.loads((checkout / "pyproject.toml").read_text("utf-8"))["project"]
    assert laboratory.part("preferences").addon_version() == project["version"]
    protocol = checkout / "backend" / "scene_codec" / "service" / "protocol.py"
    assert Path(laboratory.part("protocol").__file__).read_bytes() == protocol.read_bytes()


def _is_registered(name: str) -> bool:
    try:
        getattr(bpy.ops.scene_codec, name).get_rna_type()
    except KeyError:
        return False
    return True


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
