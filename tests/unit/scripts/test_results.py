import json
from pathlib import Path

import pytest

import make_results
from measurement.mesh_sets import set_files
from measurement.mesh_summary import in_short
from measurement.provenance import provenance
from measurement.results import MEASURES, Table, error_fields, write_results
from measurement.set_run import setting_flags

ROW = {"label": "ours", "objects": 3, "bytes_per_object": 1234.5, "chamfer": 0.0034567, "left_out": []}


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(make_results, "RESULTS", tmp_path)
    monkeypatch.setattr(make_results, "DOCUMENT", tmp_path / "RESULTS.md")
    monkeypatch.setattr("sys.argv", ["make_results.py"])
    return tmp_path


def write(folder, rows=(ROW,), table="resolution", name="one"):
    write_results(folder / f"{name}.json", Table(table, rows), {}, ())


def test_a_table_shows_measured_columns_alone_and_distances_in_thousandths(results):
    write(results)
    make_results.main()
    text = (results / "RESULTS.md").read_text(encoding="utf-8")
    assert "| ours | 3 | 1,234 | 3.457 |" in text
    assert "| | meshes | bytes / mesh | CD e-3 |" in text


def test_every_table_says_commit_command_and_machine(results):
    write(results)
    make_results.main()
    text = (results / "RESULTS.md").read_text(encoding="utf-8")
    content = json.loads((results / "one.json").read_text(encoding="utf-8"))
    assert content["provenance"]["commit"] in text
    assert content["provenance"]["command"] in text


def test_quoted_rows_are_marked_and_never_stand_alone(results):
    quoted = [{"table": "resolution", "quoted": "a paper", "rows": [{"label": "theirs", "chamfer": 0.001}]}]
    (results / "published.json").write_text(json.dumps(quoted), encoding="utf-8")
    make_results.main()
    assert "theirs" not in (results / "RESULTS.md").read_text(encoding="utf-8")
    write(results)
    make_results.main()
    text = (results / "RESULTS.md").read_text(encoding="utf-8")
    assert "*theirs*" in text
    assert "Quoted rows: a paper" in text


def test_a_mesh_that_was_left_out_is_named_with_its_reason(results):
    write(results, [ROW | {"left_out": [{"name": "teapot", "reason": "no faces"}]}])
    make_results.main()
    assert "teapot: no faces" in (results / "RESULTS.md").read_text(encoding="utf-8")


def test_a_document_that_was_edited_by_hand_is_found(results, monkeypatch):
    write(results)
    make_results.main()
    monkeypatch.setattr("sys.argv", ["make_results.py", "--check"])
    assert make_results.main() == 0
    with (results / "RESULTS.md").open("a", encoding="utf-8") as file:
        file.write("better than everything\n")
    assert make_results.main() == 1


def test_the_document_in_the_repository_is_what_its_figures_say(monkeypatch):
    monkeypatch.setattr("sys.argv", ["make_results.py", "--check"])
    assert make_results.main() == 0


def test_folders_of_this_machine_stay_out_of_the_results(monkeypatch):
    private = Path("/home/somebody/meshes")
    monkeypatch.setattr("sys.argv", ["scripts/benchmark_sets.py", "--data", str(private), "--set", "dev"])
    assert "somebody" not in json.dumps(provenance((private,)))


def test_both_directions_make_the_point_to_surface_error():
    fields = error_fields(
        {"decoded_to_reference_mean": 1.0, "reference_to_decoded_mean": 3.0, "chamfer": 5.0}
    )
    assert fields == {"chamfer": 5.0, "point_to_surface": 2.0}
    assert set(fields) <= set(MEASURES)


def test_settings_become_flags():
    flags = setting_flags(["resolution=64", "deformation=true", "head=pointwise", "widths=8,4", "x_y=false"])
    assert flags == [
        "--resolution", "64", "--deformation", "--head", "pointwise", "--widths", "8", "4", "--no-x-y",
    ]  # fmt: skip


def test_a_missing_set_is_explained(tmp_path):
    with pytest.raises(SystemExit, match="not part of the project"):
        set_files(tmp_path, "makehuman")


def test_a_limited_set_is_spread_over_the_whole(tmp_path):
    for index in range(10):
        (tmp_path / f"{index}.obj").touch()
    names = [path.stem for path in set_files(tmp_path.parent, tmp_path.name, 3)]
    assert names == ["0", "3", "6"]


def test_meshes_have_a_summary_of_their_figures():
    row = {"label": "mesh-surface", "objects": 2, "ratio_median": 0.4321, "ratio_worst": 0.9}
    row |= {"bd_rate_draco_hull": -0.56, "encode_cpu_seconds": 7.25, "decode_cpu_seconds": 0.05}
    part = {
        "table": "mesh-rates-my-set-alone-2",
        "rows": [ROW, row],
        "curves": {
            "draco-hull": {"a": [[1e-3, 2500.0], [4e-3, 400.0]]},
            "mesh-surface": {"a": [[1e-3, 1000.0], [4e-3, 160.0]]},
        },
        "columns": ["setting", "bytes", "decoded_to_reference_p99", "reference_to_decoded_p99"],
        "points": {
            "draco-hull": {"a": ["x; 2000; 0.004; 0.003", "y; 500; 0.016; 0.012", "z; 90; None; None"]},
            "mesh-surface": {"a": ["x; 1000; 0.003; 0.004", "y; 100; None; 0.016"]},
        },
    }
    necgs = {"table": "b", "rows": [ROW], "necgs_ratios": {"my_set": {"whole": 0.078, "latents": 0.22}}}
    text = in_short([part, necgs])
    assert "## Meshes in short" in text
    assert (
        "| my_set | 2 | **0.432** | 0.900 | **-56%** | 0.40, 0.40, 0.40, -, - | 0.500 | **0.078** |" in text
    )
    assert "| 0.22 | 7.2 | 0.05 |" in text
    assert "| - | - | 7.2 | 0.05 |" in in_short([part])


def test_without_meshes_there_is_no_summary(results):
    write(results)
    make_results.main()
    assert "in short" not in (results / "RESULTS.md").read_text(encoding="utf-8")
