"""What the golden files of mesh-surface hold, and how they were made.

Run `python tests/golden/make_golden_mesh_surface.py` after adding a case. It writes the files that are
missing and never touches one that exists. Surfaces come from integers, nothing is simplified or fitted.
"""

import hashlib
import json
import runpy
from pathlib import Path

import numpy as np
from scipy.sparse import identity

import scene_codec
from scene_codec.bitstream import ObjectRecord, SceneContent, open_scene_file, serialise
from scene_codec.codecs.mesh_surface.prior import MODEL_FILES, shipped_prior
from scene_codec.codecs.mesh_surface.surface_coding import FittedSurface, encode_surface
from scene_codec.codecs.mesh_surface.surface_walk import SurfaceSteps
from scene_codec.codecs.mesh_surface.syntax import (
    PAYLOAD_VERSION,
    CodedSurface,
    read_surface,
    write_surface,
)
from scene_codec.entropy.quantisers import QuantisationStep
from scene_codec.geometry.manifold_surface import is_closed
from scene_codec.geometry.normalisation import Frame
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.surface_fitting import SurfaceError
from scene_codec.progress import Progress

FOLDER = Path(__file__).parent
SURFACES_FILE = "mesh-surface-v1.json"
PRIOR = 1
BIT_PRICE = 0.05

_MADE = runpy.run_path(str(FOLDER / "make_golden_files.py"))
pseudo_random = _MADE["pseudo_random"]

_EIGHTS = ((10, 0), (7, 7), (0, 10), (-7, 7), (-10, 0), (-7, -7), (0, -10), (7, -7))
_SIXTHS = ((4, 0), (2, 3), (-2, 3), (-4, 0), (-2, -3), (2, -3))

CASES = {"closed": (1, 7), "parts": (3, 9)}
"""How much coarser vertices are rounded along the surface, and which power of a half the step is."""


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
    return {"closed": ring(1), "parts": together}


def coded(case: str) -> CodedSurface:
    """Return a surface as it is written; all directions count alike when its vertices are rounded."""
    mesh, (in_plane, halvings) = surfaces()[case], CASES[case]
    frame, step = Frame.around(mesh), QuantisationStep.nearest(2.0**-halvings)
    placed, size = frame.into(mesh), mesh.vertices.size
    steps = SurfaceSteps(step.value, float(in_plane), is_closed(mesh.faces))
    fitted = FittedSurface(placed, SurfaceError(0.0, identity(size, format="csr"), np.zeros(size)))
    _, stream = encode_surface(fitted, steps, BIT_PRICE, shipped_prior(PRIOR), Progress())
    return CodedSurface(
        frame=frame,
        prior=PRIOR,
        closed=steps.closed,
        in_plane=in_plane,
        step=step,
        error=QuantisationStep.nearest(2.0**-10),
        faces=len(mesh.faces),
        stream=stream,
    )


def described(name: str) -> dict[str, object]:
    """Return what a file decodes to, every number of it."""
    with open_scene_file(FOLDER / name) as file:
        (entry,) = file.objects
        surface = read_surface({own.kind: file.read_object(entry.name, own.kind) for own in entry.sections})
    (item,) = scene_codec.decode(FOLDER / name, device="cpu")
    return {
        "prior": surface.prior,
        "closed": surface.closed,
        "in_plane": surface.in_plane,
        "step": surface.step.value,
        "error": surface.error.value,
        "faces": item.mesh.faces.tolist(),
        "vertices": item.mesh.vertices.tolist(),
    }


def statistics(number: int) -> str:
    """Return a digest of published statistics."""
    prior = shipped_prior(number)
    digest = hashlib.blake2b(digest_size=16)
    for part, kind in ((prior.probabilities, "<u2"), (prior.seen, "u1"), (prior.weights, "<i4")):
        digest.update(part.astype(kind).tobytes())
    return digest.hexdigest()


def main() -> None:
    """Write the files that are missing."""
    known = {}
    for case in CASES:
        name = f"mesh-surface-v1-{case}.nscene"
        if not (FOLDER / name).exists():
            record = ObjectRecord(case, write_surface(coded(case)))
            (FOLDER / name).write_bytes(
                serialise(SceneContent("mesh-surface", PAYLOAD_VERSION, (), (record,)))
            )
        known[case] = described(name)
    content = {"statistics": {str(number): statistics(number) for number in MODEL_FILES}, "surfaces": known}
    if not (FOLDER / SURFACES_FILE).exists():
        (FOLDER / SURFACES_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
