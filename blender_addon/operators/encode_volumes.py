"""Encode volumes: those of the selected objects, or of a folder of .vdb files."""

import bpy
from bpy.props import BoolProperty, StringProperty

from .. import jobs
from ..bridges.object_reader import reference_to
from ..output_files import PATH_OPTIONS, existing_folder, with_suffix
from ..preferences import chosen_device
from ..volume_quality import VolumeQuality, codec_settings
from .encode import EncodeOperator, EncodeRequest, parse_settings, start_encode


class SCENE_CODEC_OT_encode_volumes(VolumeQuality, EncodeOperator, bpy.types.Operator):
    """Store the volumes of the selected objects, sequences and fluid caches too, in one small .nscene file"""

    bl_idname = "scene_codec.encode_volumes"
    bl_label = "Encode Volumes"
    bl_options = {"REGISTER"}

    filepath: StringProperty(name="File", subtype="FILE_PATH", options={"SKIP_SAVE"} | PATH_OPTIONS)
    folder: StringProperty(
        name="Folder",
        description="Store all .vdb files of this folder instead, numbered ones as sequences",
        subtype="DIR_PATH",
        options={"SKIP_SAVE"} | PATH_OPTIONS,
    )
    codec: StringProperty(name="Codec", description="Empty: the backend's default", options={"SKIP_SAVE"})
    preset: StringProperty(name="Preset", description="Empty: the codec's default", options={"SKIP_SAVE"})
    settings: StringProperty(
        name="Settings",
        description="JSON object with fields of the codec's configuration; they win over the quality",
        options={"SKIP_SAVE"},
    )
    apply_modifiers: BoolProperty(
        name="Apply Modifiers",
        description="Store the volumes as seen in the viewport, instead of the files they are read from",
        default=True,
    )

    @classmethod
    def description(cls, _context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """Tell what will be stored."""
        return "Store all .vdb files of the folder in one .nscene file" if properties.folder else cls.__doc__

    def start_job(self, context: bpy.types.Context) -> jobs.Job:
        """Enter the job for the folder, or for the current selection."""
        folder = existing_folder(self.folder) if self.folder else None
        return start_encode(
            EncodeRequest(
                objects=tuple(reference_to(obj) for obj in context.selected_objects),
                filepath=with_suffix(self.filepath),
                content="volume",
                folder=folder,
                codec=self.codec,
                preset=self.preset,
                settings=codec_settings(self) | parse_settings(self.settings),
                device=chosen_device(),
                apply_modifiers=self.apply_modifiers,
            )
        )


classes = (SCENE_CODEC_OT_encode_volumes,)
