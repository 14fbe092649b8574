"""Radiance fields written once by nerf-pruned, and grids of booleans, are for ever what they were.

Integers, cells and the space are exact. Networks are evaluated in float32, in an order that the machine
chooses. Where a renderer takes its samples is its own matter, so pictures are compared more loosely.
"""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from scene_codec.entropy.bit_grid import decode_bit_grid, encode_bit_grid

FOLDER = Path(__file__).parent
MADE = runpy.run_path(str(FOLDER / "make_golden_nerf_pruned.py"))
FIELDS = json.loads((FOLDER / MADE["FIELDS_FILE"]).read_text(encoding="utf-8"))
GRIDS = json.loads((FOLDER / MADE["GRIDS_FILE"]).read_text(encoding="utf-8"))

NETWORK_TOLERANCE = 1e-5
"""Of the largest value: what float32 matrix products may differ by between machines."""

PICTURE_TOLERANCE = 0.02
"""In colour and opacity from 0 to 1: what other samples along rays may make of these soft fields."""


@pytest.mark.parametrize("case", FIELDS)
def test_fields_of_payload_version_1_decode_to_what_they_always_did(case):
    known, found = FIELDS[case], MADE["described"](f"nerf-pruned-v1-{case}.nscene")
    for exact in ("layers", "integers", "cells", "domain"):
        assert found[exact] == known[exact]
    for field in ("density", "networks"):
        limit = NETWORK_TOLERANCE * np.abs(known[field]).max()
        np.testing.assert_allclose(found[field], known[field], rtol=0, atol=limit)
    for field in ("colour", "opacity"):
        np.testing.assert_allclose(found[field], known[field], rtol=0, atol=PICTURE_TOLERANCE)


@pytest.mark.parametrize("case", FIELDS)
def test_the_files_hold_what_they_are_said_to_hold(case):
    field = MADE["fields"]()[case]
    with MADE["open_scene_file"](FOLDER / f"nerf-pruned-v1-{case}.nscene") as file:
        (entry,) = file.objects
        found = MADE["read_field"](
            {own.kind: file.read_object(entry.name, own.kind) for own in entry.sections}
        )
    assert found.header == field.header
    for network, expected in zip(found.networks, field.networks, strict=True):
        for own, layer in zip(network, expected, strict=True):
            np.testing.assert_array_equal(own.weights, layer.weights)
            np.testing.assert_array_equal(own.biases, layer.biases)
            np.testing.assert_array_equal(own.exponents, layer.exponents)
            assert own.bias_exponent == layer.bias_exponent
    np.testing.assert_array_equal(found.cells, field.cells)


def test_the_pictures_show_something_and_not_everything():
    for known in FIELDS.values():
        assert min(known["opacity"]) < 0.3 < 0.5 < max(known["opacity"])
        assert np.ptp(known["colour"]) > 0.2


@pytest.mark.parametrize("case", GRIDS)
def test_grids_of_booleans_decode_to_what_they_always_did(case):
    known = GRIDS[case]
    shape = tuple(known["shape"])
    cells = np.unpackbits(np.frombuffer(bytes.fromhex(known["cells"]), np.uint8), count=np.prod(shape))
    grid = cells.reshape(shape) > 0
    np.testing.assert_array_equal(decode_bit_grid(bytes.fromhex(known["bytes"]), shape), grid)
    np.testing.assert_array_equal(decode_bit_grid(encode_bit_grid(grid), shape), grid)


def test_every_way_of_storing_a_grid_is_there():
    assert {bytes.fromhex(known["bytes"])[0] for known in GRIDS.values()} == {0, 1, 2, 3}
