"""The sections of a mesh-surface file and their bytes, written and read side by side.

| kind | where | content |
|---|---|---|
| 16 SURFACE | object | frame or lattice, prior, shape, step, error, number of faces, then the walk |
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from scene_codec.bitstream import Section
from scene_codec.codecs.mesh_surface.lattice import Lattice, read_lattice
from scene_codec.codecs.mesh_surface.prior import MODEL_FILES
from scene_codec.codecs.mesh_surface.surface_walk import SurfaceSteps
from scene_codec.entropy.byte_fields import ByteReader, varint
from scene_codec.entropy.quantisers import QuantisationStep, read_step
from scene_codec.errors import CorruptFileError
from scene_codec.geometry.normalisation import Frame

PAYLOAD_VERSION = 3

SURFACE = 16

SHARED_LABELS: dict[int, str] = {}
OBJECT_LABELS = {SURFACE: "surface"}

MOST_FACES = 1 << 18
MOST_FACES_PER_BYTE = 256
FACES_FOR_NOTHING = 1024
"""More faces than the bytes can be meant for are refused: a few bytes would take minutes to decode."""

MOST_DECODED_FACES = 1 << 22
"""Control faces times four for each level."""

DECODED_FOR_NOTHING, MOST_DECODED_PER_BYTE = 1 << 16, 512

_CLOSED = 1
_MOST_IN_PLANE = 8
_IN_PLANE_AT, _LEVELS_AT, _CREASED_AT = 1, 4, 6


@dataclass(frozen=True)
class CodedSurface:
    """Content of a SURFACE section.

    place : where the surface lies in the scene; on a lattice, coordinates are whole numbers
    prior : number of the statistics that the walk begins with
    step : rounding step across the surface, in the frame
    error : the larger of both mean distances (version 1: their mean), in diagonals of the mesh's bounding box
    faces : control faces
    levels : of subdivision between them and the surface
    creased : whether creases and corners follow the walk
    stream : the walk
    """

    place: Frame | Lattice
    prior: int
    closed: bool
    in_plane: int
    step: QuantisationStep
    error: QuantisationStep
    faces: int
    levels: int
    creased: bool
    stream: bytes

    @property
    def steps(self) -> SurfaceSteps:
        """What coordinates are rounded to."""
        snapped = isinstance(self.place, Lattice)
        return SurfaceSteps(self.step.value, float(self.in_plane), self.closed, snapped)


def write_surface(surface: CodedSurface) -> tuple[Section, ...]:
    """Return the sections of an object."""
    place = surface.place.to_bytes()
    length = 0 if isinstance(surface.place, Lattice) else len(place)
    shape = _CLOSED * surface.closed | surface.in_plane - 1 << _IN_PLANE_AT
    shape |= surface.levels << _LEVELS_AT | surface.creased << _CREASED_AT
    head = bytes([length]) + place + bytes([surface.prior, shape])
    head += surface.step.to_bytes() + surface.error.to_bytes() + varint(surface.faces)
    return (Section(SURFACE, head + surface.stream),)


def read_surface(sections: Mapping[int, bytes]) -> CodedSurface:
    """Read the sections of an object. Raises `CorruptFileError`."""
    if SURFACE not in sections:
        raise CorruptFileError("The object has no surface section.")
    reader = ByteReader(sections[SURFACE])
    length = reader.byte()
    place = Frame.from_bytes(reader.take(length)) if length else read_lattice(reader)
    prior, shape = reader.byte(), reader.byte()
    step, error, faces = read_step(reader), read_step(reader), reader.varint()
    if prior not in MODEL_FILES:
        raise CorruptFileError(f"A surface begins with statistics number {prior}, which do not exist.")
    levels, creased = shape >> _LEVELS_AT & 3, bool(shape >> _CREASED_AT & 1)
    if not 1 <= faces <= MOST_FACES or faces << 2 * levels > MOST_DECODED_FACES:
        raise CorruptFileError(f"A surface of {faces} faces and {levels} levels is not possible.")
    if shape >> _CREASED_AT > 1 or (creased and not levels) or not 2.0**-40 <= step.value <= 4.0:
        raise CorruptFileError("A surface has impossible steps, or an impossible shape.")
    if not math.isfinite(error.value):
        raise CorruptFileError("The error of a surface is not a number.")
    stream = reader.rest()
    if faces << 2 * levels > DECODED_FOR_NOTHING + MOST_DECODED_PER_BYTE * len(stream):
        raise CorruptFileError(f"A surface announces {faces << 2 * levels} triangles in {len(stream)} bytes.")
    if faces > FACES_FOR_NOTHING + MOST_FACES_PER_BYTE * len(stream):
        raise CorruptFileError(f"A surface announces {faces} faces in {len(stream)} bytes.")
    closed, in_plane = bool(shape & _CLOSED), (shape >> _IN_PLANE_AT) % _MOST_IN_PLANE + 1
    if isinstance(place, Lattice) and (levels or in_plane > 1):
        raise CorruptFileError("A surface on a lattice has levels, or other steps than whole numbers need.")
    return CodedSurface(place, prior, closed, in_plane, step, error, faces, levels, creased, stream)
