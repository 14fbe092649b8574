"""The picture of a comparison: a block for each grid, rows of slices, scales and figures beside them."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from scene_codec.pictures.colour_scales import (
    DECODED_SURFACE,
    INACTIVE,
    NOT_FINITE,
    ORIGINAL_SURFACE,
    TOPOLOGY,
    ColourScale,
    difference_scale,
    values_scale,
)
from scene_codec.pictures.slices import AXES, SliceImages, View

SOFTWARE = "scene-codec compare"
"""What the pictures say of themselves, in PNG's field "Software"."""

MARGIN, GAP, LABELS, SCALES = 18, 8, 84, 148
BAR_WIDTH = 16
LEAST_WIDTH = 820
PAPER, INK, FADED, RULE = (255, 255, 255), (28, 30, 34), (92, 96, 104), (205, 208, 214)
TITLE, HEADING, TEXT, SMALL = 23, 19, 15, 14
ROWS = ("original", "decoded", "difference")

Colour = tuple[int, int, int]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Line:
    """A line of text, folded where it is too long."""

    text: str
    size: int = TEXT
    colour: Colour = INK


@dataclass(frozen=True)
class GridBlock:
    """What is drawn of one grid.

    lines : above the slices
    low, high : of all values of the original
    limit : end of the scale of differences; chosen to fit without one
    signed : differences have a sign: those of numbers do, those of vectors and colours not
    """

    lines: tuple[Line, ...]
    view: View
    slices: tuple[SliceImages, ...]
    low: float = 0.0
    high: float = 0.0
    limit: float | None = None
    signed: bool = True

    @property
    def scales(self) -> tuple[ColourScale | None, ColourScale]:
        """The scale of the values, None for colours, and that of the differences."""
        errors = np.concatenate([part.difference.ravel() for part in self.slices])
        of_errors = difference_scale(errors, signed=self.signed, limit=self.limit)
        if self.slices[0].original.ndim == 3:
            return None, of_errors
        if self.slices[0].original_surface is not None:
            reach = max(abs(self.low), abs(self.high))
            return values_scale(np.array([]), -reach, reach), of_errors
        shown = np.concatenate(
            [
                part.original.ravel() if part.active is None else part.original[part.active]
                for part in self.slices
            ]
        )
        low, high = self.low, self.high
        if not self.signed:  # lengths have a range of their own
            low, high = 0.0, float(shown.max(where=np.isfinite(shown), initial=0.0))
        return values_scale(shown, low, high), of_errors


def draw_sheet(heading: Sequence[Line], blocks: Sequence[GridBlock]) -> bytes:
    """Return the picture as a PNG file: the same bytes for the same contents."""
    width = max([LEAST_WIDTH, *(_block_width(block) for block in blocks)])
    parts = [_text_image(heading, width)]
    for block in blocks:
        parts += [_rule(width), _block_image(block, width)]
    legend = _legend(blocks)
    if legend:
        parts += [_rule(width), _legend_image(legend, width)]
    sheet = Image.new("RGB", (width, sum(part.height for part in parts) + MARGIN), PAPER)
    top = 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.height
    note = PngImagePlugin.PngInfo()
    note.add_text("Software", SOFTWARE)
    target = io.BytesIO()
    sheet.save(target, format="png", optimize=True, pnginfo=note)
    return target.getvalue()


def plain_text(text: str, longest: int = 60) -> str:
    """Return text from a file as the font can draw it: accents are dropped, what it lacks becomes "?"."""
    parts = (_plain_character(character) for character in text[: 4 * longest])
    plain = "".join(parts)
    return plain if len(plain) <= longest else f"{plain[: longest - 3]}..."


def _plain_character(character: str) -> str:
    letters = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode("ascii")
    return letters if letters and letters.isprintable() else "?"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font that comes with Pillow, so that pictures look the same on every machine."""
    return ImageFont.load_default(size)


def _columns(block: GridBlock) -> int:
    """Return the width of each column: of its slices, or of the words above them."""
    words = max(_font(SMALL).getlength(_caption(block, part)) for part in block.slices)
    width: int = block.slices[0].difference.shape[1]
    return max(width, round(words) + 2)


def _block_width(block: GridBlock) -> int:
    if not block.slices:
        return LEAST_WIDTH
    return 2 * MARGIN + LABELS + len(block.slices) * (_columns(block) + GAP) + SCALES


def _caption(block: GridBlock, part: SliceImages) -> str:
    return f"{AXES[block.view.axis]} = {part.index}"


def _rule(width: int) -> Image.Image:
    image = Image.new("RGB", (width, 2 * GAP + 1), PAPER)
    ImageDraw.Draw(image).line([(MARGIN, GAP), (width - MARGIN, GAP)], RULE)
    return image


def _text_image(lines: Sequence[Line], width: int) -> Image.Image:
    """Return lines of text, folded to a width."""
    folded = [
        Line(text, line.size, line.colour)
        for line in lines
        for text in _folded(line.text, line.size, width - 2 * MARGIN)
    ]
    image = Image.new("RGB", (width, GAP + sum(_line_height(line.size) for line in folded)), PAPER)
    pen, top = ImageDraw.Draw(image), GAP
    for line in folded:
        pen.text((MARGIN, top), line.text, line.colour, _font(line.size))
        top += _line_height(line.size)
    return image


def _line_height(size: int) -> int:
    return round(1.4 * size)


def _folded(text: str, size: int, width: int) -> list[str]:
    """Return text in lines of at most a width; a single word may be longer."""
    font, lines = _font(size), [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _block_image(block: GridBlock, width: int) -> Image.Image:
    """Return the words and slices of one grid."""
    words = _text_image(block.lines, width)
    if not block.slices:
        return words
    height, column = block.slices[0].difference.shape[0], _columns(block)
    # Words beside a row and the numbers of a scale need some room.
    row = max(height, 84) + GAP
    top = words.height + _line_height(SMALL) + 4
    image = Image.new("RGB", (width, top + len(ROWS) * row), PAPER)
    image.paste(words, (0, 0))
    pen = ImageDraw.Draw(image)
    values, errors = block.scales
    for number, name in enumerate(ROWS):
        pen.text((MARGIN, top + number * row), name, INK, _font(TEXT))
    _axis_words(pen, block.view, (MARGIN, top + _line_height(TEXT)))
    left = MARGIN + LABELS
    for place, part in enumerate(block.slices):
        x = left + place * (column + GAP)
        pen.text((x, words.height + 2), _caption(block, part), FADED, _font(SMALL))
        for number, pixels in enumerate(_panels(part, values, errors)):
            image.paste(Image.fromarray(pixels), (x, top + number * row))
            corner = (x - 1, top + number * row - 1)
            pen.rectangle([corner, (corner[0] + pixels.shape[1] + 1, corner[1] + height + 1)], outline=RULE)
    right = left + len(block.slices) * (column + GAP) + 4
    if values is not None:
        _colour_bar(image, values, (right, top), 2 * row - GAP)
    if any(part.difference.any() for part in block.slices):
        _colour_bar(image, errors, (right, top + 2 * row), row - GAP)
    else:
        pen.text((right, top + 2 * row), "none here", FADED, _font(TEXT))
    return image


def _axis_words(pen: ImageDraw.ImageDraw, view: View, corner: tuple[int, int]) -> None:
    """Say which way the axes point."""
    horizontal, vertical = (AXES[axis] for axis in view.across)
    words = f"{horizontal} to the\nright,\n{vertical} {'down' if view.downwards else 'up'}"
    pen.multiline_text(corner, words, FADED, _font(SMALL), spacing=3)


def _panels(part: SliceImages, values: ColourScale | None, errors: ColourScale) -> list[Pixels]:
    """Return the pixels of original, decoded and difference."""
    panels = [
        np.rint(255 * image).astype(np.uint8) if values is None else values(image)
        for image in (part.original, part.decoded)
    ]
    panels.append(errors(part.difference))
    if part.active is not None:
        panels[2][~part.active] = INACTIVE
    panels[2][part.topology] = TOPOLOGY
    # The line of the original shows beside that of the copy where the two part.
    for number, surface, colour in (
        (0, part.original_surface, ORIGINAL_SURFACE),
        (1, part.original_surface, ORIGINAL_SURFACE),
        (1, part.decoded_surface, DECODED_SURFACE),
    ):
        if surface is not None:
            panels[number][surface] = colour
    return panels


def _colour_bar(image: Image.Image, scale: ColourScale, corner: tuple[int, int], height: int) -> None:
    """Draw a scale with numbers at its ends and in its middle."""
    x, y = corner
    share = np.linspace(1.0, 0.0, height)[:, None].repeat(BAR_WIDTH, axis=1)
    image.paste(Image.fromarray(scale(share * scale.high + (1.0 - share) * scale.low)), (x, y))
    pen = ImageDraw.Draw(image)
    pen.rectangle([(x - 1, y - 1), (x + BAR_WIDTH, y + height)], outline=RULE)
    middle = 0.5 * scale.low + 0.5 * scale.high
    marks = [
        (y, f"{_mark(scale, scale.high)}{' and more' if scale.above else ''}", "la"),
        (y + height // 2, _mark(scale, middle), "lm"),
        (y + height, f"{_mark(scale, scale.low)}{' and less' if scale.below else ''}", "ld"),
    ]
    for height_of_text, text, anchor in marks:
        pen.text((x + BAR_WIDTH + 6, height_of_text), text, INK, _font(SMALL), anchor=anchor)


def _mark(scale: ColourScale, value: float) -> str:
    """Return a number at a scale; what is small beside the scale's length is zero."""
    return number(value if abs(value) > 0.001 * (0.5 * scale.high - 0.5 * scale.low) else 0.0)


def number(value: float) -> str:
    """Return a number of three digits or so; whole ones and those from 1000 on in full."""
    if abs(value) < 1e7 and (value == round(value) or abs(value) >= 1000.0):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _legend(blocks: Sequence[GridBlock]) -> list[tuple[Colour, str]]:
    """Return the colours that need an explanation, each once."""
    slices = [part for block in blocks for part in block.slices]
    planes = [image for part in slices for image in (part.original, part.decoded, part.difference)]
    entries = {
        "surface of the original": (
            ORIGINAL_SURFACE,
            any(part.original_surface is not None for part in slices),
        ),
        "surface as decoded (zero crossings)": (
            DECODED_SURFACE,
            any(part.decoded_surface is not None for part in slices),
        ),
        "inactive": (INACTIVE, any(part.active is not None and not part.active.all() for part in slices)),
        "active in one of the two alone": (TOPOLOGY, any(part.topology.any() for part in slices)),
        "not a finite number": (NOT_FINITE, any(not np.isfinite(plane).all() for plane in planes)),
    }
    return [(colour, words) for words, (colour, there) in entries.items() if there]


def _legend_image(entries: Sequence[tuple[Colour, str]], width: int) -> Image.Image:
    """Return one line of coloured squares and what they mean."""
    image = Image.new("RGB", (width, _line_height(SMALL) + GAP), PAPER)
    pen, x = ImageDraw.Draw(image), MARGIN
    for colour, words in entries:
        pen.rectangle([(x, 4), (x + 11, 15)], fill=colour, outline=RULE)
        pen.text((x + 17, 2), words, INK, _font(SMALL))
        x += round(_font(SMALL).getlength(words)) + 40
    return image
