"""File > Import, File > Export, and dropping a file on the viewport."""

from collections.abc import Callable

import bpy
from bpy.props import BoolProperty, CollectionProperty, IntProperty, StringProperty
from bpy_extras.io_utils import ExportHelper, ImportHelper

from .mesh_quality import MESH_QUALITY_PROPERTIES, MeshQuality
from .output_files import SUFFIX
from .volume_quality import QUALITY_PROPERTIES, VolumeQuality

FILTER = "*" + SUFFIX


class SCENE_CODEC_OT_import_nscene(ImportHelper, bpy.types.Operator):
    """Choose .nscene files and decode them into the scene"""

    bl_idname = "scene_codec.import_nscene"
    bl_label = "Import Neural Scene"

    filename_ext = SUFFIX
    filter_glob: StringProperty(default=FILTER, options={"HIDDEN"})
    directory: StringProperty(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})
    files: CollectionProperty(type=bpy.types.OperatorFileListElement, options={"HIDDEN", "SKIP_SAVE"})
    triangles: IntProperty(
        name="Most Triangles",
        description="Meshes that have more are simplified to so many; 0: all as stored",
        default=0,
        min=0,
    )

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Ask the decoder for its condition."""
        return bpy.ops.scene_codec.decode_file.poll()

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Hand over to the decoder, which runs as a job of its own; this one must not push an undo step."""
        names = [{"name": item.name} for item in self.files if item.name]
        return _run(
            bpy.ops.scene_codec.decode_file,
            filepath=self.filepath,
            directory=self.directory,
            files=names,
            triangles=self.triangles,
        )


class SCENE_CODEC_OT_export_nscene(MeshQuality, ExportHelper, bpy.types.Operator):
    """Encode the selected objects into an .nscene file"""

    bl_idname = "scene_codec.export_nscene"
    bl_label = "Export Neural Scene"

    filename_ext = SUFFIX
    filter_glob: StringProperty(default=FILTER, options={"HIDDEN"})
    apply_modifiers: BoolProperty(
        name="Apply Modifiers", description="Store the objects as seen in the viewport", default=True
    )

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Ask the encoder for its condition."""
        return bpy.ops.scene_codec.encode_selected.poll()

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Hand over to the encoder, which runs as a job of its own."""
        return _encode(self, bpy.ops.scene_codec.encode_selected, MESH_QUALITY_PROPERTIES)


class SCENE_CODEC_OT_export_volumes(VolumeQuality, ExportHelper, bpy.types.Operator):
    """Encode the volumes of the selected objects into an .nscene file"""

    bl_idname = "scene_codec.export_volumes"
    bl_label = "Export Volumes as Neural Scene"

    filename_ext = SUFFIX
    filter_glob: StringProperty(default=FILTER, options={"HIDDEN"})
    apply_modifiers: BoolProperty(
        name="Apply Modifiers", description="Store the volumes as seen in the viewport", default=True
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a selection; says so when there is none."""
        if not context.selected_objects:
            cls.poll_message_set("Select the volumes to encode.")
            return False
        return True

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Hand over to the encoder, which runs as a job of its own."""
        return _encode(self, bpy.ops.scene_codec.encode_volumes, QUALITY_PROPERTIES)


class SCENE_CODEC_FH_nscene(bpy.types.FileHandler):
    """Decodes files that are dropped on the 3D viewport or the outliner."""

    bl_idname = "SCENE_CODEC_FH_nscene"
    bl_label = "Neural Scene"
    bl_import_operator = "scene_codec.decode_file"
    bl_export_operator = "scene_codec.export_nscene"
    bl_file_extensions = SUFFIX

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        """Everywhere objects can be dropped; in background, where there is no area, too."""
        return context.area is None or context.area.type in {"VIEW_3D", "OUTLINER"}


def _encode(
    export: bpy.types.Operator, encoder: Callable[..., set[str]], quality: tuple[str, ...]
) -> set[str]:
    """Run an encoder with what was chosen in the file browser. `quality` names the properties of that."""
    chosen = ("filepath", "apply_modifiers", *quality)
    return _run(encoder, **{name: getattr(export, name) for name in chosen})


def _run(operator: Callable[..., set[str]], **properties: object) -> set[str]:
    how = "EXEC_DEFAULT" if bpy.app.background else "INVOKE_DEFAULT"
    result = operator(how, **properties)
    return {"FINISHED"} if result == {"RUNNING_MODAL"} else result


def _draw_import(self: bpy.types.Menu, _context: bpy.types.Context) -> None:
    self.layout.operator(SCENE_CODEC_OT_import_nscene.bl_idname, text=f"Neural Scene ({SUFFIX})")


def _draw_export(self: bpy.types.Menu, _context: bpy.types.Context) -> None:
    self.layout.operator(SCENE_CODEC_OT_export_nscene.bl_idname, text=f"Neural Scene ({SUFFIX})")
    self.layout.operator(SCENE_CODEC_OT_export_volumes.bl_idname, text=f"Neural Scene, Volumes ({SUFFIX})")


_CLASSES = (
    SCENE_CODEC_OT_import_nscene,
    SCENE_CODEC_OT_export_nscene,
    SCENE_CODEC_OT_export_volumes,
    SCENE_CODEC_FH_nscene,
)


def register() -> None:
    """Add the menu entries and the file handler."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.TOPBAR_MT_file_import.append(_draw_import)
    bpy.types.TOPBAR_MT_file_export.append(_draw_export)


def unregister() -> None:
    """Undo `register`."""
    bpy.types.TOPBAR_MT_file_export.remove(_draw_export)
    bpy.types.TOPBAR_MT_file_import.remove(_draw_import)
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
