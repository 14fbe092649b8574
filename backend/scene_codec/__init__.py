"""Neural Scene Codec: meshes, volumes and radiance fields in small files.

    import scene_codec
    report = scene_codec.encode(["body.obj"], "body.nscene")
    for item in scene_codec.decode("body.nscene"):
        print(item.name, len(item.mesh.faces))

The functions are loaded at their first use, so that importing a light part of the package stays cheap.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scene_codec.api import add, decode, encode, inspect, list_codecs
    from scene_codec.estimation import estimate
    from scene_codec.view_rendering import ViewChoice, render, render_views

__all__ = [
    "ViewChoice",
    "add",
    "decode",
    "encode",
    "estimate",
    "inspect",
    "list_codecs",
    "render",
    "render_views",
]

_ELSEWHERE = dict.fromkeys(("ViewChoice", "render", "render_views"), "view_rendering") | {
    "estimate": "estimation"
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the public API defines
    if name not in __all__:
        raise AttributeError(f"module 'scene_codec' has no attribute '{name}'")
    module = importlib.import_module(f"scene_codec.{_ELSEWHERE.get(name, 'api')}")
    return getattr(module, name)
