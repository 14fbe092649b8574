"""Draws the curves of `measure_meshes.py`: one picture of the mean curves, one with a plot for each mesh."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from draw_rate_curves import COLOURS, DIGEST, MARKERS, OUR_STYLE, label_bits, smaller
from measurement.mesh_curves import ANCHOR, ERRORS, ByMesh, Curve, median_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

RIVALS = ("draco-hull", "draco", "gltfpack")
"""Programs of others, in the order of their colours."""

SHOWN_ERRORS = (7e-4, 1.2e-2)
COLUMNS = 6

_FINE_ERRORS = tuple(float(error) for error in np.geomspace(ERRORS[0], ERRORS[-1], 25))

Curves = Mapping[str, ByMesh]


def refresh(figures: Path, folder: Path) -> list[Path]:
    """Draw the pictures of a result file unless they are of these very figures; returns where they lie."""
    paths = picture_paths(figures, folder)
    if not is_current(figures, folder):
        curves = curves_in(figures)
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            data = draw(curves, digest(curves), per_mesh=path is paths[-1] and len(paths) > 1)
            temporary = path.with_suffix(".new")
            temporary.write_bytes(data)
            temporary.replace(path)
    return paths


def is_current(figures: Path, folder: Path) -> bool:
    """Tell whether the pictures were drawn from the figures of this file."""
    note = digest(curves_in(figures))
    for path in picture_paths(figures, folder):
        if not path.is_file():
            return False
        with Image.open(path) as image:
            if image.info.get(DIGEST) != note:
                return False
    return True


def picture_paths(figures: Path, folder: Path) -> list[Path]:
    """Return the pictures of a result file: the mean curves, then the sheet if there are several meshes."""
    several = any(len(own) > 1 for own in curves_in(figures).values())
    return [folder / f"{figures.stem}{end}.png" for end in ("", *(["_meshes"] if several else []))]


def curves_in(figures: Path) -> Curves:
    """Return the curves of a result file."""
    content = json.loads(figures.read_text(encoding="utf-8"))["curves"]
    return {
        contender: {mesh: [(error, size) for error, size in own] for mesh, own in meshes.items()}
        for contender, meshes in content.items()
    }


def digest(curves: Curves) -> str:
    """Return a digest of what the pictures show."""
    return hashlib.blake2b(json.dumps(curves).encode(), digest_size=16).hexdigest()


def draw(curves: Curves, note: str, *, per_mesh: bool) -> bytes:
    """Return a picture as a PNG file; the same bytes for the same curves and the same matplotlib."""
    # Without pyplot there is no global state and no window.
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    meshes = list(dict.fromkeys(mesh for own in curves.values() for mesh in own))
    with rc_context(fname=None, rc={"font.family": "DejaVu Sans", "font.size": 9, "path.simplify": False}):
        columns = min(COLUMNS, len(meshes)) if per_mesh else 1
        rows = -(-len(meshes) // columns) if per_mesh else 1
        size = (2.2 * columns, 1.8 * rows + 0.9) if per_mesh else (7.0, 4.8)
        figure = Figure(figsize=size, layout="constrained", dpi=110)
        FigureCanvasAgg(figure)
        places = figure.subplots(rows, columns, squeeze=False).flat
        for index, axes in enumerate(places):
            if not per_mesh:
                draw_curves(axes, mean_curves(curves), styles_of(curves))
            elif index < len(meshes):
                own = {name: known.get(meshes[index], []) for name, known in curves.items()}
                draw_curves(axes, own, styles_of(curves), meshes[index])
            else:
                axes.set_axis_off()
        finish(figure, "bytes (logarithmic): less is better" if per_mesh else words(curves))
        target = io.BytesIO()
        figure.savefig(target, format="png", metadata={"Software": None, DIGEST: note})
    return smaller(target.getvalue(), note)


def words(curves: Curves) -> str:
    """Return what the bytes of the mean curves are."""
    alone = any(len(own) > 1 for own in curves.values())
    return f"bytes a mesh, {'geometric ' if alone else ''}mean (logarithmic): less is better"


def mean_curves(curves: Curves) -> dict[str, Curve]:
    """Return the mean curve of each contender over the meshes."""
    anchor = curves.get(ANCHOR) or next(iter(curves.values()))
    if all(len(own) == 1 for own in curves.values()):
        return {name: next(iter(own.values())) for name, own in curves.items()}
    return {name: median_curve(anchor, own, _FINE_ERRORS) for name, own in curves.items()}


def draw_curves(
    axes: Axes, curves: Mapping[str, Curve], styles: Mapping[str, dict[str, Any]], title: str = ""
) -> None:
    """Draw curves of all contenders into one plot."""
    for name, points in curves.items():
        look = styles[name] | ({"markersize": 2.0} if title else {})
        axes.plot([size for _, size in points], [1e3 * error for error, _ in points], label=name, **look)
    sizes = [
        size
        for points in curves.values()
        for error, size in points
        if SHOWN_ERRORS[0] <= error <= SHOWN_ERRORS[1]
    ]
    axes.set_xscale("log")
    axes.set_yscale("log")
    if sizes:
        axes.set_xlim(min(sizes) / 1.2, max(sizes) * 1.2)
        label_bits(axes)
    axes.set_ylim(1e3 * SHOWN_ERRORS[0], 1e3 * SHOWN_ERRORS[1])
    axes.set_yticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    axes.set_yticks([], minor=True)
    axes.grid(visible=True, which="both", alpha=0.3, linewidth=0.6)
    axes.tick_params(labelsize=6 if title else 8, length=2)
    if title:
        axes.set_title(title, fontsize=8, pad=3)


def styles_of(curves: Curves) -> dict[str, dict[str, Any]]:
    """Return how each contender is drawn: rivals in fixed colours, the first of ours thick and black."""
    styles: dict[str, dict[str, Any]] = {}
    ours = [name for name in curves if name not in RIVALS]
    others = ours[1:]
    for index, name in enumerate([*RIVALS, *others]):
        styles[name] = {
            "color": COLOURS[index % len(COLOURS)],
            "marker": MARKERS[index % len(MARKERS)],
            "linewidth": 1.3,
            "markersize": 3.0,
        }
    return styles | ({ours[0]: OUR_STYLE | {"markersize": 3.5}} if ours else {})


def finish(figure: Figure, size_words: str) -> None:
    """Add what both pictures share: axes in words, and the legend."""
    figure.supxlabel(size_words, fontsize=10)
    figure.supylabel("error, thousandths: less is better", fontsize=10)
    handles: dict[str, Line2D] = {}
    for axes in figure.axes:
        for line in axes.get_lines():
            handles.setdefault(str(line.get_label()), line)
    columns = min(len(handles), 6)
    figure.legend(
        list(handles.values()), list(handles), loc="outside upper center", ncols=columns, frameon=False
    )
