"""What a mesh will cost, told in seconds before it is coded.

A simplified surface is fitted in two steps at two or three numbers of faces; in between, and beyond, the
distance follows a power of the faces. One small surface is coded, for the bits that a face of this mesh
takes. Everything is measured against a thinned mesh, so that half a million triangles take hardly longer than
ten thousand.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import fast_simplification
import numpy as np

from scene_codec.codecs.contract import ObjectEstimate
from scene_codec.codecs.mesh_surface.config import MeshSurfaceSettings
from scene_codec.codecs.mesh_surface.exact_surface import exact_surface, is_worth_it
from scene_codec.codecs.mesh_surface.prior import NEWEST_PRIOR, shipped_prior
from scene_codec.codecs.mesh_surface.quality_search import FEWEST_FACES, LOST
from scene_codec.codecs.mesh_surface.surface_coding import (
    COARSEST_STEP,
    FINEST_STEP,
    MOST_FACES,
    FittedSurface,
    Form,
    code_fitted,
    forms_within,
    levels_of,
)
from scene_codec.codecs.mesh_surface.surface_walk import SurfaceSteps
from scene_codec.codecs.mesh_surface.syntax import MOST_DECODED_FACES, write_surface
from scene_codec.entropy.adaptive_bits import BitEncoder
from scene_codec.entropy.quantisers import QuantisationStep
from scene_codec.errors import UnsupportedSceneError
from scene_codec.geometry.loop_subdivision import SubdividedSurface, SurfaceFeatures, subdivided
from scene_codec.geometry.manifold_surface import is_closed, manifold, welded
from scene_codec.geometry.mesh_checks import prepare_mesh
from scene_codec.geometry.normalisation import Frame
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh
from scene_codec.geometry.surface_fitting import FittingTarget
from scene_codec.geometry.surface_simplification import SurfaceSimplifier
from scene_codec.progress import Progress
from scene_codec.reports import ObjectFailure
from scene_codec.scaling.pool import open_pool

PROCESSES_FROM = 5
"""Fewer meshes are estimated in the caller's process, before others would have started."""

_MEASURED_FACES = 20_000
"""A mesh of more is thinned: what that moves is far less than any error worth estimating."""

_THIN_FACES = 4_000
_PER_FACE = 4
"""Surfaces are simplified from one of about so many faces, if that has so many for each that is left."""

_CELLS = 2.0**20
"""Vertices in one cell of a grid of so many cells along the unit of the frame are one."""

_FIRST_FACES = 400
_TRIES = 7

_NEAR, _NEAR_ENOUGH = 1.15, 1.35
"""Between faces within such a factor, or from a distance within such a factor of the wanted one, no further
try is needed."""

_NOTHING = 0.1
"""Shares of the wanted distance below are alike: a surface is all but exact with the faces it came with."""

_POINTS = 4_000
_FIT_STEPS = 2
_FITTED_FACES = 1_300
"""More would be fitted to the points, not the surface: for them, fitting gains what it did with fewer."""

_CODED_FACES = 700

_FITTED_SHARE = 0.93
"""Of the error that is reached, what a surface fitted in two steps has before it is rounded."""

_STEP = 3.0
"""Rounding step against the error that is reached."""

_FINE_STEP = 0.17
"""Rounding step against a wanted error that the faces there may be cannot keep."""

_LEAST_STEP = 1e-3
"""Usual step of a surface that needs no fitting, in diagonals."""

_FINEST, _ROUNDING = 1.03, 0.2
"""Share of the fitted distance that no step undercuts, and what a step adds to it."""

_USUAL_GAIN, _LESS_GAIN = 0.65, 1.1
"""What fitting leaves of the distance, and how much more of it where there are many faces."""

_USUAL_SLOPE = 1.15
_SLOPES = (0.6, 2.5)
"""With which power of the faces the distance falls."""

_HEAD_BYTES = 20
_FIRST_BITS = 8.5
_BITS_OF_HALVING = 1.5
"""Bits that a face takes more when the step is halved: three coordinates of half a vertex."""


@dataclass(frozen=True)
class SurfaceEstimate:
    """About what coding a mesh will come to; `error_percent` is that of the file's own measure."""

    bytes: int
    faces: int
    error_percent: float


def estimate_surfaces(
    objects: Sequence[SceneObject], settings: MeshSurfaceSettings, progress: Progress
) -> tuple[list[ObjectEstimate], list[ObjectFailure]]:
    """Return what each mesh will come to, in their order, and what cannot be coded. Raises `Cancelled`."""
    jobs, failures = [], []
    for item in objects:
        try:
            jobs.append(_Job(item, prepare_mesh(item.mesh, item.name), settings))
        except UnsupportedSceneError as error:
            failures.append(ObjectFailure(name=item.name, reason=str(error)))
    found: dict[str, SurfaceEstimate] = {}
    few = len(jobs) < PROCESSES_FROM
    with open_pool("inline" if few else f"processes:{min(len(jobs), os.cpu_count() or 1)}") as pool:
        work = partial(_estimate_job, progress=progress) if few else _estimate_job
        for outcome in pool.map_unordered(work, jobs, check=progress.check_cancelled):
            if outcome.result is None:
                reason = f"it could not be estimated: {outcome.failure}"
                failures.append(ObjectFailure(name=outcome.job.item.name, reason=reason))
            else:
                found[outcome.job.item.name] = outcome.result
            progress.update((len(found) + len(failures)) / len(objects), outcome.job.item.name)
    told = [(job.item, found[job.item.name]) for job in jobs if job.item.name in found]
    return [
        ObjectEstimate(item, estimate.bytes, estimate.faces, estimate.error_percent)
        for item, estimate in told
    ], failures


@dataclass(frozen=True)
class _Job:
    item: SceneObject
    mesh: TriangleMesh
    settings: MeshSurfaceSettings


def _estimate_job(job: _Job, progress: Progress | None = None) -> SurfaceEstimate:
    return estimate_surface(job.mesh, job.settings, progress or Progress())


def estimate_surface(
    mesh: TriangleMesh, settings: MeshSurfaceSettings, progress: Progress
) -> SurfaceEstimate:
    """Return what a mesh that has passed the checks will come to with these settings. Raises `Cancelled`."""
    near, exact = _near(mesh, settings, progress), _exact(mesh, settings, progress)
    if exact is None:
        return near
    if settings.target_size is not None:
        return exact if exact.bytes <= settings.target_size else near
    return (
        exact if is_worth_it(exact.bytes, near.bytes) or near.error_percent > settings.target_error else near
    )


def _exact(mesh: TriangleMesh, settings: MeshSurfaceSettings, progress: Progress) -> SurfaceEstimate | None:
    """Return what a mesh on a lattice will come to as it is, None if it lies on none."""
    if len(mesh.faces) > (settings.faces or MOST_FACES):
        return None
    found = exact_surface(manifold(welded(mesh)), progress)
    if found is None:
        return None
    return SurfaceEstimate(len(write_surface(found[0])[0].payload), found[0].faces, 0.0)


def _near(mesh: TriangleMesh, settings: MeshSurfaceSettings, progress: Progress) -> SurfaceEstimate:
    """Return what a mesh will come to in the best form that is not exact."""
    measured = _Measured(mesh, settings, progress)
    forms = [_Trials(measured, form) for form in forms_within(settings.faces or MOST_DECODED_FACES)]
    first = [trials.distance(min(_FIRST_FACES, trials.most_faces)) for trials in forms]
    promising = [
        trials
        for trials, distance in zip(forms, first, strict=True)
        if distance <= LOST * min(first) or trials.form is Form.FLAT  # the one that can become exact
    ]
    if settings.target_size is not None:
        told = [_of_size(trials, settings.target_size) for trials in promising]
        fitting = [each for each in told if each.bytes <= 1.02 * settings.target_size]
        return min(fitting or told, key=lambda each: each.error_percent)
    told = [_of_error(trials, settings.target_error / 100.0 * trials.diagonal) for trials in promising]
    keeping = [each for each in told if each.error_percent <= 1.02 * settings.target_error]
    return (
        min(keeping, key=lambda each: each.bytes)
        if keeping
        else min(told, key=lambda each: each.error_percent)
    )


def _of_error(trials: _Trials, wanted: float) -> SurfaceEstimate:
    """Return what a form of a mesh comes to within a distance."""
    faces = _faces_within(trials, _FITTED_SHARE * wanted)
    if faces == trials.most_faces and trials.distance(faces) > wanted:
        return _told(trials, faces, _with_step(trials, faces, _FINE_STEP * wanted))
    return _told(trials, faces, _Price(trials.bits_of_face(faces, _STEP * wanted), wanted))


def _of_size(trials: _Trials, size: int) -> SurfaceEstimate:
    """Return what a mesh comes to in so many bytes."""
    room = 8.0 * max(size - _HEAD_BYTES, 1)
    faces = min(trials.most_faces, max(FEWEST_FACES, round(room / _FIRST_BITS)))
    trials.distance(min(faces, _FIRST_FACES))
    bits = trials.bits_of_face(faces, _STEP * trials.distance(faces) / _FITTED_SHARE)
    faces = min(trials.most_faces, max(FEWEST_FACES, round(room / bits)))
    if faces < trials.most_faces:
        return _told(trials, faces, _Price(bits, trials.distance(faces) / _FITTED_SHARE))
    # What is left when there are no more faces goes into finer steps, and what lacks into coarser ones.
    step = trials.usual_step(faces)
    spare = room / faces - trials.bits_of_face(faces, step)
    return _told(
        trials, faces, _with_step(trials, faces, step * 2.0 ** -min(max(spare / _BITS_OF_HALVING, -4.0), 8.0))
    )


@dataclass(frozen=True)
class _Price:
    """Bits of a face, and the distance they buy."""

    bits: float
    distance: float


def _with_step(trials: _Trials, faces: int, step: float) -> _Price:
    """Return what a surface comes to with another step than the usual one."""
    usual = trials.usual_step(faces)
    bits = trials.bits_of_face(faces, usual) + _BITS_OF_HALVING * math.log2(usual / step)
    return _Price(bits, math.hypot(_FINEST * trials.distance(faces), _ROUNDING * step))


def _told(trials: _Trials, faces: int, price: _Price) -> SurfaceEstimate:
    size = round(_HEAD_BYTES + max(price.bits, 1.0) * faces / 8.0)
    triangles = faces << 2 * trials.levels_of(faces)
    return SurfaceEstimate(size, triangles, 100.0 * price.distance / trials.diagonal)


def _faces_within(trials: _Trials, wanted: float) -> int:
    """Return about how many faces a fitted surface within a distance needs, at most those there may be."""
    distances: dict[int, float] = {}
    faces = min(_FIRST_FACES, trials.most_faces)
    for _ in range(_TRIES):
        distances[faces] = max(trials.distance(faces), _NOTHING * wanted)
        following = _between(distances, wanted, trials.most_faces)
        if following in distances or 1.0 / _NEAR_ENOUGH <= distances[faces] / wanted <= _NEAR_ENOUGH:
            break
        if any(tried / _NEAR <= following <= tried * _NEAR for tried in distances):
            break
        faces = following
    return following


def _between(distances: dict[int, float], wanted: float, most: int) -> int:
    """Return the faces at which a power law through what was tried has the wanted distance."""
    coarse = [faces for faces, distance in distances.items() if distance > wanted]
    fine = [faces for faces, distance in distances.items() if distance <= wanted]
    if coarse and fine and max(coarse) < min(fine):
        start, most = max(coarse), min(fine)
        slope = _slope(distances, start, most, steepest=math.inf)
    else:
        start = max(coarse) if coarse else min(fine)
        near = sorted(distances, key=lambda faces: abs(math.log(faces / start)))[:2]
        slope = _slope(distances, min(near), max(near), _SLOPES[1]) if len(near) > 1 else _USUAL_SLOPE
    found = start * math.pow(distances[start] / wanted, 1.0 / slope)
    return max(min(FEWEST_FACES, most), min(round(found), most))


def _slope(distances: dict[int, float], few: int, many: int, steepest: float) -> float:
    """Return with which power the distance falls from few faces to many."""
    rise = math.log(distances[few] / distances[many])
    return min(max(rise / math.log(many / few), _SLOPES[0]), steepest)


class _Measured:
    """A mesh as all forms are measured against it, and simplified for all of them."""

    def __init__(self, mesh: TriangleMesh, settings: MeshSurfaceSettings, progress: Progress) -> None:
        self.settings, self.progress = settings, progress
        placed = Frame.around(mesh).into(mesh)
        self.diagonal = float(np.linalg.norm(np.ptp(placed.vertices, axis=0)))
        joined = _joined(placed)
        progress.check_cancelled()
        self._mesh = _thinned(joined, _MEASURED_FACES)
        self._thin = SurfaceSimplifier(_thinned(self._mesh, _THIN_FACES))
        self._whole = self._thin if len(self._mesh.faces) <= _THIN_FACES else None
        self.target = FittingTarget(self._mesh, _POINTS)
        self.most_faces = (
            len(joined.faces) if len(joined.faces) > _THIN_FACES else len(self._thin.source.faces)
        )
        self._simplified: dict[int, TriangleMesh] = {}

    def simplified(self, faces: int) -> TriangleMesh:
        """Return the mesh with about so many faces. Raises `Cancelled`."""
        if faces not in self._simplified:
            self.progress.check_cancelled()
            self._simplified[faces] = self._simplifier(faces).to_faces(faces)
        return self._simplified[faces]

    def _simplifier(self, faces: int) -> SurfaceSimplifier:
        if self._whole is None and _PER_FACE * faces > _THIN_FACES:
            self._whole = SurfaceSimplifier(self._mesh)
        return self._whole if self._whole is not None and _PER_FACE * faces > _THIN_FACES else self._thin


class _Trials:
    """Surfaces of one form over one mesh, fitted and coded quickly; faces are control faces."""

    def __init__(self, measured: _Measured, form: Form) -> None:
        self._measured, self.form = measured, form
        self._settings, self._progress = measured.settings, measured.progress
        self._target, self.diagonal = measured.target, measured.diagonal
        self._budget = self._settings.faces or MOST_DECODED_FACES
        most = self._budget >> 2 * levels_of(form, MOST_FACES)
        self.most_faces = max(1, min(measured.most_faces, MOST_FACES, most))
        self._fitted: dict[int, FittedSurface] = {}
        self._distances: dict[int, float] = {}
        self._gain = _USUAL_GAIN

    def distance(self, faces: int) -> float:
        """Return the distance of the fitted surface with about so many faces. Raises `Cancelled`."""
        if faces not in self._distances:
            control = self._measured.simplified(faces)
            self._progress.check_cancelled()
            surface, levels, features = self._over(control)
            if faces <= _FITTED_FACES:
                vertices, error = self._target.fit(control, surface, _FIT_STEPS)
                fitted = TriangleMesh(vertices, control.faces)
                self._fitted[faces] = FittedSurface(fitted, surface, error, self.form, levels, features)
                self._distances[faces] = error.distance
                if faces == _FIRST_FACES:
                    before = self._target.deviation_of(surface.over(control.vertices), _POINTS).counted
                    self._gain = min(1.0, self._distances[faces] / max(before, 1e-12))
            else:
                before = self._target.deviation_of(surface.over(control.vertices), _POINTS).counted
                self._distances[faces] = _LESS_GAIN * self._gain * before
        return self._distances[faces]

    def _over(self, control: TriangleMesh) -> tuple[SubdividedSurface, int, SurfaceFeatures | None]:
        """Return the surface over control faces, its levels, and its creases where the form has them."""
        features = self._target.features_of(control) if self.form is Form.CREASED else None
        levels = self.levels_of(len(control.faces))
        return subdivided(control.faces, len(control.vertices), levels, features), levels, features

    def levels_of(self, faces: int) -> int:
        """Return the levels of subdivision over so many control faces."""
        return levels_of(self.form, faces, self._budget)

    def usual_step(self, faces: int) -> float:
        """Return the step that goes with so many faces when the faces are free."""
        return _STEP * max(self.distance(faces) / _FITTED_SHARE, _LEAST_STEP * self.diagonal / _STEP)

    def bits_of_face(self, faces: int, step: float) -> float:
        """Return how many bits a face takes: of the fitted surface next to so many. Raises `Cancelled`.

        step : that of the surface that is asked for; a coarser surface is coded with one that fits it
        """
        small = [count for count in self._fitted if count <= _CODED_FACES]
        nearest = min(small, key=lambda count: abs(math.log(count / faces)))
        fitted = self._fitted[nearest]
        step = max(step, _STEP * fitted.error.distance / _FITTED_SHARE)
        value = QuantisationStep.nearest(min(max(step, FINEST_STEP), COARSEST_STEP)).value
        steps = SurfaceSteps(value, float(self._settings.in_plane), is_closed(fitted.control.faces))
        encoder = BitEncoder(shipped_prior(NEWEST_PRIOR))
        code_fitted(fitted, steps, self._settings.bit_price, encoder, self._progress)
        return 8.0 * len(encoder.finish()) / fitted.faces


def _joined(mesh: TriangleMesh) -> TriangleMesh:
    """Return the mesh with vertices at nearly the same place made one, without faces that vanish thereby."""
    cells = np.rint((mesh.vertices + 1.0) * _CELLS).astype(np.int64)
    _, first, index = np.unique(
        (cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2], return_index=True, return_inverse=True
    )
    faces = index.reshape(-1)[mesh.faces]
    a, b, c = faces.T
    return TriangleMesh(mesh.vertices[first], faces[(a != b) & (b != c) & (c != a)])


def _thinned(mesh: TriangleMesh, faces: int) -> TriangleMesh:
    """Return the mesh with about so many faces, in a hurry; itself when it has no more."""
    if len(mesh.faces) <= faces:
        return mesh
    vertices, thinned = fast_simplification.simplify(
        mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32), target_count=faces, agg=9
    )
    return TriangleMesh(np.asarray(vertices, np.float64), np.asarray(thinned, np.int64))
