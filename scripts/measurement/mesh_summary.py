"""What the tables of meshes come to, in one small table at the head of the document."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from measurement.mesh_curves import ANCHOR, SIZES, ratios_at_bytes
from measurement.mesh_tables import far_ratios, unpacked

OURS = "mesh-surface"

_COLUMNS = (
    "meshes",
    "bytes to simplification + Draco, median",
    "worst",
    "BD-rate",
    "at 0.5, 1, 2, 3, 5 KB of Draco's, medians",
    "at equal p99, median",
    "bytes to NeCGS",
    "to its latents alone",
    "encode CPU s",
    "decode CPU s",
)

_HEAD = f"""## Meshes in short

Whole files of the codec that meshes get unless asked otherwise (`{OURS}`), each mesh in a file of its own,
against simplification + Draco with the best of all its settings, and against NeCGS as published; at equal
point-to-surface error of the same mesh. `--target-error` is in percent of the diagonal of a mesh's bounding
box: where that spans 2, 0.1 % is an error of 2.2e-3 for a body, and 3.5e-3 for a cube.

| | {" | ".join(_COLUMNS)} |
|---|{"---:|" * len(_COLUMNS)}"""


def in_short(files: Sequence[dict[str, Any]]) -> str:
    """Return the table, a line for each set whose meshes were coded alone; nothing without any."""
    necgs: dict[str, dict[str, float]] = {}
    for part in files:
        necgs |= part.get("necgs_ratios", {})
    lines = [
        _line(found[1].replace("-", "_"), part, row, necgs)
        for part in files
        if (found := re.fullmatch(r"mesh-rates-(.*)-alone(?:-\d+)?", part["table"])) is not None
        for row in part["rows"]
        if row["label"] == OURS
    ]
    return "\n".join([_HEAD, *lines, ""]) if lines else ""


def _line(
    name: str, part: Mapping[str, Any], row: Mapping[str, Any], necgs: Mapping[str, Mapping[str, float]]
) -> str:
    """Return the line of a set."""
    anchor, own = part["curves"][ANCHOR], part["curves"][OURS]
    sizes = (_median(item.ratio for item in ratios_at_bytes(anchor, own, size)) for size in SIZES)
    grouped = {
        contender: {
            mesh: [unpacked(point, part["columns"]) for point in points]
            for mesh, points in part["points"][contender].items()
        }
        for contender in (ANCHOR, OURS)
    }
    cells = [
        str(row["objects"]),
        f"**{row['ratio_median']:.3f}**",
        f"{row['ratio_worst']:.3f}",
        f"**{row['bd_rate_draco_hull']:+.0%}**",
        ", ".join(sizes),
        _median((item.ratio for item in far_ratios(grouped, OURS)), digits=3),
        f"**{necgs[name]['whole']:.3f}**" if name in necgs else "-",
        f"{necgs[name]['latents']:.2f}" if name in necgs else "-",
        f"{row['encode_cpu_seconds']:.1f}",
        f"{row['decode_cpu_seconds']:.2f}",
    ]
    return f"| {name} | " + " | ".join(cells) + " |"


def _median(ratios: Iterable[float], digits: int = 2) -> str:
    """Return the median in so many digits, a dash of none."""
    found = list(ratios)
    return f"{statistics.median(found):.{digits}f}" if found else "-"
