"""One surface at given faces and steps: fitted, rounded, coded, and measured as a decoder shows it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scene_codec.codecs.mesh_surface.config import MeshSurfaceSettings
from scene_codec.codecs.mesh_surface.prior import NEWEST_PRIOR, shipped_prior, surface_models
from scene_codec.codecs.mesh_surface.surface_guide import RoundingCost, SurfaceGuide
from scene_codec.codecs.mesh_surface.surface_walk import SurfaceSteps, SurfaceWalk
from scene_codec.codecs.mesh_surface.syntax import CodedSurface, write_surface
from scene_codec.entropy.adaptive_bits import BitEncoder, BitPrior
from scene_codec.entropy.quantisers import QuantisationStep
from scene_codec.errors import CorruptFileError, UnsupportedSceneError
from scene_codec.geometry.manifold_surface import is_closed
from scene_codec.geometry.normalisation import Frame
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.surface_fitting import FittingTarget, SurfaceError
from scene_codec.geometry.surface_simplification import SurfaceSimplifier
from scene_codec.progress import Progress

MEASURED_POINTS = 25_000
"""Points on each surface from which the error in the file comes."""

FINEST_STEP, COARSEST_STEP = 2.0**-18, 0.25
"""Steps with which every vertex of a frame can be written: coordinates are 2 apart, at most 2**20 steps."""

_FITTED_POINTS = (6_000, 40_000)
_POINTS_PER_FACE = 15
_SMALLEST_ERROR = 2.0**-40

_SHARE_LEFT = 0.88
"""Of the progress that is open, what each try leaves."""


@dataclass(frozen=True, eq=False)
class FittedSurface:
    """A simplified surface moved to where it is nearest to the mesh, before rounding."""

    mesh: TriangleMesh
    error: SurfaceError

    @property
    def faces(self) -> int:
        """How many triangles it has."""
        return len(self.mesh.faces)


@dataclass(frozen=True, eq=False)
class CodedCandidate:
    """What coding a fitted surface with a step came to.

    distance : mean distance of what is decoded from the mesh, both ways, in the frame
    """

    fitted: FittedSurface
    step: float
    surface: CodedSurface
    distance: float

    @property
    def size(self) -> int:
        """Bytes of the object's section."""
        return len(write_surface(self.surface)[0].payload)


class SurfaceCoder:
    """Codes one mesh again and again; what can be used twice is kept.

    diagonal : that of the mesh's bounding box, in the frame
    """

    def __init__(
        self, mesh: TriangleMesh, frame: Frame, settings: MeshSurfaceSettings, progress: Progress
    ) -> None:
        """Prepare a mesh in frame coordinates."""
        self._simplifier = SurfaceSimplifier(mesh)
        self._mesh = mesh
        self.diagonal = float(np.linalg.norm(np.ptp(mesh.vertices, axis=0)))
        self._frame = frame
        self._settings = settings
        self._progress = progress
        self._targets: dict[int, FittingTarget] = {}
        self._fitted: dict[int, FittedSurface] = {}
        self._tries = 0

    @property
    def most_faces(self) -> int:
        """Faces of the mesh, without those that say nothing."""
        return len(self._simplifier.source.faces)

    def fitted(self, faces: int) -> FittedSurface:
        """Return the surface with about so many faces. Raises `Cancelled`."""
        if faces not in self._fitted:
            self._tell(f"{faces} triangles")
            simplified = self._simplified(faces)
            target = self._target(_POINTS_PER_FACE * len(simplified.faces))
            self._progress.check_cancelled()
            self._fitted[faces] = FittedSurface(*target.fit(simplified, self._settings.fit))
        return self._fitted[faces]

    def _simplified(self, faces: int) -> TriangleMesh:
        """Return the surface with about so many faces, and within the budget if there is any way to it."""
        simplified = self._simplifier.to_faces(faces)
        while len(simplified.faces) > (self._settings.faces or len(simplified.faces)) and faces > 1:
            faces = faces * 3 // 4
            simplified = min(simplified, self._simplifier.to_faces(faces), key=lambda mesh: len(mesh.faces))
        return simplified

    def coded(self, fitted: FittedSurface, step: float) -> CodedCandidate:
        """Return a fitted surface coded with a step. Raises `Cancelled`."""
        self._tell(f"{fitted.faces} triangles, step {step:.2g}")
        rounded = QuantisationStep.nearest(min(max(step, FINEST_STEP), COARSEST_STEP))
        steps = SurfaceSteps(rounded.value, float(self._settings.in_plane), is_closed(fitted.mesh.faces))
        decoded, stream = encode_surface(
            fitted, steps, self._settings.bit_price, shipped_prior(NEWEST_PRIOR), self._progress
        )
        distance = self._target(0).distance_of(decoded, MEASURED_POINTS)
        surface = CodedSurface(
            frame=self._frame,
            prior=NEWEST_PRIOR,
            closed=steps.closed,
            in_plane=self._settings.in_plane,
            step=rounded,
            error=QuantisationStep.nearest(max(distance / self.diagonal, _SMALLEST_ERROR)),
            faces=fitted.faces,
            stream=stream,
        )
        return CodedCandidate(fitted, rounded.value, surface, distance)

    def _tell(self, message: str) -> None:
        """Report what is tried next. How many tries there will be is not known; usually it is about 15."""
        self._progress.update(1.0 - _SHARE_LEFT**self._tries, message)
        self._tries += 1

    def _target(self, points: int) -> FittingTarget:
        """Return the mesh as a target with at least so many points, in sizes that double."""
        low, high = _FITTED_POINTS
        count = low
        while count < min(points, high):
            count *= 2
        if count not in self._targets:
            self._targets[count] = FittingTarget(self._mesh, count)
        return self._targets[count]


def encode_surface(
    fitted: FittedSurface, steps: SurfaceSteps, bit_price: float, prior: BitPrior, progress: Progress
) -> tuple[TriangleMesh, bytes]:
    """Return what is decoded, in the frame, and the stream of a walk over a fitted surface.

    bit_price : error that a bit is worth, in that of a step at a vertex of median weight
    Raises `UnsupportedSceneError` when a reader would refuse the surface, `Cancelled`.
    """
    models, encoder = surface_models(), BitEncoder(prior)
    walk = SurfaceWalk(encoder, models, steps)
    weights = fitted.error.curvature.diagonal().reshape(-1, 3).sum(axis=1)
    cost = RoundingCost(fitted.error.curvature, bit_price * float(np.median(weights)) * steps.out**2)
    walk.follow(
        SurfaceGuide(fitted.mesh.vertices, fitted.mesh.faces, cost, (walk.boundary, models, encoder, steps))
    )
    try:
        vertices, faces = walk.run(fitted.faces, progress.check_cancelled)
    except CorruptFileError as error:
        raise UnsupportedSceneError(
            f"A surface of {fitted.faces} triangles has too many holes to be coded. Ask for fewer triangles, "
            "or for a larger error."
        ) from error
    return TriangleMesh(vertices, faces), encoder.finish()
