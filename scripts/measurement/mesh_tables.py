"""The table of mesh codecs, and what is kept beside it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from measurement.kept_rows import Rows, commits_note
from measurement.mesh_curves import (
    ANCHOR,
    SIZES,
    ByMesh,
    Curve,
    Ratio,
    bytes_at,
    contender_row,
    curve,
    rate_changes,
    ratios,
    ratios_at_bytes,
    set_curve,
)
from measurement.results import Table

WHOLE_SET = "whole set"

_COLUMNS = (
    "setting",
    "bytes",
    "point_to_surface",
    "decoded_to_reference_p99",
    "reference_to_decoded_p99",
    "chamfer_excess",
    "f1_0005",
    "f1_0010",
    "normal_consistency",
    "encode_cpu_seconds",
    "decode_cpu_seconds",
    "faces",
    "added_gb",
    "measured_at",
)

Grouped = Mapping[str, Mapping[str, Sequence[dict[str, Any]]]]
"""Points by contender and mesh."""


def contents(
    rows: Rows, failures: Sequence[dict[str, str]], name: str, meshes: Sequence[str], alone: bool
) -> tuple[Table, dict[str, Any]]:
    """Return the table of a measurement and its details; contenders in the order in which they come."""
    grouped = by_contender(rows, meshes)
    curves = curves_of(grouped, len(meshes), alone)
    table_rows = []
    for contender, points in grouped.items():
        left_out = [
            {"name": failure["name"], "reason": failure["reason"]}
            for failure in failures
            if failure["contender"] == contender
        ]
        if contender in curves:
            table_rows.append(contender_row(contender, points, curves) | {"left_out": left_out})
    notes = [*_notes(curves, alone), *(far_notes(grouped) if alone else ()), commits_note(list(rows))]
    details = {
        "alone": alone,
        "anchor": ANCHOR,
        "curves": curves,
        "bd_rates": bd_rates(curves),
        "columns": _COLUMNS,
        "points": {
            contender: {mesh: [packed(point) for point in own] for mesh, own in points.items()}
            for contender, points in grouped.items()
        },
    }
    return Table(f"mesh-rates-{name.replace('_', '-')}", table_rows, notes), details


def by_contender(rows: Rows, meshes: Sequence[str]) -> Grouped:
    """Return points by contender, then by mesh in the order of the set."""
    grouped: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in sorted(rows, key=lambda row: meshes.index(row["mesh"])):
        grouped.setdefault(row["contender"], {}).setdefault(row["mesh"], []).append(row)
    return {contender: grouped[contender] for contender in dict.fromkeys(row["contender"] for row in rows)}


def curves_of(grouped: Grouped, count: int, alone: bool) -> dict[str, ByMesh]:
    """Return the curves of each contender: of every mesh, or one of the set if all its meshes came back."""
    if alone:
        return {
            contender: {mesh: curve(points) for mesh, points in own.items()}
            for contender, own in grouped.items()
        }
    found: dict[str, ByMesh] = {}
    for contender, own in grouped.items():
        shared = any(point.get("together") for points in own.values() for point in points)
        if len(own) == count:
            found[contender] = {WHOLE_SET: set_curve(own, shared)}
    return found


def bd_rates(curves: Mapping[str, ByMesh]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the BD-rate of every contender (first key) to every other one (second key) for each mesh."""
    return {
        contender: {rival: rate_changes(curves[rival], own) for rival in curves if rival != contender}
        for contender, own in curves.items()
    }


def packed(point: dict[str, Any]) -> str:
    """Return the columns of a point in one line, six digits each."""
    values = [point.get(column) for column in _COLUMNS]
    return "; ".join(format(value, ".6g") if isinstance(value, float) else str(value) for value in values)


def unpacked(line: str, columns: Sequence[str]) -> dict[str, Any]:
    """Return the figures of a point that was packed, without those it did not have."""
    pairs = zip(columns, line.split("; "), strict=True)
    words = ("setting", "measured_at")
    return {name: text if name in words else float(text) for name, text in pairs if text != "None"}


def _notes(curves: Mapping[str, ByMesh], alone: bool) -> list[str]:
    """Return what readers of the table should know."""
    what = (
        "Each mesh is coded alone, in a file of its own. Bytes at an error are geometric means over the "
        "meshes that the hull of simplification + Draco has with that error (small meshes have less with the "
        "fewest faces); where another contender lacks some of them, those of the hull times the geometric "
        "mean of the ratios to it."
        if alone
        else "All meshes of ours lie in one file, those of the others in files of their own, at settings "
        "chosen for each mesh so that the mean error costs the fewest bytes; bytes and errors are means over "
        "the set."
    )
    notes = [
        what,
        "Bytes at an error are interpolated in logarithms between the settings that no other one of the "
        "contender beats, never beyond them. Ratios are to the hull of simplification + Draco at equal "
        "point-to-surface error, over all meshes and the seven errors; BD-rates from 1.0e-3 to 8.0e-3 "
        "(median over the meshes, and mean). Seconds are processor seconds of one process (medians); memory "
        "is what that process took for a mesh at most. Both are those of the settings nearest to an error of "
        "2e-3.",
        "`draco-hull`: simplification by fast-simplification and qslim to 13 numbers of faces, or none, then "
        "Draco with 7 to 11 bits and 16 bytes for the placement. `draco`: Draco alone.",
    ]
    for contender, own in curves.items():
        found = ratios(curves.get(ANCHOR, {}), own) if contender != ANCHOR else []
        if found:
            worst = max(found, key=lambda item: item.ratio)
            notes.append(
                f"Worst ratio of `{contender}`: {worst.ratio:.3f} at {worst.error:.1e}, {worst.mesh}, "
                f"of {len(found)} compared."
            )
            notes += at_sizes(contender, curves[ANCHOR], own)
    return notes


def at_sizes(contender: str, anchor: ByMesh, own: ByMesh) -> list[str]:
    """Return a note on the ratios where the anchor takes some hundred bytes, and some thousand."""
    told = []
    for size in SIZES:
        found = [item.ratio for item in ratios_at_bytes(anchor, own, size)]
        if found:
            told.append(f"{size:,} B: {statistics.median(found):.3f}, {max(found):.3f} ({len(found)} meshes)")
    if not told:
        return []
    return [f"`{contender}` to the hull where that takes so many bytes, median and worst: {'; '.join(told)}."]


def far_notes(grouped: Grouped) -> list[str]:
    """Return notes on the ratios where one point in a hundred is as far off as with the anchor."""
    notes = []
    for contender in grouped:
        found = far_ratios(grouped, contender) if contender != ANCHOR else []
        if found:
            worst = max(found, key=lambda item: item.ratio)
            median = statistics.median(item.ratio for item in found)
            notes.append(
                f"`{contender}` to the hull's settings at equal p99 (the larger of both ways): {median:.3f} "
                f"in the median of {len(found)}, at worst {worst.ratio:.3f} ({worst.mesh})."
            )
    return notes


def far_ratios(grouped: Grouped, contender: str) -> list[Ratio]:
    """Return the ratios of a contender's bytes to the anchor's at equal p99, for each of its settings."""
    anchor = {mesh: far_curve(points) for mesh, points in grouped.get(ANCHOR, {}).items()}
    return [
        Ratio(mesh, far, float(point["bytes"]) / rival)
        for mesh, points in grouped[contender].items()
        for point in points
        if (far := _far(point)) is not None and (rival := bytes_at(anchor.get(mesh, []), far)) is not None
    ]


def far_curve(points: Sequence[dict[str, Any]]) -> Curve:
    """Return a curve of bytes over the distance that one point in a hundred exceeds."""
    told = ({"bytes": point["bytes"], "point_to_surface": _far(point)} for point in points)
    return curve(point for point in told if point["point_to_surface"] is not None)


def _far(point: Mapping[str, Any]) -> float | None:
    """Return the larger p99 of a point, None where they were not measured."""
    ways = [point.get(f"{way}_p99") for way in ("decoded_to_reference", "reference_to_decoded")]
    return None if None in ways else max(float(way) for way in ways)
