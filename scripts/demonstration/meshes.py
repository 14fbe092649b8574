"""Procedural meshes of many kinds, so that the demonstration needs no download.

Closed and open, one part and many, smooth and sharp-edged, thick and thin: each stands for what scenes are
full of. Every function returns `(vertices (v, 3) float64, faces (f, 3) int64)`, faces counter-clockwise seen
from outside.
"""

from __future__ import annotations

from collections.abc import Callable

import mcubes
import numpy as np
from numpy.typing import NDArray

Vertices = NDArray[np.float64]
Faces = NDArray[np.int64]
Mesh = tuple[Vertices, Faces]

VOXELS = 76
"""Grid points an axis for the shapes that are made as level sets."""


def torus_knot() -> Mesh:
    """Make a (2, 3) torus knot: a closed tube that passes close to itself."""
    t = np.linspace(0.0, 2.0 * np.pi, 320, endpoint=False)
    radius = 2.0 + np.cos(3.0 * t)
    path = np.stack([radius * np.cos(2.0 * t), radius * np.sin(2.0 * t), 1.2 * np.sin(3.0 * t)], axis=1)
    return sweep(path, np.full(len(t), 0.42), sides=24, closed=True)


def spring() -> Mesh:
    """Make a coil spring with flat ends: a thin tube."""
    t = np.linspace(0.0, 1.0, 420)
    angle = 2.0 * np.pi * 6.0 * t
    path = np.stack([np.cos(angle), np.sin(angle), 2.6 * (t - 0.5)], axis=1)
    return sweep(path, np.full(len(t), 0.13), sides=16, closed=False)


def chain() -> Mesh:
    """Make five links that hold each other: five closed parts in one object."""
    links = []
    for index in range(5):
        t = np.linspace(0.0, 2.0 * np.pi, 96, endpoint=False)
        stretch = 0.55 * np.sign(np.cos(t)) * np.minimum(1.0, 6.0 * np.abs(np.cos(t)))
        loop = np.stack([0.55 * np.cos(t) + stretch, 0.62 * np.sin(t), np.zeros_like(t)], axis=1)
        if index % 2:
            loop = loop[:, [0, 2, 1]] * np.array([1.0, -1.0, 1.0])
        links.append(
            sweep(loop + np.array([1.62 * (index - 2), 0.0, 0.0]), np.full(96, 0.2), 18, closed=True)
        )
    return merge(links)


def gear() -> Mesh:
    """Make a spur gear with a bore: sharp edges and flat faces, as from a CAD program."""
    teeth, steps = 14, 16
    phase = (np.arange(teeth * steps) / steps) % 1.0
    flank = np.clip(np.minimum(phase - 0.14, 0.62 - phase) / 0.09, 0.0, 1.0)
    outer = 1.0 + 0.22 * flank
    angle = 2.0 * np.pi * np.arange(teeth * steps) / (teeth * steps)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    rings = [
        (outer, -0.28),
        (outer, 0.28),
        (np.full_like(outer, 0.8), 0.28),
        (np.full_like(outer, 0.8), 0.16),
    ]
    rings += [
        (np.full_like(outer, 0.5), 0.16),
        (np.full_like(outer, 0.5), 0.4),
        (np.full_like(outer, 0.3), 0.4),
    ]
    rings += [(np.full_like(outer, 0.3), -0.28)]
    profile = [np.column_stack([circle * size[:, None], np.full(len(circle), z)]) for size, z in rings]
    return grid_surface(np.stack(profile), wrap_rows=True, wrap_columns=True)


def vase() -> Mesh:
    """Make a fluted vase with a wall of some thickness: a surface of revolution, closed."""
    height = np.linspace(0.0, 1.0, 90)
    outside = 0.42 + 0.34 * np.sin(2.6 * height + 0.35) ** 2 - 0.2 * height + 0.16 * height**6
    wall = np.concatenate([outside, outside[:2:-1] - 0.05])
    level = 2.2 * np.concatenate([height, height[:2:-1]])
    angle = np.linspace(0.0, 2.0 * np.pi, 120, endpoint=False)
    flute = 1.0 + 0.045 * np.cos(12.0 * angle)[None] * np.sin(np.pi * np.clip(level / 2.2, 0, 1))[:, None]
    radius = wall[:, None] * flute
    points = np.stack(
        [radius * np.cos(angle), radius * np.sin(angle), np.broadcast_to(level[:, None], radius.shape)],
        axis=2,
    )
    vertices, faces = grid_surface(points, wrap_rows=False, wrap_columns=True)
    return close_ring_ends(vertices, faces, len(angle))


def bumpy_sphere() -> Mesh:
    """Make a ball of ridges on several scales: detail everywhere."""
    theta = np.linspace(0.0, np.pi, 122)[1:-1]
    phi = np.linspace(0.0, 2.0 * np.pi, 240, endpoint=False)
    polar, around = np.meshgrid(theta, phi, indexing="ij")
    unit = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], axis=2)
    draw = np.random.default_rng(7)
    height = np.zeros(unit.shape[:2])
    for frequency, size in ((3.0, 0.12), (6.0, 0.06), (12.0, 0.025)):
        for _ in range(3):
            direction = draw.normal(size=3)
            direction *= frequency / np.linalg.norm(direction)
            height += size * np.cos(unit @ direction + draw.uniform(0.0, 6.28))
    points = (unit * (1.0 + height)[..., None])[::-1]
    vertices, faces = grid_surface(points, wrap_rows=False, wrap_columns=True)
    return close_ring_ends(vertices, faces, len(phi))


def terrain() -> Mesh:
    """Make a mountain landscape: an open height field."""
    size = 129
    axis = np.linspace(-1.0, 1.0, size)
    x, y = np.meshgrid(axis, axis, indexing="xy")
    draw = np.random.default_rng(11)
    height = np.zeros_like(x)
    for octave in range(4):
        scale = 1.7 * 1.9**octave
        angle, shift = draw.uniform(0.0, 6.28, 2), draw.uniform(0.0, 6.28, 2)
        wave = np.sin(scale * (x * np.cos(angle[0]) + y * np.sin(angle[0])) + shift[0])
        wave *= np.sin(scale * (y * np.cos(angle[1]) - x * np.sin(angle[1])) + shift[1])
        height += (1.0 - np.abs(wave)) * 0.4**octave
    height = 0.6 * (height - height.mean()) * np.exp(-0.6 * (x**2 + y**2))
    return grid_surface(np.stack([x, y, height], axis=2), wrap_rows=False, wrap_columns=False)


def cloth() -> Mesh:
    """Make a cloth that lies over a ball and hangs in folds: an open sheet without thickness."""
    size = 121
    axis = np.linspace(-1.25, 1.25, size)
    x, y = np.meshgrid(axis, axis, indexing="xy")
    distance, angle = np.hypot(x, y), np.arctan2(y, x)
    drop = np.clip(distance - 0.62, 0.0, None)
    fold = 1.0 + 0.2 * np.clip(drop / 0.5, 0.0, 1.0) * np.cos(8.0 * angle)
    radius = np.where(distance < 0.62, distance, 0.62 + 0.28 * drop) * fold
    level = -0.95 * drop - 0.35 * np.minimum(distance, 0.62) ** 2
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle), level], axis=2)
    return grid_surface(points, wrap_rows=False, wrap_columns=False)


def gyroid_ball() -> Mesh:
    """Make a gyroid cut to a ball: one thin curved wall with many tunnels."""
    x, y, z = _grid(1.12)
    k = 6.0
    gyroid = np.sin(k * x) * np.cos(k * y) + np.sin(k * y) * np.cos(k * z) + np.sin(k * z) * np.cos(k * x)
    wall = np.abs(gyroid) / (1.2 * k) - 0.085
    ball = np.sqrt(x**2 + y**2 + z**2) - 1.0
    # A rounded cut: a sharp one would show the grid's steps along its edge.
    rounded = 0.02 * np.logaddexp(wall / 0.02, ball / 0.02)
    return _level_set(rounded, 1.12)


def bracket() -> Mesh:
    """Make an angle bracket with a rib and four holes: a machine part with rounded edges."""
    x, y, z = _grid(1.12)
    foot = _box(x, y, z + 0.82, (0.95, 0.8, 0.13))
    back = _box(x + 0.82, y, z, (0.13, 0.8, 0.95))
    rib = np.maximum(_box(x + 0.3, y, z + 0.3, (0.6, 0.1, 0.6)), (x + z + 0.35) / np.sqrt(2.0))
    body = np.minimum(np.minimum(foot, back), rib)
    for side in (-0.45, 0.45):
        body = np.maximum(body, 0.2 - np.hypot(x - 0.42, y - side))
        body = np.maximum(body, 0.2 - np.hypot(y - side, z - 0.42))
    return _level_set(body, 1.12)


def character() -> Mesh:
    """Make a little creature made of blended balls: arms, legs, ears and a belly."""
    x, y, z = _grid(1.2)
    balls = [
        ((0.0, 0.0, 0.52), 0.34), ((0.0, 0.0, -0.1), 0.42), ((0.0, -0.1, -0.25), 0.4),
        ((-0.24, 0.0, 0.92), 0.13), ((0.24, 0.0, 0.92), 0.13), ((0.0, -0.34, 0.5), 0.13),
        ((-0.46, 0.0, 0.12), 0.17), ((-0.66, -0.08, 0.22), 0.13), ((-0.8, -0.12, 0.4), 0.13),
        ((0.46, 0.0, 0.12), 0.17), ((0.66, -0.08, -0.02), 0.13), ((0.78, -0.12, -0.2), 0.13),
        ((-0.24, 0.0, -0.62), 0.19), ((-0.26, 0.0, -0.84), 0.15), ((-0.27, -0.14, -0.98), 0.14),
        ((0.24, 0.0, -0.62), 0.19), ((0.26, 0.0, -0.84), 0.15), ((0.27, -0.14, -0.98), 0.14),
    ]  # fmt: skip
    field = np.zeros_like(x)
    for (a, b, c), radius in balls:
        field += np.exp(-4.0 * (((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / radius**2 - 1.0))
    return _level_set(-np.log(np.maximum(field, 1e-30)), 1.2)


SHAPES: dict[str, Callable[[], Mesh]] = {
    "Torus knot": torus_knot,
    "Gear": gear,
    "Bracket": bracket,
    "Vase": vase,
    "Character": character,
    "Bumpy sphere": bumpy_sphere,
    "Gyroid ball": gyroid_ball,
    "Chain": chain,
    "Spring": spring,
    "Terrain (open)": terrain,
    "Cloth (open)": cloth,
}


def grid_surface(points: Vertices, *, wrap_rows: bool, wrap_columns: bool) -> Mesh:
    """Triangulate a grid of points `(rows, columns, 3)`; a wrapped direction is joined at its end."""
    rows, columns = points.shape[:2]
    row = np.arange(rows if wrap_rows else rows - 1)[:, None]
    column = np.arange(columns if wrap_columns else columns - 1)[None]
    below, beside = (row + 1) % rows, (column + 1) % columns
    corner, right = row * columns + column, row * columns + beside
    down, opposite = below * columns + column, below * columns + beside
    first = np.stack(np.broadcast_arrays(corner, right, opposite), axis=-1).reshape(-1, 3)
    second = np.stack(np.broadcast_arrays(corner, opposite, down), axis=-1).reshape(-1, 3)
    return points.reshape(-1, 3).astype(np.float64), np.concatenate([first, second]).astype(np.int64)


def close_ring_ends(vertices: Vertices, faces: Faces, ring: int) -> Mesh:
    """Close the first and the last ring of `ring` vertices with a fan around their centres."""
    start, end = vertices[:ring].mean(axis=0), vertices[-ring:].mean(axis=0)
    count = len(vertices)
    index = np.arange(ring)
    following = (index + 1) % ring
    first = np.stack([np.full(ring, count), following, index], axis=1)
    base = count - ring
    last = np.stack([np.full(ring, count + 1), base + index, base + following], axis=1)
    return np.concatenate([vertices, start[None], end[None]]), np.concatenate([faces, first, last])


def sweep(path: Vertices, radius: NDArray[np.float64], sides: int, *, closed: bool) -> Mesh:
    """Sweep a circle along `path` (n, 3); an open path gets flat ends."""
    ahead, behind = np.roll(path, -1, axis=0), np.roll(path, 1, axis=0)
    tangent = ahead - behind if closed else np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    normal = _carried_normals(tangent, closed=closed)
    binormal = np.cross(tangent, normal)
    angle = np.linspace(0.0, 2.0 * np.pi, sides, endpoint=False)
    offset = np.cos(angle)[None, :, None] * normal[:, None] + np.sin(angle)[None, :, None] * binormal[:, None]
    points = path[:, None] + radius[:, None, None] * offset
    vertices, faces = grid_surface(points, wrap_rows=closed, wrap_columns=True)
    return (vertices, faces) if closed else close_ring_ends(vertices, faces, sides)


def merge(parts: list[Mesh]) -> Mesh:
    """Join meshes into one with several parts."""
    starts = np.cumsum([0] + [len(vertices) for vertices, _ in parts[:-1]])
    vertices = np.concatenate([part for part, _ in parts])
    return vertices, np.concatenate([part + start for (_, part), start in zip(parts, starts, strict=True)])


def _carried_normals(tangent: Vertices, *, closed: bool) -> Vertices:
    """Carry one normal along the path without twist; what a closed path has left is spread evenly."""
    normal = np.zeros_like(tangent)
    current = np.cross(tangent[0], np.eye(3)[np.argmin(np.abs(tangent[0]))])
    for index, direction in enumerate(tangent):
        current = current - direction * (current @ direction)
        current = current / np.linalg.norm(current)
        normal[index] = current
    if not closed:
        return normal
    back = current - tangent[0] * (current @ tangent[0])
    twist = np.arctan2(np.cross(normal[0], back) @ tangent[0], normal[0] @ back)
    angle = -twist * np.arange(len(tangent)) / len(tangent)
    return normal * np.cos(angle)[:, None] + np.cross(tangent, normal) * np.sin(angle)[:, None]


def _grid(extent: float) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the coordinates of a cubic grid of `VOXELS` points an axis over [-extent, extent]."""
    axis = np.linspace(-extent, extent, VOXELS)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    return x, y, z


def _box(
    x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64], half: tuple[float, float, float]
) -> NDArray[np.float64]:
    """Return the signed distance to a box around the origin with the given half sizes."""
    q = np.stack([np.abs(x) - half[0], np.abs(y) - half[1], np.abs(z) - half[2]])
    return np.linalg.norm(np.maximum(q, 0.0), axis=0) + np.minimum(q.max(axis=0), 0.0)


def _level_set(field: NDArray[np.float64], extent: float) -> Mesh:
    """Return the zero level of `field`, negative inside, given on the grid of `_grid`."""
    vertices, faces = mcubes.marching_cubes(-field, 0.0)
    return vertices * (2.0 * extent / (VOXELS - 1)) - extent, faces.astype(np.int64)
