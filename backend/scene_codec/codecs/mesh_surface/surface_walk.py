"""From face to face over a triangulated surface, encoding or decoding it, the same code for both.

The surface is conquered face by face (S. Gumhold, W. Strasser, "Real time compression of triangle mesh
connectivity", 1998): at an open half-edge the next face has a new vertex, closes the gap to the next or the
previous half-edge, is not there, or leads to a vertex elsewhere on the boundary. A new vertex follows at
once, so that each operation is foretold from the shape decoded so far (compare F. Kälberer, K. Polthier et
al., "FreeLence", 2005). It is stored in the frame of the gate: along it, away from it, out of the plane.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.mesh_surface.active_boundary import OPEN, ActiveBoundary
from scene_codec.codecs.mesh_surface.surface_models import (
    NEW_VERTEX,
    NEXT,
    NO_FACE,
    PREVIOUS,
    Gate,
    SurfaceModels,
    magnitude_of,
    operation_contexts,
    residual_contexts,
    spread_of,
)
from scene_codec.codecs.mesh_surface.vectors import (
    Vector,
    cross,
    difference,
    dot,
    length,
    middle,
    moved,
    rounded,
    unit,
)
from scene_codec.entropy.adaptive_bits import BitCoder
from scene_codec.errors import CorruptFileError

ALONG, AWAY, OUT = 0, 1, 2
"""Components of a vertex in the frame of its gate."""

CODED_ORDER = (AWAY, ALONG, OUT)

MOST_CORNERS_COMPARED = 50_000_000
"""Corners compared in all while a surface is coded; a plate with 2,500 holes needs a sixth of them."""

_ALONG_WEIGHTS = (-0.378, 0.230, 0.040, -0.033, 0.060, -0.282)
_AWAY_WEIGHTS = (-0.539, 0.000, 0.000, 0.163, 0.053, 0.104)
"""What a new vertex is expected at, in widths of its gate from its middle: weights of the vertex behind (that
component of it), of the vertices after and before the gate (ALONG, both; AWAY, both), and of 1. Fitted to
simplified meshes of free licences, absolute differences.
"""

_FARTHEST_NEIGHBOUR = 3.0
"""Widths of the gate beyond which a neighbour on the boundary says nothing more."""

_FARTHEST = 1e6
_NO_DIRECTION: Vector = (0.577350269189625731, 0.577350269189625731, 0.577350269189625731)

Triangle = tuple[int, int, int]


@dataclass(frozen=True)
class SurfaceSteps:
    """What coordinates are rounded to.

    out : step out of the plane of the gate's face, in the frame's units
    in_plane : steps within that plane, in steps of `out`
    closed : whether no edge of the surface is a border
    snapped : whether all coordinates are whole numbers, the nearest ones to what the steps lead to
    """

    out: float
    in_plane: float
    closed: bool
    snapped: bool = False

    @property
    def of_components(self) -> tuple[float, float, float]:
        """Steps ALONG, AWAY, OUT."""
        return (self.out * self.in_plane, self.out * self.in_plane, self.out)

    @property
    def of_seeds(self) -> float:
        """Step of the corners of a seed."""
        return 1.0 if self.snapped else self.out


@dataclass(frozen=True)
class VertexFrame:
    """Where a new vertex is expected and along which axes its distance from there is stored.

    axes : unit vectors ALONG, AWAY, OUT
    spreads : classes of the gate's width in the steps of the three components
    roughness : class of the heights around
    """

    expected: Vector
    axes: tuple[Vector, Vector, Vector]
    spreads: tuple[int, int, int]
    roughness: int

    def at(self, residual: Sequence[int], steps: SurfaceSteps) -> Vector:
        """Return the position that a residual in steps stands for."""
        position = self.expected
        for axis, value, step in zip(self.axes, residual, steps.of_components, strict=True):
            position = moved(position, axis, value * step)
        return rounded(position) if steps.snapped else position


class Guide(Protocol):
    """What an encoder knows. Vertices of the mesh have their own numbers, those of the walk another."""

    def seed(self) -> Triangle:
        """Return the first face of a part that was not reached."""

    def seed_position(self, index: int) -> Vector:
        """Return where a vertex of the seed is wanted."""

    def operation(self, edge: int) -> int:
        """Return the operation at an open half-edge."""

    def residual(self, frame: VertexFrame) -> Sequence[int]:
        """Return the residual of the vertex that the last operation asked for, in steps."""

    def corner(self, candidates: Sequence[int]) -> int:
        """Return which of these half-edges starts at the vertex that the last operation asked for."""

    def placed(self, position: Vector) -> None:
        """Learn where the vertex asked for came to lie; it gets the next number of the walk."""


class Nobody:
    """The guide of a decoder: what it says is ignored."""

    def seed(self) -> Triangle:
        """Return anything."""
        return (0, 0, 0)

    def seed_position(self, index: int) -> Vector:
        """Return anything."""
        return (0.0, 0.0, 0.0)

    def operation(self, edge: int) -> int:
        """Return anything."""
        return 0

    def residual(self, frame: VertexFrame) -> Sequence[int]:
        """Return anything."""
        return (0, 0, 0)

    def corner(self, candidates: Sequence[int]) -> int:
        """Return anything."""
        return 0

    def placed(self, position: Vector) -> None:
        """Learn nothing."""


class SurfaceWalk:
    """One way over a surface; `run` makes all of it."""

    def __init__(self, coder: BitCoder, models: SurfaceModels, steps: SurfaceSteps) -> None:
        self._coder = coder
        self._models = models
        self._steps = steps
        self._guide: Guide = Nobody()
        self.boundary = ActiveBoundary()
        self._positions: list[Vector] = []
        self._places = np.zeros((256, 3))  # the same, for all at once
        self._faces: list[Triangle] = []
        self._faces_at: list[int] = []
        self._roughness: list[int] = []
        self._history = [0, 0, 0]
        self._compared = 0

    def follow(self, guide: Guide) -> None:
        """Let an encoder say where to go."""
        self._guide = guide

    def run(
        self, face_count: int, check: Callable[[], None]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return vertices (v, 3) and faces (f, 3) of a surface of so many faces.

        check : called now and then, to end the walk by an exception
        Raises `CorruptFileError` when the stream leads nowhere.
        """
        passed = 0
        while len(self._faces) < face_count:
            self._start_part()
            while len(self._faces) <= face_count:
                edge = self.boundary.pop_gate()
                if edge is None:
                    break
                passed += 1
                if not passed & 255:
                    check()
                self._pass(edge)
        if len(self._faces) > face_count:
            raise CorruptFileError(f"A surface has more than the {face_count} faces that are announced.")
        return np.array(self._positions, np.float64), np.array(self._faces, np.int64)

    def _start_part(self) -> None:
        """Code the first face of a part, corner after corner."""
        first = len(self._positions)
        self._guide.seed()
        for index in range(3):
            base = self._positions[-1] if index or first else (0.0, 0.0, 0.0)
            wanted = self._guide.seed_position(index)
            steps = [
                self._models.seeds.code(self._coder, round((value - start) / self._steps.of_seeds), (index,))
                for value, start in zip(wanted, base, strict=True)
            ]
            x, y, z = (start + count * self._steps.of_seeds for start, count in zip(base, steps, strict=True))
            self._place((x, y, z), 2)
        self._add_face(first, first + 1, first + 2)
        self.boundary.start(first, first + 1, first + 2)

    def _pass(self, edge: int) -> None:
        """Code what is on the other side of an open half-edge."""
        boundary = self.boundary
        gate = self._gate(edge)
        operation = self._code_operation(gate)
        start, end = boundary.origin[edge], boundary.end(edge)
        if operation == NO_FACE:
            boundary.mark_border(edge)
        elif operation == NEW_VERTEX:
            vertex = self._code_vertex(gate)
            self._add_face(start, end, vertex)
            boundary.attach_vertex(edge, vertex)
        elif operation == NEXT:
            self._add_face(start, end, boundary.end(boundary.next[edge]))
            boundary.close_with_next(edge)
        elif operation == PREVIOUS:
            self._add_face(start, end, boundary.origin[boundary.previous[edge]])
            boundary.close_with_previous(edge)
        else:
            corner = self._code_corner(gate)
            self._add_face(start, end, boundary.origin[corner])
            boundary.attach_corner(edge, corner)

    def _gate(self, edge: int) -> Gate:
        boundary, positions = self.boundary, self._positions
        a, b = positions[boundary.origin[edge]], positions[boundary.end(edge)]
        opposite = positions[boundary.opposite[edge]]
        parallelogram = moved(difference(a, opposite), b, 1.0)
        return Gate(edge, a, b, opposite, length(difference(b, a)), parallelogram)

    def _code_operation(self, gate: Gate) -> int:
        boundary = self.boundary
        contexts = operation_contexts(boundary, gate, self._positions, self._faces_at, self._history)
        possible = (
            True,
            boundary.state[boundary.next[gate.edge]] == OPEN,
            boundary.state[boundary.previous[gate.edge]] == OPEN,
            not self._steps.closed,
        )
        operation = self._models.code_operation(
            self._coder, self._guide.operation(gate.edge), contexts, possible
        )
        self._history = [operation, *self._history[:2]]
        return operation

    def _code_vertex(self, gate: Gate) -> int:
        """Code where a new vertex is and return its number."""
        frame = self._frame(gate)
        residual = list(self._guide.residual(frame))
        earlier: list[int] = []
        for component in CODED_ORDER:
            contexts = residual_contexts(frame.spreads[component], frame.roughness, earlier)
            model = self._models.residuals[component]
            residual[component] = model.code(self._coder, residual[component], contexts)
            earlier.append(magnitude_of(residual[component]))
        position = frame.at(residual, self._steps)
        if max(map(abs, position)) > _FARTHEST:
            raise CorruptFileError("A surface leads far out of its frame.")
        return self._place(position, earlier[-1])

    def _frame(self, gate: Gate) -> VertexFrame:
        """Return where the vertex beyond a gate is expected, and the axes there."""
        boundary = self.boundary
        along = unit(difference(gate.b, gate.a)) or (1.0, 0.0, 0.0)
        behind = difference(gate.opposite, gate.a)
        out = unit(cross(behind, along)) or unit(cross(along, _NO_DIRECTION)) or (0.0, 0.0, 1.0)
        away = cross(out, along)
        centre = middle(gate.a, gate.b)
        back = difference(gate.opposite, centre)
        after = difference(self._positions[boundary.end(boundary.next[gate.edge])], centre)
        before = difference(self._positions[boundary.origin[boundary.previous[gate.edge]]], centre)
        farthest = _FARTHEST_NEIGHBOUR * gate.width
        around = [
            min(max(dot(way, axis), -farthest), farthest) for axis in (along, away) for way in (after, before)
        ]
        expected = centre
        for axis, weights in ((along, _ALONG_WEIGHTS), (away, _AWAY_WEIGHTS)):
            behind_part = weights[0] * dot(back, axis) + weights[5] * gate.width
            # Not by `sum`, which makes up for rounding since Python 3.12.
            distance = behind_part
            for weight, value in zip(weights[1:5], around, strict=True):
                distance += weight * value
            expected = moved(expected, axis, distance)
        along_step, away_step, out_step = self._steps.of_components
        spreads = (
            spread_of(gate.width / along_step),
            spread_of(gate.width / away_step),
            spread_of(gate.width / out_step),
        )
        corners = (boundary.origin[gate.edge], boundary.end(gate.edge), boundary.opposite[gate.edge])
        roughness = (sum(self._roughness[vertex] for vertex in corners) + 1) // 3
        return VertexFrame(expected, (along, away, out), spreads, roughness)

    def _code_corner(self, gate: Gate) -> int:
        """Code which corner of the boundary a face leads to: its rank by distance from the parallelogram."""
        candidates = self._corners_by_distance(gate)
        self._compared += len(candidates)
        if not candidates or self._compared > MOST_CORNERS_COMPARED:
            raise CorruptFileError("A surface leads to a corner that is not there, or to too many.")
        rank = self._models.corners.code(self._coder, self._guide.corner(candidates), (0,))
        if rank >= len(candidates):
            raise CorruptFileError(f"A surface leads to corner {rank} of {len(candidates)}.")
        return candidates[rank]

    def _corners_by_distance(self, gate: Gate) -> list[int]:
        """Return the half-edges at whose start a face may have its corner, nearest first, then oldest."""
        boundary = self.boundary
        edges = np.array(boundary.open_corners(), np.int64)
        starts = np.array([boundary.origin[edge] for edge in edges.tolist()], np.int64)
        elsewhere = (starts != boundary.origin[gate.edge]) & (starts != boundary.end(gate.edge))
        edges, starts = edges[elsewhere], starts[elsewhere]
        # Each operation for itself, as `vectors.dot` has them.
        x, y, z = (self._places[starts, axis] - gate.parallelogram[axis] for axis in range(3))
        order = np.lexsort((edges, (x * x + y * y) + z * z))
        nearest: list[int] = edges[order].tolist()
        return nearest

    def _place(self, position: Vector, roughness: int) -> int:
        if len(self._positions) == len(self._places):
            self._places = np.concatenate([self._places, np.zeros_like(self._places)])
        self._places[len(self._positions)] = position
        self._positions.append(position)
        self._faces_at.append(0)
        self._roughness.append(roughness)
        self._guide.placed(position)
        return len(self._positions) - 1

    def _add_face(self, a: int, b: int, c: int) -> None:
        self._faces.append((a, b, c))
        for vertex in (a, b, c):
            self._faces_at[vertex] += 1
