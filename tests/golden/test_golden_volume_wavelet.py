"""Volumes written once decode for ever to the same values, bit for bit, on every machine."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import scene_codec

FOLDER = Path(__file__).parent
CASES = (
    ("v1", "quality"),
    ("v1", "error"),
    ("v1", "lossless"),
    ("v2", "lossless"),
    ("v2", "error"),
    ("v2", "frames"),
)


def described(grid):
    """Return what must never change of a grid: a digest of its values and active voxels, and its place."""
    wide = np.asarray(grid.values, np.float64)
    digest = hashlib.blake2b(digest_size=16)
    digest.update(np.ascontiguousarray(grid.values).astype(grid.values.dtype.newbyteorder("<")).tobytes())
    digest.update(b"" if grid.active is None else np.packbits(grid.active).tobytes())
    return {
        "name": grid.name,
        "shape": list(grid.values.shape),
        "type": grid.values.dtype.name,
        "kind": grid.kind,
        "corner": list(grid.corner),
        "mean": float(wide[np.isfinite(wide)].mean()),
        "digest": digest.hexdigest(),
    }


@pytest.mark.parametrize(("version", "case"), CASES)
def test_volumes_of_all_payload_versions_decode_to_what_they_always_did(version, case):
    expected = json.loads((FOLDER / f"volume-wavelet-{version}.json").read_text(encoding="utf-8"))[case]
    decoded = scene_codec.decode(FOLDER / f"volume-wavelet-{version}-{case}.nscene", device="cpu")
    assert {item.name: [described(grid) for grid in item.grids] for item in decoded} == expected
