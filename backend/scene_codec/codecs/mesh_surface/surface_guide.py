"""Leads the walk over a known surface and rounds its vertices on the way.

A vertex is rounded to where error plus bits are least, and what it then is off moves the wanted places of its
neighbours that are still to come (as weights are rounded one after the other in E. Frantar et al., "GPTQ",
2022): the error is that of the surface, not of vertices, so that a vertex may well slide along it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from scene_codec.codecs.mesh_surface.active_boundary import OPEN, ActiveBoundary
from scene_codec.codecs.mesh_surface.surface_models import (
    CORNER,
    NEW_VERTEX,
    NEXT,
    NO_FACE,
    PREVIOUS,
    SurfaceModels,
    magnitude_of,
    residual_contexts,
)
from scene_codec.codecs.mesh_surface.surface_walk import (
    ALONG,
    AWAY,
    OUT,
    SurfaceSteps,
    SurfaceWalk,
    Triangle,
    VertexFrame,
)
from scene_codec.codecs.mesh_surface.vectors import Vector
from scene_codec.entropy.adaptive_bits import BitCounter
from scene_codec.entropy.adaptive_integers import LARGEST_INTEGER, IntegerCosts
from scene_codec.errors import CorruptFileError, UnsupportedSceneError
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.progress import Progress

_HOLD = 1e-3
"""Share of the mean weight of a vertex that holds it in all directions, also along a flat surface."""

_FARTHEST = LARGEST_INTEGER - 1
"""Steps beyond which a residual cannot be written."""

_SHARE_MADE_UP = 0.6

_NEAR_ZERO = 3
"""Residuals of up to so many steps are tried as zero, too."""


@dataclass(frozen=True)
class RoundingCost:
    """What rounding is charged with.

    curvature : (3v, 3v), squared error of the surface as a quadratic form of its vertices
    bit_price : the error that a bit is worth; 0 rounds to the nearest
    """

    curvature: csr_matrix
    bit_price: float


class SurfaceGuide:
    """The encoder's side of a `SurfaceWalk` over an oriented manifold mesh."""

    def __init__(
        self,
        wanted: NDArray[np.float64],
        faces: NDArray[np.int64],
        cost: RoundingCost,
        walk: tuple[ActiveBoundary, SurfaceModels, BitCounter, SurfaceSteps],
    ) -> None:
        """Prepare the guidance.

        wanted : (v, 3), in the frame
        walk : the boundary, models, coder and steps of the walk that is led
        """
        self._boundary, self._models, self._counter, self._steps = walk
        self._wanted = wanted.copy()
        self._apex = _apexes(faces)
        self._faces = faces
        self._next_face = 0
        self._number: dict[int, int] = {}
        self._placed = np.zeros(len(wanted), bool)
        self.order: list[int] = []
        self._asked: list[int] = []
        self._bit_price = cost.bit_price
        self._known_costs: dict[tuple[int, tuple[int, ...]], IntegerCosts] = {}
        self._coupling = _Coupling(cost.curvature, len(wanted))

    def seed(self) -> Triangle:
        """Return the first face of which no corner was reached."""
        while True:
            a, b, c = map(int, self._faces[self._next_face])
            self._next_face += 1
            if a not in self._number:
                self._asked = [c, b, a]
                return a, b, c

    def seed_position(self, index: int) -> Vector:
        """Return where the next corner of the seed is wanted."""
        return _vector(self._wanted[self._asked[-1]])

    def operation(self, edge: int) -> int:
        """Return what is on the other side of an open half-edge."""
        boundary = self._boundary
        start, end = self.order[boundary.origin[edge]], self.order[boundary.end(edge)]
        apex = self._apex.get((start, end))
        if apex is None:
            return NO_FACE
        self._asked = [apex]
        self._gate = (start, end)
        number = self._number.get(apex)
        if number is None:
            return NEW_VERTEX
        following, preceding = boundary.next[edge], boundary.previous[edge]
        if boundary.state[following] == OPEN and boundary.end(following) == number:
            return NEXT
        if boundary.state[preceding] == OPEN and boundary.origin[preceding] == number:
            return PREVIOUS
        return CORNER

    def corner(self, candidates: Sequence[int]) -> int:
        """Return which half-edge starts at the asked vertex, in the gap in which the face lies."""
        apex = self._asked[-1]
        number = self._number[apex]
        places = [place for place, edge in enumerate(candidates) if self._boundary.origin[edge] == number]
        for place in places[1:]:
            if self._gap_holds_gate(candidates[place], apex):
                return place
        return places[0]

    def residual(self, frame: VertexFrame) -> Sequence[int]:
        """Return the residual with the least error plus bits."""
        vertex = self._asked[-1]
        axes = np.array(frame.axes)
        exact = axes @ (self._wanted[vertex] - np.array(frame.expected)) / self._steps.of_components
        exact = np.clip(exact, -_FARTHEST, _FARTHEST)
        if self._bit_price == 0.0:
            return [round(value) for value in exact.tolist()]
        scaled = axes * np.array(self._steps.of_components)[:, None]
        form = scaled @ self._coupling.own(vertex) @ scaled.T
        return self._cheapest(exact.tolist(), form.tolist(), frame)

    def placed(self, position: Vector) -> None:
        """Note where the asked vertex lies and let its neighbours make up for what it is off."""
        vertex = self._asked.pop()
        self._number[vertex] = len(self.order)
        self._placed[vertex] = True
        self.order.append(vertex)
        off = np.array(position) - self._wanted[vertex]
        neighbours, shifts = self._coupling.shifts(vertex, off)
        waiting = ~self._placed[neighbours]
        self._wanted[neighbours[waiting]] += shifts[waiting]

    def _gap_holds_gate(self, edge: int, apex: int) -> bool:
        """Return whether the unknown faces at `apex` before a half-edge hold the gate's face.

        They are counted from both sides: a border may lie between them.
        """
        boundary, gate = self._boundary, set(self._gate)
        leaving = self.order[boundary.end(edge)]
        arriving = self.order[boundary.origin[boundary.previous[edge]]]
        for first, last, forwards in ((leaving, arriving, True), (arriving, leaving, False)):
            current: int | None = first
            while current is not None:
                following = self._apex.get((apex, current) if forwards else (current, apex))
                if {current, following} == gate:
                    return True
                current = None if following in (first, last) else following
        return False

    def _cheapest(self, exact: list[float], form: list[list[float]], frame: VertexFrame) -> list[int]:
        """Return residuals (ALONG, AWAY, OUT) around the exact ones: heights are chosen for each place."""
        best, least = [0, 0, 0], math.inf
        self._known_costs.clear()
        spreads, roughness, price = frame.spreads, frame.roughness, self._bit_price
        stiffness = max(form[OUT][OUT], 1e-300)
        flat = _without_height(form, stiffness)
        away_costs = self._costs(AWAY, residual_contexts(spreads[AWAY], roughness, ()))
        for away in _candidates(exact[AWAY]):
            away_bits = away_costs.of(away)
            off_away = away - exact[AWAY]
            earlier = [magnitude_of(away)]
            along_costs = self._costs(ALONG, residual_contexts(spreads[ALONG], roughness, earlier))
            for along in _candidates(exact[ALONG]):
                off_along = along - exact[ALONG]
                bits = away_bits + along_costs.of(along)
                if _plane_quadratic(flat, off_along, off_away) + price * bits >= least:
                    continue
                bend = form[ALONG][OUT] * off_along + form[AWAY][OUT] * off_away
                height = min(max(exact[OUT] - bend / stiffness, -_FARTHEST), _FARTHEST)
                contexts = residual_contexts(spreads[OUT], roughness, [*earlier, magnitude_of(along)])
                out_costs = self._costs(OUT, contexts)
                for out in _candidates(height):
                    error = _quadratic(form, (off_along, off_away, out - exact[OUT]))
                    if error >= least:
                        continue
                    total = error + price * (bits + out_costs.of(out))
                    if total < least:
                        best, least = [along, away, out], total
        return best

    def _costs(self, component: int, contexts: tuple[int, ...]) -> IntegerCosts:
        key = (component, contexts)
        known = self._known_costs.get(key)
        if known is None:
            known = self._known_costs[key] = self._models.residuals[component].costs(self._counter, contexts)
        return known


def led_walk(walk: SurfaceWalk, guide: SurfaceGuide, faces: int, progress: Progress) -> TriangleMesh:
    """Return what an encoder's walk over so many faces comes to, as a decoder sees it.

    Raises `UnsupportedSceneError` when a reader would refuse the surface, `Cancelled`.
    """
    walk.follow(guide)
    try:
        return TriangleMesh(*walk.run(faces, progress.check_cancelled))
    except CorruptFileError as error:
        raise UnsupportedSceneError(
            f"A surface of {faces} triangles has too many holes to be coded. Ask for fewer triangles, "
            "or for a larger error."
        ) from error


class LatticeGuide(SurfaceGuide):
    """The same for a mesh whose coordinates are whole numbers, which must be kept."""

    def residual(self, frame: VertexFrame) -> Sequence[int]:
        """Return the residual of the fewest bits that leads to the vertex."""
        wanted = _vector(self._wanted[self._asked[-1]])
        off = np.array(wanted) - np.array(frame.expected)
        exact = (np.array(frame.axes) @ off / self._steps.of_components).tolist()
        self._known_costs.clear()
        best, fewest = [round(value) for value in exact], math.inf
        for along, away, out in itertools.product(*map(_candidates, exact)):
            bits = self._bits(frame, along, away, out)
            if bits < fewest and frame.at((along, away, out), self._steps) == wanted:
                best, fewest = [along, away, out], bits
        return best

    def _bits(self, frame: VertexFrame, along: int, away: int, out: int) -> float:
        """Return the bits of a residual."""
        spreads, roughness = frame.spreads, frame.roughness
        classes = magnitude_of(away), magnitude_of(along)
        contexts = [residual_contexts(spreads[AWAY], roughness, ())]
        contexts.append(residual_contexts(spreads[ALONG], roughness, classes[:1]))
        contexts.append(residual_contexts(spreads[OUT], roughness, classes))
        return (
            self._costs(AWAY, contexts[0]).of(away)
            + self._costs(ALONG, contexts[1]).of(along)
            + self._costs(OUT, contexts[2]).of(out)
        )


class _Coupling:
    """How the error ties vertices to their neighbours: 3 x 3 blocks of the quadratic form."""

    def __init__(self, curvature: csr_matrix, vertices: int) -> None:
        blocks = curvature.tobsr((3, 3))
        blocks.sort_indices()
        self._starts, self._columns, self._blocks = blocks.indptr, blocks.indices, blocks.data
        self._own = np.zeros((vertices, 3, 3))
        rows = np.repeat(np.arange(vertices), np.diff(self._starts))
        diagonal = rows == self._columns
        self._own[rows[diagonal]] = self._blocks[diagonal]
        hold = _HOLD * float(np.trace(self._own, axis1=1, axis2=2).mean())
        self._own += hold * np.eye(3)
        self._inverse = np.linalg.inv(self._own)

    def own(self, vertex: int) -> NDArray[np.float64]:
        """Return the form of one vertex, all others held, (3, 3)."""
        block: NDArray[np.float64] = self._own[vertex]
        return block

    def shifts(self, vertex: int, off: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the vertices tied to one that is off, (n,), and how they would best move each, (n, 3)."""
        places = slice(self._starts[vertex], self._starts[vertex + 1])
        neighbours = self._columns[places]
        pulls = np.matmul(off, self._blocks[places])
        moves = _SHARE_MADE_UP * np.matmul(self._inverse[neighbours], pulls[:, :, None])[:, :, 0]
        return neighbours, -moves


def _apexes(faces: NDArray[np.int64]) -> dict[tuple[int, int], int]:
    """Return the third vertex of the face on the left of each directed edge."""
    apex = {}
    for a, b, c in faces.tolist():
        apex[a, b], apex[b, c], apex[c, a] = c, a, b
    return apex


def _vector(values: NDArray[np.float64]) -> Vector:
    x, y, z = values.tolist()
    return (x, y, z)


def _candidates(exact: float) -> list[int]:
    """Return numbers of steps around an exact one, nearest first, and 0 where it is not far."""
    nearest = round(exact)
    found = [nearest, nearest + 1 if exact > nearest else nearest - 1]
    if nearest:
        towards_zero = nearest - (1 if nearest > 0 else -1)
        if towards_zero != found[1]:
            found.append(towards_zero)
        if abs(nearest) <= _NEAR_ZERO and 0 not in found:
            found.append(0)
    return found


def _quadratic(form: list[list[float]], off: Sequence[float]) -> float:
    """Return off . form . off."""
    x, y, z = off
    return (
        form[0][0] * x * x
        + form[1][1] * y * y
        + form[2][2] * z * z
        + 2.0 * (form[0][1] * x * y + form[0][2] * x * z + form[1][2] * y * z)
    )


def _without_height(form: list[list[float]], stiffness: float) -> tuple[float, float, float]:
    """Return what is left of a form of three components when OUT is where it is least."""
    along, away = form[ALONG][OUT], form[AWAY][OUT]
    return (
        form[ALONG][ALONG] - along * along / stiffness,
        form[AWAY][AWAY] - away * away / stiffness,
        form[ALONG][AWAY] - along * away / stiffness,
    )


def _plane_quadratic(form: tuple[float, float, float], along: float, away: float) -> float:
    """Return the least error with these offsets, whatever the height."""
    return form[0] * along * along + form[1] * away * away + 2.0 * form[2] * along * away
