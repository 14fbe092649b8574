import subprocess
import sys

import numpy as np
import pytest

from measurement import block_dct, tthresh
from measurement.codec_points import measured_point, shares_of
from measurement.made_volume import write_made_volume
from measurement.measured_process import run_measured
from measurement.rate_curves import bits_at, codec_rows, curve, mean_row, rate_change
from measurement.volume_rivals import Rivals
from scene_codec.volumes.volume import VolumeGrid
from volume_rate_tables import compared_rows
from volume_speed import rows_of
from volume_vdb_table import grid_errors, same_topology


def point(codec, psnr, size, voxels=800):
    seconds = {f"{step}{kind}_seconds": 1.0 for step in ("encode", "decode") for kind in ("", "_cpu")}
    return {"codec": codec, "setting": psnr, "psnr": psnr, "bytes": size, "voxels": voxels, **seconds}


def test_half_the_bytes_at_every_quality_is_a_rate_change_of_minus_a_half():
    anchor = [(psnr, 2.0 ** (psnr / 6.0)) for psnr in (30.0, 36.0, 44.0, 52.0)]
    candidate = [(psnr, 0.5 * 2.0 ** (psnr / 6.0)) for psnr in (33.0, 41.0, 51.0)]
    assert rate_change(anchor, candidate) == pytest.approx(-0.5, abs=1e-6)


def test_qualities_outside_35_to_50_do_not_count():
    inside = [(35.0, 1.0), (50.0, 4.0)]
    assert rate_change(inside, [(20.0, 50.0), *inside, (70.0, 5.0)]) == pytest.approx(0.0, abs=1e-9)


def test_curves_without_a_common_quality_have_no_rate_change():
    assert rate_change([(20.0, 1.0), (34.0, 2.0)], [(36.0, 1.0), (50.0, 2.0)]) is None
    assert rate_change([], [(36.0, 1.0), (50.0, 2.0)]) is None


def test_a_point_that_costs_more_and_gains_nothing_is_not_on_the_curve():
    points = [point("a", 40.0, 100), point("a", 39.0, 120), point("a", 45.0, 200)]
    assert curve(points, "a") == [(40.0, 1.0), (45.0, 2.0)]


def test_bits_are_not_made_up_beyond_the_ends_of_a_curve():
    own = [(36.0, 1.0), (46.0, 4.0)]
    assert bits_at(own, 41.0) == pytest.approx(2.0)
    assert bits_at(own, 35.0) is None
    assert bits_at(own, 50.0) is None


def test_a_codec_of_one_point_shows_its_bits_and_its_quality():
    rows = codec_rows("head", [point("exact", None, 100), point("half", 85.0, 50)], "SPERR")
    assert [row["bits_per_voxel"] for row in rows] == [1.0, 0.5]
    assert "psnr" not in rows[0]
    assert rows[1]["psnr"] == 85.0


def test_a_mean_leaves_out_what_some_volumes_do_not_have():
    rows = [{"label": "a", "bits": 1.0, "ratio": 2.0}, {"label": "b", "ratio": 8.0}]
    assert mean_row("mean", rows) == {"label": "mean", "ratio": pytest.approx(4.0)}


def test_volumes_that_the_prior_was_trained_on_are_in_no_mean():
    def points(factor):
        sizes = {"SPERR": 1.0, "wavelet": factor}
        return [
            point(codec, psnr, int(1000 * part * 2 ** (psnr / 6)))
            for codec, part in sizes.items()
            for psnr in (33.0, 42.0, 51.0)
        ]

    rows = compared_rows({"a": points(0.8), "b": points(0.8), "eun_mri": points(0.1)})
    assert rows[0]["label"] == "mean of 2 that the prior was not trained on"
    assert rows[0]["bd_rate"] == pytest.approx(-0.2, abs=1e-3)
    assert rows[1]["bd_rate"] == pytest.approx(-0.2, abs=1e-3)
    assert rows[-1]["trained_on"]


@pytest.mark.parametrize("shape", [(8, 8, 8), (9, 17, 3), (1, 30, 11)])
def test_block_transforms_reach_the_wanted_psnr(shape):
    values = shares_of(np.random.default_rng(1).random(shape).cumsum(axis=0))
    found = measured_point(block_dct.NAME, block_dct.dct_codec, values, 45.0)
    assert 44.9 < found["psnr"] < 60.0
    assert found["bytes"] > 32


def test_tthresh_is_told_the_fastest_axis_first_and_its_own_psnr(tmp_path, monkeypatch):
    commands = []

    def run(words, **_):
        commands.append(words)
        if "-i" in words:
            (place,) = (words[at + 1] for at, word in enumerate(words) if word == "-c")
            source = words[words.index("-i") + 1]
            for end in (place, place.replace("coded", "decoded.raw")):
                with open(source, "rb") as plain, open(end, "wb") as copy:  # noqa: PTH123
                    copy.write(plain.read())

    monkeypatch.setattr(subprocess, "run", run)
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    size, decode = tthresh.tthresh_codec(tmp_path / "tthresh")(values, 46.0206)
    assert np.array_equal(decode(), values)
    assert size == values.nbytes
    text = " ".join(commands[0])
    assert "-s 4 3 2 " in text
    assert "-p 40.000" in text


def test_programs_that_are_not_there_are_named():
    assert [line.split(":")[0] for line in Rivals().missing] == ["not measured"] * 3
    assert any("TTHRESH" in line for line in Rivals().missing)


def test_kept_points_are_taken_again_for_the_same_values_alone(tmp_path, monkeypatch):
    runs = []
    monkeypatch.setattr("measurement.volume_rivals._dct_points", lambda shares: runs.append(1) or [])
    rivals = Rivals(keep=tmp_path)
    values = np.zeros((4, 4, 4), np.uint8)
    for _ in range(2):
        rivals.points(values)
    assert len(runs) == 1
    rivals.points(values + np.uint8(1))
    assert len(runs) == 2


def test_a_made_volume_is_the_same_every_time_and_has_empty_space(tmp_path):
    first = write_made_volume(tmp_path, 24).read_bytes()
    assert write_made_volume(tmp_path, 24).read_bytes() == first
    values = np.frombuffer(first, np.uint8)
    assert values.size == 24**3
    assert values.min() == 0
    assert values.max() > 200


@pytest.mark.skipif(sys.platform == "win32", reason="counts with Unix calls")
def test_a_measured_process_says_its_memory_and_its_end():
    found = run_measured([sys.executable, "-c", "x = bytearray(200_000_000); print('done')"])
    assert found.output == b"done\n"
    assert found.peak_bytes > 200_000_000
    assert found.cpu_seconds > 0.0
    with pytest.raises(subprocess.CalledProcessError):
        run_measured([sys.executable, "-c", "raise SystemExit(3)"])


def test_another_active_voxel_is_another_topology():
    values = np.ones((3, 3, 3), np.float32)
    active = values > 0
    other = active.copy()
    other[1, 1, 1] = False
    grid = VolumeGrid("density", values, active)
    assert same_topology(grid, VolumeGrid("density", values))
    assert not same_topology(grid, VolumeGrid("density", values, other))
    assert not same_topology(grid, VolumeGrid("density", values, active, corner=(1, 0, 0)))


def test_errors_of_a_vdb_grid_count_active_voxels_and_the_box_apart():
    before = np.zeros((2, 2, 2), np.float32)
    before[0] = [[1.0, 2.0], [3.0, 5.0]]
    after = before.copy()
    after[0, 0, 0] += 0.4
    active = before > 0
    found = grid_errors(VolumeGrid("a", before, active), VolumeGrid("a", after, active))
    assert found["max_error"] == pytest.approx(0.1)
    assert found["active_psnr"] == pytest.approx(26.02, abs=0.01)
    assert found["psnr"] == pytest.approx(29.03, abs=0.01)


def test_nan_that_did_not_come_back_ends_the_measurement():
    before = np.array([[[1.0, np.nan]]], np.float32)
    with pytest.raises(SystemExit, match="NaN"):
        grid_errors(VolumeGrid("a", before), VolumeGrid("a", np.nan_to_num(before)))


def test_speed_of_several_volumes_is_that_of_all_their_voxels():
    def own(voxels, seconds):
        step = {"voxels": voxels, "seconds": seconds, "cpu_seconds": seconds}
        return {"encode": step, "decode": step}

    rows = rows_of({"small": own(1000, 1.0), "large": own(3_000_000, 2.0)})
    labels = [row["label"] for row in rows]
    assert labels[:3] == ["all 2 volumes", "the 1 of a million voxels and more", "the 1 smaller ones"]
    assert rows[0]["encoded_per_second"] == 3_001_000 / 3.0
    assert labels[3:] == ["small", "large"]
