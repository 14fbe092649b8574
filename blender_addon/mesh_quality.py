"""How exactly meshes are stored, in the words of a user, and as settings of the codec."""

from __future__ import annotations

import math
from typing import Any

from bpy.props import EnumProperty, FloatProperty, IntProperty

from .typed_numbers import as_typed

QUALITIES = (
    ("PRESET", "Preset", "As the preset says"),
    ("ERROR", "Closeness", "How far the surface may be off; as few triangles and bytes as that takes"),
    ("SIZE", "File Size", "As close as fits into so many bytes for each object"),
    ("TRIANGLES", "Triangles", "As close as so many triangles for each object can be"),
)


class MeshQuality:
    """Mix-in with the properties; the panel's settings and the operators have the same."""

    quality: EnumProperty(
        name="Quality",
        description="What decides how exact the surface is",
        items=QUALITIES,
        default="PRESET",
    )
    target_error: FloatProperty(
        name="Error (%)",
        description="Mean distance between the object and what comes back, in percent of the diagonal of its "
        "bounding box. 0.1: hardly seen at full screen; 0.03: not seen; 0.3: for the background",
        default=0.1,
        min=0.0001,
        max=10.0,
        soft_min=0.01,
        soft_max=1.0,
        precision=4,
        step=1,
    )
    size_kb: FloatProperty(
        name="Size (kB)",
        description="For each object; 1 kB is 1000 bytes",
        default=5.0,
        min=0.064,
        soft_max=1000.0,
        max=1e6,
        precision=2,
        step=100,
    )
    triangles: IntProperty(
        name="Triangles",
        description="At most so many for each object",
        default=1000,
        min=1,
        max=200_000,
    )


VALUE_OF_QUALITY = {"ERROR": "target_error", "SIZE": "size_kb", "TRIANGLES": "triangles"}
"""The property that goes with each quality that has a number."""

MESH_QUALITY_PROPERTIES = tuple(MeshQuality.__annotations__)

DEFAULT_CODEC = "mesh-surface"
"""What the backend takes for meshes when no method is chosen."""

COARSEST_ERROR, FINEST_ERROR = 1.0, 0.01
"""Errors in percent at the ends of the slider."""

BYTES_OF_TRIANGLE, BYTES_OF_HEAD = 1.3, 60
"""So many bytes place triangles as well as any: finer steps would gain nothing that can be measured."""


def detail_of(error: float) -> float:
    """Return where an error stands on the slider: 0 coarsest, 100 finest, the same factor with each step."""
    share = math.log(COARSEST_ERROR / max(error, 1e-9)) / math.log(COARSEST_ERROR / FINEST_ERROR)
    return 100.0 * min(max(share, 0.0), 1.0)


def error_of(detail: float) -> float:
    """Return the error, in percent and to two digits, that a place on the slider stands for."""
    error = COARSEST_ERROR * (FINEST_ERROR / COARSEST_ERROR) ** (detail / 100.0)
    return float(f"{error:.2g}")


def mesh_codec_settings(quality: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever has the mix-in
    """Return what the properties mean for the codec; empty where the preset decides all."""
    if quality.quality == "ERROR":
        return {"target_error": as_typed(quality.target_error)}
    if quality.quality == "SIZE":
        return {"target_size": max(64, round(quality.size_kb * 1000))}
    if quality.quality == "TRIANGLES":
        enough = round(BYTES_OF_TRIANGLE * quality.triangles) + BYTES_OF_HEAD
        return {"faces": quality.triangles, "target_size": max(64, enough)}
    return {}


def quality_applies(codec: str, known: list[dict[str, Any]]) -> bool:
    """Return whether a method takes an error, a size or a number of triangles.

    codec : the method's name, empty for the default one
    known : the methods for meshes that the backend named, the default first; none before it was asked
    """
    for each in known:
        if each["name"] == codec or not codec:
            return "target_error" in each.get("quality_settings", ())
    return codec in {"", DEFAULT_CODEC}
