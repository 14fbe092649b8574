"""A small z-buffer renderer in numpy: shaded pictures of meshes without a graphics card or a window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[np.float64]

CREASE_COSINE = 0.75
"""Faces that lean further from a vertex normal keep their own: sharp edges stay sharp."""
FRAGMENTS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Camera:
    """A perspective camera that looks at `target` from `distance` away.

    rotation : (3, 3), world to camera; rows are right, up, and towards the viewer
    """

    target: Array
    rotation: Array
    distance: float
    focal: float

    @classmethod
    def around(cls, vertices: Array, azimuth: float = -58.0, elevation: float = 26.0) -> Camera:
        """Return the camera that shows all `vertices` (v, 3) from a direction in degrees; z is up."""
        across, up = np.radians([azimuth, elevation])
        back = np.array([np.cos(up) * np.cos(across), np.cos(up) * np.sin(across), np.sin(up)])
        right = np.array([-np.sin(across), np.cos(across), 0.0])
        rotation = np.stack([right, np.cross(back, right), back])
        seen = vertices @ rotation.T
        middle = (seen.min(axis=0) + seen.max(axis=0)) / 2.0
        radius = float(np.linalg.norm(seen - middle, axis=1).max()) or 1.0
        distance = 4.2 * radius
        flat = (seen - middle)[:, :2] / (distance - (seen - middle)[:, 2:])
        return cls(middle @ rotation, rotation, distance, 0.92 / float(np.abs(flat).max()))

    def project(self, vertices: Array, size: int) -> Array:
        """Return (v, 3): pixel x, pixel y (down), and distance from the viewer."""
        local = (vertices - self.target) @ self.rotation.T
        depth = self.distance - local[:, 2]
        flat = self.focal * local[:, :2] / depth[:, None]
        x = (flat[:, 0] + 1.0) * 0.5 * size - 0.5
        y = (1.0 - flat[:, 1]) * 0.5 * size - 0.5
        return np.stack([x, y, depth], axis=1)


@dataclass(frozen=True)
class Material:
    """Colours in [0, 1] of the outer and of the inner side of a surface."""

    front: tuple[float, float, float]
    back: tuple[float, float, float]


CLAY = Material(front=(0.80, 0.76, 0.70), back=(0.62, 0.48, 0.42))
JADE = Material(front=(0.42, 0.68, 0.74), back=(0.45, 0.47, 0.66))


def render(
    vertices: Array, faces: NDArray[np.int64], camera: Camera, material: Material, *, size: int = 320
) -> NDArray[np.uint8]:
    """Return a picture (size, size, 4) uint8 of the mesh, transparent where nothing is."""
    fine = size * 2  # two by two samples a pixel against jagged edges
    pixels = np.zeros((fine * fine, 4))
    if len(faces):
        projected = camera.project(vertices, fine)
        pixel, triangle, weights, depth = _visible(projected, faces, fine)
        normal = _shading_normals(vertices, faces, triangle, weights) @ camera.rotation.T
        ray = _view_rays(pixel, camera, fine)
        facing = np.einsum("ij,ij->i", normal, ray)
        normal = np.where(facing[:, None] < 0.0, -normal, normal)
        colour = np.where(facing[:, None] < 0.0, np.array(material.back), np.array(material.front))
        shade = _shade(normal, ray) * _depth_cue(pixel, depth, fine)[:, None]
        pixels[pixel, :3] = np.clip(colour * shade + _gloss(normal, ray)[:, None], 0.0, 1.0)
        pixels[pixel, 3] = 1.0
    blocks = pixels.reshape(size, 2, size, 2, 4).sum(axis=(1, 3))
    covered = np.maximum(blocks[..., 3:], 1e-9)
    picture = np.concatenate([blocks[..., :3] / covered, blocks[..., 3:] / 4.0], axis=2)
    return np.round(picture * 255.0).astype(np.uint8)


def _visible(
    projected: Array, faces: NDArray[np.int64], size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array, Array]:
    """Return, for every covered pixel: its index, the nearest triangle, barycentric weights, depth."""
    parts = list(_fragments(projected[faces], size))
    pixel, triangle, weights, depth = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((depth, pixel))
    pixel = pixel[order]
    nearest = order[np.concatenate([[True], pixel[1:] != pixel[:-1]])] if len(order) else order
    return np.unique(pixel), triangle[nearest], weights[nearest], depth[nearest]


def _fragments(
    corners: Array, size: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], Array, Array]]:
    """Yield the samples that triangles `corners` (f, 3, 3) cover, in batches of similar extent."""
    low = np.clip(np.ceil(corners[:, :, :2].min(axis=1)), 0, size).astype(np.int64)
    high = np.clip(np.floor(corners[:, :, :2].max(axis=1)) + 1, 0, size).astype(np.int64)
    extent = high - low
    alive = np.flatnonzero((extent > 0).all(axis=1))
    classes = np.ceil(np.log2(np.maximum(extent[alive].max(axis=1), 1))).astype(int)
    yield (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros(0))
    for level in np.unique(classes):
        members = alive[classes == level]
        width = 2**level
        batch = max(FRAGMENTS_AT_ONCE // width**2, 1)
        for start in range(0, len(members), batch):
            yield _cover(corners, members[start : start + batch], low, width, size)


def _cover(
    corners: Array, members: NDArray[np.int64], low: NDArray[np.int64], width: int, size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array, Array]:
    """Test the `width` x `width` pixels from `low` on against each triangle of `members`."""
    step = np.arange(width)
    x = low[members, 0][:, None, None] + step[None, None, :]
    y = low[members, 1][:, None, None] + step[None, :, None]
    a, b, c = (corners[members, k][:, None, None, :] for k in range(3))
    area = (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (
        c[..., 0] - a[..., 0]
    )
    area = np.where(np.abs(area) < 1e-12, np.nan, area)
    first = ((b[..., 0] - x) * (c[..., 1] - y) - (b[..., 1] - y) * (c[..., 0] - x)) / area
    second = ((c[..., 0] - x) * (a[..., 1] - y) - (c[..., 1] - y) * (a[..., 0] - x)) / area
    third = 1.0 - first - second
    inside = (first >= 0) & (second >= 0) & (third >= 0) & (x < size) & (y < size)
    which, _, _ = np.nonzero(inside)
    screen = np.stack([first[inside], second[inside], third[inside]], axis=1)
    # Straight lines stay straight on the screen, depths do not: weigh by the inverse depth.
    weights = screen / corners[members[which], :, 2]
    total = weights.sum(axis=1)
    pixel = (np.broadcast_to(y, inside.shape) * size + np.broadcast_to(x, inside.shape))[inside]
    return pixel, members[which], weights / total[:, None], 1.0 / total


def _shading_normals(
    vertices: Array, faces: NDArray[np.int64], triangle: NDArray[np.int64], weights: Array
) -> Array:
    """Return unit normals: interpolated where the surface is smooth, those of the faces at creases."""
    corner = vertices[faces]
    scaled = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    smooth = np.stack(
        [
            np.bincount(faces.ravel(), np.repeat(scaled[:, axis], 3), minlength=len(vertices))
            for axis in range(3)
        ],
        axis=1,
    )
    face_normal = _unit(scaled)[triangle]
    vertex_normal = _unit(smooth)[faces[triangle]]
    lean = np.einsum("nkc,nc->nk", vertex_normal, face_normal)
    used = np.where(lean[..., None] < CREASE_COSINE, face_normal[:, None], vertex_normal)
    return _unit(np.einsum("nk,nkc->nc", weights, used))


def _view_rays(pixel: NDArray[np.int64], camera: Camera, size: int) -> Array:
    """Return unit vectors from the surface to the viewer in the camera's frame."""
    x = ((pixel % size) + 0.5) / size * 2.0 - 1.0
    y = 1.0 - ((pixel // size) + 0.5) / size * 2.0
    return _unit(np.stack([-x / camera.focal, -y / camera.focal, np.ones(len(pixel))], axis=1))


def _shade(normal: Array, ray: Array) -> Array:
    """Return (n, 3) light: sky, a warm key from the upper left, a cool fill from the right, a rim."""
    key = np.clip(normal @ _unit(np.array([[-0.5, 0.75, 0.65]]))[0], 0.0, None)
    fill = np.clip(normal @ _unit(np.array([[0.9, 0.1, 0.35]]))[0], 0.0, None)
    sky = 0.5 + 0.5 * normal[:, 1]
    rim = (1.0 - np.clip(np.einsum("ij,ij->i", normal, ray), 0.0, 1.0)) ** 4
    return (
        sky[:, None] * np.array([0.30, 0.33, 0.38])
        + key[:, None] * np.array([0.86, 0.82, 0.74])
        + fill[:, None] * np.array([0.13, 0.16, 0.22])
        + rim[:, None] * 0.10
    )


def _gloss(normal: Array, ray: Array) -> Array:
    """Return the highlight of the key light."""
    half = _unit(ray + _unit(np.array([[-0.5, 0.75, 0.65]])))
    return 0.16 * np.clip(np.einsum("ij,ij->i", normal, half), 0.0, None) ** 36


def _depth_cue(pixel: NDArray[np.int64], depth: Array, size: int) -> Array:
    """Return factors that darken what lies behind its neighbourhood, as ambient occlusion would."""
    near, far = float(depth.min()), float(depth.max())
    grid = np.full(size * size, 1.0)
    grid[pixel] = (depth - near) / max(far - near, 1e-9)
    cover = np.zeros(size * size)
    cover[pixel] = 1.0
    sigma = size / 40.0
    share = gaussian_filter(cover.reshape(size, size), sigma)
    blurred = gaussian_filter((grid * cover).reshape(size, size), sigma) / np.maximum(share, 1e-6)
    behind = np.clip(grid[pixel] - blurred.ravel()[pixel], 0.0, None)
    return 1.0 - 0.75 * np.minimum(behind * 1.8, 0.8)


def _unit(vectors: Array) -> Array:
    """Return the vectors at length one; a zero vector stays zero."""
    length: Array = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(length, 1e-30)
