"""Meshes with at most so many triangles, for games, the web and viewports."""

from __future__ import annotations

from scene_codec.geometry.mesh_checks import without_degenerate_faces
from scene_codec.geometry.normalisation import Frame
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.surface_simplification import SurfaceSimplifier


def within_triangles(mesh: TriangleMesh, budget: int) -> TriangleMesh:
    """Return a mesh of at most `budget` triangles; one that has no more is returned as it is.

    Simplified by quadrics in its frame, so that its size and place do not matter. Open meshes stay open. A
    mesh of many separate parts loses the smallest where they all would need more triangles than there are.
    Takes about 3 s and 50 MB for each 100,000 triangles of the mesh.
    """
    if len(mesh.faces) <= budget:
        return mesh
    sound = without_degenerate_faces(mesh)
    if len(sound.faces) == 0:
        return mesh
    frame = Frame.around(sound)
    simplifier = SurfaceSimplifier(frame.into(sound))
    asked = budget
    least = simplifier.to_faces(asked)
    # What comes back has about so many faces as were asked for, often a few more.
    while len(least.faces) > budget and asked > 1:
        asked = max(1, min(asked * budget // len(least.faces), asked * 15 // 16))
        least = min(least, simplifier.to_faces(asked), key=lambda tried: len(tried.faces))
    return frame.out_of(least)
