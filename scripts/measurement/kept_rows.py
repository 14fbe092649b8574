"""Measurements that are not made twice: rows on disk under what they depend on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measurement.provenance import provenance

Rows = list[dict[str, Any]]


def kept_rows(folder: Path, name: str, recipe: str, work: Callable[[], Rows]) -> Rows:
    """Return what `work` measures, or what it measured in an earlier call with the same recipe.

    name : tells measurements of the folder apart
    recipe : everything besides the code that a measurement depends on

    Every row says at which commit it was measured.
    """
    kept = kept_file(folder, name)
    found = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else None
    if found is None or found["recipe"] != recipe:
        kept.parent.mkdir(parents=True, exist_ok=True)
        found = {"recipe": recipe, "commit": provenance()["commit"], "rows": work()}
        if not found["rows"]:
            return []
        kept.write_text(json.dumps(found), encoding="utf-8")
        print(*(json.dumps(row) for row in found["rows"]), sep="\n", flush=True)
    return [row | {"measured_at": found["commit"]} for row in found["rows"]]


def kept_file(folder: Path, name: str) -> Path:
    """Return where a measurement is kept."""
    return folder / (re.sub(r"[^a-z0-9.]+", "_", name.lower()) + ".json")


def commits_note(rows: Rows) -> str:
    """Return where rows come from, for those who read the table."""
    commits = ", ".join(sorted({row["measured_at"] for row in rows}))
    return f"Rows were measured at the commits {commits}; the file says which at which."
