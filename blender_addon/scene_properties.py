"""What the panel edits, kept in the scene, and the result of the last job, kept in the session."""

import json
from collections.abc import Callable
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty

from . import backend_session, jobs
from .mesh_quality import QUALITIES, MeshQuality, detail_of, error_of, quality_applies
from .output_files import PATH_OPTIONS
from .volume_quality import VolumeQuality

Search = Callable[[bpy.types.PropertyGroup, bpy.types.Context, str], list[tuple[str, str]]]


def _codecs_for(content: str) -> list[dict[str, Any]]:
    """Return the codecs for meshes or volumes that the backend named when greeted, the default first."""
    return [codec for codec in backend_session.known_codecs() if codec["content"] == content]


def _presets_for(content: str) -> Search:
    """Return a search among the presets of the codec that the settings name, of the default one if none."""

    def search(
        settings: bpy.types.PropertyGroup, _context: bpy.types.Context, typed: str
    ) -> list[tuple[str, str]]:
        chosen = getattr(settings, "codec", "")
        codecs = _codecs_for(content)
        own = [codec for codec in codecs if codec["name"] == chosen] if chosen else codecs[:1]
        presets = [item for codec in own for item in codec["presets"].items()]
        return [(name, text) for name, text in presets if typed.lower() in name.lower()]

    return search


def _search_mesh_codecs(
    _settings: bpy.types.PropertyGroup, _context: bpy.types.Context, typed: str
) -> list[tuple[str, str]]:
    """Return the codecs of meshes with what they do."""
    codecs = [(codec["name"], codec.get("summary", "")) for codec in _codecs_for("mesh")]
    return [(name, text) for name, text in codecs if typed.lower() in name.lower()]


class SCENE_CODEC_PG_volumes(VolumeQuality, bpy.types.PropertyGroup):
    """Settings of the panel for volumes."""

    output_path: StringProperty(
        name="Output",
        description="The .nscene file to write",
        subtype="FILE_PATH",
        default="//volumes.nscene",
        options=PATH_OPTIONS,
    )
    preset: StringProperty(
        name="Preset",
        description="How exact, in a word; empty: no difference to be seen in renderings",
        search=_presets_for("volume"),
        search_options={"SUGGESTION"},
    )
    apply_modifiers: BoolProperty(
        name="Apply Modifiers",
        description="Store the volumes as seen in the viewport, instead of the files they are read from",
        default=True,
    )
    folder: StringProperty(
        name="Folder",
        description="A folder of .vdb files, such as a fluid cache, to encode instead of the selection",
        subtype="DIR_PATH",
        options=PATH_OPTIONS,
    )


def _get_detail(settings: bpy.types.PropertyGroup) -> float:
    return detail_of(settings.target_error)


def _set_detail(settings: bpy.types.PropertyGroup, detail: float) -> None:
    settings.target_error = error_of(detail)


class SCENE_CODEC_PG_settings(MeshQuality, bpy.types.PropertyGroup):
    """Settings of the panel."""

    quality: EnumProperty(
        name="Quality",
        description="What decides how exact the surface is",
        items=QUALITIES,
        default="ERROR",
    )
    # Not stored: another way to see and set the error, on a scale that eyes find even.
    detail: FloatProperty(
        name="Detail",
        description="0: 1 % of the object's size off, for the far background. 50: 0.1 %, hardly seen at full "
        "screen. 100: 0.01 %, for close-ups",
        min=0.0,
        max=100.0,
        precision=0,
        step=100,
        get=_get_detail,
        set=_set_detail,
    )

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
    # Names, not enums: what a file says must survive until a backend has been asked.
    codec: StringProperty(
        name="Method",
        description="mesh-surface, if empty: each mesh by itself; mesh-necgs: one network for all",
        search=_search_mesh_codecs,
        search_options={"SUGGESTION"},
    )
    preset: StringProperty(
        name="Preset",
        description="How much time buys how small a file; empty: the best measured one",
        search=_presets_for("mesh"),
        search_options={"SUGGESTION"},
    )
    apply_modifiers: BoolProperty(
        name="Apply Modifiers",
        description="Store the objects as seen in the viewport, instead of before their modifiers",
        default=True,
    )
    triangle_budget: IntProperty(
        name="Most Triangles",
        description="Meshes that have more are simplified to so many when they are decoded; 0: all as stored",
        default=0,
        min=0,
    )
    volume_folder: StringProperty(
        name="Volume Folder",
        description="Where .vdb files go, if the file holds volumes; empty: a folder beside the file",
        subtype="DIR_PATH",
        options=PATH_OPTIONS,
    )
    volumes: PointerProperty(type=SCENE_CODEC_PG_volumes)


def mesh_quality_applies(settings: SCENE_CODEC_PG_settings) -> bool:
    """Return whether the panel's method takes an error, a size or a number of triangles."""
    return quality_applies(settings.codec, _codecs_for("mesh"))


def remember_result(context: bpy.types.Context, job: jobs.Job) -> None:
    """Keep a job's result, as JSON, where scripts can read it: `window_manager.scene_codec_last_result`."""
    context.window_manager.scene_codec_last_result = json.dumps(job.result)


def register() -> None:
    """Add the settings to scenes and the last result to the session."""
    bpy.utils.register_class(SCENE_CODEC_PG_volumes)
    bpy.utils.register_class(SCENE_CODEC_PG_settings)
    bpy.types.Scene.scene_codec = PointerProperty(type=SCENE_CODEC_PG_settings)
    bpy.types.WindowManager.scene_codec_last_result = StringProperty(options={"HIDDEN", "SKIP_SAVE"})


def unregister() -> None:
    """Undo `register`."""
    del bpy.types.WindowManager.scene_codec_last_result
    del bpy.types.Scene.scene_codec
    bpy.utils.unregister_class(SCENE_CODEC_PG_settings)
    bpy.utils.unregister_class(SCENE_CODEC_PG_volumes)
