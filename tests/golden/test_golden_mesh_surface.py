"""Surfaces written once by mesh-surface are for ever what they were, their control triangles to the last bit.

A decoder does nothing but additions, multiplications, divisions and square roots, one after the other, which
every machine rounds alike; a vertex that is a bit off would foretell other symbols for the next one. What
subdivision makes of them foretells nothing: it may differ in the last bits.
"""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from scene_codec.geometry.manifold_surface import parts_of

FOLDER = Path(__file__).parent
MADE = runpy.run_path(str(FOLDER / "make_golden_mesh_surface.py"))
KNOWN = {
    version: json.loads((FOLDER / name).read_text(encoding="utf-8"))
    for version, name in MADE["SURFACES_FILES"].items()
}


def recorded(case):
    """Return what was recorded of a case when its file was written."""
    return KNOWN[MADE["CASES"][case][0]]["surfaces"][case.rpartition("-")[2]]


@pytest.mark.parametrize("case", MADE["CASES"])
def test_surfaces_decode_to_what_they_always_did(case):
    expected, found = dict(recorded(case)), MADE["described"](f"{case}.nscene")
    if "levels" in expected:
        np.testing.assert_allclose(found.pop("vertices"), expected.pop("vertices"), rtol=1e-12, atol=1e-9)
    assert found == expected


@pytest.mark.parametrize("case", MADE["CASES"])
def test_the_files_hold_what_they_are_said_to_hold(case):
    """The control triangles are those of the mesh, wherever they begin."""
    _, shape, _, in_plane, _ = MADE["CASES"][case]
    mesh, found = MADE["surfaces"]()[shape], recorded(case)
    assert found["in_plane"] == in_plane
    control = MADE["control_of"](f"{case}.nscene")
    # Rounding trades places for bits: a vertex goes a few steps out of its way at most.
    within = 4.0 * in_plane * found["step"] * MADE["Frame"].around(mesh).scale
    distances, nearest = cKDTree(mesh.vertices).query(control.vertices)
    assert distances.max() < within
    assert sorted(nearest) == list(range(len(mesh.vertices)))

    def whole(faces):
        return {tuple(np.roll(face, -int(np.argmin(face))).tolist()) for face in faces}

    assert whole(nearest[control.faces]) == whole(mesh.faces)


def test_there_are_closed_and_open_surfaces_flat_smooth_and_creased():
    cases = {case: recorded(case) for case in MADE["CASES"]}
    assert {case.rpartition("-")[2] for case, known in cases.items() if known["closed"]} == {
        "closed",
        "smooth",
    }
    assert {case.rpartition("-")[2] for case, known in cases.items() if known.get("levels")} == {
        "smooth",
        "creased",
    }
    assert cases["mesh-surface-v2-creased"]["creased"]
    parts = np.array(cases["mesh-surface-v1-parts"]["faces"])
    assert len(np.unique(parts_of(parts))) == 4


@pytest.mark.parametrize("number", [number for number, known in KNOWN.items() if known["statistics"]])
def test_published_statistics_never_change(number):
    assert MADE["statistics"](number) == KNOWN[number]["statistics"][str(number)]
