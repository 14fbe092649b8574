"""Voxel fields written once by radiance-vqrf, and integers on nodes of grids, are for ever what they were.

Stored values and the space are exact. What follows from them is computed in float32, in an order that the
machine chooses. Where a renderer takes its samples is its own matter, so pictures are compared more loosely.
"""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from scene_codec.bitstream import open_scene_file
from scene_codec.codecs.radiance_vqrf.syntax import FIELD, header_of
from scene_codec.entropy.node_values import decode_node_values, encode_node_values

FOLDER = Path(__file__).parent
MADE = runpy.run_path(str(FOLDER / "make_golden_radiance_vqrf.py"))
FIELDS = json.loads((FOLDER / MADE["FIELDS_FILE"]).read_text(encoding="utf-8"))
VALUES = json.loads((FOLDER / MADE["VALUES_FILE"]).read_text(encoding="utf-8"))

DENSITY_TOLERANCE = 1e-5
"""Of the largest density: what float32 sums may differ by between machines."""

PICTURE_TOLERANCE = 0.02
"""In colour and opacity from 0 to 1: what other samples along rays may make of these soft fields."""


@pytest.mark.parametrize("case", FIELDS)
def test_fields_of_payload_version_1_decode_to_what_they_always_did(case):
    known, found = FIELDS[case], MADE["described"](f"radiance-vqrf-v1-{case}.nscene")
    for exact in ("values", "domain", "limits"):
        assert found[exact] == known[exact]
    limit = DENSITY_TOLERANCE * np.abs(known["density"]).max()
    np.testing.assert_allclose(found["density"], known["density"], rtol=0, atol=limit)
    for field in ("colour", "opacity"):
        np.testing.assert_allclose(found[field], known[field], rtol=0, atol=PICTURE_TOLERANCE)


@pytest.mark.parametrize("case", FIELDS)
def test_the_files_hold_what_they_are_said_to_hold(case):
    own = MADE["cases"]()[case]
    with open_scene_file(FOLDER / f"radiance-vqrf-v1-{case}.nscene") as file:
        (entry,) = file.objects
        found = {part.kind: file.read_object(entry.name, part.kind) for part in entry.sections}
    assert header_of(found) == own.header
    assert set(found) == {section.kind for section in own.sections}
    assert FIELD in found


def test_the_pictures_show_something_and_not_everything():
    for case, known in FIELDS.items():
        assert np.ptp(known["opacity"]) > 0.3, case
        assert np.ptp(known["colour"]) > 0.1, case


def test_every_kind_of_field_is_there():
    headers = [own.header for own in MADE["cases"]().values()]
    assert {header.method for header in headers} == {"rate", "vqrf"}
    assert {header.shader.kind for header in headers} == {"plain", "harmonics", "network"}
    assert any(header.planes for header in headers)
    assert any(header.lens for header in headers)


@pytest.mark.parametrize("case", VALUES)
def test_integers_on_nodes_decode_to_what_they_always_did(case):
    known = VALUES[case]
    shape = tuple(known["shape"])
    held = np.unpackbits(np.frombuffer(bytes.fromhex(known["held"]), np.uint8), count=np.prod(shape))
    held = held.reshape(shape) > 0
    values = np.array(known["values"], np.int32)
    channels = values.shape[1]
    np.testing.assert_array_equal(decode_node_values(bytes.fromhex(known["bytes"]), held, channels), values)
    np.testing.assert_array_equal(
        decode_node_values(encode_node_values(values, held), held, channels), values
    )
