"""Draws bytes against PSNR of compressed voxel fields, docs/pictures/field_rates.png.

From docs/results/vqrf_*.json:

    python scripts/draw_field_rates.py

A plot for each scene: ours at its rates, the stages of the published method, and the field as it was. Needs
matplotlib.
"""

from __future__ import annotations

import io
import json
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from draw_rate_curves import smaller
from measurement.provenance import CHECKOUT
from measurement.results import RESULTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURE = CHECKOUT / "docs" / "pictures" / "field_rates.png"
OURS, PUBLISHED = "vqrf_ours.json", "vqrf_stages.json"

Row = dict[str, Any]


def main() -> int:
    """Draw the picture; returns the exit status."""
    files = [RESULTS / name for name in (OURS, PUBLISHED)]
    missing = [path for path in files if not path.exists()]
    if missing:
        print(f"There is no '{missing[0]}'; run: python scripts/reproduce_vqrf.py", file=sys.stderr)
        return 2
    ours, published = (by_scene(json.loads(path.read_text(encoding="utf-8"))["rows"]) for path in files)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_bytes(draw(ours, published))
    print(PICTURE)
    return 0


def by_scene(rows: list[Row]) -> dict[str, list[Row]]:
    """Return rows by the scene that their label begins with."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["label"].partition(":")[0]].append(row)
    return dict(found)


def draw(ours: dict[str, list[Row]], published: dict[str, list[Row]]) -> bytes:
    """Return the picture as a PNG file."""
    # Without pyplot there is no global state and no window.
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(fname=None, rc={"font.family": "DejaVu Sans", "font.size": 9}):
        figure = Figure(figsize=(4.4 * len(ours), 4.0), layout="constrained", dpi=110)
        FigureCanvasAgg(figure)
        for axes, scene in zip(figure.subplots(1, len(ours), squeeze=False).flat, ours, strict=True):
            draw_scene(axes, scene, ours[scene], published.get(scene, []))
        figure.supxlabel("bytes of the file (logarithmic)", fontsize=10)
        figure.supylabel("PSNR of test views in dB", fontsize=10)
        target = io.BytesIO()
        figure.savefig(target, format="png", metadata={"Software": None})
    return smaller(target.getvalue(), "field_rates")


def draw_scene(axes: Axes, scene: str, ours: list[Row], published: list[Row]) -> None:
    """Draw the points of one scene."""
    tuned = sorted((row["file_bytes"], row["psnr"]) for row in ours if "without" not in row["label"])
    axes.plot(*zip(*tuned, strict=True), color="#000000", marker="o", label="ours, fine-tuned")
    for row in ours:
        if "without" in row["label"]:
            place = (row["file_bytes"], row["psnr"])
            axes.plot(*place, "D", color="#0072B2", label="ours, not fine-tuned")
    if published:
        base, *stages = published
        axes.axhline(base["psnr"], color="#666666", linestyle=":", label="the field as it was")
        points = [(row["file_bytes"], row["psnr"]) for row in stages]
        axes.plot(*zip(*points, strict=True), color="#D55E00", marker="s", label="VQRF, its stages")
    axes.set_xscale("log")
    axes.set_title(scene, fontsize=9)
    axes.grid(visible=True, which="both", alpha=0.3, linewidth=0.6)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0.0, -0.12), ncols=2, frameon=False)


if __name__ == "__main__":
    sys.exit(main())
