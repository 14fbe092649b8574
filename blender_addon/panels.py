"""The Scene Codec tab in the sidebar of the 3D viewport. Draws only; decisions are taken elsewhere."""

from typing import Any

import bpy

from . import backend_session, jobs
from .encode_report import (
    encode_words,
    estimate_words,
    estimated_words,
    fact_words,
    setting_words,
)
from .mesh_quality import MESH_QUALITY_PROPERTIES, mesh_codec_settings
from .mesh_quality import VALUE_OF_QUALITY as VALUE_OF_MESH_QUALITY
from .operators.encode import EncodeRequest, codec_params
from .operators.estimate import is_latest_for, latest_estimate
from .scene_properties import mesh_quality_applies
from .volume_quality import EXACT_ONLY, QUALITY_PROPERTIES, VALUE_OF_QUALITY

SHOWN_FAILURES = 6
STATE_ICONS = {
    jobs.JobState.DONE: "CHECKMARK",
    jobs.JobState.FAILED: "ERROR",
    jobs.JobState.CANCELLED: "X",
}


class _SidebarPanel:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Scene Codec"


class SCENE_CODEC_PT_encode(_SidebarPanel, bpy.types.Panel):
    """Encode the selection."""

    bl_idname = "SCENE_CODEC_PT_encode"
    bl_label = "Encode Meshes"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the settings and the button."""
        layout, settings = self.layout, context.scene.scene_codec
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(settings, "output_path")
        row = layout.row(align=True)
        row.prop(settings, "codec", placeholder="Default")
        row.operator("scene_codec.list_presets", text="", icon="FILE_REFRESH")
        applies = mesh_quality_applies(settings)
        if applies:
            _draw_mesh_quality(layout, settings)
        if not applies or settings.quality == "PRESET":
            layout.prop(settings, "preset", placeholder="Default")
        layout.prop(settings, "apply_modifiers")
        if applies:
            _hand_over_mesh(settings, layout.operator("scene_codec.estimate_selected", icon="VIEWZOOM"))
            _draw_estimate(layout, context, settings)
        button = layout.operator("scene_codec.encode_selected", icon="EXPORT")
        button.filepath = settings.output_path
        _hand_over_mesh(settings, button)


def _draw_mesh_quality(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    """Draw what decides how exact meshes are, and the number that goes with it."""
    layout.prop(settings, "quality")
    if settings.quality == "ERROR":
        layout.prop(settings, "detail", slider=True)
    if settings.quality in VALUE_OF_MESH_QUALITY:
        layout.prop(settings, VALUE_OF_MESH_QUALITY[settings.quality])


def _hand_over_mesh(settings: bpy.types.PropertyGroup, button: bpy.types.OperatorProperties) -> None:
    """Give a button for meshes what the panel says."""
    button.apply_modifiers = settings.apply_modifiers
    for name in MESH_QUALITY_PROPERTIES:
        setattr(button, name, getattr(settings, name))
    if not mesh_quality_applies(settings):
        button.quality = "PRESET"


def _draw_estimate(
    layout: bpy.types.UILayout, context: bpy.types.Context, settings: bpy.types.PropertyGroup
) -> None:
    """Draw the newest estimate: the sum, and each object."""
    result = latest_estimate()
    if not result:
        return
    preset = settings.preset if settings.quality == "PRESET" else ""
    chosen = EncodeRequest(
        objects=(), codec=settings.codec, preset=preset, settings=mesh_codec_settings(settings)
    )
    made_for = {**codec_params(chosen), "apply_modifiers": settings.apply_modifiers}
    box = layout.box()
    if not is_latest_for(len(context.selected_objects), made_for):
        box.label(text="Of other settings or objects:", icon="INFO")
    width = _characters_in(context)
    column = box.column(align=True)
    for line in wrap(estimate_words(result), width):
        column.label(text=line)
    _draw_objects(column, result["objects"], [estimated_words(told) for told in result["objects"]])
    _draw_failures(box, result["failures"], width)


class SCENE_CODEC_PT_volumes(_SidebarPanel, bpy.types.Panel):
    """Encode volumes."""

    bl_idname = "SCENE_CODEC_PT_volumes"
    bl_label = "Encode Volumes"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the settings and the two buttons: for the selection, and for a folder."""
        layout, settings = self.layout, context.scene.scene_codec.volumes
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(settings, "output_path")
        layout.prop(settings, "quality")
        if settings.quality == "PRESET":
            row = layout.row(align=True)
            row.prop(settings, "preset", placeholder="Default")
            row.operator("scene_codec.list_presets", text="", icon="FILE_REFRESH")
        elif settings.quality in VALUE_OF_QUALITY:
            layout.prop(settings, VALUE_OF_QUALITY[settings.quality])
        if settings.quality not in EXACT_ONLY:
            layout.prop(settings, "topology")
            if settings.topology == "TOLERANT":
                layout.prop(settings, "tolerance")
        layout.prop(settings, "apply_modifiers")
        row = layout.row()
        row.enabled = bool(context.selected_objects)
        _hand_over(settings, row.operator("scene_codec.encode_volumes", icon="EXPORT"))
        layout.separator()
        layout.prop(settings, "folder")
        row = layout.row()
        row.enabled = bool(settings.folder)
        button = row.operator("scene_codec.encode_volumes", text="Encode Folder", icon="FILE_FOLDER")
        _hand_over(settings, button)
        button.folder = settings.folder


def _hand_over(settings: bpy.types.PropertyGroup, button: bpy.types.OperatorProperties) -> None:
    """Give a button what the panel says."""
    button.filepath = settings.output_path
    button.preset = settings.preset if settings.quality == "PRESET" else ""
    button.apply_modifiers = settings.apply_modifiers
    for name in QUALITY_PROPERTIES:
        setattr(button, name, getattr(settings, name))


class SCENE_CODEC_PT_decode(_SidebarPanel, bpy.types.Panel):
    """Decode a file."""

    bl_idname = "SCENE_CODEC_PT_decode"
    bl_label = "Decode File"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the file and the button."""
        layout, settings = self.layout, context.scene.scene_codec
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(settings, "input_path")
        layout.prop(settings, "triangle_budget")
        layout.prop(settings, "volume_folder")
        button = layout.operator("scene_codec.decode_file", icon="IMPORT")
        button.filepath = settings.input_path
        button.triangles = settings.triangle_budget
        button.volume_folder = settings.volume_folder


class SCENE_CODEC_PT_jobs(_SidebarPanel, bpy.types.Panel):
    """The jobs of this session."""

    bl_idname = "SCENE_CODEC_PT_jobs"
    bl_label = "Jobs"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw each job with its progress or its result, newest first."""
        layout = self.layout
        listed = jobs.listed()
        if not listed:
            layout.label(text="No jobs yet", icon="INFO")
        width = _characters_in(context)
        for job in listed:
            box = layout.box()
            if job.finished:
                _draw_finished(box, job, width)
            else:
                _draw_running(box, job, width)
        row = layout.row(align=True)
        row.operator("scene_codec.clear_jobs", text="Clear", icon="TRASH")
        row.operator("scene_codec.show_log", text="Log", icon="TEXT")
        row.operator("scene_codec.restart_backend", text="Stop", icon="QUIT")
        _draw_backend_line(layout)


def _draw_running(box: bpy.types.UILayout, job: jobs.Job, width: int) -> None:
    row = box.row()
    row.label(text=job.title, icon="TIME")
    row.operator("scene_codec.cancel_job", text="", icon="X").job_id = job.id
    if job.kind != "environment":  # nobody knows how far a download is
        box.progress(factor=job.fraction, text=f"{job.fraction:.0%}")
    column = box.column(align=True)
    for line in wrap(job.message, width):
        column.label(text=line)
    if job.remaining_s is not None and not job.cancelling:
        box.label(text=f"About {duration_words(job.remaining_s)} left")


def _draw_finished(box: bpy.types.UILayout, job: jobs.Job, width: int) -> None:
    box.label(text=job.title, icon=STATE_ICONS[job.state])
    if job.state is jobs.JobState.FAILED:
        column = box.column(align=True)
        column.alert = True
        for line in wrap(job.error, width):
            column.label(text=line)
    elif job.state is jobs.JobState.CANCELLED:
        box.label(text=job.message)
    elif job.kind == "encode":
        _draw_encoded(box, job.result, width)
    elif job.kind == "estimate":
        for line in wrap(estimate_words(job.result), width):
            box.label(text=line)
    elif job.kind == "decode":
        count = len(job.result["objects"])
        box.label(text=f"{count} object{'s' * (count != 1)} restored")
    elif job.kind == "greeting":
        for line in wrap(", ".join(job.result["presets"]), width):
            box.label(text=line)
    _draw_failures(box, job.result.get("failures", []), width)


def _draw_encoded(box: bpy.types.UILayout, result: dict[str, Any], width: int) -> None:
    column = box.column(align=True)
    column.label(text=encode_words(result))
    for line in wrap(f"Took {duration_words(result['seconds'])}, {setting_words(result)}", width):
        column.label(text=line)
    _draw_objects(column, result["objects"], [fact_words(stored) for stored in result["objects"]])
    missed = result["missed"]
    column = box.column(align=True)
    for text in missed[:SHOWN_FAILURES]:
        for number, line in enumerate(wrap(text, width - 4)):
            column.label(text=line, icon="BLANK1" if number else "ERROR")
    if len(missed) > SHOWN_FAILURES:
        column.label(text=f"and {len(missed) - SHOWN_FAILURES} more")


def _draw_objects(column: bpy.types.UILayout, objects: list[dict[str, Any]], words: list[str]) -> None:
    """Draw the name of each of the first objects, with what there is to say of it."""
    for told, line in list(zip(objects, words, strict=True))[:SHOWN_FAILURES]:
        split = column.split(factor=0.65 if "," not in line else 0.35)
        split.label(text=told["name"], icon="VOLUME_DATA" if "frames" in told else "MESH_DATA")
        split.label(text=line)
    hidden = len(objects) - SHOWN_FAILURES
    if hidden > 0:
        column.label(text=f"and {hidden} more")


def _draw_failures(box: bpy.types.UILayout, failures: list[dict[str, str]], width: int) -> None:
    column = box.column(align=True)
    for failure in failures[:SHOWN_FAILURES]:
        for number, line in enumerate(wrap(f"{failure['name']}: {failure['reason']}", width - 4)):
            column.label(text=line, icon="BLANK1" if number else "ERROR")
    if len(failures) > SHOWN_FAILURES:
        column.label(text=f"and {len(failures) - SHOWN_FAILURES} more")


def _draw_backend_line(layout: bpy.types.UILayout) -> None:
    greeting = backend_session.greeting()
    if backend_session.running_pid() is None or not greeting:
        layout.label(text="Backend: not running", icon="RADIOBUT_OFF")
        return
    layout.label(text=f"Backend {greeting['version']}, torch {greeting['torch']}", icon="RADIOBUT_ON")


def _characters_in(context: bpy.types.Context) -> int:
    """Return about how many characters fit into a line of a box in this region."""
    pixels = context.region.width / context.preferences.system.ui_scale
    return max(int((pixels - 60) / 6.2), 12)


def wrap(text: str, width: int) -> list[str]:
    """Return the text in lines of `width` characters; labels do not wrap by themselves."""
    lines = [""]
    for word in text.split():
        # A path without spaces has to be cut somewhere.
        for piece in (word[start : start + width] for start in range(0, len(word), width)):
            if lines[-1] and len(lines[-1]) + 1 + len(piece) > width:
                lines.append(piece)
            else:
                lines[-1] = f"{lines[-1]} {piece}".strip()
    return lines


def duration_words(seconds: float) -> str:
    """Return a duration for people."""
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


_CLASSES = (SCENE_CODEC_PT_encode, SCENE_CODEC_PT_volumes, SCENE_CODEC_PT_decode, SCENE_CODEC_PT_jobs)


def register() -> None:
    """Register the panels."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    """Undo `register`."""
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
