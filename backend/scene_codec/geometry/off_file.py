"""Reads OFF files; trimesh's own reader fails on polygons with more than four corners."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np

from scene_codec.geometry.scene_object import TriangleMesh


def read_off(path: Path) -> TriangleMesh:
    """Return the triangles of an OFF, COFF or NOFF text file, polygons cut into fans.

    Raises `ValueError` with the reason for anything malformed.
    """
    lines = [line.split("#", 1)[0].strip() for line in path.read_text("utf-8", errors="replace").splitlines()]
    lines = [line for line in lines if line]
    header = re.match(r"^[CN]*OFF\b(.*)$", lines[0]) if lines else None
    if header is None:
        raise ValueError("it has no OFF header")
    body = ([header[1]] if header[1].strip() else []) + lines[1:]
    counts = [int(word) for word in body[0].split()[:2]] if body else []
    if len(counts) != 2 or min(counts) < 0:
        raise ValueError("it has no vertex and face counts")
    vertex_count, face_count = counts
    rows = body[1 : 1 + vertex_count + face_count]
    if len(rows) < vertex_count + face_count:
        raise ValueError(f"it promises {vertex_count + face_count} rows and {len(rows)} follow")
    vertices = np.array([row.split()[:3] for row in rows[:vertex_count]], dtype=np.float64).reshape(-1, 3)
    triangles = []
    for row in rows[vertex_count:]:
        words = row.split()
        corners = [int(word) for word in words[1 : 1 + int(words[0])]]
        if len(corners) != int(words[0]):
            raise ValueError("a face has fewer corners than it promises")
        triangles += [(corners[0], a, b) for a, b in itertools.pairwise(corners[1:])]
    return TriangleMesh(vertices, np.array(triangles, dtype=np.int64).reshape(-1, 3))
