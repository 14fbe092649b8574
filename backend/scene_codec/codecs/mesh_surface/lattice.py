"""A lattice on which all vertices of a mesh lie: boxes, steps, walls, and what is built of cubes.

Such surfaces are coded exactly, with as many numbers as there are planes and not as rounding would need.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
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

_DIFFERENT_PITCHES, _COUNTED_ORIGIN, _DOUBLE_ORIGIN = 1, 2, 4
_ORIGIN_STEPS = 2
"""Parts of a pitch of which the origin may be a whole number."""

_MOST_ORIGIN_STEPS = 1 << 30

_LARGEST = 1e30
"""No mesh reaches farther; what is decoded stays within single precision."""


Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Lattice:
    """Where points with whole numbers as coordinates lie: `origin + pitch * numbers`, by axis.

    origin, pitch : scene units; the pitch has float32 values
    """

    origin: Triple
    pitch: Triple

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
        double = counts is None and self.origin != _single(self.origin)
        flags = _DIFFERENT_PITCHES * different | _COUNTED_ORIGIN * (counts is not None)
        flags |= _DOUBLE_ORIGIN * double
        pitches = self.pitch if different else self.pitch[:1]
        start = bytes([flags]) + struct.pack(f"<{len(pitches)}f", *pitches)
        if counts is None:
            return start + struct.pack("<3d" if double else "<3f", *self.origin)
        return start + b"".join(map(signed_varint, counts))


def read_lattice(reader: ByteReader) -> Lattice:
    """Read what `Lattice.to_bytes` wrote. Raises `CorruptFileError`."""
    flags = reader.byte()
    if flags & ~(_DIFFERENT_PITCHES | _COUNTED_ORIGIN | _DOUBLE_ORIGIN):
        raise CorruptFileError(f"A lattice has unknown flags ({flags}).")
    count = 3 if flags & _DIFFERENT_PITCHES else 1
    pitches = struct.unpack(f"<{count}f", reader.take(4 * count)) * (3 // count)
    if not all(0.0 < value <= _LARGEST for value in pitches):
        raise CorruptFileError("A lattice has a pitch that is not a positive number, or a huge one.")
    pitch = (pitches[0], pitches[1], pitches[2])
    if flags & _COUNTED_ORIGIN:
        if flags & _DOUBLE_ORIGIN:
            raise CorruptFileError("A lattice has two kinds of origin.")
        counts = [reader.signed_varint() for _ in range(3)]
        x, y, z = _from_counts(counts, pitch)
    else:
        kind = "<3d" if flags & _DOUBLE_ORIGIN else "<3f"
        x, y, z = struct.unpack(kind, reader.take(struct.calcsize(kind)))
    if not all(abs(value) <= _LARGEST for value in (x, y, z)):
        raise CorruptFileError("A lattice has an origin that is not a number, or a huge one.")
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
    for origin in _origins(low, (x, y, z), tolerance):
        lattice = Lattice(origin, (x, y, z))
        if np.abs(lattice.out_of(lattice.into(mesh)).vertices - mesh.vertices).max() <= 2.0 * tolerance:
            return lattice
    return None


def _origins(low: NDArray[np.float64], pitch: Triple, tolerance: float) -> Iterator[Triple]:
    """Yield what may stand for the lowest corner, from short to long."""
    exact = (float(low[0]), float(low[1]), float(low[2]))
    counted = _counted(exact, pitch, tolerance)
    if counted is not None:
        yield _from_counts(counted, pitch)
    yield _single(exact)
    yield exact


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


def _counted(origin: Triple, pitch: Triple, tolerance: float = 0.0) -> list[int] | None:
    """Return the origin in half pitches if these are whole numbers, else None."""
    exact = np.array(origin) / np.array(pitch) * _ORIGIN_STEPS
    if not np.abs(exact).max() < _MOST_ORIGIN_STEPS:
        return None
    counts = [int(number) for number in np.rint(exact)]
    off = np.abs(np.array(_from_counts(counts, pitch)) - np.array(origin)).max()
    return counts if off <= tolerance else None


def _from_counts(counts: Sequence[int], pitch: Triple) -> Triple:
    """Return the origin of so many half pitches."""
    x, y, z = (number * width / _ORIGIN_STEPS for number, width in zip(counts, pitch, strict=True))
    return (x, y, z)


def _single(values: Triple) -> Triple:
    """Return the nearest float32 values."""
    x, y, z = (float(np.float32(value)) for value in values)
    return (x, y, z)
