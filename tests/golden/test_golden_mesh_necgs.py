"""A set written once decodes for ever to the same meshes."""

import json
from pathlib import Path

import numpy as np

import scene_codec

FOLDER = Path(__file__).parent
TOLERANCE = 1e-4
"""In scene units, for objects of size 2: what float32 convolutions may differ by between machines."""


def assert_decodes_as_known(name):
    """Compare what a golden file decodes to with the numbers beside it; return the decoded objects."""
    expected = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["objects"]
    decoded = list(scene_codec.decode(FOLDER / f"{name}.nscene", device="cpu"))
    assert [item.name for item in decoded] == [item["name"] for item in expected]
    for item, known in zip(decoded, expected, strict=True):
        vertices = item.mesh.vertices
        assert (len(vertices), len(item.mesh.faces)) == (known["vertices"], known["faces"])
        for measured, stored in (
            (vertices.min(axis=0), known["low"]),
            (vertices.max(axis=0), known["high"]),
            (vertices.mean(axis=0), known["mean"]),
            (vertices[::50], known["every_50th"]),
        ):
            np.testing.assert_allclose(measured, stored, atol=TOLERANCE)
    return decoded


def test_the_set_of_payload_version_1_decodes_to_what_it_always_did():
    decoded = assert_decodes_as_known("mesh-necgs-v1")
    assert decoded[0].host == b'{"note": "golden"}'
    assert decoded[0].transform[:3, 3].tolist() == [1.0, 2.0, 3.0]
    assert scene_codec.inspect(FOLDER / "mesh-necgs-v1.nscene").objects[1].instance_of == "Oktaëder"


def test_an_inflated_sheet_of_payload_version_1_decodes_to_what_it_always_did():
    assert_decodes_as_known("mesh-necgs-v1-inflated")
