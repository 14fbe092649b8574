"""How exactly volumes are stored, in the words of a user, and as settings of the codec."""

from __future__ import annotations

from typing import Any

from bpy.props import EnumProperty, FloatProperty

from .typed_numbers import as_typed


class VolumeQuality:
    """Mix-in with the properties; the panel's settings and the operator have the same."""

    quality: EnumProperty(
        name="Quality",
        description="What decides how exact the volume is",
        items=(
            ("PRESET", "Preset", "As the preset says"),
            ("PSNR", "PSNR", "Signal-to-noise ratio of each grid over its active voxels"),
            ("MAX_ERROR", "Largest Error", "No active voxel is farther off than this"),
            ("SIZE", "File Size", "As good as fits into so many bytes"),
            ("LOSSLESS", "Lossless", "Every active voxel comes back bit for bit"),
        ),
        default="PRESET",
    )
    psnr: FloatProperty(
        name="PSNR (dB)",
        description="45: no difference to be seen in renderings; each 6 dB more halve the error",
        default=45.0,
        min=10.0,
        max=120.0,
        precision=1,
        step=100,
    )
    max_error: FloatProperty(
        name="Error",
        description="In the units of the grid's values, for every grid",
        default=0.01,
        min=1e-12,
        soft_max=1.0,
        precision=5,
        step=0.1,
    )
    size_kb: FloatProperty(
        name="Size (kB)",
        description="For each volume and for each frame of a sequence; 1 kB is 1000 bytes",
        default=100.0,
        min=0.1,
        soft_max=10_000.0,
        precision=1,
        step=1000,
    )
    topology: EnumProperty(
        name="Active Voxels",
        description="Which voxels of sparse grids are active",
        items=(
            ("EXACT", "Exact", "The same voxels as before"),
            ("TOLERANT", "Tolerant", "Voxels that hardly differ from the background may be lost or added"),
        ),
        default="EXACT",
    )
    tolerance: FloatProperty(
        name="Tolerance",
        description="Smallest difference from the background that counts, as a part of the range of values",
        default=0.002,
        min=0.0,
        max=1.0,
        precision=4,
        step=0.1,
    )


VALUE_OF_QUALITY = {"PSNR": "psnr", "MAX_ERROR": "max_error", "SIZE": "size_kb"}
"""The property that goes with each quality that has a number."""

EXACT_ONLY = frozenset({"MAX_ERROR", "LOSSLESS"})
"""Qualities that promise something of every active voxel, so that the active voxels have to be the same."""

QUALITY_PROPERTIES = tuple(VolumeQuality.__annotations__)


def codec_settings(quality: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever has the mix-in
    """Return what the properties mean for the codec; empty where the preset decides all."""
    settings: dict[str, Any] = {}
    if quality.quality == "PSNR":
        settings["psnr"] = as_typed(quality.psnr)
    elif quality.quality == "MAX_ERROR":
        settings["max_error"] = as_typed(quality.max_error)
    elif quality.quality == "SIZE":
        settings["target_size"] = max(1, round(quality.size_kb * 1000))
    elif quality.quality == "LOSSLESS":
        settings["lossless"] = True
    if quality.topology == "TOLERANT" and quality.quality not in EXACT_ONLY:
        settings |= {"topology": "tolerant", "tolerance": as_typed(quality.tolerance)}
    return settings
