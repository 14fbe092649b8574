"""Bytes of both codecs are compared at the error that NeCGS has, mesh by mesh."""

import json
import sys

import pytest

import compare_with_necgs

MEANS = ("decoded_to_reference_mean", "reference_to_decoded_mean")
ERRORS = {"a.ply": 2e-3, "b.ply": 5e-2, "left_out.ply": None, "unknown.ply": 1e-3}
CURVE = [[1e-3, 1000.0], [4e-3, 250.0]]


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A folder with both measurements of one set; the script reads and writes there."""
    objects = [
        {"reference": name, "bytes": 800, "error": error and dict.fromkeys(MEANS, error)}
        for name, error in ERRORS.items()
    ]
    necgs = {"file_bytes": 20_000, "objects": objects}
    (tmp_path / "paper.json").write_text(json.dumps(necgs), encoding="utf-8")
    ours = {"curves": {"mesh-surface": dict.fromkeys(list(ERRORS)[:3], CURVE)}}
    (tmp_path / "mesh_rates_few_alone_3.json").write_text(json.dumps(ours), encoding="utf-8")
    monkeypatch.setattr(compare_with_necgs, "RESULTS", tmp_path)
    monkeypatch.setattr(compare_with_necgs, "SETS", {"few": ("paper.json", 8)})
    return tmp_path


def test_meshes_that_both_have_are_compared(results, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["compare_with_necgs.py", "--out", str(results / "out.json")])
    assert compare_with_necgs.main() == 0
    written = json.loads((results / "out.json").read_text(encoding="utf-8"))
    necgs, ours = written["rows"]
    assert necgs["objects"] == ours["objects"] == 2
    # 16,800 bytes of the network among eight, though four were coded, and 800 of its own.
    assert necgs["bytes_per_object"] == 2900
    # One at 500 bytes in the middle of its curve, one at the 250 of the coarse end.
    assert ours["bytes_per_object"] == pytest.approx(375.0)
    assert "0.129 of NeCGS in the median of 2 meshes, 0.172 at most" in written["notes"][0]


def test_without_curves_nothing_is_written(results, monkeypatch, capsys):
    (results / "mesh_rates_few_alone_3.json").unlink()
    monkeypatch.setattr(sys, "argv", ["compare_with_necgs.py", "--out", str(results / "out.json")])
    assert compare_with_necgs.main() == 2
    assert "measure_meshes.py" in capsys.readouterr().err
    assert not (results / "out.json").exists()
