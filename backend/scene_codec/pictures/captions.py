"""The words in a picture of a comparison."""

from __future__ import annotations

import math
from pathlib import Path

from scene_codec.pictures.records import ComparisonReport, GridComparison
from scene_codec.pictures.sheet import FADED, HEADING, SMALL, TEXT, TITLE, Line, number, plain_text
from scene_codec.pictures.slices import holds_colours
from scene_codec.volumes.volume import VolumeGrid


def sheet_heading(report: ComparisonReport, not_drawn: int) -> list[Line]:
    """Return the words at the top of the picture."""
    title = f"{plain_text(Path(report.original).name)} and {plain_text(Path(report.file).name)}"
    coded = "" if report.codec is None else f" ({report.codec})"
    sizes = (
        f"{report.source_bytes:,} bytes before, {report.compared_bytes:,.0f} after{coded}: "
        f"{_times(report.ratio_to_source)}, and {_times(report.ratio_to_binary)} than "
        f"{report.binary_bytes:,} bytes of plain values"
    )
    lines = [Line(title, TITLE), Line(sizes)]
    if report.bits_per_voxel is not None:
        active = report.bits_per_active_voxel
        more = (
            ""
            if active is None or active == report.bits_per_voxel
            else f", {number(active)} bits per active voxel"
        )
        grids = "" if report.original_grids == 1 else f", all {report.original_grids} grids together"
        lines.append(Line(f"{number(report.bits_per_voxel)} bits per voxel{more}{grids}"))
    for names, where in ((report.only_in_original, "original"), (report.only_in_file, "compared file")):
        if names:
            named = ", ".join(plain_text(name) for name in names[:10])
            lines.append(Line(f"Only in the {where}: {named}", SMALL, FADED))
    if not_drawn:
        lines.append(Line(f"{not_drawn} more grids are not drawn.", SMALL, FADED))
    return lines


def _times(ratio: float) -> str:
    """Return a ratio of sizes in words."""
    if ratio >= 1.0:
        return f"{number(ratio)} times smaller"
    return f"{number(1.0 / ratio)} times larger" if ratio > 0.0 else "larger"


def grid_heading(comparison: GridComparison, grid: VolumeGrid) -> tuple[Line, ...]:
    """Return the words above a grid's slices."""
    shape = " x ".join(map(str, comparison.shape))
    sort = [comparison.type, *([comparison.kind] if comparison.kind != "unknown" else [])]
    if comparison.channels > 1:
        shown = "colours" if holds_colours(grid) else "shown as lengths"
        sort.append(f"{comparison.channels} channels ({shown})")
    steps = [number(step) for step in comparison.spacing]
    spacing = steps[0] if len(set(steps)) == 1 else " x ".join(steps)
    facts = f"{' '.join(sort)}, {shape} voxels of {spacing}, {comparison.active_voxels:,} active"
    heading = Line(plain_text(comparison.name), HEADING)
    if not comparison.active_voxels and not math.prod(comparison.shape):
        return heading, Line("no voxels in either file", TEXT, FADED)
    return heading, Line(facts, TEXT, FADED), Line(_quality_words(comparison))


def _quality_words(comparison: GridComparison) -> str:
    """Return in words how far a grid is from its original."""
    half = 0.5 * comparison.high - 0.5 * comparison.low  # the whole range may be none that float64 has
    if comparison.exact:
        words = "Every active voxel is exactly the same"
    elif comparison.psnr is None and not comparison.max_error:
        words = "All finite active values are the same"
    else:
        quality = (
            "no PSNR, as all values are the same"
            if comparison.psnr is None
            else f"PSNR {comparison.psnr:.2f} dB"
        )
        everywhere = comparison.active_voxels == math.prod(comparison.shape)
        if comparison.psnr is not None and comparison.box_psnr is not None and not everywhere:
            quality += f" of active voxels, {comparison.box_psnr:.2f} dB of the box"
        share = f" ({0.5 * comparison.max_error / half:.2%} of the range)" if half > 0.0 else ""
        words = f"{quality}; largest error {comparison.max_error:.4g}{share}"
    if comparison.topology_differences:
        words += f"; {comparison.topology_differences:,} voxels active in one alone"
    if comparison.not_finite_differences:
        words += f"; NaN or infinity changed in {comparison.not_finite_differences:,} voxels"
    return words
