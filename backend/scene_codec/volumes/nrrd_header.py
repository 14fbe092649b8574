"""The text at the start of a NRRD file: bounded reading, its fields as metadata, and writing. Imports pynrrd.

Format: teem.sourceforge.net/nrrd/format.html, versions 1 to 5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import nrrd
import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import UnsupportedSceneError
from scene_codec.volumes.dense_grid import BYTE_ORDER, ORIENTATION, UNITS, placement
from scene_codec.volumes.volume import MetadataValue, VolumeGrid

PREFIX = "nrrd:"
"""Before a field's name in the metadata; pairs `key:=value` have `nrrd:=` before their key."""

ENCODING = "nrrd-file:encoding"
"""Metadata: how the values were stored."""

_LARGEST_HEADER = 1 << 20
_LONGEST_LINE = 1 << 16
_LINE = re.compile(r"([^:]+):(=?) ?(.*)")
_STORAGE_FIELDS = (
    *("type", "dimension", "sizes", "endian", "encoding", "data file", "datafile"),
    *("byte skip", "byteskip", "line skip", "lineskip", "block size", "blocksize"),
)
"""What the writer says anew."""

_PLACING_FIELDS = (
    *("space", "space dimension", "space units", "space directions", "space origin", "measurement frame"),
    *("spacings", "thicknesses", "axis mins", "axismins", "axis maxs", "axismaxs", "kinds", "centerings"),
    *("centers", "labels", "units"),
)
"""Fields per axis or about space, in an order that NRRD allows; they are replaced when the grid was moved."""

_ORIENTATIONS = {
    "right-anterior-superior": "RAS",
    "left-anterior-superior": "LAS",
    "left-posterior-superior": "LPS",
}
_SPACE_KINDS = ("domain", "space", "time", "none", "???")


@dataclass(frozen=True)
class NrrdHeader:
    """A parsed header.

    name : the file's, for messages
    fields : pynrrd's values by field
    texts : the text of each field as it stands, and of each pair under `=key`
    size : bytes up to the values
    """

    name: str
    fields: Mapping[str, Any]
    texts: Mapping[str, str]
    size: int

    @property
    def dimension(self) -> int:
        """How many axes the values have."""
        return int(self.fields["dimension"])

    def get(self, *names: str) -> Any:  # noqa: ANN401 - pynrrd's values
        """Return the value of the first of the names that is there, or None."""
        return next((self.fields[name] for name in names if name in self.fields), None)


def read_header(path: Path, stream: BinaryIO) -> NrrdHeader:
    """Read up to the first empty line; raises `UnsupportedSceneError` for what is no NRRD header."""
    lines = _lines(path, stream)
    try:
        # pynrrd takes each pair for a field of its own name, so that they are parsed apart.
        fields = nrrd.read_header([line for line in lines if ":=" not in line])
    except Exception as error:  # pynrrd raises a dozen types on damaged headers
        raise UnsupportedSceneError(
            f"'{path.name}' is no NRRD file, or a damaged one: {str(error)[:200] or type(error).__name__}."
        ) from error
    header = NrrdHeader(path.name, fields, _texts(lines[1:]), stream.tell())
    for name in ("type", "dimension", "sizes", "encoding"):
        if name not in fields:
            raise UnsupportedSceneError(f"'{path.name}' is damaged: its header has no field '{name}'.")
    if len(fields["sizes"]) != fields["dimension"]:
        raise UnsupportedSceneError(
            f"'{path.name}' is damaged: it does not give one size for each dimension."
        )
    return header


def channel_axis(header: NrrdHeader) -> int | None:
    """Return which of four axes counts channels: it is no domain or has no direction. None for three."""
    if header.dimension != 4:
        return None
    kinds, directions = header.get("kinds"), header.get("space directions")
    if kinds is None and directions is None:
        return 0
    axes: list[int] = []
    if directions is not None and len(directions) == 4:
        axes = [axis for axis in range(4) if np.isnan(directions[axis]).all()]
    if len(axes) != 1 and kinds is not None and len(kinds) == 4:
        axes = [axis for axis in range(4) if kinds[axis].lower() not in _SPACE_KINDS]
    if len(axes) != 1:
        raise UnsupportedSceneError(
            f"'{header.name}' has four axes and does not say which of them counts channels. A series of "
            "volumes must be split into one file for each."
        )
    return axes[0]


def header_placement(header: NrrdHeader) -> NDArray[np.float64]:
    """Return the map from index to the file's space; without directions and spacings, the identity."""
    axes = [axis for axis in range(header.dimension) if axis != channel_axis(header)]
    directions, origin = header.get("space directions"), header.get("space origin")
    spacings = header.get("spacings")
    matrix = np.eye(4)
    if directions is not None:
        rows = np.asarray(directions, dtype=np.float64)
        if rows.shape != (header.dimension, 3):
            raise UnsupportedSceneError(
                f"'{header.name}' must have a direction of three numbers for each axis."
            )
        matrix[:3, :3] = rows[axes].T
    elif spacings is not None:
        steps = np.asarray(spacings, dtype=np.float64)
        if steps.shape != (header.dimension,):
            raise UnsupportedSceneError(f"'{header.name}' must have a spacing for each axis.")
        matrix = placement([1.0 if np.isnan(step) else float(step) for step in steps[axes]])
    if origin is not None:
        if np.shape(origin) != (3,):
            raise UnsupportedSceneError(f"'{header.name}' must have a space origin of three numbers.")
        matrix[:3, 3] = origin
    return matrix


def header_metadata(header: NrrdHeader) -> dict[str, MetadataValue]:
    """Return what a header says beyond the values and their storage."""
    metadata: dict[str, MetadataValue] = {
        PREFIX + name: text for name, text in header.texts.items() if name not in _STORAGE_FIELDS
    }
    if str(header.get("endian")).lower() == "big":
        metadata[BYTE_ORDER] = "big"
    space = str(header.get("space") or "").lower()
    orientation = _ORIENTATIONS.get(space, space.upper())
    if orientation in _ORIENTATIONS.values():
        metadata[ORIENTATION] = orientation
    units = header.get("space units")
    if units and len(set(units)) == 1:
        metadata[UNITS] = units[0]
    return metadata


def texts_to_write(grid: VolumeGrid) -> tuple[dict[str, str], int]:
    """Return the fields and pairs for a grid beyond its storage, and which axis counts channels if one does.

    They are those of the NRRD file that the grid came from, as long as they place it where it is; for a grid
    from elsewhere, or moved, directions and origin are made and channels vary fastest.
    """
    texts = {
        name.removeprefix(PREFIX): str(text)
        for name, text in grid.metadata.items()
        if name.startswith(PREFIX)
    }
    kept = _kept_header(grid, texts)
    if kept is not None:
        return texts, channel_axis(kept) or 0
    others = {name: text for name, text in texts.items() if name not in _PLACING_FIELDS}
    return others | _placing_texts(grid), 0


def header_bytes(storage: Mapping[str, str], texts: Mapping[str, str]) -> bytes:
    """Return a header: how the values are stored, what is kept, pairs last, and the empty line."""
    fields = {name: text for name, text in texts.items() if not name.startswith("=")}
    ordered = {name: fields.pop(name) for name in _PLACING_FIELDS if name in fields}
    lines = ["NRRD0005", *(f"{name}: {text}" for name, text in {**storage, **ordered, **fields}.items())]
    lines += [f"{name[1:]}:={text}" for name, text in texts.items() if name.startswith("=")]
    return ("\n".join(lines) + "\n\n").encode("latin-1", errors="replace")


def _lines(path: Path, stream: BinaryIO) -> list[str]:
    """Return the lines of a header as text, the stream behind its empty line."""
    lines: list[str] = []
    if stream.read(4) != b"NRRD":
        raise UnsupportedSceneError(f"'{path.name}' is no NRRD file: it does not start with NRRD.")
    stream.seek(0)
    while line := stream.readline(_LONGEST_LINE):
        text = line.decode("latin-1").rstrip("\r\n")
        if stream.tell() > _LARGEST_HEADER or len(line) == _LONGEST_LINE:
            raise UnsupportedSceneError(f"'{path.name}' is damaged: its header does not end.")
        if not text:
            break
        lines.append(text)
    return lines


def _texts(lines: list[str]) -> dict[str, str]:
    """Return the text of each field and pair, comments left out."""
    texts = {}
    for line in lines:
        match = None if line.startswith("#") else _LINE.fullmatch(line)
        if match is not None:
            name, is_pair, text = match.groups()
            texts[f"={name}" if is_pair else name.strip()] = text
    return texts


def _kept_header(grid: VolumeGrid, texts: Mapping[str, str]) -> NrrdHeader | None:
    """Return the header that a grid came with if it still places the grid, None otherwise."""
    if ENCODING not in grid.metadata:
        return None
    lines = ["NRRD0005", f"dimension: {grid.values.ndim}"]
    lines += [f"{name}: {texts[name]}" for name in _PLACING_FIELDS if name in texts]
    try:
        header = NrrdHeader(grid.name, nrrd.read_header(lines), {}, 0)
        return header if np.array_equal(header_placement(header), grid.to_object) else None
    except Exception:  # the texts are not a header's, or of another number of axes
        return None


def _placing_texts(grid: VolumeGrid) -> dict[str, str]:
    """Return the fields for a grid that came from elsewhere: directions and origin, channels first."""
    spaces = {orientation: space for space, orientation in _ORIENTATIONS.items()}
    space = spaces.get(str(grid.metadata.get(ORIENTATION)))
    columns = [_vector(grid.to_object[:3, axis]) for axis in range(3)]
    channels = grid.values.ndim == 4
    texts = {"space": space} if space else {"space dimension": "3"}
    if UNITS in grid.metadata:
        unit = " ".join(str(grid.metadata[UNITS]).replace('"', "'").split())
        texts["space units"] = " ".join([f'"{unit}"'] * 3)
    texts["space directions"] = " ".join(["none"] * channels + columns)
    texts["space origin"] = _vector(grid.to_object[:3, 3])
    texts["kinds"] = " ".join(["vector"] * channels + ["domain"] * 3)
    return texts


def _vector(numbers: NDArray[np.float64]) -> str:
    return "(" + ",".join(repr(float(number)) for number in numbers) + ")"
