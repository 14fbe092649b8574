"""Any triangles as an oriented manifold: every edge has one or two faces, every vertex one fan of them."""

from __future__ import annotations

import igl
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from scene_codec.geometry.scene_object import TriangleMesh


def welded(mesh: TriangleMesh, tolerance: float = 0.0) -> TriangleMesh:
    """Return the mesh with vertices at the same place made one, without faces that thereby lose their area.

    tolerance : distance up to which two vertices count as being at the same place
    Of faces with the same three corners one remains.
    """
    vertices, index = np.unique(mesh.vertices, axis=0, return_inverse=True)
    faces = _place_of_each(vertices, tolerance)[index.reshape(-1)][mesh.faces]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    _, first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    return _compact(vertices, faces[np.sort(first)])


def manifold(mesh: TriangleMesh) -> TriangleMesh:
    """Return the same surface, cut along edges and at vertices where it is no manifold, faces oriented alike.

    Vertices are doubled where it is cut; no face is lost. The order of faces is kept.
    """
    if len(mesh.faces) == 0:
        return mesh
    # Turned first: faces would be cut apart where their directions differ.
    for _ in range(2):
        turned = mesh.faces if is_oriented(mesh.faces) else _turned_alike(mesh.faces)
        faces, origin = igl.split_nonmanifold(np.ascontiguousarray(turned))
        mesh = _compact(mesh.vertices[origin], np.asarray(faces, np.int64))
        if is_oriented(mesh.faces):
            return mesh
    return _loose(mesh)


def is_oriented(faces: NDArray[np.int64]) -> bool:
    """Return whether no two faces run along an edge in the same direction."""
    directed = np.sort(_directed_edges(faces))
    return bool((directed[1:] != directed[:-1]).all())


def is_closed(faces: NDArray[np.int64]) -> bool:
    """Return whether each edge of oriented faces has a face on both sides."""
    return bool(np.isin(_directed_edges(faces[:, ::-1]), _directed_edges(faces)).all())


def parts_of(faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each face the number of its connected part, (f,)."""
    return np.asarray(igl.facet_components(np.ascontiguousarray(faces))[1], np.int64)


def _turned_alike(faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return faces turned like their neighbours, as most of each connected piece are."""
    turned, piece = igl.bfs_orient(np.ascontiguousarray(faces))
    kept = (turned == faces).all(axis=1)
    votes = np.bincount(piece, np.where(kept, 1.0, -1.0))
    alike: NDArray[np.int64] = np.where((votes[piece] < 0.0)[:, None], turned[:, ::-1], turned).astype(
        np.int64
    )
    return alike


def _place_of_each(vertices: NDArray[np.float64], tolerance: float) -> NDArray[np.int64]:
    """Return for each vertex the first one of those that are connected to it by short distances."""
    own = np.arange(len(vertices))
    if tolerance == 0.0 or len(vertices) == 0:
        return own
    pairs = cKDTree(vertices).query_pairs(tolerance, output_type="ndarray")
    if len(pairs) == 0:
        return own
    links = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(own), len(own)))
    _, place = connected_components(links, directed=False)
    _, first = np.unique(place, return_index=True)
    return np.asarray(first[place], np.int64)


def _directed_edges(faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a number for each directed edge, the same for the same edge, (3f,)."""
    starts, ends = faces.T.ravel(), np.roll(faces, -1, axis=1).T.ravel()
    directed: NDArray[np.int64] = starts * (int(faces.max(initial=0)) + 1) + ends
    return directed


def _compact(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> TriangleMesh:
    """Return a mesh without vertices that no face uses."""
    used, index = np.unique(faces, return_inverse=True)
    return TriangleMesh(vertices[used], index.reshape(-1, 3).astype(np.int64))


def _loose(mesh: TriangleMesh) -> TriangleMesh:
    """Return the faces without any connection: the last resort."""
    return TriangleMesh(mesh.vertices[mesh.faces.ravel()], np.arange(mesh.faces.size).reshape(-1, 3))
