"""Neural Scene Codec: meshes, volumes and radiance fields in small files.

    import scene_codec
    report = scene_codec.encode(["body.obj"], "body.nscene")
    for item in scene_codec.decode("body.nscene"):
        print(item.name, len(item.mesh.faces))

The functions are loaded at their first use, so that importing a light part of the package stays cheap.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scene_codec.api import add, decode, encode, inspect, list_codecs

__all__ = ["add", "decode", "encode", "inspect", "list_codecs"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the public API defines
    if name not in __all__:
        raise AttributeError(f"module 'scene_codec' has no attribute '{name}'")
    from scene_codec import api

    return getattr(api, name)
