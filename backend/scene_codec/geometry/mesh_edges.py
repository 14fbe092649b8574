"""The edges of a triangle mesh and what lies on either side of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import UnsupportedSceneError

_NOTHING = -1
_MOST_FACES = 2


@dataclass(frozen=True, eq=False)
class MeshEdges:
    """The edges of a mesh in which no edge has more than two faces, in the order of their vertices.

    ends : (e, 2), the smaller number first
    of_faces : (f, 3), the edge from each corner to the next
    sides : (e, 2), the faces on either side; the second is -1 where there is none
    apexes : (e, 2), the vertices of these faces opposite of the edge, or -1
    """

    ends: NDArray[np.int64]
    of_faces: NDArray[np.int64]
    sides: NDArray[np.int64]
    apexes: NDArray[np.int64]

    @classmethod
    def of(cls, faces: NDArray[np.int64]) -> MeshEdges:
        """Return the edges of faces (f, 3). Raises `UnsupportedSceneError` when one has more than two."""
        directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        ends, number, uses = np.unique(
            np.sort(directed, axis=1), axis=0, return_inverse=True, return_counts=True
        )
        if uses.max(initial=0) > _MOST_FACES:
            raise UnsupportedSceneError("An edge of the mesh has more than two faces.")
        number = number.reshape(-1)
        order = np.argsort(number, kind="stable")
        second = np.zeros(len(order), np.int64)
        second[order] = np.arange(len(order)) - np.repeat(np.cumsum(uses) - uses, uses)
        sides = np.full((len(ends), 2), _NOTHING)
        apexes = np.full((len(ends), 2), _NOTHING)
        sides[number, second] = np.tile(np.arange(len(faces)), 3)
        apexes[number, second] = np.concatenate([faces[:, 2], faces[:, 0], faces[:, 1]])
        return cls(ends.astype(np.int64), number.reshape(3, len(faces)).T, sides, apexes)

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def borders(self) -> NDArray[np.bool_]:
        """Which edges have one face."""
        found: NDArray[np.bool_] = self.sides[:, 1] == _NOTHING
        return found

    def among(self, pairs: NDArray[np.int64], vertices: int) -> NDArray[np.bool_]:
        """Return which edges are among pairs of vertices (n, 2), the smaller number first."""
        keys = self.ends[:, 0] * vertices + self.ends[:, 1]
        found: NDArray[np.bool_] = np.isin(keys, pairs[:, 0] * vertices + pairs[:, 1])
        return found
