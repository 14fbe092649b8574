"""What the panel edits, kept in the scene, and the result of the last job, kept in the session."""

import json
import zlib

import bpy
from bpy.props import BoolProperty, EnumProperty, PointerProperty, StringProperty

from . import backend_session, jobs
from .output_files import PATH_OPTIONS

DEFAULT_PRESET = "DEFAULT"

# Blender keeps no reference to the strings of a computed list, so they must live here.
_preset_items: list[tuple[str, str, str, int]] = []


def _presets(
    _settings: bpy.types.PropertyGroup, _context: bpy.types.Context | None
) -> list[tuple[str, str, str, int]]:
    """Return the presets the backend named when it was greeted, after the one that always exists."""
    items = [(DEFAULT_PRESET, "Default", "The best measured trade of size, quality and time", 0)]
    for codec in backend_session.known_codecs():
        for name, text in codec["presets"].items():
            # The number comes from the name, so that a stored choice survives a new order of presets.
            items.append((name, name.replace("-", " ").title(), text, zlib.crc32(name.encode()) >> 1))
    _preset_items[:] = items
    return _preset_items


class SCENE_CODEC_PG_settings(bpy.types.PropertyGroup):
    """Settings of the panel."""

    output_path: StringProperty(
        name="Output",
        description="The .nscene file to write",
        subtype="FILE_PATH",
        default="//scene.nscene",
        options=PATH_OPTIONS,
    )
    input_path: StringProperty(
        name="Input", description="The .nscene file to read", subtype="FILE_PATH", options=PATH_OPTIONS
    )
    preset: EnumProperty(name="Preset", description="How much time buys how small a file", items=_presets)
    apply_modifiers: BoolProperty(
        name="Apply Modifiers",
        description="Store the objects as seen in the viewport, instead of before their modifiers",
        default=True,
    )


def chosen_preset(scene: bpy.types.Scene) -> str:
    """Return the preset chosen in the panel; empty for the codec's default."""
    return "" if scene.scene_codec.preset in {"", DEFAULT_PRESET} else scene.scene_codec.preset


def remember_result(context: bpy.types.Context, job: jobs.Job) -> None:
    """Keep a job's result, as JSON, where scripts can read it: `window_manager.scene_codec_last_result`."""
    context.window_manager.scene_codec_last_result = json.dumps(job.result)


def register() -> None:
    """Add the settings to scenes and the last result to the session."""
    bpy.utils.register_class(SCENE_CODEC_PG_settings)
    bpy.types.Scene.scene_codec = PointerProperty(type=SCENE_CODEC_PG_settings)
    bpy.types.WindowManager.scene_codec_last_result = StringProperty(options={"HIDDEN", "SKIP_SAVE"})


def unregister() -> None:
    """Undo `register`."""
    del bpy.types.WindowManager.scene_codec_last_result
    del bpy.types.Scene.scene_codec
    bpy.utils.unregister_class(SCENE_CODEC_PG_settings)
