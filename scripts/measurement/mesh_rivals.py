"""Other programs that code one mesh: simplification + Draco, Draco alone, gltfpack."""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import fast_simplification
import igl
import numpy as np
import trimesh
from numcodecs import zstd

from baselines.draco import PLACEMENT_BYTES, draco_decode, draco_encode
from measurement.kept_rows import Rows
from measurement.mesh_curves import curve, thinned
from measurement.mesh_points import (
    Attempt,
    Coded,
    Original,
    QuickDistance,
    cpu_seconds,
    measured_point,
    used_part,
)
from measurement.mesh_qslim import Simplified, qslim
from scene_codec.geometry.mesh_files import save_scene_object
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh

FACES = (60, 100, 150, 220, 320, 460, 660, 950, 1400, 2000, 2900, 4200, 6000)
BITS = (7, 8, 9, 10, 11)

ROUGH_SAMPLES, SCREENED_SAMPLES = 10_000, 30_000
_NEAR = 0.97
"""A setting stays in the choice unless a smaller file has less than this part of its estimated error."""

ERRORS_OF_INTEREST = (0.7e-3, 12e-3)
"""Of the settings on the curve, those with errors in here are measured, and one beyond each end."""

FULL_ERRORS = (1e-3, 2e-3, 4e-3, 8e-3)
"""All measures are taken at the settings nearest to these, exact distances at all."""

Keep = Callable[[str, Callable[[], Rows]], Rows]
"""Returns the rows of a part of a measurement, from disk when they were made before."""


class Rival(Protocol):
    """A program that codes one mesh at many settings.

    screened : there are so many settings that a quick estimate chooses those that are measured
    """

    @property
    def name(self) -> str:
        """What tables call it."""

    @property
    def recipe(self) -> str:
        """What its points depend on, besides the mesh."""

    @property
    def screened(self) -> bool:
        """See the class."""

    def attempts(self, original: Original, folder: Path) -> list[Attempt]:
        """Return all settings; `folder` is there while they run."""


def rival_points(rival: Rival, original: Original, samples: int, keep: Keep) -> Rows:
    """Return the points of a rival for one mesh."""
    with tempfile.TemporaryDirectory() as folder:
        attempts = rival.attempts(original, Path(folder))
        if not rival.screened:
            return keep("points", lambda: [measured_point(original, own, samples) for own in attempts])
        chosen = chosen_rows(keep("screened", lambda: screened_rows(original, attempts)))
        full = full_settings(chosen)

        def points() -> Rows:
            by_setting = {attempt.setting: attempt for attempt in attempts}
            return [
                measured_point(original, by_setting[name], samples if name in full else None)
                for name in (row["setting"] for row in chosen)
            ]

        return keep("points", points)


def screened_rows(original: Original, attempts: Sequence[Attempt]) -> Rows:
    """Return bytes and estimated errors of the settings that are near the best.

    A setting that fails is no reason to give up the others: some simplifiers do not know every mesh.
    """
    rough = QuickDistance(original, ROUGH_SAMPLES)
    found: list[tuple[float, float, str, TriangleMesh]] = []
    known: set[tuple[float, int]] = set()
    for attempt in attempts:
        try:
            attempt.prepare()
            coded = attempt.encode()
            framed = original.into_frame(coded.decode())
            size = (coded.bytes, len(framed.faces))
            if size not in known:
                found.append((coded.bytes, rough(framed), attempt.setting, framed))
                known.add(size)
        except (ValueError, RuntimeError, IndexError) as problem:
            print(f"{original.name}: {attempt.setting}: {problem}", flush=True)
    fine = QuickDistance(original, SCREENED_SAMPLES)
    return [
        {"setting": setting, "bytes": size, "point_to_surface": fine(framed)}
        for size, error, setting, framed in found
        if not any(other[0] <= size and other[1] < _NEAR * error for other in found)
    ]


def chosen_rows(rows: Rows) -> Rows:
    """Return the settings that make up the curve over the errors of interest."""
    own = curve(rows)
    low, high = ERRORS_OF_INTEREST
    first = max((index for index, (error, _) in enumerate(own) if error <= low), default=0)
    last = min((index for index, (error, _) in enumerate(own) if error >= high), default=len(own) - 1)
    places = set(thinned(own[first : last + 1]))
    return [row for row in rows if (row["point_to_surface"], row["bytes"]) in places]


def full_settings(rows: Rows) -> set[str]:
    """Return the settings nearest to the errors at which everything is measured."""
    return {
        min(rows, key=lambda row: abs(math.log(max(row["point_to_surface"], 1e-9) / error)))["setting"]
        for error in FULL_ERRORS
        if rows
    }


class SharedMeshes:
    """A mesh and its simplified copies, each made once for all numbers of bits.

    All simplifiers go by quadric errors: fast-simplification at its default speed (`fast`) and at one that
    stops early (`careful`); libigl's `qslim` where no edge has more than two faces.
    """

    def __init__(self, original: TriangleMesh) -> None:
        self._original = original
        self._made: dict[tuple[str, int], tuple[TriangleMesh, float]] = {}
        self._slimmed: Simplified | None = None

    def simplifiers(self) -> list[str]:
        """Return those that know this mesh."""
        manifold = bool(igl.is_edge_manifold(self._original.faces)[0])
        return ["fast", "careful", *(["qslim"] if manifold else [])]

    def mesh(self, simplifier: str, faces: int) -> TriangleMesh:
        """Return a simplified mesh, or the original for no simplifier; ValueError when it gave up."""
        return self._get(simplifier, faces)[0]

    def seconds(self, simplifier: str, faces: int) -> float:
        """Return the processor seconds that a simplification took."""
        return self._get(simplifier, faces)[1]

    def _get(self, simplifier: str, faces: int) -> tuple[TriangleMesh, float]:
        if not simplifier:
            return self._original, 0.0
        if (simplifier, faces) not in self._made:
            mesh, seconds = self._slim(faces) if simplifier == "qslim" else self._fast(simplifier, faces)
            self._made[simplifier, faces] = used_part(mesh), seconds
        return self._made[simplifier, faces]

    def _fast(self, simplifier: str, faces: int) -> tuple[TriangleMesh, float]:
        start = cpu_seconds()
        vertices, triangles = fast_simplification.simplify(
            self._original.vertices.astype(np.float32),
            self._original.faces.astype(np.int32),
            target_count=faces,
            agg=7.0 if simplifier == "fast" else 3.0,
        )
        mesh = TriangleMesh(vertices.astype(np.float64), triangles.astype(np.int64).reshape(-1, 3))
        return mesh, cpu_seconds() - start

    def _slim(self, faces: int) -> tuple[TriangleMesh, float]:
        if self._slimmed is None:
            self._slimmed = qslim(self._original, [own for own in FACES if own < len(self._original.faces)])
        if faces not in self._slimmed:
            raise ValueError("qslim gave up")
        return self._slimmed[faces]


def bits_for(faces: int) -> tuple[int, ...]:
    """Return the three numbers of bits that suit a number of faces: few do not deserve many."""
    best = round(np.log2(faces / 500.0) / 1.5 + 8.5)
    first = int(np.clip(best - 1, BITS[0], BITS[-1] - 2))
    return first, first + 1, first + 2


@dataclass(frozen=True)
class DracoAlone:
    """Draco on the mesh as it is, at several numbers of bits."""

    name: str = "draco"
    screened: bool = False

    @property
    def recipe(self) -> str:
        """See `Rival`."""
        return json.dumps([self.name, BITS])

    def attempts(self, original: Original, folder: Path) -> list[Attempt]:
        """See `Rival`."""
        del folder
        return [_draco_attempt(original, SharedMeshes(original.framed), "", 0, bits) for bits in BITS]


@dataclass(frozen=True)
class DracoHull:
    """Simplification, then Draco: the best over numbers of faces, simplifiers and bits."""

    name: str = "draco-hull"
    screened: bool = True

    @property
    def recipe(self) -> str:
        """See `Rival`."""
        return json.dumps([self.name, FACES, BITS, ROUGH_SAMPLES, SCREENED_SAMPLES, ERRORS_OF_INTEREST])

    def attempts(self, original: Original, folder: Path) -> list[Attempt]:
        """See `Rival`."""
        shared = SharedMeshes(original.framed)
        return [
            *DracoAlone().attempts(original, folder),
            *(
                _draco_attempt(original, shared, simplifier, faces, bits)
                for simplifier in shared.simplifiers()
                for faces in FACES
                for bits in bits_for(faces)
                if faces < len(original.mesh.faces)
            ),
        ]


def _draco_attempt(
    original: Original, shared: SharedMeshes, simplifier: str, faces: int, bits: int
) -> Attempt:
    """Return Draco on a mesh that several settings may share."""

    def encode() -> Coded:
        mesh = shared.mesh(simplifier, faces)
        data = draco_encode(mesh.vertices, mesh.faces, bits)
        return Coded(len(data) + PLACEMENT_BYTES, lambda: original.put_back(draco_decode(data)))

    words = f"{simplifier} {faces} faces, " if simplifier else ""
    return Attempt(f"{words}{bits} bits", encode, lambda: shared.seconds(simplifier, faces))


@dataclass(frozen=True)
class Gltfpack:
    """meshoptimizer's gltfpack: simplified, quantised, compressed, and what Zstandard leaves of that.

    The positions decoded are those of the same command without compression, which loses nothing more.
    """

    executable: str
    name: str = "gltfpack"
    screened: bool = True

    @property
    def recipe(self) -> str:
        """See `Rival`."""
        version = subprocess.run([self.executable, "-v"], capture_output=True, text=True, check=False).stdout
        return json.dumps([self.name, version.strip(), FACES, BITS, SCREENED_SAMPLES, ERRORS_OF_INTEREST])

    def attempts(self, original: Original, folder: Path) -> list[Attempt]:
        """See `Rival`."""
        source = folder / "original.obj"
        save_scene_object(SceneObject("mesh", original.mesh), source)
        count = len(original.mesh.faces)
        plain = [self._attempt(source, f"{bits} bits", ["-vp", str(bits)]) for bits in BITS]
        simplified = [
            self._attempt(
                source,
                f"{faces} faces, {bits} bits",
                ["-vp", str(bits), "-si", f"{faces / count:.6f}", "-se", "1", "-sv"],
            )
            for faces in FACES
            for bits in bits_for(faces)[:2]
            if faces < count
        ]
        return plain + simplified

    def _attempt(self, source: Path, setting: str, flags: list[str]) -> Attempt:
        """Return one setting."""

        def encode() -> Coded:
            size = len(zstd.compress(self._run(source, [*flags, "-cz"]), 19))
            return Coded(size, lambda: glb_mesh(self._run(source, flags)), timed=False)

        return Attempt(setting, encode)

    def _run(self, source: Path, flags: list[str]) -> bytes:
        """Return the file that gltfpack writes."""
        target = source.with_name("packed.glb")
        command = [self.executable, "-i", str(source), "-o", str(target), *flags]
        subprocess.run(command, check=True, capture_output=True)
        return target.read_bytes()


def glb_mesh(data: bytes) -> TriangleMesh:
    """Return the mesh of a .glb file with quantised positions, which the project's own reader refuses."""
    scene: Any = trimesh.load_scene(trimesh.util.wrap_as_stream(data), file_type="glb", process=False)
    mesh = scene.to_mesh()
    return TriangleMesh(np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64))
