"""Reads the geometry of Wavefront OBJ files.

trimesh's reader splits vertices along texture seams and materials; here a vertex stays one vertex.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from scene_codec.geometry.scene_object import TriangleMesh


def read_obj(path: Path) -> TriangleMesh:
    """Return all faces of a file, whatever their groups and materials, polygons cut into fans.

    Raises `ValueError` with the reason for anything malformed.
    """
    text = path.read_text("utf-8-sig", errors="replace").replace("\\\r\n", " ").replace("\\\n", " ")
    places: list[list[str]] = []
    triangles: list[tuple[int, int, int]] = []
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "v":
            places.append(words[1:4])
        elif words[0] == "f":
            corners = [_vertex_index(word, len(places)) for word in words[1:] if not word.startswith("#")]
            triangles += [(corners[0], a, b) for a, b in itertools.pairwise(corners[1:])]
    vertices = np.array(places, dtype=np.float64).reshape(-1, 3)
    faces = np.array(triangles, dtype=np.int64).reshape(-1, 3)
    if len(faces) and faces.max() >= len(vertices):
        raise ValueError(f"a face refers to vertex {int(faces.max()) + 1} of {len(vertices)}")
    return TriangleMesh(vertices, faces)


def _vertex_index(word: str, count: int) -> int:
    """Return the vertex of a corner such as "3", "3/1/2" or "-1", counted from zero."""
    number = int(word.split("/", 1)[0])
    index = number - 1 if number > 0 else count + number
    if number == 0 or index < 0:
        raise ValueError(f"a face has the corner '{word[:20]}'")
    return index
