"""Tells the pictures of this package from others, which are not to be replaced."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from scene_codec.pictures.sheet import SOFTWARE


def is_comparison(path: Path) -> bool:
    """Tell whether a file is a picture that `draw_sheet` has made, or empty."""
    if not path.is_file():
        return False
    if path.stat().st_size == 0:
        return True
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            return picture.info.get("Software") == SOFTWARE
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
