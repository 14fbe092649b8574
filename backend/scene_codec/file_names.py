"""File names for objects and views: their own names, made safe for every operating system.

Names come out of a file that anybody may have written. Whatever they hold, the result is a plain file name:
no folder, no reserved word, no control character, not too long, and different for every object.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

MAX_NAME_BYTES = 180
"""UTF-8 bytes of a name without its suffix; most file systems end at 255 bytes for the whole."""

_FORBIDDEN = re.compile(r'[<>:"/\\|?*]')
# Left-to-right and right-to-left overrides can make "exe.ply" out of "ylp.exe" on the screen.
_DIRECTION_MARKS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE)


def safe_file_stem(name: str) -> str:
    """Return `name` as a file name without suffix that Windows, macOS and Linux accept, never empty.

    A name that is acceptable already comes back unchanged, apart from Unicode composition (NFC).
    """
    kept = [_safe_character(character) for character in unicodedata.normalize("NFC", name)]
    stem = _shorten("".join(kept), MAX_NAME_BYTES)
    # Windows drops dots and spaces at the end; a dot in front hides the file elsewhere, and ".." is a folder.
    stem = stem.rstrip(". ").lstrip(" ")
    if stem.startswith("."):
        stem = "_" + stem[1:]
    if _RESERVED.fullmatch(stem):
        stem = "_" + stem
    return stem or "_"


def object_file_names(names: Iterable[str], suffix: str) -> list[str]:
    """Return one file name for each of `names`, in their order, no two alike on any file system.

    The names depend on the objects of a file and their order alone, so that decoding one object of a set
    writes the same file name as decoding the whole set.
    """
    taken: set[str] = set()
    last_number: dict[str, int] = {}
    files = []
    for name in names:
        stem = safe_file_stem(name)
        candidate = stem
        while _comparison_key(candidate) in taken:
            # Counting on from the last one keeps ten thousand objects of one name from costing a search each.
            number = last_number.get(_comparison_key(stem), 1) + 1
            last_number[_comparison_key(stem)] = number
            ending = f"-{number}"
            candidate = _shorten(stem, MAX_NAME_BYTES - len(ending)) + ending
        taken.add(_comparison_key(candidate))
        files.append(f"{candidate}.{suffix}" if suffix else candidate)
    return files


def _safe_character(character: str) -> str:
    """Return the character, or an underscore where some file system or terminal cannot take it."""
    category = unicodedata.category(character)
    if category in {"Cc", "Cs", "Zl", "Zp"} or character in _DIRECTION_MARKS or _FORBIDDEN.match(character):
        return "_"
    return character


def _shorten(text: str, limit: int) -> str:
    """Cut `text` to at most `limit` bytes of UTF-8 without splitting a character."""
    return text.encode("utf-8")[:limit].decode("utf-8", errors="ignore")


def _comparison_key(stem: str) -> str:
    """Return what two names share when Windows or macOS would take them for the same file."""
    return unicodedata.normalize("NFKC", stem).casefold()
