"""One surface at given faces and steps: fitted, rounded, coded, and measured as a decoder shows it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.mesh_surface.config import MeshSurfaceSettings
from scene_codec.codecs.mesh_surface.exact_surface import exact_surface
from scene_codec.codecs.mesh_surface.feature_coding import code_features
from scene_codec.codecs.mesh_surface.prior import NEWEST_PRIOR, shipped_prior, surface_models
from scene_codec.codecs.mesh_surface.surface_guide import RoundingCost, SurfaceGuide, led_walk
from scene_codec.codecs.mesh_surface.surface_walk import SurfaceSteps, SurfaceWalk
from scene_codec.codecs.mesh_surface.syntax import (
    MOST_DECODED_FACES,
    CodedSurface,
    write_surface,
)
from scene_codec.entropy.adaptive_bits import BitCounter, BitEncoder
from scene_codec.entropy.quantisers import QuantisationStep
from scene_codec.geometry.loop_subdivision import SubdividedSurface, SurfaceFeatures, subdivided
from scene_codec.geometry.manifold_surface import is_closed
from scene_codec.geometry.mesh_edges import MeshEdges
from scene_codec.geometry.normalisation import Frame
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.surface_fitting import FittingTarget, SurfaceError
from scene_codec.geometry.surface_simplification import SurfaceSimplifier
from scene_codec.progress import Progress

MEASURED_POINTS = 50_000
"""Points on each surface from which the error in the file comes."""

_SEARCHED_POINTS = 8_000
"""Those from which candidates are compared."""

FINEST_STEP, COARSEST_STEP = 2.0**-18, 0.25
"""Steps with which every vertex of a frame can be written: coordinates are 2 apart, at most 2**20 steps."""

MOST_FACES = 200_000
"""Control faces that are asked of the simplifier at most."""

_SKETCH_STEPS, _SKETCH_STEPS_OF_MANY = 2, 1
_MANY_TO_SKETCH = 4_000
"""Control faces from which a second step takes longer than it tells."""

_USUAL_LEVELS, _MANY_LEVELS = 2, 3
_FEW_FACES = 150
"""A surface of fewer control faces is subdivided once more: it costs nothing but triangles."""

_FEWEST_SMOOTH = 16
"""Control faces below which a smooth surface is not tried."""

_FITTED_POINTS = (6_000, 40_000)
_SKETCHED_POINTS_PER_FACE, _POINTS_PER_FACE = 5, 15
_SMALLEST_ERROR = 2.0**-40

_SECONDS = 30.0
"""Of a processor core of our day, about, after which a search takes what it has. They are counted by what is
done, not by the clock: the same mesh gives the same bytes on every machine."""

_SECONDS_OF_TRIANGLE, _SECONDS_OF_POINT = 4e-6, 1.5e-5
_SECONDS_OF_CODED_FACE, _SECONDS_OF_SOURCE_FACE = 3.5e-4, 3e-5

_SHARE_LEFT = 0.88
"""Of the progress that is open, what each try leaves."""


class Form(Enum):
    """How control triangles stand for a surface."""

    FLAT = "flat"
    SMOOTH = "smooth"
    CREASED = "smooth between creases"


FORMS = tuple(Form)


def forms_within(budget: int) -> tuple[Form, ...]:
    """Return the forms that a budget of triangles has room for."""
    return FORMS if budget >= _FEWEST_SMOOTH << 2 * _USUAL_LEVELS else (Form.FLAT,)


@dataclass(frozen=True, eq=False)
class FittedSurface:
    """A simplified surface moved to where it, or the smooth surface over it, is nearest to the mesh.

    control : before rounding
    error : of the surface, in the control vertices
    levels : of subdivision
    features : creases and corners, where the form has them
    """

    control: TriangleMesh
    surface: SubdividedSurface
    error: SurfaceError
    form: Form
    levels: int
    features: SurfaceFeatures | None = None

    @property
    def faces(self) -> int:
        """How many control triangles there are."""
        return len(self.control.faces)


def levels_of(form: Form, faces: int, budget: int = MOST_DECODED_FACES) -> int:
    """Return the levels of subdivision of a form with so many control triangles.

    budget : triangles that may come back
    """
    if form is Form.FLAT:
        return 0
    many = faces < _FEW_FACES and faces << 2 * _MANY_LEVELS <= budget
    return _MANY_LEVELS if many else _USUAL_LEVELS


@dataclass(frozen=True, eq=False)
class CodedCandidate:
    """What coding a fitted surface with a step came to.

    decoded : what a reader makes of it, in the frame
    distance : what counts of the deviation between that and the mesh
    """

    fitted: FittedSurface
    step: float
    surface: CodedSurface
    decoded: TriangleMesh
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
        self.diagonal = float(np.linalg.norm(np.ptp(mesh.vertices, axis=0)))
        self._frame = frame
        self._settings = settings
        self._budget = settings.faces or MOST_DECODED_FACES
        self._progress = progress
        self._targets: dict[int, FittingTarget] = {}
        self._simplest: dict[int, TriangleMesh] = {}
        self._sketched: dict[tuple[int, Form], FittedSurface] = {}
        self._fitted: dict[tuple[int, Form], FittedSurface] = {}
        self._tries = 0
        self._seconds = 0.0

    @property
    def settles(self) -> bool:
        """Whether so much has been done that what is found should do."""
        return self._seconds > _SECONDS

    @property
    def most_faces(self) -> int:
        """Faces of the mesh, without those that say nothing."""
        return len(self._simplifier.source.faces)

    def sketched(self, faces: int, form: Form) -> FittedSurface:
        """Return the surface with about so many control faces, roughly fitted. Raises `Cancelled`."""
        key = faces, form
        if key not in self._sketched:
            self._tell(f"{faces} triangles, {form.value}")
            control = self._simplified(faces, form)
            features = self._target(0).features_of(control) if form is Form.CREASED else None
            levels = levels_of(form, len(control.faces), self._budget)
            surface = subdivided(control.faces, len(control.vertices), levels, features)
            steps = min(_sketch_steps(len(control.faces)), self._settings.fit)
            fitted, error = self._fit(control, surface, steps, _SKETCHED_POINTS_PER_FACE)
            self._sketched[key] = FittedSurface(fitted, surface, error, form, levels, features)
        return self._sketched[key]

    def fitted(self, faces: int, form: Form) -> FittedSurface:
        """Return the surface with about so many control faces, fitted. Raises `Cancelled`."""
        key = faces, form
        if key not in self._fitted:
            sketch = self.sketched(faces, form)
            steps = max(self._settings.fit - _sketch_steps(sketch.faces), 0)
            control, error = self._fit(sketch.control, sketch.surface, steps, _POINTS_PER_FACE)
            self._fitted[key] = replace(sketch, control=control, error=error)
        return self._fitted[key]

    def _fit(
        self, control: TriangleMesh, surface: SubdividedSurface, steps: int, points_per_face: int
    ) -> tuple[TriangleMesh, SurfaceError]:
        """Return the control mesh after more steps of fitting, and its error."""
        self._progress.check_cancelled()
        target = self._target(points_per_face * len(control.faces))
        work = _SECONDS_OF_TRIANGLE * len(surface.faces) + _SECONDS_OF_POINT * target.points
        self._seconds += (steps + 1) * work
        vertices, error = target.fit(control, surface, steps)
        return TriangleMesh(vertices, control.faces), error

    @property
    def forms(self) -> tuple[Form, ...]:
        """The forms that are worth trying."""
        return forms_within(self._budget)

    def most_faces_of(self, form: Form) -> int:
        """Return how many control faces a form may have."""
        return min(self.most_faces, MOST_FACES, self._budget >> 2 * levels_of(form, MOST_FACES))

    def _simplified(self, faces: int, form: Form) -> TriangleMesh:
        """Return the mesh with about so many faces, and within the budget if there is any way to it."""
        simplified = self._to_faces(faces)
        while len(simplified.faces) > self._budget >> 2 * levels_of(form, MOST_FACES) and faces > 1:
            faces = faces * 3 // 4
            simplified = min(simplified, self._to_faces(faces), key=lambda mesh: len(mesh.faces))
        return simplified

    def _to_faces(self, faces: int) -> TriangleMesh:
        """Return the mesh simplified to about so many faces."""
        if faces not in self._simplest:
            self._seconds += _SECONDS_OF_SOURCE_FACE * min(self.most_faces, MOST_FACES)
            self._simplest[faces] = self._simplifier.to_faces(faces)
        return self._simplest[faces]

    def coded(self, fitted: FittedSurface, step: float) -> CodedCandidate:
        """Return a fitted surface coded with a step. Raises `Cancelled`."""
        self._tell(f"{fitted.faces} triangles, step {step:.2g}")
        self._seconds += _SECONDS_OF_CODED_FACE * fitted.faces
        rounded = QuantisationStep.nearest(min(max(step, FINEST_STEP), COARSEST_STEP))
        steps = SurfaceSteps(rounded.value, float(self._settings.in_plane), is_closed(fitted.control.faces))
        encoder = BitEncoder(shipped_prior(NEWEST_PRIOR))
        decoded = code_fitted(fitted, steps, self._settings.bit_price, encoder, self._progress)
        surface = CodedSurface(
            place=self._frame,
            prior=NEWEST_PRIOR,
            closed=steps.closed,
            in_plane=self._settings.in_plane,
            step=rounded,
            error=QuantisationStep.nearest(_SMALLEST_ERROR),
            faces=fitted.faces,
            levels=fitted.levels,
            creased=fitted.features is not None,
            stream=encoder.finish(),
        )
        return self._measured(CodedCandidate(fitted, rounded.value, surface, decoded, 0.0), _SEARCHED_POINTS)

    def exact(self) -> CodedCandidate | None:
        """Return all faces of the mesh on a lattice; None if it lies on none, or has too many faces."""
        source = self._simplifier.source
        if len(source.faces) > self._budget:
            return None
        self._tell(f"{len(source.faces)} triangles on a lattice")
        found = exact_surface(self._frame.out_of(source), self._progress)
        if found is None:
            return None
        surface, decoded = found
        flat = subdivided(source.faces, len(source.vertices), 0)
        fitted = FittedSurface(source, flat, self._fit(source, flat, 0, 0)[1], Form.FLAT, 0)
        candidate = CodedCandidate(fitted, surface.step.value, surface, self._frame.into(decoded), 0.0)
        return self._measured(candidate, MEASURED_POINTS)

    def unrounded(self, fitted: FittedSurface) -> float:
        """Return the error of a fitted surface as that of candidates is measured, in the frame."""
        over = fitted.surface.over(fitted.control.vertices)
        return self._target(0).deviation_of(over, _SEARCHED_POINTS).counted

    def checked(self, candidate: CodedCandidate) -> CodedCandidate:
        """Return a candidate with its error from more points than those of the search. Raises `Cancelled`."""
        self._progress.check_cancelled()
        return self._measured(candidate, MEASURED_POINTS)

    def _measured(self, candidate: CodedCandidate, points: int) -> CodedCandidate:
        """Return a candidate with its error."""
        deviation = self._target(0).deviation_of(candidate.decoded, points)
        error = QuantisationStep.nearest(max(deviation.mean / self.diagonal, _SMALLEST_ERROR))
        surface = replace(candidate.surface, error=error)
        return replace(candidate, surface=surface, distance=deviation.counted)

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
            self._targets[count] = FittingTarget(self._simplifier.source, count, shape=self._simplifier.shape)
        return self._targets[count]


def _sketch_steps(faces: int) -> int:
    """Return the steps of a rough fit."""
    return _SKETCH_STEPS if faces <= _MANY_TO_SKETCH else _SKETCH_STEPS_OF_MANY


def code_fitted(
    fitted: FittedSurface, steps: SurfaceSteps, bit_price: float, coder: BitCounter, progress: Progress
) -> TriangleMesh:
    """Code a fitted surface and return what is decoded, in the frame.

    bit_price : error that a bit is worth, in that of a step at a vertex of median weight
    Raises `UnsupportedSceneError` when a reader would refuse the surface, `Cancelled`.
    """
    models, control = surface_models(), fitted.control
    walk = SurfaceWalk(coder, models, steps)
    weights = fitted.error.curvature.diagonal().reshape(-1, 3).sum(axis=1)
    cost = RoundingCost(fitted.error.curvature, bit_price * float(np.median(weights)) * steps.out**2)
    guide = SurfaceGuide(control.vertices, control.faces, cost, (walk.boundary, models, coder, steps))
    rounded = led_walk(walk, guide, fitted.faces, progress)
    features = None
    if fitted.features is not None:
        wanted = renumbered(fitted.features, control.faces, rounded.faces, np.array(guide.order))
        features = code_features(coder, models, rounded, wanted)
    surface = subdivided(rounded.faces, len(rounded.vertices), fitted.levels, features)
    return surface.over(rounded.vertices)


def renumbered(
    features: SurfaceFeatures,
    faces: NDArray[np.int64],
    walked: NDArray[np.int64],
    order: NDArray[np.int64],
) -> SurfaceFeatures:
    """Return the features of a mesh for the same mesh as the walk numbers it.

    faces, walked : (f, 3), in the old and the new numbers
    order : (v,), the old number of each new vertex
    """
    new_number = np.argsort(order)
    edges = MeshEdges.of(faces)
    pairs = np.sort(new_number[edges.ends[features.creases]], axis=1)
    return SurfaceFeatures(MeshEdges.of(walked).among(pairs, len(order)), features.corners[order])
