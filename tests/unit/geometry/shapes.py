"""Small meshes for the tests, made here so that no test needs a file."""

from __future__ import annotations

import numpy as np

from scene_codec.geometry.scene_object import TriangleMesh

_BOX_FACES = np.array(
    [
        [0, 2, 1], [1, 2, 3], [4, 5, 6], [5, 7, 6], [0, 1, 4], [1, 5, 4],
        [2, 6, 3], [3, 6, 7], [0, 4, 2], [2, 4, 6], [1, 3, 5], [3, 7, 5],
    ]
)  # fmt: skip


def box(size=(1.0, 1.0, 1.0), centre=(0.0, 0.0, 0.0)) -> TriangleMesh:
    corners = np.array([[x, y, z] for z in (-0.5, 0.5) for y in (-0.5, 0.5) for x in (-0.5, 0.5)])
    return TriangleMesh(corners * np.array(size) + np.array(centre), _BOX_FACES.copy())


def sphere(radius=0.7, rows=24) -> TriangleMesh:
    """A closed sphere of quads, poles included as single vertices."""
    columns = 2 * rows
    polar = np.linspace(0.0, np.pi, rows + 1)[1:-1]
    around = np.arange(columns) * (2.0 * np.pi / columns)
    ring = np.stack([np.cos(around), np.sin(around), np.zeros(columns)], axis=1)
    layers = [ring * np.sin(angle) + np.array([0.0, 0.0, np.cos(angle)]) for angle in polar]
    vertices = np.concatenate([*layers, [[0.0, 0.0, 1.0]], [[0.0, 0.0, -1.0]]]) * radius
    index = np.arange((rows - 1) * columns).reshape(rows - 1, columns)
    a, b = index[:-1], np.roll(index[:-1], -1, axis=1)
    c, d = index[1:], np.roll(index[1:], -1, axis=1)
    top, bottom = len(vertices) - 2, len(vertices) - 1
    first, last = index[0], index[-1]
    faces = [
        np.stack([a, c, b], axis=-1).reshape(-1, 3),
        np.stack([b, c, d], axis=-1).reshape(-1, 3),
        np.stack([np.full(columns, top), first, np.roll(first, -1)], axis=1),
        np.stack([np.full(columns, bottom), np.roll(last, -1), last], axis=1),
    ]
    return TriangleMesh(vertices, np.concatenate(faces))


def sheet(tilt=0.3, half=0.9) -> TriangleMesh:
    """An open, tilted square of two triangles."""
    corners = np.array([[-half, -half], [half, -half], [half, half], [-half, half]])
    vertices = np.column_stack([corners, tilt * corners[:, 0] + 0.013])
    return TriangleMesh(vertices, np.array([[0, 1, 2], [0, 2, 3]]))


def cut(mesh: TriangleMesh, keep) -> TriangleMesh:
    """The faces whose centre satisfies `keep`, unused vertices and all."""
    centres = mesh.vertices[mesh.faces].mean(axis=1)
    return TriangleMesh(mesh.vertices, mesh.faces[keep(centres)])


def joined(*meshes: TriangleMesh) -> TriangleMesh:
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return TriangleMesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=True)]),
    )


def turned(mesh: TriangleMesh) -> TriangleMesh:
    """Rotated so that nothing is aligned with the grid."""
    axis = np.array([0.36, 0.48, 0.8])
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    rotation = np.eye(3) + np.sin(0.7) * cross + (1 - np.cos(0.7)) * cross @ cross
    return TriangleMesh(mesh.vertices @ rotation.T, mesh.faces)


def perforated(holes=6, cells=5) -> TriangleMesh:
    """An open square sheet with so many square holes a side, each in the middle of so many cells a side."""
    side = holes * cells
    along, across = np.meshgrid(*[np.linspace(-0.9, 0.9, side + 1)] * 2, indexing="ij")
    vertices = np.stack([along, across, np.zeros_like(along)], axis=-1).reshape(-1, 3)
    rows, columns = np.indices((side, side)).reshape(2, -1)
    hole = (np.abs(rows % cells - cells // 2) <= 1) & (np.abs(columns % cells - cells // 2) <= 1)
    corner = (rows * (side + 1) + columns)[~hole]
    halves = ([0, side + 1, side + 2], [0, side + 2, 1])
    faces = np.concatenate([corner[:, None] + np.array(half) for half in halves])
    used, numbers = np.unique(faces, return_inverse=True)
    return TriangleMesh(vertices[used], numbers.reshape(-1, 3))


def thickened(mesh: TriangleMesh, depth=0.1) -> TriangleMesh:
    """A flat open sheet as a closed plate."""
    below = len(mesh.vertices)
    edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    a, b = edges[~np.isin(edges @ [below, 1], edges[:, ::-1] @ [below, 1])].T
    walls = [np.stack([b, a, a + below], axis=1), np.stack([b, a + below, b + below], axis=1)]
    return TriangleMesh(
        np.concatenate([mesh.vertices, mesh.vertices - [0.0, 0.0, depth]]),
        np.concatenate([mesh.faces, mesh.faces[:, ::-1] + below, *walls]),
    )
