"""Thin shapes made here, so that the comparison runs without any data, and the measure of what is thin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.signed_distance import SurfaceDistance, is_closed

_BOX_CORNERS = np.array([[x, y, z] for z in (-0.5, 0.5) for y in (-0.5, 0.5) for x in (-0.5, 0.5)])
_BOX_FACES = np.array(
    [
        [0, 2, 1], [1, 2, 3], [4, 5, 6], [5, 7, 6], [0, 1, 4], [1, 5, 4],
        [2, 6, 3], [3, 6, 7], [0, 4, 2], [2, 4, 6], [1, 3, 5], [3, 7, 5],
    ]
)  # fmt: skip


def thin_shapes() -> dict[str, TriangleMesh]:
    """Return plates, wires and shells, 0.01 to 0.03 thick in a size of 2, none aligned with the grid."""
    frame = [_box((2.0, 0.03, 0.03), (0.0, y, z)) for y in (-0.6, 0.6) for z in (-0.4, 0.4)]
    frame += [_box((0.03, 1.2, 0.02), (x, 0.0, z)) for x in (-0.8, 0.0, 0.8) for z in (-0.4, 0.4)]
    shapes = {
        "plate 0.01": _box((2.0, 1.4, 0.01)),
        "plate 0.03": _box((2.0, 1.4, 0.03)),
        "blades": _union([_turned(_box((1.8, 0.15, 0.012)), 0.5 * step) for step in range(7)]),
        "frame of bars": _union(frame),
        "ring": _tube(lambda angle: np.stack([np.cos(angle), np.sin(angle), 0.0 * angle], axis=1), 0.015),
        "knot": _tube(_trefoil, 0.02),
        "ribbon": _ribbon(0.015),
        "hollow sphere": _shell(0.02),
    }
    return {name: _turned(mesh, 0.7) for name, mesh in shapes.items()}


def mean_thickness(mesh: TriangleMesh) -> float:
    """Return 2 * volume / area: the thickness of a plate of this volume and area, in the mesh's units."""
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    volume = np.einsum("ij,ij->i", corners[:, 0], normals).sum() / 6.0
    return float(2.0 * abs(volume) / (0.5 * np.linalg.norm(normals, axis=1).sum()))


def bounds_a_solid(mesh: TriangleMesh) -> bool:
    """Tell whether a mesh is closed and at least 95 % of its surface separates inside from outside."""
    if not is_closed(mesh):
        return False
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    doubled = np.linalg.norm(normals, axis=1)
    generator = np.random.default_rng(0)
    pick = generator.choice(len(doubled), 2000, p=doubled / doubled.sum())
    points = np.einsum("ij,ijk->ik", generator.dirichlet(np.ones(3), len(pick)), corners[pick])
    step = 1e-4 * normals[pick] / doubled[pick, None]
    surface = SurfaceDistance(mesh)
    return bool((surface.inside(points - step) != surface.inside(points + step)).mean() >= 0.95)


_Triple = tuple[float, float, float]


def _box(size: _Triple, centre: _Triple = (0.0, 0.0, 0.0)) -> TriangleMesh:
    return TriangleMesh(_BOX_CORNERS * np.array(size) + np.array(centre), _BOX_FACES)


def _union(parts: list[TriangleMesh]) -> TriangleMesh:
    """Return several meshes as one; where they overlap, walls stay inside."""
    starts = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    return TriangleMesh(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=True)]),
    )


def _turned(mesh: TriangleMesh, angle: float) -> TriangleMesh:
    """Rotate about an axis that is aligned with nothing."""
    axis = np.array([0.36, 0.48, 0.8])
    cross = np.array([[0.0, -axis[2], axis[1]], [axis[2], 0.0, -axis[0]], [-axis[1], axis[0], 0.0]])
    rotation = np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross
    return TriangleMesh(mesh.vertices @ rotation.T, mesh.faces)


def _trefoil(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.sin(angle) + 2.0 * np.sin(2.0 * angle)
    y = np.cos(angle) - 2.0 * np.cos(2.0 * angle)
    return np.stack([x, y, -np.sin(3.0 * angle)], axis=1) / 3.0


def _tube(curve, radius: float, steps: int = 240, sides: int = 16) -> TriangleMesh:  # noqa: ANN001
    """Return a closed tube around a closed curve."""
    angle = np.arange(steps) * (2.0 * np.pi / steps)
    centre = curve(angle)
    tangent = np.roll(centre, -1, axis=0) - np.roll(centre, 1, axis=0)
    first = np.cross(tangent, [0.1, 0.2, 1.0])
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(tangent, first)
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    around = np.arange(sides) * (2.0 * np.pi / sides)
    offset = first[:, None] * np.cos(around)[None, :, None] + second[:, None] * np.sin(around)[None, :, None]
    vertices = (centre[:, None] + radius * offset).reshape(-1, 3)
    return TriangleMesh(vertices, _wrapped_quads(np.arange(steps * sides).reshape(steps, sides)))


def _wrapped_quads(index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the triangles of a grid of vertices that closes in both directions."""
    a, b = index, np.roll(index, -1, axis=1)
    c, d = np.roll(index, -1, axis=0), np.roll(np.roll(index, -1, axis=0), -1, axis=1)
    quads = [np.stack([a, c, b], axis=-1), np.stack([b, c, d], axis=-1)]
    return np.concatenate([part.reshape(-1, 3) for part in quads])


def _ribbon(thickness: float) -> TriangleMesh:
    """Return a wavy band, closed all around like a flattened tube."""
    steps = 160
    along = np.linspace(-1.0, 1.0, steps)
    middle = np.stack([along, 0.2 * np.sin(5.0 * along), 0.0 * along], axis=1)
    normal = np.stack([-1.0 * np.cos(5.0 * along), np.ones(steps), 0.0 * along], axis=1)
    normal *= 0.5 * thickness / np.linalg.norm(normal, axis=1, keepdims=True)
    half = np.array([0.0, 0.0, 0.25])
    corners = [middle + normal - half, middle + normal + half, middle - normal + half, middle - normal - half]
    index = np.arange(4 * steps).reshape(steps, 4)
    a, b = index[:-1], np.roll(index[:-1], -1, axis=1)
    c, d = index[1:], np.roll(index[1:], -1, axis=1)
    sides = [np.stack([a, b, c], axis=-1).reshape(-1, 3), np.stack([b, d, c], axis=-1).reshape(-1, 3)]
    ends = np.array([[0, 2, 1], [0, 3, 2]]), np.array([[0, 1, 2], [0, 2, 3]]) + 4 * (steps - 1)
    vertices = np.stack(corners, axis=1).reshape(-1, 3)
    return TriangleMesh(vertices, np.concatenate([*sides, *ends]))


def _shell(thickness: float) -> TriangleMesh:
    """Return a hollow sphere: an outer surface and an inner one that faces its centre."""
    steps = 48
    angles = np.pi * np.arange(1, steps) / steps, np.pi * np.arange(2 * steps) / steps
    polar, around = np.meshgrid(*angles, indexing="ij")
    rings = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], axis=-1)
    vertices = np.concatenate([rings.reshape(-1, 3), [[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]])
    index = np.arange((steps - 1) * 2 * steps).reshape(steps - 1, 2 * steps)
    a, b = index[:-1], np.roll(index[:-1], -1, axis=1)
    c, d = index[1:], np.roll(index[1:], -1, axis=1)
    top, bottom = np.full(2 * steps, len(vertices) - 2), np.full(2 * steps, len(vertices) - 1)
    faces = np.concatenate(
        [
            np.stack([a, c, b], axis=-1).reshape(-1, 3),
            np.stack([b, c, d], axis=-1).reshape(-1, 3),
            np.stack([top, index[0], np.roll(index[0], -1)], axis=1),
            np.stack([bottom, np.roll(index[-1], -1), index[-1]], axis=1),
        ]
    )
    outer, inner = TriangleMesh(vertices, faces), TriangleMesh((1.0 - thickness) * vertices, faces[:, ::-1])
    return _union([outer, inner])
