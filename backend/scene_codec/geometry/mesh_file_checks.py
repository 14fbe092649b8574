"""Compares the counts that a mesh file declares with its size, before a parser allocates for them."""

from __future__ import annotations

import math
import re
from pathlib import Path

from scene_codec.errors import UnsupportedSceneError

_HEADER_LIMIT = 1 << 20
_PLY_SIZES = {
    **dict.fromkeys(("char", "uchar", "int8", "uint8"), 1),
    **dict.fromkeys(("short", "ushort", "int16", "uint16"), 2),
    **dict.fromkeys(("int", "uint", "float", "int32", "uint32", "float32"), 4),
    **dict.fromkeys(("double", "float64", "int64", "uint64"), 8),
}


def check_declared_sizes(path: Path, size: int) -> None:
    """Raise `UnsupportedSceneError` when a header promises more than the file's `size` bytes can hold."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".ply":
            _check_ply(path, size)
        elif suffix == ".off":
            _check_off(path, size)
    except OSError as error:
        raise UnsupportedSceneError(f"'{path}' cannot be read: {error.strerror}.") from error


def _damaged(path: Path, reason: str) -> UnsupportedSceneError:
    return UnsupportedSceneError(f"'{path.name}' is damaged: {reason}. Export it again.")


def _check_ply(path: Path, size: int) -> None:
    """Add up the least number of bytes that the declared elements take."""
    with path.open("rb") as file:
        start = file.read(_HEADER_LIMIT)
    end = start.find(b"end_header")
    if not start.startswith(b"ply") or end < 0:
        raise _damaged(path, "it has no PLY header")
    lines = [line.split() for line in start[:end].decode("latin-1").splitlines()]
    ascii_body = ["format", "ascii", "1.0"] in lines
    needed = 0
    count = 0
    for words in lines:
        if len(words) == 3 and words[0] == "element":
            count = _count(path, words[2])
        elif len(words) >= 3 and words[0] == "property":
            kind = words[2] if words[1] == "list" else words[1]
            # A list takes at least its length; in text, a value takes a digit and a separator.
            needed += count * (2 if ascii_body else _PLY_SIZES.get(kind, 1))
    if needed > size - end:
        raise _damaged(path, f"its header promises at least {needed} bytes and {max(size - end, 0)} follow")


def _check_off(path: Path, size: int) -> None:
    """Compare the two counts with the size; a vertex takes at least six bytes, a face eight."""
    with path.open("rb") as file:
        start = file.read(_HEADER_LIMIT)
    text = re.sub(rb"#[^\n]*", b"", start)
    numbers = re.search(rb"OFF\s+(\S+)\s+(\S+)", text)
    if numbers is None:
        raise _damaged(path, "it has no OFF header")
    vertices, faces = (_count(path, group.decode("latin-1")) for group in numbers.groups())
    if 6 * vertices + 2 * faces > size + 8:
        raise _damaged(path, f"its header promises {vertices} vertices and {faces} faces in {size} bytes")


def _count(path: Path, word: str) -> int:
    """Read a count from a header."""
    try:
        value = float(word)
    except ValueError as error:
        raise _damaged(path, f"its header has the count '{word[:20]}'") from error
    if not (math.isfinite(value) and value >= 0 and value == math.floor(value)):
        raise _damaged(path, f"its header has the count '{word[:20]}'")
    return int(value)
