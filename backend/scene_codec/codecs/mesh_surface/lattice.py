"""A lattice on which all vertices of a mesh lie: boxes, steps, walls, and what is built of cubes.

Such surfaces are coded exactly, with as many numbers as there are planes and not as rounding would need.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene_codec.entropy.byte_fields import ByteReader, signed_varint
from scene_codec.errors import CorruptFileError
from scene_codec.geometry.scene_object import TriangleMesh

MOST_PLANES = 4096
"""Planes along an axis, less one, that are looked for."""

_SAME_PLANE = 2e-6
"""Share of the largest extent by which a vertex may be off; single precision has a tenth of it."""

_DIFFERENT_PITCHES, _COUNTED_ORIGIN = 1, 2
_ORIGIN_STEPS = 2
"""Parts of a pitch of which the origin may be a whole number."""

_MOST_ORIGIN_STEPS = 1 << 30


@dataclass(frozen=True)
class Lattice:
    """Where points with whole numbers as coordinates lie: `origin + pitch * numbers`, by axis.

    origin, pitch : scene units; float32 values, or an origin of whole half pitches
    """

    origin: tuple[float, float, float]
    pitch: tuple[float, float, float]

    @property
    def scale(self) -> float:
        """The largest pitch."""
        return max(self.pitch)

    def out_of(self, mesh: TriangleMesh) -> TriangleMesh:
        """Return a mesh in numbers of the lattice at its place in the scene."""
        return TriangleMesh(mesh.vertices * np.array(self.pitch) + np.array(self.origin), mesh.faces)

    def into(self, mesh: TriangleMesh) -> TriangleMesh:
        """Return a mesh of the scene in numbers of the lattice, rounded to whole ones."""
        exact = (mesh.vertices - np.array(self.origin)) / np.array(self.pitch)
        return TriangleMesh(np.rint(exact), mesh.faces)

    def to_bytes(self) -> bytes:
        """Return the lattice as a byte of flags, one pitch or three, and the origin."""
        counts = _counted(self.origin, self.pitch)
        different = len(set(self.pitch)) > 1
        flags = _DIFFERENT_PITCHES * different | _COUNTED_ORIGIN * (counts is not None)
        pitches = self.pitch if different else self.pitch[:1]
        start = bytes([flags]) + struct.pack(f"<{len(pitches)}f", *pitches)
        if counts is None:
            return start + struct.pack("<3f", *self.origin)
        return start + b"".join(map(signed_varint, counts))


def read_lattice(reader: ByteReader) -> Lattice:
    """Read what `Lattice.to_bytes` wrote. Raises `CorruptFileError`."""
    flags = reader.byte()
    if flags & ~(_DIFFERENT_PITCHES | _COUNTED_ORIGIN):
        raise CorruptFileError(f"A lattice has unknown flags ({flags}).")
    count = 3 if flags & _DIFFERENT_PITCHES else 1
    pitches = struct.unpack(f"<{count}f", reader.take(4 * count)) * (3 // count)
    if not all(np.isfinite(pitches)) or min(pitches) <= 0.0:
        raise CorruptFileError("A lattice has a pitch that is not a positive number.")
    pitch = (pitches[0], pitches[1], pitches[2])
    if flags & _COUNTED_ORIGIN:
        counts = [reader.signed_varint() for _ in range(3)]
        x, y, z = (number * width / _ORIGIN_STEPS for number, width in zip(counts, pitch, strict=True))
    else:
        x, y, z = struct.unpack("<3f", reader.take(12))
    if not all(np.isfinite((x, y, z))):
        raise CorruptFileError("A lattice has an origin that is not a number.")
    return Lattice((x, y, z), pitch)


def lattice_of(mesh: TriangleMesh) -> Lattice | None:
    """Return the coarsest lattice with all vertices of a mesh, None if each axis does not have one."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    tolerance = _SAME_PLANE * float((high - low).max())
    pitches = [_pitch(mesh.vertices[:, axis], tolerance) for axis in range(3)]
    known = [pitch for pitch in pitches if pitch is not None and pitch > 0.0]
    if None in pitches or not known:
        return None
    # An axis along which nothing extends may have any pitch.
    x, y, z = (float(np.float32(pitch or known[0])) for pitch in pitches)
    counted = _counted(tuple(low), (x, y, z), tolerance)
    if counted is None:
        origin = tuple(float(np.float32(value)) for value in low)
    else:
        origin = tuple(count * width / _ORIGIN_STEPS for count, width in zip(counted, (x, y, z), strict=True))
    lattice = Lattice((origin[0], origin[1], origin[2]), (x, y, z))
    off = np.abs(lattice.out_of(lattice.into(mesh)).vertices - mesh.vertices).max()
    return lattice if off <= 2.0 * tolerance else None


def _pitch(values: NDArray[np.float64], tolerance: float) -> float | None:
    """Return the largest distance of evenly spaced planes through all values; 0 if all are one."""
    planes = np.unique(values)
    planes = planes[np.concatenate([[True], np.diff(planes) > tolerance])] - planes[0]
    if len(planes) == 1:
        return 0.0
    # All gaps are multiples of the pitch, also the least one.
    least = float(np.diff(planes).min())
    for parts in range(1, MOST_PLANES):
        pitch = least / parts
        count = round(float(planes[-1]) / pitch)
        if count > MOST_PLANES:
            return None
        pitch = float(planes[-1]) / count
        if np.abs(planes - pitch * np.rint(planes / pitch)).max() <= tolerance:
            return pitch
    return None


def _counted(
    origin: tuple[float, ...], pitch: tuple[float, float, float], tolerance: float = 0.0
) -> list[int] | None:
    """Return the origin in half pitches if these are whole numbers, else None."""
    exact = np.array(origin) / np.array(pitch) * _ORIGIN_STEPS
    if not np.abs(exact).max() < _MOST_ORIGIN_STEPS:
        return None
    counts = [int(number) for number in np.rint(exact)]
    back = np.array([number * width / _ORIGIN_STEPS for number, width in zip(counts, pitch, strict=True)])
    return counts if np.abs(back - np.array(origin)).max() <= tolerance else None
