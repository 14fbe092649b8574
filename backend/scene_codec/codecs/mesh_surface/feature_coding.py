"""Which edges of a control mesh are creases, and which vertices corners: coded after the walk over it.

The angle at an edge says most of it, and whether creases arrive at its ends that would go on there.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.mesh_surface.surface_models import MEETING_CREASES, SurfaceModels
from scene_codec.entropy.adaptive_bits import BitCoder
from scene_codec.geometry.face_normals import face_normals, row_products
from scene_codec.geometry.loop_subdivision import SurfaceFeatures
from scene_codec.geometry.mesh_edges import MeshEdges
from scene_codec.geometry.scene_object import TriangleMesh

_TURNS = (-0.5, 0.0, 0.35, 0.6, 0.8, 0.92, 0.98)
"""Cosines between the classes of angles."""


class _Known(NamedTuple):
    """What is known of the edges at each vertex so far."""

    creases: list[int]
    unknown: list[int]


def code_features(
    coder: BitCoder, models: SurfaceModels, control: TriangleMesh, wanted: SurfaceFeatures | None = None
) -> SurfaceFeatures:
    """Code the features of an oriented manifold and return them; a decoder has none that are `wanted`."""
    edges = MeshEdges.of(control.faces)
    creases = _code_creases(coder, models, control, edges, wanted)
    corners = _code_corners(coder, models, control, edges.ends[creases], wanted)
    return SurfaceFeatures(creases, corners)


def _code_creases(
    coder: BitCoder,
    models: SurfaceModels,
    control: TriangleMesh,
    edges: MeshEdges,
    wanted: SurfaceFeatures | None,
) -> NDArray[np.bool_]:
    """Code the edges that are no borders, in the order of their vertices."""
    creases = edges.borders.copy()
    inner = np.flatnonzero(~creases)
    normals = face_normals(control)
    turns = row_products(normals[edges.sides[inner, 0]], normals[edges.sides[inner, 1]]).tolist()
    count = len(control.vertices)
    known = _Known(
        np.bincount(edges.ends[creases].reshape(-1), minlength=count).tolist(),
        np.bincount(edges.ends[inner].reshape(-1), minlength=count).tolist(),
    )
    asked = [0] * len(inner) if wanted is None else wanted.creases[inner].astype(int).tolist()
    for edge, (a, b), turn, bit in zip(inner.tolist(), edges.ends[inner].tolist(), turns, asked, strict=True):
        known.unknown[a] -= 1
        known.unknown[b] -= 1
        if models.code_crease(coder, bit, bisect_right(_TURNS, turn), *_meeting(known, a, b)):
            creases[edge] = True
            known.creases[a] += 1
            known.creases[b] += 1
    return creases


def _meeting(known: _Known, a: int, b: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return creases and unknown edges at both ends of an edge, the end with fewer of them first."""
    most = MEETING_CREASES - 1
    ends = [(min(known.creases[end], most), min(known.unknown[end], most)) for end in (a, b)]
    first, second = sorted(ends)
    return first, second


def _code_corners(
    coder: BitCoder,
    models: SurfaceModels,
    control: TriangleMesh,
    creases: NDArray[np.int64],
    wanted: SurfaceFeatures | None,
) -> NDArray[np.bool_]:
    """Code the vertices at which two creases (k, 2) meet: where more do, there is a corner anyway."""
    corners = np.zeros(len(control.vertices), bool)
    meeting = np.bincount(creases.reshape(-1), minlength=len(corners))
    pairs = np.flatnonzero(meeting == 2)
    arriving = np.concatenate([creases[:, 0], creases[:, 1]])
    leaving = np.concatenate([creases[:, 1], creases[:, 0]])
    of_pairs = np.flatnonzero(meeting[arriving] == 2)
    order = of_pairs[np.argsort(arriving[of_pairs], kind="stable")].reshape(-1, 2)
    ways = control.vertices[leaving[order]] - control.vertices[arriving[order]]
    lengths = np.sqrt(row_products(ways[:, 0], ways[:, 0]) * row_products(ways[:, 1], ways[:, 1]))
    product = -row_products(ways[:, 0], ways[:, 1])
    ahead = np.divide(product, lengths, out=np.ones_like(product), where=lengths > 0.0)
    for vertex, cosine in zip(pairs.tolist(), ahead.tolist(), strict=True):
        bit = 0 if wanted is None else int(wanted.corners[vertex])
        corners[vertex] = models.code_bend(coder, bit, bisect_right(_TURNS, cosine))
    return corners
