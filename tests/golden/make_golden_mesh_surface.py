"""What the golden files of mesh-surface hold, and how they were made.

Run `python tests/golden/make_golden_mesh_surface.py` after adding a case. It writes the files that are
missing and never touches one that exists. Surfaces come from integers, nothing is simplified or fitted.
Payload version 1 had flat triangles alone; those of version 2 are the same meshes made smooth.
"""

import hashlib
import json
import runpy
from pathlib import Path

import numpy as np
from scipy.sparse import identity

import scene_codec
from scene_codec.bitstream import ObjectRecord, SceneContent, open_scene_file, serialise
from scene_codec.codecs.mesh_surface.exact_surface import exact_surface
from scene_codec.codecs.mesh_surface.prior import (
    MODEL_FILES,
    published_prior,
    shipped_prior,
    surface_models,
)
from scene_codec.codecs.mesh_surface.surface_coding import (
    FittedSurface,
    Form,
    code_fitted,
    levels_of,
)
from scene_codec.codecs.mesh_surface.surface_walk import SurfaceSteps, SurfaceWalk
from scene_codec.codecs.mesh_surface.syntax import (
    CodedSurface,
    read_surface,
    write_surface,
)
from scene_codec.entropy.adaptive_bits import BitDecoder, BitEncoder
from scene_codec.entropy.quantisers import QuantisationStep
from scene_codec.geometry.loop_subdivision import SurfaceFeatures, subdivided
from scene_codec.geometry.manifold_surface import is_closed
from scene_codec.geometry.mesh_edges import MeshEdges
from scene_codec.geometry.normalisation import Frame
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.surface_fitting import PointPairs, SurfaceError
from scene_codec.progress import Progress

FOLDER = Path(__file__).parent
SURFACES_FILES = {1: "mesh-surface-v1.json", 2: "mesh-surface-v2.json", 3: "mesh-surface-v3.json"}
"""By payload version; statistics of the same number came with the first two."""

ON_LATTICE = "mesh-surface-v3-lattice"

BIT_PRICE = 0.05

_MADE = runpy.run_path(str(FOLDER / "make_golden_files.py"))
pseudo_random = _MADE["pseudo_random"]

_EIGHTS = ((10, 0), (7, 7), (0, 10), (-7, 7), (-10, 0), (-7, -7), (0, -10), (7, -7))
_SIXTHS = ((4, 0), (2, 3), (-2, 3), (-4, 0), (-2, -3), (2, -3))

CASES = {
    "mesh-surface-v1-closed": (1, "closed", Form.FLAT, 1, 7),
    "mesh-surface-v1-parts": (1, "parts", Form.FLAT, 3, 9),
    "mesh-surface-v2-smooth": (2, "closed", Form.SMOOTH, 2, 8),
    "mesh-surface-v2-creased": (2, "parts", Form.CREASED, 2, 8),
    ON_LATTICE: (3, "stairs", Form.FLAT, 1, 1),
}
"""Payload version, mesh, form, how much coarser vertices are rounded along the surface, and which power of a
half the step is."""


def shaken(vertices: np.ndarray, seed: int) -> np.ndarray:
    """Return integers moved by up to 10 in each direction, as float64."""
    return (vertices + pseudo_random(vertices.size, seed).reshape(vertices.shape) % 21 - 10).astype(
        np.float64
    )


def ring(seed: int) -> TriangleMesh:
    """Return a torus with sides of several lengths: its faces lead to corners elsewhere, too."""
    vertices = np.array(
        [[(16 + width) * x, (16 + width) * y, 30 * height] for x, y in _EIGHTS for width, height in _SIXTHS]
    )
    around, along = (index.ravel() for index in np.indices((len(_EIGHTS), len(_SIXTHS))))
    beside = (around + 1) % len(_EIGHTS) * len(_SIXTHS)
    own, above = around * len(_SIXTHS), (along + 1) % len(_SIXTHS)
    quads = np.stack([own + along, beside + along, beside + above, own + above], axis=1)
    return TriangleMesh(shaken(vertices, seed), np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]))


def sheet(side: int, hole: slice, seed: int) -> TriangleMesh:
    """Return a bent square with a hole."""
    along, across = (index.ravel() for index in np.indices((side + 1, side + 1)))
    vertices = np.stack([60 * along, 60 * across, 9 * (along - 2) * (across - 3)], axis=1)
    corner = np.arange((side + 1) ** 2).reshape(side + 1, side + 1)[:-1, :-1]
    kept = np.ones((side, side), bool)
    kept[hole, hole] = False
    halves = np.array([[[0, side + 1, side + 2]], [[0, side + 2, 1]]])
    faces = (corner[kept][:, None] + halves).reshape(-1, 3)
    used, faces = np.unique(faces, return_inverse=True)
    return TriangleMesh(shaken(vertices, seed)[used], faces.reshape(-1, 3))


def surfaces() -> dict[str, TriangleMesh]:
    """Return the meshes that the files hold, in scene units."""
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    corners = np.array([[0, 0, 700], [120, 10, 690], [30, 140, 720], [40, 50, 800]])
    parts = [
        sheet(6, slice(2, 4), 3),
        TriangleMesh(shaken(corners, 4), faces),
        TriangleMesh(ring(5).vertices + np.array([700.0, 200.0, 100.0]), ring(5).faces),
        TriangleMesh(shaken(corners[:3] - [300, 0, 0], 6), faces[:1]),
    ]
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    together = TriangleMesh(
        np.concatenate([part.vertices for part in parts]) / 64.0 + [1000.0, -2.0, 0.5],
        np.concatenate([part.faces + offset for part, offset in zip(parts, offsets, strict=True)]),
    )
    return {"closed": ring(1), "parts": together, "stairs": stairs()}


def stairs() -> TriangleMesh:
    """Return blocks one behind the other, each higher, and a flat sheet, on planes 1/4, 1/8 and 3/8 apart."""
    block = np.array([[0, 0, 0], [4, 0, 0], [0, 3, 0], [4, 3, 0], [0, 0, 2], [4, 0, 2], [0, 3, 2], [4, 3, 2]])
    sides = np.array(
        [[0, 2, 3], [0, 3, 1], [4, 5, 7], [4, 7, 6], [0, 1, 5], [0, 5, 4],
         [2, 6, 7], [2, 7, 3], [0, 4, 6], [0, 6, 2], [1, 3, 7], [1, 7, 5]]
    )  # fmt: skip
    blocks = [block * [1, 1, number] + [0, 4 * number, 0] for number in range(1, 4)]
    beside = block[:4] + np.array([7, 0, 1])
    corners = np.concatenate([*blocks, beside])
    faces = np.concatenate([*(sides + 8 * number for number in range(3)), sides[2:4] - 4 + 24])
    return TriangleMesh(corners * [0.25, 0.125, 0.375] + [-3.0, 17.0, 0.0625], faces)


def marked(mesh: TriangleMesh) -> SurfaceFeatures:
    """Return features at every third edge and every fifth vertex."""
    edges = MeshEdges.of(mesh.faces)
    return SurfaceFeatures(np.arange(len(edges)) % 3 == 0, np.arange(len(mesh.vertices)) % 5 == 0)


def uniform_error(vertices: int) -> SurfaceError:
    """Return an error whose quadratic form is the identity."""
    no_points = PointPairs(np.zeros((0, 3), np.int64), *np.zeros((2, 0, 3)), np.zeros(0))
    own = identity(vertices, format="csr")
    return SurfaceError(0.0, no_points, own, np.ones(vertices), np.zeros((vertices, 3)))


def coded(case: str) -> CodedSurface:
    """Return a surface as it is written; all directions count alike when its vertices are rounded."""
    if case == ON_LATTICE:
        found = exact_surface(surfaces()[CASES[case][1]], Progress())
        assert found is not None
        return found[0]
    prior, shape, form, in_plane, halvings = CASES[case]
    mesh = surfaces()[shape]
    frame, step = Frame.around(mesh), QuantisationStep.nearest(2.0**-halvings)
    placed = frame.into(mesh)
    steps = SurfaceSteps(step.value, float(in_plane), is_closed(mesh.faces))
    features = marked(placed) if form is Form.CREASED else None
    levels = levels_of(form, len(mesh.faces))
    fitted = FittedSurface(
        placed,
        subdivided(placed.faces, len(placed.vertices), levels, features),
        uniform_error(len(placed.vertices)),
        form,
        levels,
        features,
    )
    encoder = BitEncoder(shipped_prior(prior))
    code_fitted(fitted, steps, BIT_PRICE, encoder, Progress())
    return CodedSurface(
        place=frame,
        prior=prior,
        closed=steps.closed,
        in_plane=in_plane,
        step=step,
        error=QuantisationStep.nearest(2.0**-10),
        faces=len(mesh.faces),
        levels=levels,
        creased=features is not None,
        stream=encoder.finish(),
    )


def surface_in(name: str) -> CodedSurface:
    """Return the surface of a file."""
    with open_scene_file(FOLDER / name) as file:
        (entry,) = file.objects
        return read_surface({own.kind: file.read_object(entry.name, own.kind) for own in entry.sections})


def described(name: str) -> dict[str, object]:
    """Return what a file decodes to, every number of it."""
    surface = surface_in(name)
    (item,) = scene_codec.decode(FOLDER / name, device="cpu")
    return {
        "prior": surface.prior,
        "closed": surface.closed,
        "in_plane": surface.in_plane,
        "step": surface.step.value,
        "error": surface.error.value,
        **_decoded(item.mesh, surface),
    }


def _decoded(mesh: TriangleMesh, surface: CodedSurface) -> dict[str, object]:
    """Return every number of a flat surface, part of those of a smooth one."""
    if not surface.levels:
        return {"faces": mesh.faces.tolist(), "vertices": mesh.vertices.tolist()}
    return {
        "levels": surface.levels,
        "creased": surface.creased,
        "faces": digest_of(mesh.faces),
        "vertices": sampled(mesh.vertices),
    }


def control_of(name: str) -> TriangleMesh:
    """Return the control triangles of a file, in scene units."""
    surface = surface_in(name)
    walk = SurfaceWalk(
        BitDecoder(surface.stream, shipped_prior(surface.prior)), surface_models(), surface.steps
    )
    return surface.place.out_of(TriangleMesh(*walk.run(surface.faces, lambda: None)))


def digest_of(faces: np.ndarray) -> str:
    """Return a digest of integers."""
    return hashlib.blake2b(faces.astype("<i8").tobytes(), digest_size=16).hexdigest()


def sampled(vertices: np.ndarray) -> list[list[float]]:
    """Return every seventh vertex."""
    kept: list[list[float]] = vertices[::7].tolist()
    return kept


def statistics(number: int) -> str:
    """Return a digest of published statistics."""
    prior = published_prior(number)
    digest = hashlib.blake2b(digest_size=16)
    for part, kind in ((prior.probabilities, "<u2"), (prior.seen, "u1"), (prior.weights, "<i4")):
        digest.update(part.astype(kind).tobytes())
    return digest.hexdigest()


def main() -> None:
    """Write the files that are missing."""
    for version, known_file in SURFACES_FILES.items():
        known = {}
        for case in (case for case, recipe in CASES.items() if recipe[0] == version):
            path = FOLDER / f"{case}.nscene"
            if not path.exists():
                record = ObjectRecord(case.rpartition("-")[2], write_surface(coded(case)))
                path.write_bytes(serialise(SceneContent("mesh-surface", version, (), (record,))))
            known[case.rpartition("-")[2]] = described(path.name)
        published = {str(version): statistics(version)} if version in MODEL_FILES else {}
        content = {"statistics": published, "surfaces": known}
        if not (FOLDER / known_file).exists():
            (FOLDER / known_file).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
