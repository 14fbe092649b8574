"""The demonstration's picture: every original beside its decoded copy, with bytes and error under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from demonstration.rasteriser import CLAY, JADE, Camera, Material, render

VIEW = 300
MARGIN = 16
HEADER = 76
CAPTION = 64
PAPER, CARD, INK, FADED = (246, 246, 244), (255, 255, 255), (38, 40, 44), (112, 116, 124)

Mesh = tuple[NDArray[np.float64], NDArray[np.int64]]


@dataclass(frozen=True)
class Exhibit:
    """One mesh before and after, and the lines under the two pictures."""

    name: str
    original: Mesh
    decoded: Mesh | None
    original_caption: str
    decoded_caption: str


def draw_comparison(exhibits: Sequence[Exhibit], title: str, subtitle: str, file: Path) -> None:
    """Write a PNG that shows all `exhibits`, as many columns as make it about as wide as a page."""
    columns = min(3, len(exhibits))
    rows = -(-len(exhibits) // columns)
    width, height = 2 * VIEW, VIEW + CAPTION
    sheet = Image.new(
        "RGB",
        (MARGIN + columns * (width + MARGIN), HEADER + rows * (height + MARGIN)),
        PAPER,
    )
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN + 4, 14), title, INK, ImageFont.load_default(26))
    pen.text((MARGIN + 4, 46), subtitle, FADED, ImageFont.load_default(16))
    for index, exhibit in enumerate(exhibits):
        row, column = divmod(index, columns)
        corner = (MARGIN + column * (width + MARGIN), HEADER + row * (height + MARGIN))
        _draw_exhibit(sheet, pen, exhibit, corner)
    file.parent.mkdir(parents=True, exist_ok=True)
    # Few hues in many shades: a palette shows no loss and makes the file a third as large.
    sheet.quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)


def _draw_exhibit(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, exhibit: Exhibit, corner: tuple[int, int]
) -> None:
    """Draw one card: two views and three lines of text."""
    left, top = corner
    pen.rounded_rectangle((left, top, left + 2 * VIEW, top + VIEW + CAPTION), 10, CARD)
    camera = Camera.around(exhibit.original[0])
    _paste(sheet, exhibit.original, camera, CLAY, (left, top))
    if exhibit.decoded is not None:
        _paste(sheet, exhibit.decoded, camera, JADE, (left + VIEW, top))
    baseline = top + VIEW
    pen.text((left + 14, baseline), exhibit.name, INK, ImageFont.load_default(19))
    pen.text((left + 14, baseline + 32), exhibit.original_caption, FADED, ImageFont.load_default(15))
    pen.text((left + VIEW + 14, baseline + 32), exhibit.decoded_caption, INK, ImageFont.load_default(15))


def _paste(
    sheet: Image.Image, mesh: Mesh, camera: Camera, material: Material, corner: tuple[int, int]
) -> None:
    """Draw one view of a mesh at `corner`."""
    view = Image.fromarray(render(*mesh, camera, material, size=VIEW))
    sheet.paste(view, corner, view)
