"""A mesh on a lattice, coded as it is: every face, every vertex."""

from __future__ import annotations

from scipy.sparse import identity

from scene_codec.codecs.mesh_surface.lattice import lattice_of
from scene_codec.codecs.mesh_surface.prior import NEWEST_PRIOR, shipped_prior, surface_models
from scene_codec.codecs.mesh_surface.surface_guide import LatticeGuide, RoundingCost, led_walk
from scene_codec.codecs.mesh_surface.surface_walk import SurfaceSteps, SurfaceWalk
from scene_codec.codecs.mesh_surface.syntax import CodedSurface
from scene_codec.entropy.adaptive_bits import BitEncoder
from scene_codec.entropy.quantisers import QuantisationStep
from scene_codec.geometry.manifold_surface import is_closed
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.progress import Progress

_FOR_EXACTNESS = 1.04, 16
"""How many times the bytes of a surface that is merely near an exact one may take, and how many more."""

_STEP = QuantisationStep.nearest(0.5)
"""In numbers of the lattice: with coarser steps some of them could not be reached."""

_NO_ERROR = QuantisationStep.nearest(2.0**-40)

_MOST_FACES = 10_000
"""Faces of which a lattice is looked for: to code 2,000 takes a second."""


def is_worth_it(exact: int, near: int) -> bool:
    """Return whether an exact surface of so many bytes is better than one of fewer that is merely near."""
    times, more = _FOR_EXACTNESS
    return exact <= times * near + more


def exact_surface(mesh: TriangleMesh, progress: Progress) -> tuple[CodedSurface, TriangleMesh] | None:
    """Return an oriented manifold as it is coded on a lattice, and as it comes back, in the mesh's own units.

    None if its vertices lie on no lattice, or if it has very many faces.
    Raises `UnsupportedSceneError` when a reader would refuse the surface, `Cancelled`.
    """
    lattice = lattice_of(mesh) if len(mesh.faces) <= _MOST_FACES else None
    if lattice is None:
        return None
    numbers, models = lattice.into(mesh), surface_models()
    steps = SurfaceSteps(_STEP.value, 1.0, is_closed(mesh.faces), snapped=True)
    encoder = BitEncoder(shipped_prior(NEWEST_PRIOR))
    walk = SurfaceWalk(encoder, models, steps)
    no_cost = RoundingCost(identity(mesh.vertices.size, format="csr"), 0.0)
    guide = LatticeGuide(numbers.vertices, numbers.faces, no_cost, (walk.boundary, models, encoder, steps))
    decoded = led_walk(walk, guide, len(mesh.faces), progress)
    surface = CodedSurface(
        place=lattice,
        prior=NEWEST_PRIOR,
        closed=steps.closed,
        in_plane=1,
        step=_STEP,
        error=_NO_ERROR,
        faces=len(mesh.faces),
        levels=0,
        creased=False,
        stream=encoder.finish(),
    )
    return surface, lattice.out_of(decoded)
