"""What the user can do: encode, decode, watch jobs, manage the backend's environment."""

import bpy

from . import decode, encode, encode_volumes, environment, estimate, jobs

_CLASSES = (
    *encode.classes,
    *estimate.classes,
    *encode_volumes.classes,
    *decode.classes,
    *jobs.classes,
    *environment.classes,
)


def register() -> None:
    """Register all operators, and what ends jobs when Blender opens another file or quits."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    jobs.register()


def unregister() -> None:
    """Undo `register`; running jobs end and the backend is stopped."""
    jobs.unregister()
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
