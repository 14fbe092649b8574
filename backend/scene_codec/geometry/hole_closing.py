"""Closes holes of surfaces that are to have fewer triangles than all their holes need.

No edge collapse takes a hole away: each keeps some triangles for itself. A hole is a border loop that is not
the longest one of its part. It is closed by triangles between its vertices and a new one amid them, or
without one where that would fold.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scene_codec.geometry.manifold_surface import parts_of
from scene_codec.geometry.scene_object import TriangleMesh


def border_loops(faces: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the vertices along each border of an oriented manifold, in the direction of its faces."""
    starts, ends = faces.T.ravel(), np.roll(faces, -1, axis=1).T.ravel()
    count = int(faces.max(initial=0)) + 1
    lonely = ~np.isin(starts * count + ends, ends * count + starts)
    following = dict(zip(starts[lonely].tolist(), ends[lonely].tolist(), strict=True))
    loops = []
    while following:
        vertex, after = following.popitem()
        loop = [vertex]
        while after != vertex:
            loop.append(after)
            after = following.pop(after)
        loops.append(np.array(loop))
    return loops


def holes_of(mesh: TriangleMesh) -> list[NDArray[np.int64]]:
    """Return the borders of an oriented manifold but the longest of each part, the shortest first."""
    part = np.zeros(len(mesh.vertices), np.int64)
    part[mesh.faces] = parts_of(mesh.faces)[:, None]
    loops = sorted(border_loops(mesh.faces), key=lambda loop: (_length(mesh.vertices[loop]), loop.min()))
    longest = {int(part[loop[0]]): number for number, loop in enumerate(loops)}
    return [loop for number, loop in enumerate(loops) if longest[int(part[loop[0]])] != number]


def with_holes_closed(mesh: TriangleMesh, count: int) -> TriangleMesh:
    """Return an oriented manifold with its `count` shortest holes closed, or as many as there are."""
    vertices, faces = [mesh.vertices], [mesh.faces]
    taken = len(mesh.vertices)
    for loop in holes_of(mesh)[:count]:
        corners = mesh.vertices[loop]
        added = _fan(len(loop))
        if _folds(corners, added):
            ears = ears_of(corners, _joined_pairs(mesh.faces, loop))
            added = added if ears is None else ears
        numbers = loop
        if (added == len(loop)).any():
            vertices.append(_centre(corners)[None])
            numbers = np.append(loop, taken)
            taken += 1
        faces.append(numbers[added])
    return TriangleMesh(np.concatenate(vertices), np.concatenate(faces))


def _length(corners: NDArray[np.float64]) -> float:
    """Return the length of a closed line."""
    return float(np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1).sum())


def _centre(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the centroid of a closed line, (3,)."""
    following = np.roll(corners, -1, axis=0)
    weights = np.linalg.norm(following - corners, axis=1) + 1e-300
    centre: NDArray[np.float64] = np.average((corners + following) / 2.0, axis=0, weights=weights)
    return centre


def _fan(sides: int) -> NDArray[np.int64]:
    """Return triangles that close a loop of so many vertices, numbered along it; the centre comes after."""
    if sides == 3:
        return np.array([[2, 1, 0]])
    along = np.arange(sides)
    return np.stack([np.roll(along, -1), along, np.full(sides, sides)], axis=1)


def _folds(corners: NDArray[np.float64], fan: NDArray[np.int64]) -> bool:
    """Return whether triangles of a fan look to different sides."""
    points = np.vstack([corners, _centre(corners)])[fan]
    normals = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
    return bool((normals @ normals.sum(axis=0) < 0.0).any())


def _joined_pairs(faces: NDArray[np.int64], loop: NDArray[np.int64]) -> set[tuple[int, int]]:
    """Return the pairs of a loop's vertices, numbered along it, between which there is an edge."""
    number = np.full(int(faces.max()) + 1, -1)
    number[loop] = np.arange(len(loop))
    within = number[faces]
    pairs = np.concatenate([within[:, [0, 1]], within[:, [1, 2]], within[:, [2, 0]]])
    return {(min(a, b), max(a, b)) for a, b in pairs[(pairs >= 0).all(axis=1)].tolist()}


def ears_of(corners: NDArray[np.float64], joined: set[tuple[int, int]]) -> NDArray[np.int64] | None:
    """Return triangles without a centre that close a loop, (n - 2, 3), cut off one by one; None if none do.

    corners : (n, 3), seen along the mean normal of the loop
    joined : pairs of corners that must get no other edge
    """
    doubled_area = np.cross(corners, np.roll(corners, -1, axis=0)).sum(axis=0)
    normal = doubled_area / (np.linalg.norm(doubled_area) + 1e-300)
    right = np.cross(normal, np.eye(3)[np.argmin(np.abs(normal))])
    flat = np.stack([corners @ right, corners @ np.cross(normal, right)], axis=1) / np.linalg.norm(right)
    left, found = list(range(len(corners))), []
    while len(left) > 3:
        ears = [
            (float(((flat[a] - flat[c]) ** 2).sum()), place)
            for place, (a, b, c) in enumerate(zip(left[-1:] + left, left, left[1:] + left[:1], strict=False))
            if (min(a, c), max(a, c)) not in joined and _is_ear(flat, left, (a, b, c))
        ]
        if not ears:
            return None
        _, place = min(ears)
        found.append((left[(place + 1) % len(left)], left[place], left[place - 1]))
        del left[place]
    found.append((left[2], left[1], left[0]))
    return np.array(found)


def _is_ear(flat: NDArray[np.float64], left: list[int], corner: tuple[int, int, int]) -> bool:
    """Return whether a corner of a polygon in the plane is convex and holds no other one."""
    a, b, c = flat[list(corner)]
    others = flat[[vertex for vertex in left if vertex not in corner]]
    if _turn(a, b, c[None])[0] <= 0.0:
        return False
    sides = np.stack([_turn(a, b, others), _turn(b, c, others), _turn(c, a, others)])
    return not (sides >= 0.0).all(axis=0).any()


def _turn(a: NDArray[np.float64], b: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return on which side of a line from `a` to `b` points lie, positive to the left, (n,)."""
    turn: NDArray[np.float64] = (b[0] - a[0]) * (points[:, 1] - a[1]) - (b[1] - a[1]) * (points[:, 0] - a[0])
    return turn
