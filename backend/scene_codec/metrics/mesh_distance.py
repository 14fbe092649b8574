"""How far a decoded mesh is from its original: the paper's metrics, their floor, and exact distances.

Everything is measured in the frame of the paper: the reference's bounding box is scaled into [-1, 1] (largest
extent 2) and the decoded mesh moved along with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import igl
import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

DEFAULT_SAMPLES = 100_000
EXACT_SAMPLES = 50_000
F1_THRESHOLDS = (0.005, 0.01)


class Surface(Protocol):
    """Anything with triangles: vertices (v, 3) float64 and faces (f, 3) int64."""

    @property
    def vertices(self) -> NDArray[np.float64]:
        """Positions, (v, 3)."""

    @property
    def faces(self) -> NDArray[np.int64]:
        """Vertex indices, (f, 3)."""


class MeshDistance(msgspec.Struct, frozen=True, kw_only=True):
    """Distances between a reference and a decoded mesh, in the frame where the reference spans 2.

    chamfer : mean of the two mean unsquared nearest-neighbour distances between random samples (the paper's
    CD)
    chamfer_floor : the same between two sample sets of the reference alone, what a perfect copy would get
    chamfer_excess : chamfer - chamfer_floor; slightly negative for a perfect copy, by chance
    decoded_to_reference_mean, _p99 : exact distance of points on the decoded surface from the reference
    reference_to_decoded_mean, _p99 : exact distance of points on the reference from the decoded surface
    normal_consistency : mean |n . n'| of nearest samples, face normals, mean of both directions
    f1_0005, f1_0010 : harmonic mean of precision and recall at distances 0.005 and 0.01
    samples : points per surface and sample set
    """

    chamfer: float
    chamfer_floor: float
    chamfer_excess: float
    decoded_to_reference_mean: float
    decoded_to_reference_p99: float
    reference_to_decoded_mean: float
    reference_to_decoded_p99: float
    normal_consistency: float
    f1_0005: float
    f1_0010: float
    samples: int

    @property
    def point_to_surface(self) -> float:
        """Mean of the two exact mean distances."""
        return 0.5 * (self.decoded_to_reference_mean + self.reference_to_decoded_mean)


@dataclass(frozen=True)
class _Samples:
    """Random points of a surface, uniform by area, and the normals of their faces."""

    points: NDArray[np.float64]
    normals: NDArray[np.float64]


@dataclass(frozen=True)
class _Triangles:
    """A surface in the frame of the reference."""

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]


def compare_meshes(
    reference: Surface, decoded: Surface, *, samples: int = DEFAULT_SAMPLES, seed: int = 0
) -> MeshDistance:
    """Measure how far `decoded` is from `reference`; both in the same coordinates.

    samples : points per surface for the sampled metrics; the exact distances use at least 50 000
    seed : same seed, same numbers

    Raises `ValueError` when one of them has no face with an area: there is nothing to compare.
    """
    original, copy = _into_reference_frame(reference, decoded)
    count = max(samples, EXACT_SAMPLES)
    streams = [np.random.default_rng([seed, stream]) for stream in range(3)]
    on_reference = _sample(original, count, streams[0])
    on_decoded = _sample(copy, count, streams[1])
    again = _sample(original, samples, streams[2])
    a, b = _first(on_reference, samples), _first(on_decoded, samples)
    forward, backward, normal_consistency = _nearest(a, b)
    floor_forward, floor_backward, _ = _nearest(a, again)
    chamfer = 0.5 * float(forward.mean() + backward.mean())
    floor = 0.5 * float(floor_forward.mean() + floor_backward.mean())
    to_reference = _exact(on_decoded.points, original)
    to_decoded = _exact(on_reference.points, copy)
    return MeshDistance(
        chamfer=chamfer,
        chamfer_floor=floor,
        chamfer_excess=chamfer - floor,
        decoded_to_reference_mean=float(to_reference.mean()),
        decoded_to_reference_p99=float(np.percentile(to_reference, 99)),
        reference_to_decoded_mean=float(to_decoded.mean()),
        reference_to_decoded_p99=float(np.percentile(to_decoded, 99)),
        normal_consistency=normal_consistency,
        f1_0005=_f1(forward, backward, F1_THRESHOLDS[0]),
        f1_0010=_f1(forward, backward, F1_THRESHOLDS[1]),
        samples=samples,
    )


def _into_reference_frame(reference: Surface, decoded: Surface) -> tuple[_Triangles, _Triangles]:
    """Move both surfaces to where the reference's bounding box is centred and 2 wide."""
    if len(reference.faces) == 0:
        raise ValueError("The reference mesh has no faces.")
    used = reference.vertices[np.unique(reference.faces)]
    low, high = used.min(axis=0), used.max(axis=0)
    centre = low * 0.5 + high * 0.5
    half = float((high - low).max()) / 2.0
    if half == 0.0:
        raise ValueError("The reference mesh has no extent.")
    placed = [
        _Triangles(
            np.ascontiguousarray((mesh.vertices - centre) / half, dtype=np.float64),
            np.ascontiguousarray(mesh.faces, dtype=np.int64),
        )
        for mesh in (reference, decoded)
    ]
    return placed[0], placed[1]


def _sample(mesh: _Triangles, count: int, generator: np.random.Generator) -> _Samples:
    """Draw points uniformly by area."""
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    doubled = np.linalg.norm(normals, axis=1)
    total = np.cumsum(doubled)
    if len(total) == 0 or not total[-1] > 0.0:
        raise ValueError("A mesh to compare has no face with an area.")
    pick = np.searchsorted(total, generator.random(count) * total[-1], side="right")
    pick = np.minimum(pick, len(total) - 1)
    first, second = generator.random((2, count, 1))
    root = np.sqrt(first)
    a, b, c = corners[pick, 0], corners[pick, 1], corners[pick, 2]
    points = (1.0 - root) * a + root * (1.0 - second) * b + root * second * c
    lengths = np.maximum(doubled[pick, None], np.finfo(np.float64).tiny)
    return _Samples(points, normals[pick] / lengths)


def _first(samples: _Samples, count: int) -> _Samples:
    """Return the first `count` of independent samples."""
    return _Samples(samples.points[:count], samples.normals[:count])


def _nearest(a: _Samples, b: _Samples) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return nearest distances a to b and b to a, and the normal consistency of the pairs."""
    forward, to_b = cKDTree(b.points).query(a.points)
    backward, to_a = cKDTree(a.points).query(b.points)
    agree_a = np.abs(np.einsum("ij,ij->i", a.normals, b.normals[to_b])).mean()
    agree_b = np.abs(np.einsum("ij,ij->i", b.normals, a.normals[to_a])).mean()
    return forward, backward, 0.5 * float(agree_a + agree_b)


def _exact(points: NDArray[np.float64], mesh: _Triangles) -> NDArray[np.float64]:
    """Return the distance of each point from a surface."""
    squared, _, _ = igl.point_mesh_squared_distance(points, mesh.vertices, mesh.faces)
    distances: NDArray[np.float64] = np.sqrt(np.maximum(squared, 0.0))
    return distances


def _f1(forward: NDArray[np.float64], backward: NDArray[np.float64], threshold: float) -> float:
    """Return the harmonic mean of precision and recall within a distance."""
    recall, precision = float((forward < threshold).mean()), float((backward < threshold).mean())
    return 0.0 if recall + precision == 0.0 else 2.0 * recall * precision / (recall + precision)
