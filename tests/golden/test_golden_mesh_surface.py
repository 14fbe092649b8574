"""Surfaces written once by mesh-surface are for ever what they were, to the last bit.

A decoder does nothing but additions, multiplications, divisions and square roots, one after the other, which
every machine rounds alike; a vertex that is a bit off would foretell other symbols for the next one.
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


@pytest.fixture(scope="module")
def known():
    return json.loads((FOLDER / MADE["SURFACES_FILE"]).read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", MADE["CASES"])
def test_surfaces_of_payload_version_1_decode_to_what_they_always_did(case, known):
    expected, found = known["surfaces"][case], MADE["described"](f"mesh-surface-v1-{case}.nscene")
    assert found == expected


@pytest.mark.parametrize("case", MADE["CASES"])
def test_the_files_hold_what_they_are_said_to_hold(case, known):
    mesh, (in_plane, _) = MADE["surfaces"]()[case], MADE["CASES"][case]
    found = known["surfaces"][case]
    assert found["in_plane"] == in_plane
    # Rounding trades places for bits: a vertex goes a few steps out of its way at most.
    within = 4.0 * in_plane * found["step"] * MADE["Frame"].around(mesh).scale
    distances, nearest = cKDTree(mesh.vertices).query(np.array(found["vertices"]))
    assert distances.max() < within
    assert sorted(nearest) == list(range(len(mesh.vertices)))

    def whole(faces):
        return {tuple(np.roll(face, -int(np.argmin(face))).tolist()) for face in faces}

    assert whole(nearest[np.array(found["faces"])]) == whole(mesh.faces)


def test_there_is_a_closed_surface_and_an_open_one_of_several_parts(known):
    closed, parts = (known["surfaces"][case] for case in ("closed", "parts"))
    assert closed["closed"]
    assert not parts["closed"]
    assert len(np.unique(parts_of(np.array(parts["faces"])))) == 4


@pytest.mark.parametrize("number", MADE["MODEL_FILES"])
def test_published_statistics_never_change(number, known):
    assert MADE["statistics"](number) == known["statistics"][str(number)]
