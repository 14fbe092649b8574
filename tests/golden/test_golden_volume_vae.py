"""Volumes written once by volume-vae decode for ever to the same values, within the rounding of a network.

Everything but the network is integers and exact: which voxels are active, NaN and infinities, constants. The
network is evaluated in float32, in an order that the machine chooses.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import scene_codec

FOLDER = Path(__file__).parent
CASES = ("shipped", "own-rate", "own-dense", "own-coded")
TOLERANCE = 1e-5
"""In ranges of a grid: what float32 matrix products may differ by between machines. Whole numbers: 1."""
EVERY = 97


def described(grid):
    """Return what must never change of a grid: its place, exact parts as a digest, some of its values."""
    wide = np.asarray(grid.values, np.float64)
    finite = np.isfinite(wide)
    digest = hashlib.blake2b(digest_size=16)
    digest.update(np.packbits(finite).tobytes())
    digest.update(wide[~finite].astype("<f8").tobytes())
    if grid.active is not None:
        digest.update(np.packbits(grid.active).tobytes())
        digest.update(wide[~grid.active].astype("<f8").tobytes())
    return {
        "name": grid.name,
        "shape": list(grid.values.shape),
        "type": grid.values.dtype.name,
        "kind": grid.kind,
        "corner": list(grid.corner),
        "exact": digest.hexdigest(),
        "range": float(np.ptp(wide[finite])) if finite.any() else 0.0,
        "mean": float(wide[finite].mean()) if finite.any() else 0.0,
        "values": [round(value, 9) for value in wide[finite].ravel()[::EVERY].tolist()],
    }


def assert_same(found, known):
    for field in ("name", "shape", "type", "kind", "corner", "exact"):
        assert found[field] == known[field]
    whole = known["type"].startswith(("int", "uint"))
    np.testing.assert_allclose(
        found["values"], known["values"], rtol=0, atol=1 if whole else TOLERANCE * known["range"] + 1e-8
    )
    assert abs(found["mean"] - known["mean"]) <= TOLERANCE * known["range"] + 1e-8


@pytest.mark.parametrize("case", CASES)
def test_volumes_of_payload_version_1_decode_to_what_they_always_did(case):
    expected = json.loads((FOLDER / "volume-vae-v1.json").read_text(encoding="utf-8"))[case]
    decoded = list(scene_codec.decode(FOLDER / f"volume-vae-v1-{case}.nscene", device="cpu"))
    assert [item.name for item in decoded] == list(expected)
    for item in decoded:
        for grid, known in zip(item.grids, expected[item.name], strict=True):
            assert_same(described(grid), known)
