"""The frame in which a mesh is encoded: its bounding box in [-1, 1], and a few bytes that lead back."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import CorruptFileError
from scene_codec.geometry.scene_object import TriangleMesh

FRAME_WIDTH = 1.99
"""Largest extent of a mesh in its frame, as in the paper's preparation script."""

_STEPS_PER_SCALE_BITS = 8
_LARGEST_STEP_COUNT = 2**52


@dataclass(frozen=True)
class Frame:
    """Where the cube [-1, 1] of a mesh lies: `point = centre + scale * point_in_frame`.

    The scale is a float32 and the centre a whole number of steps of at most 1/256 of the scale
    (`step_counts`), so that the frame is stored without loss in 7 to 28 bytes, near the origin or far from
    it, and the encoder and the decoder use the very same numbers. The rounding moves the mesh inside its cube
    by at most 1/512 per axis, less than the margin.
    """

    scale: float
    step_counts: tuple[int, int, int]

    @staticmethod
    def around(mesh: TriangleMesh) -> Frame:
        """Return the frame in which the bounding box of a prepared mesh is centred and 1.99 wide at most."""
        low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
        exact_scale = float((high - low).max()) / FRAME_WIDTH
        scale = np.float32(exact_scale)
        if float(scale) < exact_scale:
            scale = np.nextafter(scale, np.float32(np.inf))
        # Halved before the sum: two huge coordinates must not overflow.
        counts = np.rint((low * 0.5 + high * 0.5) / _step(float(scale)))
        return Frame(float(scale), (int(counts[0]), int(counts[1]), int(counts[2])))

    @property
    def centre(self) -> NDArray[np.float64]:
        """Centre of the cube, (3,) float64, scene units."""
        return np.array(self.step_counts, dtype=np.float64) * _step(self.scale)

    def into(self, mesh: TriangleMesh) -> TriangleMesh:
        """Return the mesh in frame coordinates, inside [-1, 1]."""
        return TriangleMesh((mesh.vertices - self.centre) / self.scale, mesh.faces)

    def out_of(self, mesh: TriangleMesh) -> TriangleMesh:
        """Return a mesh in frame coordinates at its place in the scene."""
        return TriangleMesh(mesh.vertices * self.scale + self.centre, mesh.faces)

    def to_bytes(self) -> bytes:
        """Return the frame as a float32 scale and three variable-length integers."""
        parts = [struct.pack("<f", self.scale)]
        parts += [_write_signed(count) for count in self.step_counts]
        return b"".join(parts)

    @staticmethod
    def from_bytes(data: bytes) -> Frame:
        """Read what `to_bytes` wrote. Raises `CorruptFileError` for anything else."""
        if len(data) < 7:
            raise CorruptFileError(f"The frame of a mesh has {len(data)} bytes; at least 7 are needed.")
        scale = float(struct.unpack_from("<f", data)[0])
        if not (math.isfinite(scale) and scale > 0.0):
            raise CorruptFileError("The frame of a mesh has a scale that is not a positive number.")
        counts = []
        position = 4
        for _ in range(3):
            count, position = _read_signed(data, position)
            counts.append(count)
        if position != len(data):
            raise CorruptFileError(f"The frame of a mesh has {len(data) - position} bytes too many.")
        return Frame(scale, (counts[0], counts[1], counts[2]))


def _step(scale: float) -> float:
    """Return the power of two between 1/512 and 1/256 of the scale; its multiples below 2**52 are exact."""
    return math.ldexp(1.0, math.frexp(scale)[1] - 1 - _STEPS_PER_SCALE_BITS)


def _write_signed(value: int) -> bytes:
    """Encode an integer with its sign in the lowest bit, seven bits a byte."""
    rest = value << 1 if value >= 0 else (-value << 1) - 1
    out = bytearray()
    while rest >= 0x80:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def _read_signed(data: bytes, position: int) -> tuple[int, int]:
    """Decode one integer at `position`; return it and where the next one starts."""
    rest = 0
    for index in range(8):
        if position + index >= len(data):
            raise CorruptFileError("The frame of a mesh ends in the middle of a number.")
        byte = data[position + index]
        rest |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if index > 0 and byte == 0:
                break
            value = rest >> 1 if rest & 1 == 0 else -((rest + 1) >> 1)
            if abs(value) > _LARGEST_STEP_COUNT:
                break
            return value, position + index + 1
    raise CorruptFileError("The frame of a mesh holds a number that no encoder writes.")
