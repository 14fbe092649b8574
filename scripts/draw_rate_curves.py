"""Draws the rate-distortion curves of docs/RESULTS.md: bits a voxel against PSNR, a plot for each volume.

    python scripts/draw_rate_curves.py            draw docs/pictures/volume_rates.png
    python scripts/draw_rate_curves.py --check    exit with 1 when the picture is not of the figures there

Draws whatever codecs docs/results/volume_rates.json holds, except lossless ones, which have no curve. The
picture names the figures it was made from by their digest. Needs matplotlib.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from measurement.provenance import CHECKOUT
from measurement.results import RESULTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIGURES = RESULTS / "volume_rates.json"
PICTURE = CHECKOUT / "docs" / "pictures" / "volume_rates.png"
DIGEST = "Figures"
"""PNG's text field that names the figures."""

QUALITIES = (33.0, 52.0)
"""dB that are shown; some rivals reach far beyond."""

COLUMNS = 4
OUR_STYLE = {"color": "#000000", "marker": "o", "linewidth": 2.2, "markersize": 4.5, "zorder": 10}
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8A00", "#666666")
"""Okabe and Ito's, which colour-blind people can tell apart; the yellow one darker, for white paper."""
MARKERS = ("s", "^", "v", "D", "P", "X", "<", ">")

Points = Mapping[str, Sequence[Mapping[str, Any]]]
Curve = list[tuple[float, float]]


def main() -> int:
    """Draw or check the picture; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    options = parser.parse_args()
    if options.check:
        current = is_current(FIGURES, PICTURE)
        if not current:
            print(f"{PICTURE.name} is not of {FIGURES.name}; run: python scripts/draw_rate_curves.py")
        return 0 if current else 1
    write_picture(FIGURES, PICTURE)
    print(PICTURE)
    return 0


def refresh(figures: Path, picture: Path) -> None:
    """Draw the picture unless it is of these very figures."""
    if not is_current(figures, picture):
        write_picture(figures, picture)


def write_picture(figures: Path, picture: Path) -> None:
    """Draw the figures of a file into another one."""
    points = points_in(figures)
    data = draw(curves_of(points), digest(points))
    picture.parent.mkdir(parents=True, exist_ok=True)
    temporary = picture.with_suffix(".new")
    temporary.write_bytes(data)
    temporary.replace(picture)


def is_current(figures: Path, picture: Path) -> bool:
    """Tell whether the picture was drawn from the figures of this file."""
    if not picture.is_file():
        return False
    with Image.open(picture) as image:
        return image.info.get(DIGEST) == digest(points_in(figures))


def points_in(figures: Path) -> Points:
    """Return the points of every volume."""
    points: Points = json.loads(figures.read_text(encoding="utf-8"))["points"]
    return points


def digest(points: Points) -> str:
    """Return a digest of what the picture shows: codec, PSNR, bytes and voxels of every point."""
    shown = {
        name: [[point[field] for field in ("codec", "psnr", "bytes", "voxels")] for point in own]
        for name, own in points.items()
    }
    return hashlib.blake2b(json.dumps(shown).encode(), digest_size=16).hexdigest()


def curves_of(points: Points) -> dict[str, dict[str, Curve]]:
    """Return the curves (PSNR, bits a voxel) of all codecs for each volume, as the table has them."""
    from volume_rate_tables import curve  # loads the codecs, which checking does without

    names = {name: dict.fromkeys(point["codec"] for point in own) for name, own in points.items()}
    found = {
        name: {codec: curve([dict(point) for point in points[name]], codec) for codec in codecs}
        for name, codecs in names.items()
    }
    return {
        name: {codec: own for codec, own in curves.items() if len(own) > 1} for name, curves in found.items()
    }


def draw(curves: Mapping[str, Mapping[str, Curve]], note: str) -> bytes:
    """Return the picture as a PNG file; the same bytes for the same curves and the same matplotlib."""
    # Without pyplot there is no global state and no window.
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(COLUMNS, max(len(curves), 1))
    rows = -(-max(len(curves), 1) // columns)
    styles = styles_of(curves)
    with rc_context(fname=None, rc={"font.family": "DejaVu Sans", "font.size": 9, "path.simplify": False}):
        figure = Figure(figsize=(2.5 * columns, 2.1 * rows + 0.9), layout="constrained", dpi=110)
        FigureCanvasAgg(figure)
        places = figure.subplots(rows, columns, squeeze=False).flat
        for axes, (name, own) in itertools.zip_longest(places, curves.items(), fillvalue=(None, None)):
            if name is None or own is None:
                axes.set_axis_off()
            else:
                draw_volume(axes, name, own, styles)
        figure.supxlabel("bits per voxel (logarithmic): less is better", fontsize=10)
        figure.supylabel("PSNR in dB: more is better", fontsize=10)
        handles = {codec: axes_handle(figure.axes, codec) for codec in styles}
        in_a_row = max(min(len(handles), 6), 1)
        place = {"loc": "outside upper center", "ncols": in_a_row, "frameon": False}
        figure.legend(list(handles.values()), list(handles), **place)
        target = io.BytesIO()
        figure.savefig(target, format="png", metadata={"Software": None, DIGEST: note})
    return smaller(target.getvalue(), note)


def draw_volume(
    axes: Axes, name: str, curves: Mapping[str, Curve], styles: Mapping[str, dict[str, Any]]
) -> None:
    """Draw the curves of one volume."""
    for codec, points in curves.items():
        psnr, bits = zip(*points, strict=True)
        axes.plot(bits, psnr, label=codec, **styles[codec])
    shown = [
        bits for points in curves.values() for psnr, bits in points if QUALITIES[0] <= psnr <= QUALITIES[1]
    ]
    axes.set_xscale("log")
    if shown:
        axes.set_xlim(min(shown) / 1.25, max(shown) * 1.25)
        label_bits(axes)
    axes.set_ylim(*QUALITIES)
    axes.set_yticks([35, 40, 45, 50])
    axes.set_title(name, fontsize=9, pad=3)
    axes.grid(visible=True, alpha=0.35, linewidth=0.6)
    axes.tick_params(labelsize=8, length=2)


def label_bits(axes: Axes) -> None:
    """Put plain numbers at powers of ten, and between them where there are less than three."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = axes.get_xlim()
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = [step * 10.0**power for power in powers for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 3:
            break
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def styles_of(curves: Mapping[str, Mapping[str, Curve]]) -> dict[str, dict[str, Any]]:
    """Return how each codec is drawn: ours thick and black, the others in the order in which they come."""
    from volume_rate_tables import OURS

    codecs = dict.fromkeys(codec for own in curves.values() for codec in own)
    styles: dict[str, dict[str, Any]] = {OURS: OUR_STYLE} if OURS in codecs else {}
    for index, codec in enumerate(codec for codec in codecs if codec != OURS):
        styles[codec] = {
            "color": COLOURS[index % len(COLOURS)],
            "marker": MARKERS[index % len(MARKERS)],
            "linestyle": "-" if index < len(COLOURS) else "--",
            "linewidth": 1.1,
            "markersize": 3.0,
        }
    return styles


def axes_handle(places: Sequence[Axes], codec: str) -> Any:  # noqa: ANN401 - matplotlib has no one type
    """Return a drawn line of a codec, for the legend."""
    return next(line for axes in places for line in axes.get_lines() if line.get_label() == codec)


def smaller(data: bytes, note: str) -> bytes:
    """Return a PNG file of few colours with a palette, about a third as large."""
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text(DIGEST, note)
    target = io.BytesIO()
    with Image.open(io.BytesIO(data)) as picture:
        few = picture.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    few.save(target, format="png", optimize=True, pnginfo=text)
    return target.getvalue()


if __name__ == "__main__":
    sys.exit(main())
