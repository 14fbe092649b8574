"""The zip in Blender's extension system. Runs before the add-on is enabled for the other scenarios."""

import addon_utils
import bpy

from scenarios.laboratory import MODULE, Laboratory


def the_zip_installs_and_is_enabled(laboratory: Laboratory) -> None:
    bpy.ops.preferences.addon_disable(module=MODULE)
    result = bpy.ops.extensions.package_install_files(
        filepath=laboratory.archive, repo="user_default", enable_on_install=True
    )
    assert result == {"FINISHED"}
    assert MODULE in bpy.context.preferences.addons
    assert addon_utils.check(MODULE)[1]
    assert bpy.ops.scene_codec.decode_file.poll()
