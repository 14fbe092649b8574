"""What the tables of meshes come to, in one small table at the head of the document."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

OURS = "mesh-surface"
SIZES_NOTE = f"`{OURS}` to the hull where that takes so many bytes"
FAR_NOTE = f"`{OURS}` to the hull's settings at equal p99"
NECGS_NOTE = "takes (?P<whole>[0-9.]+) of NeCGS .* (?P<latents>[0-9.]+) in the median"

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
    necgs = [note for part in files if part["table"] == "necgs-at-equal-error" for note in part["notes"]]
    lines = [
        _line(name, row, part["notes"], necgs)
        for part in files
        if (found := re.fullmatch(r"mesh-rates-(.*)-alone(?:-\d+)?", part["table"])) is not None
        for name in [found[1].replace("-", "_")]
        for row in part["rows"]
        if row["label"] == OURS
    ]
    return "\n".join([_HEAD, *lines, ""]) if lines else ""


def _line(name: str, row: dict[str, Any], notes: Sequence[str], necgs: Sequence[str]) -> str:
    """Return the line of a set."""
    sizes = re.findall(r"B: ([0-9.]+), [0-9.]+ \((\d+) meshes\)", _beginning(notes, SIZES_NOTE))
    far = re.search(r": ([0-9.]+) in the median", _beginning(notes, FAR_NOTE))
    paper = re.search(NECGS_NOTE, _beginning(necgs, f"{name}: "))
    cells = [
        str(row["objects"]),
        f"**{row['ratio_median']:.3f}**",
        f"{row['ratio_worst']:.3f}",
        f"**{row['bd_rate_draco_hull']:+.0%}**",
        ", ".join(f"{float(median):.2f}" for median, _ in sizes) or "-",
        far[1] if far else "-",
        f"**{paper['whole']}**" if paper else "-",
        paper["latents"] if paper else "-",
        f"{row['encode_cpu_seconds']:.1f}",
        f"{row['decode_cpu_seconds']:.2f}",
    ]
    return f"| {name} | " + " | ".join(cells) + " |"


def _beginning(notes: Iterable[str], words: str) -> str:
    """Return the note that begins with some words, or nothing."""
    return next((note for note in notes if note.startswith(words)), "")
