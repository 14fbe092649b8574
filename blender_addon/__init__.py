"""Neural Scene Codec: store meshes in small neural files and bring them back."""

from . import commands, file_menus, operators, panels, preferences, scene_properties

_MODULES = (preferences, scene_properties, operators, panels, file_menus, commands)


def register() -> None:
    """Enable the extension; Blender calls this."""
    for module in _MODULES:
        module.register()


def unregister() -> None:
    """Disable the extension; Blender calls this, also when it quits."""
    for module in reversed(_MODULES):
        module.unregister()
