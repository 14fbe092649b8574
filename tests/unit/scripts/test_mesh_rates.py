"""Rate-distortion curves of meshes: what they are made of, and what tables and pictures say of them."""

import argparse
import json
import math
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

import make_results
import measure_meshes
from draw_rate_curves import DIGEST
from measurement import mesh_curves, mesh_rate_pictures
from measurement.mesh_codecs import parse_own
from measurement.mesh_curves import (
    bytes_at,
    contender_row,
    curve,
    error_at,
    median_curve,
    rate_change,
    ratios,
    ratios_at_bytes,
    set_curve,
)
from measurement.mesh_points import Attempt, Coded, QuickDistance, measured_point, original_of
from measurement.mesh_tables import at_sizes, contents, far_notes
from scene_codec.geometry.mesh_files import save_scene_object
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh
from scene_codec.metrics.mesh_distance import compare_meshes


def point(size, error, setting="a", **more):
    fields = {"setting": setting, "bytes": size, "point_to_surface": error, "added_gb": 0.1}
    return fields | {"encode_cpu_seconds": 1.0, "decode_cpu_seconds": 0.1} | more


def line(factor=1.0, count=9):
    """Return a curve on which half the error takes twice the bytes."""
    errors = np.geomspace(5e-4, 2e-2, count)
    return [(float(error), factor / float(error)) for error in errors]


def ball(rings=24, sectors=36):
    """Return a ball of many triangles, with a vertex that no face uses."""
    up, around = (
        np.linspace(0.0, math.pi, rings + 1),
        np.linspace(0.0, 2.0 * math.pi, sectors, endpoint=False),
    )
    rows = [[np.sin(u) * np.cos(a), np.sin(u) * np.sin(a), np.cos(u)] for u in up[1:-1] for a in around]
    vertices = np.array([[0.0, 0.0, 1.0], *rows, [0.0, 0.0, -1.0], [9.0, 9.0, 9.0]]) * 3.0 + 5.0
    last = 1 + (rings - 1) * sectors
    faces = []
    for sector in range(sectors):
        after = (sector + 1) % sectors
        faces.append([0, 1 + sector, 1 + after])
        faces.append([last, last - sectors + after, last - sectors + sector])
        for ring in range(rings - 2):
            a, b = 1 + ring * sectors + sector, 1 + ring * sectors + after
            faces += [[a, a + sectors, b], [b, a + sectors, b + sectors]]
    return TriangleMesh(vertices, np.array(faces, dtype=np.int64))


def test_settings_that_another_one_beats_are_not_on_the_curve():
    points = [point(100, 0.008), point(120, 0.009), point(300, 0.002), point(300, 0.003), point(900, 0.002)]
    assert curve(points) == [(0.002, 300.0), (0.008, 100.0)]


def test_a_bulge_between_close_settings_is_cut_off_and_one_between_distant_ones_stays():
    close = [point(100, 0.0040), point(115, 0.0039), point(130, 0.0020)]
    assert curve(close) == [(0.0020, 130.0), (0.0040, 100.0)]
    distant = [point(100, 0.0040), point(200, 0.0039), point(400, 0.0020)]
    assert len(curve(distant)) == 3


def test_bytes_are_straight_in_logarithms_and_unknown_beyond_the_ends():
    own = [(0.001, 400.0), (0.004, 100.0)]
    assert bytes_at(own, 0.002) == pytest.approx(200.0)
    assert bytes_at(own, 0.004) == pytest.approx(100.0)
    assert bytes_at(own, 0.0041) is None
    assert bytes_at(own, 0.0009) is None
    assert bytes_at([], 0.002) is None


def test_thinning_changes_bytes_by_less_than_it_may():
    own = sorted(
        (error, size * (1.0 + 0.002 * (-1) ** index)) for index, (error, size) in enumerate(line(1, 60))
    )
    thin = mesh_curves.thinned(own, 0.01)
    assert len(thin) < len(own) / 3
    for error in np.geomspace(6e-4, 1.9e-2, 50):
        assert bytes_at(thin, error) == pytest.approx(bytes_at(own, error), rel=0.03)


def test_half_the_bytes_are_a_ratio_of_a_half_and_a_rate_change_of_minus_a_half():
    anchor, own = {"a": line(), "b": line(3.0)}, {"a": line(0.5, 7), "b": line(1.5, 7)}
    assert {round(item.ratio, 9) for item in ratios(anchor, own)} == {0.5}
    assert len(ratios(anchor, own)) == 2 * len(mesh_curves.ERRORS)
    assert rate_change(anchor["a"], own["a"]) == pytest.approx(-0.5, abs=1e-9)
    assert rate_change(anchor["a"], []) is None
    assert rate_change([(1e-4, 9.0), (2e-4, 8.0)], own["a"]) is None


def test_ratios_are_told_at_bytes_of_the_anchor_too():
    anchor, half = {"a": [(1e-4, 4000.0), (8e-4, 500.0)]}, {"a": [(5e-5, 4000.0), (16e-4, 125.0)]}
    assert error_at(anchor["a"], 2000.0) == pytest.approx(2e-4)
    assert error_at(anchor["a"], 400.0) is None
    (found,) = ratios_at_bytes(anchor, half, 2000.0)
    assert found.error == pytest.approx(2e-4)
    assert found.ratio == pytest.approx(0.5)
    assert ratios_at_bytes(anchor, half, 5000.0) == []
    (note,) = at_sizes("half", anchor, half)
    assert "1,000 B: 0.500, 0.500 (1 meshes); 2,000 B: 0.500" in note
    assert at_sizes("half", {}, half) == []


def test_ratios_are_told_at_equal_far_distances_too():
    def far(size, p99):
        ways = {"decoded_to_reference_p99": 0.5 * p99, "reference_to_decoded_p99": p99}
        return point(size, 1e-3, **ways)

    grouped = {
        "draco-hull": {"a": [far(1000, 4e-3), far(500, 8e-3)], "b": [point(700, 1e-3)]},
        "third": {"a": [far(200, 8e-3), point(100, 4e-3)], "b": [far(100, 8e-3)]},
        "lost": {"a": [far(3000, 4e-3)]},
    }
    third, lost = far_notes(grouped)
    assert "`third`" in third
    assert "0.400 in the median of 1, at worst 0.400 (a)" in third
    assert "3.000 in the median of 1" in lost
    assert far_notes({"third": grouped["third"]}) == []


def test_the_mean_of_fewer_meshes_is_of_the_same_meshes_as_that_of_the_anchor():
    anchor = {name: line(factor) for name, factor in (("a", 1.0), ("b", 4.0), ("c", 16.0))}
    whole = median_curve(anchor, anchor, [0.002])
    assert whole == [(0.002, pytest.approx(2000.0))]
    some = {"a": line(0.5), "c": line(8.0)}
    assert median_curve(anchor, some, [0.002]) == [(0.002, pytest.approx(1000.0))]
    assert median_curve(anchor, {"a": line(0.5)}, [0.002]) == []


def test_a_set_in_one_file_is_one_point_a_setting():
    points = {
        "a": [point(100, 0.002, "fine"), point(50, 0.004, "coarse")],
        "b": [point(100, 0.004, "fine"), point(50, 0.008, "coarse")],
    }
    assert set_curve(points, shared=True) == [(0.003, 100.0), (0.006, 50.0)]


def test_files_of_their_own_are_mixed_at_the_best_settings():
    points = {"a": [point(100, 0.001), point(50, 0.0011)], "b": [point(100, 0.001), point(50, 0.009)]}
    own = set_curve(points, shared=False)
    assert own[0] == (pytest.approx(0.001), pytest.approx(100.0))
    assert (pytest.approx(0.00105), pytest.approx(75.0)) in own
    assert (pytest.approx(0.005), pytest.approx(75.0)) not in own


def test_a_row_says_bytes_ratios_and_rates_to_every_rival():
    curves = {"draco-hull": {"a": line()}, "draco": {"a": line(4.0)}, "ours": {"a": line(0.5)}}
    points = {"a": [point(size, error) for error, size in line(0.5)]}
    row = contender_row("ours", points, curves)
    assert row["bytes_at_error_020"] == pytest.approx(250.0)
    assert row["ratio_median"] == pytest.approx(0.5)
    assert row["bd_rate_draco_hull"] == pytest.approx(-0.5)
    assert row["bd_mean_draco"] == pytest.approx(-0.875)
    assert "ratio_median" not in contender_row("draco-hull", points, curves)


def test_the_quick_distance_agrees_with_the_full_one():
    original = original_of("ball", ball())
    moved = TriangleMesh(original.framed.vertices * 0.99, original.framed.faces)
    quick = QuickDistance(original, 20_000)(moved)
    full = compare_meshes(original.mesh, original.put_back(moved), samples=1000).point_to_surface
    assert quick == pytest.approx(full, rel=0.02)
    assert quick == pytest.approx(0.01, rel=0.05)


def test_an_original_is_its_used_part_in_a_frame_that_can_be_undone():
    mesh = ball()
    original = original_of("ball", mesh)
    assert len(original.mesh.vertices) == len(mesh.vertices) - 1
    assert original.framed.vertices.max() == pytest.approx(1.0)
    back = original.put_back(original.framed)
    np.testing.assert_allclose(back.vertices, original.mesh.vertices, atol=1e-12)
    np.testing.assert_allclose(original.into_frame(back).vertices, original.framed.vertices, atol=1e-12)


def test_a_point_without_samples_has_exact_distances_alone():
    original = original_of("ball", ball())
    attempt = Attempt("as it is", lambda: Coded(10, lambda: original.mesh), lambda: 5.0)
    brief, full = (measured_point(original, attempt, samples) for samples in (None, 1000))
    assert brief["point_to_surface"] == full["point_to_surface"] < 1e-6
    assert "chamfer" in full
    assert "chamfer" not in brief
    assert brief["encode_cpu_seconds"] >= 5.0


def test_ours_is_one_setting_for_each_value_that_is_listed():
    settings = parse_own("ours=mesh-necgs:paper:error=0.05/0.1,fast=true,words=some")
    assert [own.settings for own in settings] == [
        (("error", 0.05), ("fast", True), ("words", "some")),
        (("error", 0.1), ("fast", True), ("words", "some")),
    ]
    assert {own.name for own in settings} == {"ours"}
    assert parse_own("plain=mesh-necgs")[0].preset is None
    for wrong in ("mesh-necgs", "=x", "a=b:c:d"):
        with pytest.raises(argparse.ArgumentTypeError):
            parse_own(wrong)


def made_rows(meshes, contenders):
    return [
        {"mesh": mesh, "contender": name, "measured_at": "abc", **point(size, error, f"{size:.0f}")}
        for mesh in meshes
        for name, factor in contenders.items()
        for error, size in line(factor)
    ]


@pytest.mark.parametrize("alone", [True, False])
def test_a_result_file_makes_a_table_and_pictures_of_its_figures(tmp_path, monkeypatch, alone):
    pytest.importorskip("matplotlib")
    from measurement.results import write_results

    meshes = ["a.obj", "b.obj", "c.obj"]
    rows = made_rows(meshes, {"draco-hull": 1.0, "ours": 0.5})
    failures = [{"name": "d.obj", "contender": "ours", "reason": "no faces"}]
    table, details = contents(rows, failures, "dev_alone" if alone else "dev", meshes, alone)
    monkeypatch.setattr(make_results, "RESULTS", tmp_path)
    monkeypatch.setattr(make_results, "DOCUMENT", tmp_path / "RESULTS.md")
    monkeypatch.setattr("sys.argv", ["make_results.py"])
    path = tmp_path / f"mesh_rates_{'dev_alone' if alone else 'dev'}.json"
    write_results(path, table, details, ())
    make_results.main()
    text = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert f"pictures/{path.stem}.png" in text
    assert (f"pictures/{path.stem}_meshes.png" in text) == alone
    assert "| ours | 3 | 500 |" in text
    assert "d.obj: no faces" in text
    pictures = sorted((tmp_path / "pictures").iterdir())
    assert len(pictures) == (2 if alone else 1)
    with Image.open(pictures[0]) as picture:
        assert picture.info[DIGEST] == mesh_rate_pictures.digest(mesh_rate_pictures.curves_in(path))
    monkeypatch.setattr("sys.argv", ["make_results.py", "--check"])
    assert make_results.main() == 0
    content = json.loads(path.read_text(encoding="utf-8"))
    mesh = next(iter(content["curves"]["ours"]))
    content["curves"]["ours"][mesh][0][1] *= 2.0
    path.write_text(json.dumps(content), encoding="utf-8")
    assert make_results.main() == 1


def run(monkeypatch, tmp_path, *words):
    monkeypatch.setattr(measure_meshes, "KEPT", tmp_path / "kept")
    out = tmp_path / "result.json"
    command = ["measure_meshes.py", "--data", str(tmp_path), "--set", "balls", "--alone", "--samples", "1000"]
    monkeypatch.setattr(sys, "argv", [*command, "--out", str(out), *words])
    assert measure_meshes.main() == 0
    return json.loads(out.read_text(encoding="utf-8"))


def test_a_set_is_measured_once_and_told_again(tmp_path, monkeypatch, capsys):
    for name in ("DracoPy", "fast_simplification", "matplotlib"):
        pytest.importorskip(name)
    (tmp_path / "balls").mkdir()
    save_scene_object(SceneObject("ball", ball(12, 16)), tmp_path / "balls" / "ball.ply")
    first = run(
        monkeypatch, tmp_path, "--contenders", "draco-hull", "draco", "gltfpack", "--gltfpack", "absent"
    )
    assert "gltfpack is missing" in capsys.readouterr().err
    own = {name: meshes["ball.ply"] for name, meshes in first["curves"].items()}
    assert bytes_at(own["draco-hull"], 2e-3) <= bytes_at(own["draco"], 2e-3)
    again = run(monkeypatch, tmp_path, "--kept")
    assert again["curves"] == first["curves"]
    shutil.rmtree(tmp_path / "kept")
    with pytest.raises(AssertionError):
        run(monkeypatch, tmp_path, "--kept")
