"""What is known of the next symbol: contexts of operations, vertices and corners, and their statistics."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from scene_codec.codecs.mesh_surface.active_boundary import OPEN, ActiveBoundary
from scene_codec.codecs.mesh_surface.vectors import Vector, cosine, difference, length
from scene_codec.entropy.adaptive_bits import BitCoder
from scene_codec.entropy.adaptive_integers import IntegerModel, SlotPlan

NEW_VERTEX = 0
NEXT = 1
PREVIOUS = 2
NO_FACE = 3
CORNER = 4

MIXER_INPUTS = 4

SPREADS = 14
MAGNITUDES = 7

TURNS = 8
MEETING_CREASES = 4
"""Creases at a vertex that are told apart: none, one, two, more."""

_COSINES = (-0.8, -0.4, -0.1, 0.2, 0.45, 0.7, 0.88)
_DISTANCES = (0.25, 0.45, 0.65, 0.85, 1.1, 1.5, 2.2, 3.5)
_MOST_FACES = 9
_OPERATIONS = 5
_SPREADS_PER_OCTAVE = 2
_SMALLEST_SPREAD = 2.0**-1


@dataclass(frozen=True)
class Gate:
    """An open half-edge a -> b and what is known around it.

    edge : its number
    a, b, opposite : positions of its ends and of the third vertex of the face behind it
    width : distance of its ends
    parallelogram : a + b - opposite
    """

    edge: int
    a: Vector
    b: Vector
    opposite: Vector
    width: float
    parallelogram: Vector


class SurfaceModels:
    """All statistics of a surface; slots are numbered in the order of this constructor, for ever."""

    def __init__(self) -> None:
        plan = SlotPlan()
        self._operations = [
            (
                plan.take_slots(64),
                plan.take_slots(100),
                plan.take_slots(81),
                plan.take_slots(_OPERATIONS**3),
                plan.take_mixer(),
            )
            for _ in range(_OPERATIONS - 1)
        ]
        self.residuals = [
            IntegerModel(
                plan,
                (
                    SPREADS * MAGNITUDES,
                    SPREADS * MAGNITUDES * 4,
                    MAGNITUDES * MAGNITUDES,
                    SPREADS * MAGNITUDES,
                ),
            )
            for _ in range(3)
        ]
        self.seeds = IntegerModel(plan, (3,))
        self.corners = IntegerModel(plan, (1,), signed=False)
        ends = MEETING_CREASES * MEETING_CREASES
        self._creases = (
            plan.take_slots(TURNS * ends),
            plan.take_slots(TURNS),
            plan.take_slots(ends * ends),
            plan.take_slots(TURNS * ends * ends),
            plan.take_mixer(),
        )
        self._bends = plan.take_slots(TURNS), plan.take_mixer()
        self.slots, self.mixers = plan.slots, plan.mixers

    def code_crease(
        self, coder: BitCoder, crease: int, turn: int, first: tuple[int, int], second: tuple[int, int]
    ) -> int:
        """Code whether an edge is a crease.

        turn : class of the angle at the edge
        first, second : creases and unknown edges at its ends, each below `MEETING_CREASES`
        """
        arriving = first[0] * MEETING_CREASES + second[0]
        unknown = first[1] * MEETING_CREASES + second[1]
        ends = MEETING_CREASES * MEETING_CREASES
        contexts = (
            turn * ends + arriving,
            turn,
            arriving * ends + unknown,
            (turn * ends + arriving) * ends + unknown,
        )
        *starts, mixer = self._creases
        return coder.code(crease, [start + x for start, x in zip(starts, contexts, strict=True)], mixer)

    def code_bend(self, coder: BitCoder, corner: int, turn: int) -> int:
        """Code whether a vertex at which two creases meet is a corner.

        turn : class of the angle between them
        """
        start, mixer = self._bends
        return coder.code(corner, [start + turn], mixer)

    def code_operation(
        self,
        coder: BitCoder,
        operation: int,
        contexts: Sequence[int],
        possible: Sequence[bool],
    ) -> int:
        """Code which operation comes next; those that are not `possible` take no bits."""
        for candidate in range(_OPERATIONS - 1):
            if not possible[candidate]:
                continue
            *firsts, mixer = self._operations[candidate]
            slots = [first + context for first, context in zip(firsts, contexts, strict=True)]
            if coder.code(int(operation == candidate), slots, mixer):
                return candidate
        return CORNER


def operation_contexts(
    boundary: ActiveBoundary,
    gate: Gate,
    positions: Sequence[Vector],
    faces_at: Sequence[int],
    history: Sequence[int],
) -> list[int]:
    """Return the contexts of the operation at a gate: angles, numbers of faces, distances, operations before.

    faces_at : known faces at each vertex
    history : the operations before, last one first
    """
    edge = gate.edge
    following, preceding = boundary.next[edge], boundary.previous[edge]
    angle_next = angle_previous = 0
    near_next = near_previous = len(_DISTANCES)
    width = max(gate.width, 1e-9)
    if boundary.state[following] == OPEN:
        c = positions[boundary.end(following)]
        angle_next = bisect_right(_COSINES, cosine(gate.a, gate.b, c))
        near_next = bisect_right(_DISTANCES, length(difference(c, gate.parallelogram)) / width)
    if boundary.state[preceding] == OPEN:
        q = positions[boundary.origin[preceding]]
        angle_previous = bisect_right(_COSINES, cosine(gate.b, gate.a, q))
        near_previous = bisect_right(_DISTANCES, length(difference(q, gate.parallelogram)) / width)
    at_a = min(faces_at[boundary.origin[edge]], _MOST_FACES)
    at_b = min(faces_at[boundary.end(edge)], _MOST_FACES)
    return [
        angle_next * 8 + angle_previous,
        at_b * 10 + at_a,
        near_next * 9 + near_previous,
        (history[0] * _OPERATIONS + history[1]) * _OPERATIONS + history[2],
    ]


def spread_of(width: float) -> int:
    """Return the class of a gate's width in steps: how far off a prediction may be."""
    if width <= _SMALLEST_SPREAD:
        return 0
    mantissa, exponent = math.frexp(width / _SMALLEST_SPREAD)
    # frexp is exact; a logarithm might be rounded differently elsewhere.
    half = int(mantissa >= math.sqrt(0.5))
    return min(_SPREADS_PER_OCTAVE * (exponent - 1) + half, SPREADS - 1)


def magnitude_of(value: int) -> int:
    """Return the class of a number of steps."""
    return min(abs(value).bit_length(), MAGNITUDES - 1)


def residual_contexts(spread: int, roughness: int, earlier: Sequence[int]) -> tuple[int, int, int, int]:
    """Return the contexts of a component of a vertex.

    spread : class of the gate's width in steps of this component
    roughness : class of the heights around
    earlier : classes of this vertex's components before
    """
    first = earlier[0] if earlier else roughness
    second = earlier[1] if len(earlier) > 1 else 0
    return (
        spread * MAGNITUDES + max(earlier, default=0),
        (spread * MAGNITUDES + roughness) * 4 + min(first, 3),
        first * MAGNITUDES + second,
        spread * MAGNITUDES + roughness,
    )
