"""The edge of the part of a surface that is known so far: loops of half-edges that wait for their face.

A half-edge runs as the face that is missing on it will run. Each knows the next and the previous one of its
loop, so that a new face changes a few links only, whether loops grow, shrink, split or merge.
"""

from __future__ import annotations

OPEN = 0
BORDER = 1
CLOSED = 2


class ActiveBoundary:
    """Half-edges by number; numbers are never used again.

    origin : vertex at which each starts
    opposite : the third vertex of the known face on its other side
    state : OPEN while the face is not known, BORDER when there is none, CLOSED when it is known
    """

    def __init__(self) -> None:
        self.origin: list[int] = []
        self.opposite: list[int] = []
        self.state: list[int] = []
        self.next: list[int] = []
        self.previous: list[int] = []
        self._open: dict[int, None] = {}
        self._waiting: list[int] = []

    def __len__(self) -> int:
        """Return how many half-edges there have been."""
        return len(self.origin)

    def end(self, edge: int) -> int:
        """Return the vertex at which a half-edge ends."""
        return self.origin[self.next[edge]]

    def open_corners(self) -> list[int]:
        """Return the half-edges before which a face may have a corner: that or the previous one is open."""
        behind = [self.next[edge] for edge in self._open]
        return [*self._open, *(edge for edge in behind if self.state[edge] != OPEN)]

    def pop_gate(self) -> int | None:
        """Return the open half-edge that comes next, the youngest; None when there is none."""
        while self._waiting:
            edge = self._waiting.pop()
            if self.state[edge] == OPEN:
                return edge
        return None

    def start(self, a: int, b: int, c: int) -> None:
        """Add the boundary of a triangle that touches nothing known."""
        edges = [self._add(v, w) for v, w in ((b, c), (c, a), (a, b))]
        for index in range(3):
            self._link(edges[index], edges[index - 1])
        self._waiting += edges

    def mark_border(self, edge: int) -> None:
        """Say that there is no face on an open half-edge."""
        self.state[edge] = BORDER
        del self._open[edge]

    def attach_vertex(self, gate: int, vertex: int) -> None:
        """Close a gate by a face with a vertex that is new."""
        before, after = self.previous[gate], self.next[gate]
        first, second = self._sides(gate, vertex)
        self._close(gate)
        self._link(before, first)
        self._link(first, second)
        self._link(second, after)
        self._wait(before, first, second)

    def close_with_next(self, gate: int) -> None:
        """Close a gate and the next half-edge by one face."""
        following = self.next[gate]
        before, after = self.previous[gate], self.next[following]
        self._close(gate)
        self._close(following)
        if after == before:
            self._close(before)
            return
        bridge = self._add(self.origin[gate], self.origin[following])
        self._link(before, bridge)
        self._link(bridge, after)
        self._zip(bridge)

    def close_with_previous(self, gate: int) -> None:
        """Close a gate and the half-edge before it by one face."""
        preceding, after = self.previous[gate], self.next[gate]
        before = self.previous[preceding]
        self._close(gate)
        self._close(preceding)
        bridge = self._add(self.origin[preceding], self.origin[gate])
        self._link(before, bridge)
        self._link(bridge, after)
        self._zip(bridge)

    def attach_corner(self, gate: int, corner: int) -> None:
        """Close a gate by a face with the vertex at which the half-edge `corner` starts."""
        before, after = self.previous[gate], self.next[gate]
        arriving = self.previous[corner]
        first, second = self._sides(gate, self.origin[corner])
        self._close(gate)
        self._link(before, first)
        self._link(first, corner)
        self._link(arriving, second)
        self._link(second, after)
        self._wait(before, first, arriving, second)
        self._zip(first)
        self._zip(second)

    def _add(self, origin: int, opposite: int) -> int:
        self.origin.append(origin)
        self.opposite.append(opposite)
        self.state.append(OPEN)
        self.next.append(-1)
        self.previous.append(-1)
        edge = len(self.origin) - 1
        self._open[edge] = None
        return edge

    def _sides(self, gate: int, vertex: int) -> tuple[int, int]:
        """Return the half-edges on the two other sides of a face on `gate`, not yet linked."""
        start, end = self.origin[gate], self.end(gate)
        return self._add(start, end), self._add(vertex, start)

    def _close(self, edge: int) -> None:
        self.state[edge] = CLOSED
        # A damaged stream may close a border.
        self._open.pop(edge, None)

    def _link(self, first: int, second: int) -> None:
        self.next[first] = second
        self.previous[second] = first

    def _wait(self, *edges: int) -> None:
        self._waiting += [edge for edge in edges if self.state[edge] == OPEN]

    def _zip(self, edge: int) -> None:
        """Close an open half-edge and its neighbour in the loop where they run along each other."""
        if self.state[edge] != OPEN:
            return
        before, after = self.previous[edge], self.next[edge]
        for first, second in ((edge, after), (before, edge)):
            if first == second or self.state[first] != OPEN or self.state[second] != OPEN:
                continue
            if self.origin[first] == self.end(second):
                outer, inner = self.previous[first], self.next[second]
                self._close(first)
                self._close(second)
                if outer != second:
                    self._link(outer, inner)
                    self._wait(outer)
                return
        self._wait(before, edge)
